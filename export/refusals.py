"""Estimators that are refused by name: why they have no graph, and what to use instead."""

from itertools import takewhile
from typing import Any

from unpickled.export.errors import NoGraph

_PLATT = (
    "its probabilities have no exact graph",
    "leave probability off and use CalibratedClassifierCV(SVC())",
)
_SEVERAL = ("it answers several questions at once", "export one classifier for each of them")
_GRAPH_OF_ROWS = (
    "it is made for the rows it was fitted on",
    "use SelfTrainingClassifier around a classifier that converts",
)
_OTHER_LIBRARY = ("only estimators of scikit-learn have a graph", "use HistGradientBoostingClassifier")
# Estimators that users meet often and that have no graph: why not, and what to use.
REFUSED: dict[str, tuple[str, str]] = {
    "SVC": _PLATT,
    "NuSVC": _PLATT,
    "ClassifierChain": _SEVERAL,
    "MultiOutputClassifier": _SEVERAL,
    "LabelPropagation": _GRAPH_OF_ROWS,
    "LabelSpreading": _GRAPH_OF_ROWS,
    "XGBClassifier": _OTHER_LIBRARY,
    "LGBMClassifier": _OTHER_LIBRARY,
    "CatBoostClassifier": _OTHER_LIBRARY,
    "RadiusNeighborsClassifier": ("its graph fails where no neighbor is near", "use KNeighborsClassifier"),
}

_SOLVES = "it solves a problem of its own for each row, which no graph does"
_SEARCHES = "it searches among its training rows for each row"
_TEXTS = (
    "it takes texts or dicts, not the columns of a table",
    "count the words before the pipeline, or use OneHotEncoder or TargetEncoder for columns of text",
)
_LATENT = ("it has no graph", "use LinearDiscriminantAnalysis, PCA or FactorAnalysis")
# Transformers: why not, and which of those that convert to use.
REFUSED |= {
    "NMF": (_SOLVES, "use PCA or TruncatedSVD"),
    "MiniBatchNMF": (_SOLVES, "use PCA or TruncatedSVD"),
    "LatentDirichletAllocation": (_SOLVES, "use PCA or TruncatedSVD"),
    "DictionaryLearning": (_SOLVES, "use SparsePCA or PCA"),
    "MiniBatchDictionaryLearning": (_SOLVES, "use SparsePCA or PCA"),
    "SparseCoder": (_SOLVES, "use SparsePCA or PCA"),
    "Isomap": (_SEARCHES, "use KernelPCA or Nystroem"),
    "LocallyLinearEmbedding": (_SEARCHES, "use KernelPCA or Nystroem"),
    "KNeighborsTransformer": (_SEARCHES, "use KNeighborsClassifier as the last step"),
    "RadiusNeighborsTransformer": (_SEARCHES, "use KNeighborsClassifier as the last step"),
    "RandomTreesEmbedding": (
        "its leaves have no graph",
        "use a forest as the last step, or KBinsDiscretizer",
    ),
    "BernoulliRBM": ("it has no graph", "use Nystroem, or MLPClassifier as the last step"),
    "CCA": _LATENT,
    "PLSCanonical": _LATENT,
    "PLSRegression": _LATENT,
    "PLSSVD": _LATENT,
    "FeatureHasher": _TEXTS,
    "DictVectorizer": _TEXTS,
    "HashingVectorizer": _TEXTS,
    "CountVectorizer": _TEXTS,
    "TfidfVectorizer": _TEXTS,
    "TfidfTransformer": ("it has no graph", "use Normalizer(norm='max') or MaxAbsScaler"),
}


def refusal(step: Any, verb: str) -> NoGraph:
    """The error for a fitted estimator that no recipe can convert; ``verb`` says what no graph does."""
    name = type(step).__name__
    return NoGraph(*REFUSED.get(name, (f"no graph of it is known to {verb} as it does",)))


def qualified(step: Any) -> str:
    """The name of an estimator's class with the module that users import it from."""
    module = type(step).__module__
    public = takewhile(lambda part: not part.startswith("_"), module.split("."))
    return f"{'.'.join(public) or module}.{type(step).__name__}"
