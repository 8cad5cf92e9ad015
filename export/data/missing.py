"""Values that stand for a missing cell."""

import math

import pandas as pd


def is_missing(value: object) -> bool:
    """Whether a value is None, NaN or pandas' NA."""
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
