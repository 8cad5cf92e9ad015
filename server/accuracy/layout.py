"""The places of named arrays in one array of counts."""

from collections.abc import Mapping
from math import prod

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Layout:
    """Arrays of these shapes, one behind the other.

    Attributes:
        size: How many numbers they have together.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = dict(shapes)
        self.size = sum(map(prod, self._shapes.values()))

    def views(self, counts: Floats) -> dict[str, Floats]:
        """The arrays inside ``counts`` (size,), by name; what is written to them is written to ``counts``."""
        views, first = {}, 0
        for name, shape in self._shapes.items():
            after = first + prod(shape)
            views[name] = counts[first:after].reshape(shape)
            first = after
        return views
