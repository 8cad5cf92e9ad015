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


def bisect(holds: Callable[[Ints], Bools], low: Ints, high: Ints, depth: int = 1) -> tuple[Ints, Ints]:
    """Neighbouring keys (last, next) at each index: ``holds`` is true for the first and false for the second.

    It is assumed to be true at ``low`` and false at ``high``. It is called with one key for each index. With
    a greater ``depth`` it is called a ``depth``-th as often, with keys (2**depth - 1, indices).
    """
    at = np.arange(len(low))
    while np.any(low + 1 < high):
        ends = np.stack([low, high])
        for _ in range(depth):
            # Not low + (high - low) // 2: the difference may not fit in 64 bits.
            middle = (ends[:-1] >> 1) + (ends[1:] >> 1) + (ends[:-1] & ends[1:] & 1)
            ends = np.insert(ends, np.arange(1, len(ends)), middle, axis=0)
        within = ends[1:-1]
        true = holds(within[0] if depth == 1 else within).reshape(within.shape)
        first = np.where(true.all(axis=0), len(within), true.argmin(axis=0))
        low, high = ends[first, at], ends[first + 1, at]
    return low, high
