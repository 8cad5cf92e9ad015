"""The columns that a pipeline was fitted on, as it knows them: which hold text, and which texts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from unpickled.export import inside
from unpickled.export.data import columns
from unpickled.export.data.columns import Choices, Column, Kind, Reading
from unpickled.export.data.missing import is_missing
from unpickled.export.data.source import Source
from unpickled.server.quote import quoted

# (position of a column, what it holds, its categories if these are known).
_Fact = tuple[int, Kind, frozenset[str] | None]


@dataclass(frozen=True, slots=True)
class Sample:
    """The columns of a sample, read as a pipeline saw them when it was fitted.

    Columns that the pipeline does not know are left out, and ``others`` names them; those that it knows and
    the sample lacks are left out too: the export names them. ``count`` is the number of rows; ``named`` says
    whether the pipeline knows its columns by name. ``notes`` are sentences about columns that look unlike
    those of the fit.
    """

    columns: tuple[Column, ...]
    others: tuple[str, ...]
    count: int
    named: bool
    notes: tuple[str, ...]

    @classmethod
    def of(cls, pipeline: Any, source: Source, choices: Choices, target: str | None) -> "Sample":
        """The sample in a file; ``target`` is the column of classes. Raises DataError."""
        fitted = inside.fitted_names(pipeline)
        names = [str(name) for name in fitted or source.columns if fitted or name != target]
        choices = known(pipeline, names, choices)
        read = tuple(
            columns.column(name, source.columns[name], choices, source.comma)
            for name in names
            if name in source.columns
        )
        others = tuple(name for name in source.columns if name not in names)
        notes = (_strange(column, choices) for column in read)
        return cls(read, others, len(source), fitted is not None, tuple(note for note in notes if note))

    @property
    def readings(self) -> list[Reading]:
        """The reading of each column of the file."""
        unread = (Reading(name=name, kind="nothing", role="unused") for name in self.others)
        return [*(column.reading for column in self.columns), *unread]

    def rows(self) -> tuple[Any, list[str] | None]:
        """The rows as the pipeline takes them: a frame; or an array, and names for its columns."""
        values = {column.reading.name: column.values for column in self.columns}
        frame = pd.DataFrame(values, index=range(self.count))
        return (frame, None) if self.named else (frame.to_numpy(), list(frame.columns))


def known(pipeline: Any, names: Sequence[str], choices: Choices) -> Choices:
    """The choices, and beside them what the pipeline says of its columns with these names."""
    kinds: dict[str, Kind] = {}
    categories: dict[str, frozenset[str]] = {}
    for position, kind, texts in _facts(pipeline, range(len(names))):
        name = names[position]
        if kinds.get(name) != "category":
            kinds[name] = kind
        if texts is not None:
            categories[name] = categories.get(name, frozenset()) | texts
    return replace(choices, kinds=kinds, categories=categories)


def _strange(column: Column, choices: Choices) -> str:
    """A note if the pipeline knows fewer than half of the texts in a column."""
    texts = choices.categories.get(column.reading.name)
    if texts is None or column.reading.kind != "category":
        return ""
    filled = column.values.dropna()
    unknown = filled[~filled.isin(texts)]
    if 2 * len(unknown) <= len(filled):
        return ""
    return (
        f"note: most texts of column {quoted(column.reading.name)} are unknown to the pipeline, such as "
        f"{quoted(unknown.iloc[0])}: was it fitted on other spellings?"
    )


def _facts(step: Any, positions: Sequence[int]) -> Iterator[_Fact]:
    """The facts that the estimators know about the columns at these positions."""
    entrances = [part for part in inside.parts(step) if part.before is None]
    for part in entrances:
        yield from _facts_of_part(part, positions)
    if isinstance(step, Pipeline):
        yield from _facts_behind_imputers(step, positions)
    if not entrances:
        yield from _facts_of_leaf(step, positions)


def _facts_of_part(part: inside.Part, positions: Sequence[int]) -> Iterator[_Fact]:
    if part.columns is not None and len(positions) < max(map(int, part.columns), default=-1) + 1:
        return
    read = part.select(tuple(positions))
    if not isinstance(part.estimator, str):
        yield from _facts(part.estimator, read)


def _facts_behind_imputers(step: Pipeline, positions: Sequence[int]) -> Iterator[_Fact]:
    """The facts of the step behind imputers: one that drops and adds no column keeps the positions."""
    for part in inside.parts(step):
        if part.before is not None:
            yield from _facts(part.estimator, positions)
        if not _keeps_columns(part.estimator):
            return


def _keeps_columns(step: Any) -> bool:
    return (
        isinstance(step, SimpleImputer)
        and step.indicator_ is None
        and not any(is_missing(fill) for fill in step.statistics_)
    )


def _facts_of_leaf(step: Any, positions: Sequence[int]) -> Iterator[_Fact]:
    if hasattr(step, "categories_"):
        for position, categories in zip(positions, step.categories_, strict=False):
            yield position, *_content(categories)
    elif isinstance(step, SimpleImputer):
        for position, fill in zip(positions, step.statistics_, strict=False):
            yield position, "category" if isinstance(fill, str) else "number", None
    elif _computes(step):
        for position in positions:
            yield position, "number", None


def _computes(step: Any) -> bool:
    """Whether an estimator without a list of categories takes numbers only."""
    if isinstance(step, FunctionTransformer):
        return False
    return hasattr(step, "n_features_in_") and getattr(step, "is_categorical_", None) is None


def _content(categories: Iterable[Any]) -> tuple[Kind, frozenset[str] | None]:
    """The kind of an encoder's categories, and their texts."""
    present = [category for category in categories if not is_missing(category)]
    if any(isinstance(category, str) for category in present):
        return "category", frozenset(str(category) for category in present)
    if present and all(isinstance(category, (bool, np.bool_)) for category in present):
        return "boolean", None
    return "number", None
