"""The facts that a fitted pipeline knows about its columns: what they hold, and which texts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from unpickled.export import inside
from unpickled.export.boosters.registry import library
from unpickled.export.categories import encoder, inputs, is_native
from unpickled.export.data.missing import is_missing
from unpickled.export.dates import DateParts


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact about the column at a position of the rows that a pipeline was fitted on.

    ``texts`` are its categories if it has a list of them. ``gap`` is the value among them that stands for a
    missing one, in a tuple of its own; the tuple is empty if there is none. ``boxed``: its categories are
    numbers or truth values in dtype object, which scikit-learn finds among objects only. ``native`` are the
    categories of pandas' dtype that a model knows of the column.
    """

    position: int
    kind: Literal["number", "boolean", "category", "date"]
    texts: frozenset[str] | None = None
    gap: tuple[object, ...] = ()
    boxed: bool = False
    native: tuple[Any, ...] = ()


def facts(step: Any, positions: Sequence[int]) -> Iterator[Fact]:
    """The facts that the estimators which read the columns at these positions know about them."""
    entrances = [part for part in inside.parts(step) if part.before is None]
    for part in entrances:
        yield from _facts_of_part(part, positions)
    if isinstance(step, Pipeline):
        yield from _facts_behind_imputers(step, positions)
    if not entrances:
        yield from _facts_of_leaf(step, positions)


def _facts_of_part(part: inside.Part, positions: Sequence[int]) -> Iterator[Fact]:
    if part.columns is not None and len(positions) < max(map(int, part.columns), default=-1) + 1:
        return
    read = part.select(tuple(positions))
    if not isinstance(part.estimator, str):
        yield from facts(part.estimator, read)


def _facts_behind_imputers(step: Pipeline, positions: Sequence[int]) -> Iterator[Fact]:
    """The facts of the step behind imputers: one that drops and adds no column keeps the positions."""
    for part in inside.parts(step):
        if part.before is not None:
            yield from facts(part.estimator, positions)
        if not _keeps_columns(part.estimator):
            return


def _keeps_columns(step: Any) -> bool:
    return (
        isinstance(step, SimpleImputer)
        and step.indicator_ is None
        and not any(is_missing(fill) for fill in step.statistics_)
    )


def _facts_of_leaf(step: Any, positions: Sequence[int]) -> Iterator[Fact]:
    booster = library(step)
    if hasattr(step, "categories_"):
        for position, categories in zip(positions, step.categories_, strict=False):
            yield _fact_of_categories(position, categories)
    elif isinstance(step, SimpleImputer):
        for position, fill in zip(positions, step.statistics_, strict=False):
            # Beside None, NaN would be refused: a gap in other rows stands for None as well.
            gap = (None,) if step.missing_values is None else ()
            yield Fact(position, "category" if isinstance(fill, str) else "number", gap=gap)
    elif booster is not None and booster.knows_dtypes(step):
        yield from _facts_of_categories(booster.categories(step), positions)
    elif booster is not None and booster.texts is not None:
        yield from _facts_of_texts(booster.texts(step), positions)
    elif getattr(step, "is_categorical_", None) is not None:
        yield from _facts_of_histograms(step, positions)
    else:
        yield from _facts_of_numbers(step, positions)


def _facts_of_numbers(step: Any, positions: Sequence[int]) -> Iterator[Fact]:
    """The facts of an estimator without a list of categories, which takes numbers only if it computes."""
    if _computes(step):
        kind: Literal["date", "number"] = "date" if isinstance(step, DateParts) else "number"
        yield from (Fact(position, kind) for position in positions)


def _facts_of_categories(known: Mapping[int, Sequence[Any]], positions: Sequence[int]) -> Iterator[Fact]:
    """The facts of a model with columns of categories; none if it does not tell which they are."""
    for place, position in enumerate(positions if known else ()):
        categories = known.get(place)
        if categories is None:
            yield Fact(position, "number")
        else:
            fact = _fact_of_categories(position, np.array(categories, dtype=object))
            yield replace(fact, boxed=False, native=tuple(categories))


def _facts_of_histograms(step: Any, positions: Sequence[int]) -> Iterator[Fact]:
    """The facts of histogram gradient boosting about native categories that are Python's numbers.

    The rows tell all about other columns.
    """
    if not is_native(step):
        return
    of_categories, _ = inputs(step)
    for place, known in zip(of_categories, encoder(step).categories_, strict=True):
        if place < len(positions) and (fact := _fact_of_categories(positions[place], known)).boxed:
            yield fact


def _facts_of_texts(texts: Sequence[int], positions: Sequence[int]) -> Iterator[Fact]:
    """The facts of a model that takes the columns at these places as text."""
    for place, position in enumerate(positions):
        yield Fact(position, "category" if place in texts else "number")


def _computes(step: Any) -> bool:
    """Whether an estimator without a list of categories takes numbers only."""
    if isinstance(step, FunctionTransformer):
        return False
    return hasattr(step, "n_features_in_") and getattr(step, "is_categorical_", None) is None


def _fact_of_categories(position: int, categories: npt.NDArray[Any]) -> Fact:
    present = [category for category in categories if not is_missing(category)]
    gaps = [category for category in categories if is_missing(category)]
    gap = tuple(None if value is None else math.nan for value in gaps[:1])
    if any(isinstance(category, str) for category in present):
        return Fact(position, "category", frozenset(str(category) for category in present), gap)
    boxed = np.asarray(categories).dtype == object
    if present and all(isinstance(category, (bool, np.bool_)) for category in present):
        return Fact(position, "boolean", gap=gap, boxed=boxed)
    return Fact(position, "number", gap=gap, boxed=boxed)
