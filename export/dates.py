"""Dates as numbers to learn from: the year, month, weekday and hour of seconds since 1970, and the days."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from unpickled.server.model.dates import FIRST, LAST
from unpickled.server.quote import counted

PARTS = ("year", "month", "weekday", "hour", "days")

# Days from 0000-03-01, where the years of this arithmetic begin, to 1970-01-01; and in four centuries.
_MARCH, _CYCLE = 719_468.0, 146_097.0

Array = npt.NDArray[np.float64]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arithmetic(Generic[T]):
    """The operators that the parts of a date are made with: those of NumPy, or nodes of a graph.

    ``floored(x, n)`` is floor(x / n), ``scaled(x, n)`` is x * n, ``moved(x, n)`` is x + n.
    """

    floored: Callable[[T, float], T]
    scaled: Callable[[T, float], T]
    moved: Callable[[T, float], T]
    plus: Callable[[T, T], T]
    minus: Callable[[T, T], T]

    def rest(self, x: T, divisor: float) -> T:
        """The rest of the floored division; for whole numbers at least 0."""
        return self.minus(x, self.scaled(self.floored(x, divisor), divisor))


NUMPY: Arithmetic[Array] = Arithmetic(
    floored=lambda x, divisor: np.floor(x / divisor),
    scaled=lambda x, factor: x * factor,
    moved=lambda x, number: x + number,
    plus=lambda x, y: x + y,
    minus=lambda x, y: x - y,
)


def parts(seconds: T, on: Arithmetic[T]) -> dict[str, T]:
    """Each of PARTS, of seconds since 1970-01-01 within the years 1 to 9999; Monday is weekday 0.

    Every step has whole numbers far below 2**53 as its operands, so that no quotient rounds up to the next.
    """
    whole = on.floored(seconds, 1.0)
    days = on.floored(whole, 86_400.0)
    year, month = _civil(on.moved(days, _MARCH), on)
    return {
        "year": year,
        "month": month,
        # 1970-01-01 was a Thursday.
        "weekday": on.rest(on.moved(days, 3.0), 7.0),
        "hour": on.floored(on.rest(whole, 86_400.0), 3_600.0),
        "days": days,
    }


def _civil(day: T, on: Arithmetic[T]) -> tuple[T, T]:
    """The year and the month of a day that is counted from 0000-03-01.

    Years that begin in March end with their leap day, so that the lengths of the months before it are a
    straight line, rounded: 153 days in five months.
    """
    cycle, rest = on.floored(day, _CYCLE), on.rest(day, _CYCLE)
    # A leap day every 4 years, none every 100, but every 400: without them, all years have 365 days.
    leaps = on.minus(on.floored(rest, 36_524.0), on.floored(rest, 1_460.0))
    ordinary = on.minus(on.plus(rest, leaps), on.floored(rest, 146_096.0))
    year = on.floored(ordinary, 365.0)
    before = on.plus(on.scaled(year, 365.0), on.minus(on.floored(year, 4.0), on.floored(year, 100.0)))
    since_march = on.floored(on.moved(on.scaled(on.minus(rest, before), 5.0), 2.0), 153.0)
    # 1 in January and February, which belong to the next year.
    late = on.floored(since_march, 10.0)
    month = on.moved(on.minus(since_march, on.scaled(late, 12.0)), 3.0)
    return on.plus(on.plus(on.scaled(cycle, 400.0), year), late), month


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns columns of dates, as seconds since 1970-01-01, into columns of their parts.

    The columns of the output are the years of all columns, then their months, weekdays (Monday is 0), hours
    if ``hour`` is true, and days since 1970. A missing date has missing parts. Seconds beyond the years 1 to
    9999 count as the first or the last of these.

    Args:
        hour: Whether the dates have a time of day.

    Example:
        >>> DateParts(hour=True).fit_transform([[0.0]]).tolist()
        [[1970.0, 1.0, 3.0, 0.0, 0.0]]
    """

    def __init__(self, hour: bool = False) -> None:
        self.hour = hour

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts, in the order of the output."""
        return tuple(part for part in PARTS if part != "hour" or self.hour)

    def fit(self, X: Any, y: Any = None) -> "DateParts":
        """Note the number of columns, and their names if they have any."""
        self.n_features_in_ = _numbers(X).shape[1]
        names = [*getattr(X, "columns", ())]
        if names and all(isinstance(name, str) for name in names):
            self.feature_names_in_ = np.array(names, dtype=object)
        return self

    def transform(self, X: Any) -> Array:
        """The parts (rows, columns * parts) of seconds (rows, columns)."""
        check_is_fitted(self, "n_features_in_")
        seconds = _numbers(X)
        if seconds.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {counted(seconds.shape[1], 'column')}, but {self.n_features_in_} were fitted"
            )
        by_name = parts(np.clip(seconds, FIRST, LAST), NUMPY)
        return np.hstack([by_name[name] for name in self.parts])

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> npt.NDArray[Any]:
        """A name for each column of the output: ``ordered_year``."""
        names = getattr(self, "feature_names_in_", None) if input_features is None else input_features
        if names is None:
            names = [f"x{position}" for position in range(self.n_features_in_)]
        return np.array([f"{name}_{part}" for part in self.parts for name in names], dtype=object)


def _numbers(X: Any) -> Array:
    numbers = np.asarray(X, dtype=np.float64)
    if numbers.ndim != 2:
        raise ValueError(f"the dates are a table of {numbers.ndim} dimensions, but 2 belong there")
    return numbers
