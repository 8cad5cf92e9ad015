"""The converters for estimators of boosting libraries, which no module imports."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unpickled.export.boosters.library import Library
from unpickled.export.boosters.registry import LIBRARIES, library
from unpickled.export.converters import catboost, lightgbm, xgboost
from unpickled.export.errors import ConversionError
from unpickled.export.graph import ClassifierOutput, Columns, Graph, RegressorOutput
from unpickled.export.inside import Prepare, leaves
from unpickled.export.refusals import qualified

# The classes with a converter, for the documentation.
NAMES = sorted(name for each in LIBRARIES for name in (*each.classifiers, *each.regressors))

# By library. The last argument of a classifier's converter asks for probabilities in float64, because another
# estimator computes with them.
_CLASSIFIERS: Mapping[str, Callable[[Graph, Any, Columns, bool], ClassifierOutput]] = {
    "catboost": catboost.classifier,
    "lightgbm": lightgbm.classifier,
    "xgboost": xgboost.classifier,
}
_REGRESSORS: Mapping[str, Callable[[Graph, Any, Columns], RegressorOutput]] = {
    "catboost": catboost.regressor,
    "lightgbm": lightgbm.regressor,
    "xgboost": xgboost.regressor,
}


def sparse(pipeline: Any, rows: Any) -> set[int]:
    """The ids of models inside that get these rows as a sparse matrix, and take its gaps for missing."""
    models = _models(pipeline, lambda own: own.takes_gaps)
    return {id(step) for step, prepare in models if hasattr(prepare(rows), "tocoo")}


def check_integers(pipeline: Any, own_rows: Callable[[], Any]) -> None:
    """Raise ConversionError if a model inside rounds whole numbers of the user's own rows to float32.

    A request's numbers are float64, which the model would not round.
    """
    models = _models(pipeline, lambda own: own.rounds_integers)
    rows = own_rows() if models else None
    for step, prepare in models:
        if _lose_digits(prepare(rows)):
            raise ConversionError(
                f"{qualified(step)} gets an array of integers, which it rounds to float32, and some are so "
                "large that this changes them: fit the pipeline on X.astype(float), and export it with these "
                "rows."
            )


def _models(pipeline: Any, wanted: Callable[[Library], bool]) -> list[tuple[Any, Prepare]]:
    """The models inside whose library is wanted, each with the function that prepares its rows."""
    return [(step, prepare) for step, prepare in leaves(pipeline) if (own := library(step)) and wanted(own)]


def _lose_digits(rows: Any) -> bool:
    """Whether they are an array of integers of which float32 cannot hold some."""
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu":
        return False
    return bool((rows.astype(np.float32) != rows).any())


def classify(graph: Graph, step: Any, columns: Columns, exact: bool) -> ClassifierOutput | None:
    """Write a classifier of a boosting library; None for any other. ``exact`` if others compute with it."""
    own = library(step)
    return _CLASSIFIERS[own.name](graph, step, columns, exact) if own and own.classifies(step) else None


def regress(graph: Graph, step: Any, columns: Columns) -> RegressorOutput | None:
    """Write a regressor of a boosting library; None for any other."""
    own = library(step)
    return _REGRESSORS[own.name](graph, step, columns) if own and own.predicts(step) else None
