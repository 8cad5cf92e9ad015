"""The sizes of predicted numbers, by which differences between two answers are measured.

The size of a number is max(1, |number|), but no more than its target varies: a difference of 1e-8 is nothing
between prices, and all there is between lengths of light waves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def sizes(numbers: npt.NDArray[Any], spans: Sequence[tuple[float, float]]) -> Floats:
    """The sizes of numbers (rows, targets), or of those of one row (targets,).

    ``spans`` has the center and the width of each target's usual predictions (manifest.Outputs). A number
    beyond them has its distance from the center as its width. Files of earlier releases have no spans.
    """
    largest = np.maximum(1.0, np.abs(numbers))
    if not spans:
        return np.asarray(largest)
    center, width = np.array(spans, np.float64).T
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(largest, np.maximum(width, np.abs(numbers - center))))
