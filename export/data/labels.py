"""The labels of the columns that a pipeline was fitted on, as a table has them."""

from collections.abc import Hashable, Iterable
from typing import Any

from unpickled.export.boosters.registry import library
from unpickled.export.inside import everything, parts


def fitted_names(step: Any) -> list[Any] | None:
    """The names of the columns that an estimator was fitted on, in order; None if they had no names."""
    own = library(step)
    names = own.column_names(step) if own else getattr(step, "feature_names_in_", None)
    if names is not None and not _are_made_up(step, list(names)):
        return list(names)
    return next((names for names in map(fitted_names, _entrances(step)) if names is not None), None)


def _are_made_up(step: Any, names: list[Any]) -> bool:
    """Whether a pipeline or a search only repeats names that a model inside gave to an array's columns."""
    models = [(inner, own) for inner in everything(step) if (own := library(inner)) is not None]
    return any(
        own.column_names(model) is None and list(getattr(model, "feature_names_in_", ())) == names
        for model, own in models
    )


def fitted_width(step: Any) -> int | None:
    """The number of columns that an estimator was fitted on; None if it does not tell."""
    own = library(step)
    width = getattr(step, "n_features_in_", None) or (own.width(step) if own else None)
    if width:
        return int(width)
    return next(filter(None, map(fitted_width, _entrances(step))), None)


def _entrances(step: Any) -> list[Any]:
    """The estimators inside that take all columns of the rows as they come."""
    return [part.estimator for part in parts(step) if part.before is None and part.columns is None]


def fitted_labels(pipeline: Any, columns: Iterable[Hashable]) -> list[Any] | None:
    """The labels of the columns that it was fitted on, in order; None if they had no names.

    LightGBM and XGBoost know names as text, LightGBM without spaces: of ``columns`` the one is taken that
    they would call so.
    """
    names, columns = fitted_names(pipeline), list(columns)
    libraries = filter(None, map(library, everything(pipeline)))
    spelling = next((each.spelled for each in libraries if each.spelled is not None), None)
    if names is None or spelling is None:
        return names
    spelled = {spelling(label): label for label in columns}
    return [name if name in columns else spelled.get(name, name) for name in names]
