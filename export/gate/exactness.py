"""How far a graph's scores may lie from those of its pipeline."""

from typing import Any

from onnx import TensorProto
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from unpickled.export import inside
from unpickled.export.convert import Conversion
from unpickled.export.recipes import forests, regression_trees

# Largest difference: absolute for probabilities, for all others relative to max(1, |score|).
TOLERANCE = 1e-5
# The same for trees in double precision: the graph adds the very numbers that scikit-learn adds.
TREES_TOLERANCE = 1e-12

# Their scores are those of their members, or means of these.
_AROUND = (
    Pipeline,
    BaggingClassifier,
    VotingClassifier,
    FixedThresholdClassifier,
    TunedThresholdClassifierCV,
)


def tolerance(pipeline: Any, conversion: Conversion) -> float:
    """The largest difference allowed: a small one where trees alone answer, in double precision."""
    is_exact = _is_of_trees(pipeline) and not _is_single(conversion)
    return TREES_TOLERANCE if is_exact else TOLERANCE


def _is_of_trees(step: Any) -> bool:
    step = inside.unwrapped(step)
    if isinstance(step, _AROUND):
        return all(_is_of_trees(part.estimator) for part in inside.parts(step) if part.answers)
    return inside.kind(step) in forests.RECIPES.keys() | regression_trees.REGRESSORS.keys()


def _is_single(conversion: Conversion) -> bool:
    """Whether a float32 leaves the graph."""
    outputs = conversion.model.graph.output
    return any(output.type.tensor_type.elem_type == TensorProto.FLOAT for output in outputs)
