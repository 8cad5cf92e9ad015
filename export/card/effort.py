"""How many rows are asked about, so that a card takes seconds, however slow the graph is."""

import numpy as np
import numpy.typing as npt

# Numbers of rows to choose from: few, so that machines of a like speed choose the same one.
_STEPS = (100_000, 50_000, 20_000, 10_000, 5_000, 2_000, 1_000, 500, 200, 100, 50)


def affordable(rows: int, seconds: float, each: float, most: int = _STEPS[0]) -> int:
    """How many of ``rows`` fit into so many seconds where each takes ``each``; 0 if not even 50 do.

    Example:
        >>> affordable(7_000, seconds=1.0, each=1e-4)
        7000
        >>> affordable(70_000, seconds=1.0, each=1e-4)
        10000
    """
    fitting = seconds / each
    if rows <= min(fitting, most):
        return rows
    return next((step for step in _STEPS if step <= min(fitting, most)), 0)


def drawn(rows: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """The places of ``count`` of the rows, drawn by chance, in ascending order."""
    return np.arange(rows) if count >= rows else np.sort(rng.choice(rows, count, replace=False))
