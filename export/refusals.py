"""Estimators that are refused by name: why they have no graph, and what to use instead."""

from typing import Any

from unpickled.export.errors import NoGraph

_THRESHOLD = "its own threshold would be lost"
_PLATT = (
    "its probabilities have no exact graph",
    "leave probability off and use CalibratedClassifierCV(SVC())",
)
_PAIRWISE = ("it has no graph", "give its classifier all classes at once")
_EARLIER = "do its work before the pipeline"
_BINS = f"use a tree-based classifier, or {_EARLIER}"
_FLOAT32 = "it has no graph in float64"
# Estimators that users meet often and that have no graph: why not, and what to use.
REFUSED: dict[str, tuple[str, str]] = {
    "SVC": _PLATT,
    "NuSVC": _PLATT,
    "TunedThresholdClassifierCV": (
        _THRESHOLD,
        "export its estimator_ and compare the probabilities with best_threshold_",
    ),
    "FixedThresholdClassifier": (
        _THRESHOLD,
        "export its estimator_ and compare the probabilities with the threshold",
    ),
    "OneVsRestClassifier": _PAIRWISE,
    "OneVsOneClassifier": _PAIRWISE,
    "RadiusNeighborsClassifier": ("its graph fails where no neighbor is near", "use KNeighborsClassifier"),
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
