"""Integer keys of floats, in the order of the floats, and bisection over them: exact to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

Floats = npt.NDArray[np.floating[Any]]

_SIGNED: dict[str, Any] = {"float32": np.int32, "float64": np.int64}


def keys(numbers: npt.ArrayLike, dtype: str = "float64") -> Ints:
    """int64 keys in the order of these floats: neighbours differ by 1, both zeros are 0; no key fits NaN."""
    bits = np.asarray(numbers, dtype).view(_SIGNED[dtype]).astype(np.int64)
    magnitude: Ints = bits & np.iinfo(_SIGNED[dtype]).max
    return np.where(bits < 0, -magnitude, magnitude)


def floats(keys: Ints, dtype: str = "float64") -> Floats:
    """The floats of these keys; 0 becomes 0.0, never -0.0."""
    magnitude: Floats = np.abs(keys).astype(_SIGNED[dtype]).view(dtype)
    return np.where(keys < 0, -magnitude, magnitude)


def bisect(holds: Callable[[Ints], Bools], low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Neighbouring keys (last, next) at each index: ``holds`` is true for the first and false for the second.

    It is assumed to be true at ``low`` and false at ``high``; it is not called for these two.
    """
    while np.any(low + 1 < high):
        # Not low + (high - low) // 2: the difference may not fit in 64 bits.
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        true = holds(middle)
        low, high = np.where(true, middle, low), np.where(true, high, middle)
    return low, high
