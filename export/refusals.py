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
_EARLIER = "do its work before the pipeline"
_BINS = f"use a tree-based classifier, or {_EARLIER}"
_FLOAT32 = "it has no graph in float64"
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
    "BernoulliRBM": ("it has no graph", f"use PCA or TruncatedSVD, or {_EARLIER}"),
    "KBinsDiscretizer": ("it has no graph that bins alike", _BINS),
    "SplineTransformer": ("it has no graph", _BINS),
    "PolynomialFeatures": (_FLOAT32, f"use SVC(kernel='poly'), or {_EARLIER}"),
    "PowerTransformer": (_FLOAT32, f"use QuantileTransformer or RobustScaler, or {_EARLIER}"),
    "KNNImputer": (_FLOAT32, f"use SimpleImputer, or {_EARLIER}"),
    "IterativeImputer": ("it has no graph", "use SimpleImputer"),
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
