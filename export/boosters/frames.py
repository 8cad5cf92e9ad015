"""The columns of a data frame as models of other libraries know them: their names and their categories."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from unpickled.export.boosters import lightgbm, xgboost


def known(step: Any) -> bool:
    """Whether a fitted model knows columns of pandas' dtype category."""
    if lightgbm.is_lightgbm(step):
        return bool(lightgbm.categories(step))
    return xgboost.is_xgboost(step) and bool(xgboost.categories(step))


def places(step: Any) -> dict[int, Sequence[Any]]:
    """Position -> categories of these columns of such a model; empty if it does not tell all of them."""
    if lightgbm.is_lightgbm(step):
        return lightgbm.places(step)
    found: dict[int, Sequence[Any]] = {**xgboost.categories(step)}
    return found if all(map(xgboost.are_whole, found.values())) else {}


def spelling(step: Any) -> Callable[[Hashable], str] | None:
    """How a model spells the names of its columns; None if it keeps them as they are."""
    if lightgbm.is_lightgbm(step):
        return lightgbm.spelled
    return str if xgboost.is_xgboost(step) else None
