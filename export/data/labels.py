"""The labels of the columns that a pipeline was fitted on, as a table has them."""

from collections.abc import Hashable, Iterable
from typing import Any

from unpickled.export.boosters import lightgbm
from unpickled.export.inside import everything, fitted_names


def fitted_labels(pipeline: Any, columns: Iterable[Hashable]) -> list[Any] | None:
    """The labels of the columns that it was fitted on, in order; None if they had no names.

    LightGBM knows names as text and without spaces: of ``columns`` the one is taken that it would call so.
    """
    names, columns = fitted_names(pipeline), list(columns)
    if names is None or not any(map(lightgbm.is_lightgbm, everything(pipeline))):
        return names
    spelled = {lightgbm.spelled(label): label for label in columns}
    return [name if name in columns else spelled.get(name, name) for name in names]
