"""All boosting libraries whose models are exported, and which of them an estimator belongs to."""

from typing import Any

from unpickled.export.boosters.catboost import CATBOOST
from unpickled.export.boosters.library import Library
from unpickled.export.boosters.lightgbm import LIGHTGBM
from unpickled.export.boosters.xgboost import XGBOOST

LIBRARIES = (LIGHTGBM, XGBOOST, CATBOOST)


def library(step: Any) -> Library | None:
    """The library of a classifier or regressor; None for any other estimator."""
    return next((each for each in LIBRARIES if each.classifies(step) or each.predicts(step)), None)


def knows_dtypes(step: Any) -> bool:
    """Whether it is a fitted model that knows columns of pandas' dtype category."""
    own = library(step)
    return own is not None and own.knows_dtypes(step)
