"""How much the predictions of a regressor vary, by which its parity is measured."""

from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.export.convert import Conversion
from unpickled.export.gate.exactness import rounding, tolerance

Floats = npt.NDArray[np.float64]
Span = tuple[float, float]

# The span of a target whose predictions are all 0, or not finite: sizes are max(1, |number|) then.
_UNKNOWN = (0.0, 1.0)


def spans(pipeline: Any, conversion: Conversion, predicted: Floats) -> tuple[Span, ...]:
    """Center and width of each column of the predictions (rows, targets) for the training rows.

    The width is that between the outer deciles, but no smaller than what rounding makes of numbers as large
    as the center, so that a difference in the last digits stays within the tolerance.
    """
    share = rounding(pipeline, conversion) / tolerance(pipeline, conversion)
    return tuple(_span(column[np.isfinite(column)], share) for column in predicted.T)


def _span(numbers: Floats, share: float) -> Span:
    if not len(numbers):
        return _UNKNOWN
    low, high = np.quantile(numbers / 2, (0.1, 0.9))
    if low == high:
        low, high = numbers.min() / 2, numbers.max() / 2
    center = float(low + high)
    # Halves, whose difference does not overflow; a width above 1 changes nothing but at large numbers.
    width = max(float(2 * min(high - low, np.finfo(float).max / 4)), share * abs(center))
    return (center, width) if width > 0.0 else _UNKNOWN
