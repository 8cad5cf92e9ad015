"""How a CatBoost model's dump writes borders and hashes."""

import numpy as np

from unpickled.export.trees import Floats, before_rounding

_LARGEST = float(np.finfo(np.float32).max)
# The largest float64 that is rounded to the largest float32, not to infinity.
_LAST = float(np.nextafter((2.0 - 2.0**-24) * 2.0**127, 0.0))


def ends(borders: Floats) -> Floats:
    """The largest float64 that is not above each border once it is rounded to float32."""
    with np.errstate(over="ignore"):
        return np.where(borders == _LARGEST, _LAST, before_rounding(borders))


def signed(number: int) -> int:
    """A hash of 32 bits, which the dump writes with and without a sign, with one."""
    return number - 2**32 if number >= 2**31 else number
