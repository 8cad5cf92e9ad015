"""How much the rows of the log weigh beside those of the base table."""

import math

from unpickled.export.errors import DataError
from unpickled.server.quote import quoted

RECENT = "recent"


def recent(text: str) -> float:
    """The weight of a row of the log where one of the base table has 1, out of ``recent=2``. DataError.

    Example:
        >>> recent("recent=2")
        2.0
    """
    name, _, number = text.partition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if name.strip() != RECENT or not math.isfinite(weight) or weight <= 0:
        raise DataError(
            f"--weights is {quoted(text)}: write {RECENT}=2 for rows of the log that count twice as much as "
            "those of the base table; the number is above 0."
        )
    return weight
