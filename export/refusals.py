"""Estimators that are refused by name: why they have no graph, and what to use instead.

Documentation and sweep over all estimators of scikit-learn follow this list.
"""

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from unpickled.export.errors import NoGraph
from unpickled.server.quote import counted


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no graph computes as an estimator does, and what to use: clauses without a full stop.

    ``when`` names the parameters or the place without which it converts.
    """

    reason: str
    remedy: str
    when: str = ""


# Where the answers of estimators become columns for the next step.
BEFORE = "before another step"

SEVERAL = Refusal("it answers several questions at once", "export one classifier for each of them")
_PLATT = Refusal(
    "its probabilities have no exact graph",
    "leave probability off and use CalibratedClassifierCV(SVC())",
    "with `probability=True`",
)
_GRAPH_OF_ROWS = Refusal(
    "it is made for the rows it was fitted on",
    "use SelfTrainingClassifier around a classifier that converts",
)
# Estimators that users meet often and that have no graph.
REFUSED: dict[str, Refusal] = {
    "SVC": _PLATT,
    "NuSVC": _PLATT,
    "ClassifierChain": SEVERAL,
    "MultiOutputClassifier": SEVERAL,
    "LabelPropagation": _GRAPH_OF_ROWS,
    "LabelSpreading": _GRAPH_OF_ROWS,
    "LGBMRanker": Refusal(
        "its scores only order the rows of one query", "use LGBMClassifier or LGBMRegressor"
    ),
    "XGBRanker": Refusal("its scores only order the rows of one query", "use XGBClassifier or XGBRegressor"),
    "Booster": Refusal(
        "it does not say what it answers",
        "fit LGBMClassifier or LGBMRegressor, XGBClassifier or XGBRegressor in place of lightgbm.train or "
        "xgboost.train",
    ),
    "CatBoost": Refusal(
        "it does not say whether it classifies", "use CatBoostClassifier or CatBoostRegressor"
    ),
    "CatBoostRanker": Refusal(
        "its scores only order the rows of one group", "use CatBoostClassifier or CatBoostRegressor"
    ),
    "RadiusNeighborsClassifier": Refusal(
        "its graph fails where no neighbor is near", "use KNeighborsClassifier"
    ),
    "RadiusNeighborsRegressor": Refusal(
        "its graph fails where no neighbor is near", "use KNeighborsRegressor"
    ),
}

_SOLVES = "it solves a problem of its own for each row, which no graph does"
_COMPONENTS = Refusal(_SOLVES, "use PCA or TruncatedSVD")
_DICTIONARY = Refusal(_SOLVES, "use SparsePCA or PCA")
_SEARCHES = "it searches among its training rows for each row"
_MANIFOLD = Refusal(_SEARCHES, "use KernelPCA or Nystroem")
_NEIGHBORS = Refusal(_SEARCHES, "use KNeighborsClassifier as the last step")
_TEXTS = Refusal(
    "it takes texts or dicts, not the columns of a table",
    "count the words before the pipeline, or use OneHotEncoder or TargetEncoder for columns of text",
)
_LATENT = Refusal("it has no graph", "use LinearDiscriminantAnalysis, PCA or FactorAnalysis")
_SCORES = replace(_LATENT, reason="its scores have no graph as columns", when=BEFORE)
_ANSWERS = "its answers have no graph as columns"
_CLASSIFIERS = Refusal(_ANSWERS, "use StackingClassifier as the last step, with the next one in it", BEFORE)
_REGRESSORS = Refusal(
    _ANSWERS,
    "use StackingRegressor, or StackingClassifier with classifiers in it, as the last step",
    BEFORE,
)
# Transformers.
REFUSED |= {
    "NMF": _COMPONENTS,
    "MiniBatchNMF": _COMPONENTS,
    "LatentDirichletAllocation": _COMPONENTS,
    "DictionaryLearning": _DICTIONARY,
    "MiniBatchDictionaryLearning": _DICTIONARY,
    "SparseCoder": _DICTIONARY,
    "Isomap": _MANIFOLD,
    "LocallyLinearEmbedding": _MANIFOLD,
    "KNeighborsTransformer": _NEIGHBORS,
    "RadiusNeighborsTransformer": _NEIGHBORS,
    "RandomTreesEmbedding": Refusal(
        "its leaves have no graph", "use a forest as the last step, or KBinsDiscretizer"
    ),
    "BernoulliRBM": Refusal("it has no graph", "use Nystroem, or MLPClassifier as the last step"),
    "CCA": _SCORES,
    "PLSCanonical": _SCORES,
    "PLSRegression": _SCORES,
    "PLSSVD": _LATENT,
    "KernelCenterer": Refusal("it takes a kernel, not the columns of a table", "use KernelPCA or Nystroem"),
    "VotingClassifier": _CLASSIFIERS,
    "StackingClassifier": _CLASSIFIERS,
    "VotingRegressor": _REGRESSORS,
    "StackingRegressor": _REGRESSORS,
    "FeatureHasher": _TEXTS,
    "DictVectorizer": _TEXTS,
    "HashingVectorizer": _TEXTS,
    "CountVectorizer": _TEXTS,
    "TfidfVectorizer": _TEXTS,
    "TfidfTransformer": Refusal("it has no graph", "use Normalizer(norm='max') or MaxAbsScaler"),
}


def refusal(step: Any, verb: str) -> NoGraph:
    """The error for a fitted estimator that no converter can convert; ``verb`` says what no graph does."""
    refused = REFUSED.get(type(step).__name__)
    if refused is None:
        return NoGraph(f"no graph of it is known to {verb} as it does")
    return NoGraph(refused.reason, refused.remedy)


def other_dtypes(fitted: int, given: int) -> NoGraph:
    """The error for rows without the pandas dtypes of the fit; both count columns of dtype category."""
    return NoGraph(
        f"it was fitted on {counted(fitted, 'column')} of dtype category, and the rows have {given}",
        "give a data frame in which the columns have the dtypes of the fit, to export_pipeline in Python; if "
        "all of their categories are text, it may be saved as Parquet for unpickled convert",
    )


def takes_texts(step: Any) -> bool:
    """Whether a step takes texts or dicts, which cannot be read as a table."""
    return REFUSED.get(type(step).__name__) is _TEXTS


def qualified(step: Any) -> str:
    """The name of an estimator's class with the module that users import it from."""
    module = type(step).__module__
    public = takewhile(lambda part: not part.startswith("_"), module.split("."))
    return f"{'.'.join(public) or module}.{type(step).__name__}"
