"""Whether a model file holds rows of the table its pipeline was trained on."""

from typing import Any

from unpickled.export.inside import everything

KEEPS_ROWS = (
    "note: this pipeline keeps training rows inside the model (support vectors / neighbours / kernels): "
    "pass the file only to those who may see them"
)

# Attributes in which fitted estimators keep rows of their training table; their graphs hold these rows too.
_ROWS = {"support_vectors_", "_fit_X", "X_train_", "X_fit_", "component_indices_"}


def keeps_rows(pipeline: Any) -> bool:
    """Whether the pipeline, or an estimator inside it, keeps rows of its training table."""
    return any(map(_has_rows, everything(pipeline)))


def _has_rows(estimator: Any) -> bool:
    """Whether the estimator's graph holds rows. A selector's graph does not: it only lists columns."""
    return not hasattr(estimator, "get_support") and bool(_ROWS & getattr(estimator, "__dict__", {}).keys())
