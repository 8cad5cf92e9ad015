"""The cells of a reference as a person reads them."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from unpickled.server.drift.binning import Part
from unpickled.server.drift.report import Kind
from unpickled.server.model import dates

OTHERS = "all others"


class Label(NamedTuple):
    """The name of a cell, and of numbers its ends: (lower, upper], where None is no end."""

    text: str
    lower: float | None = None
    upper: float | None = None


def kind(part: Part) -> Kind:
    """The kind of values that a feature or a prediction has."""
    feature = part.feature
    if feature is None:
        return "class" if part.spread.categories else "number"
    if feature.kind == "category":
        return "category"
    return "date" if feature.date else "boolean" if feature.boolean else "number"


@lru_cache(maxsize=4096)
def labels(part: Part) -> tuple[Label, ...]:
    """A label for each cell. They are kept, as every scrape of the metrics judges every feature."""
    if kind(part) in ("category", "class"):
        return tuple(Label(text) for text in (*part.spread.categories, OTHERS))
    return tuple(_of_numbers(part))


def _of_numbers(part: Part) -> Iterator[Label]:
    ends = (None, *part.spread.bounds, None)
    for lower, upper in pairwise(ends):
        yield Label(_text(part, lower, upper), lower, upper)


def _text(part: Part, lower: float | None, upper: float | None) -> str:
    if kind(part) == "boolean":
        return "any" if lower == upper else "true" if upper is None else "false"
    if lower is None and upper is None:
        return "any"
    if lower is None:
        return f"up to {_figure(part, upper)}"
    if upper is None:
        return f"above {_figure(part, lower)}"
    return f"{_figure(part, lower)} to {_figure(part, upper)}"


def _figure(part: Part, number: float | None) -> str:
    """An end of a cell; of a date, its day."""
    assert number is not None
    notation = part.feature.date if part.feature else None
    if notation and dates.FIRST <= number <= dates.LAST:
        return dates.written(number, notation).partition("T")[0]
    return f"{number:.5g}"
