"""The columns that a pipeline was fitted on, as it knows them: which hold text, and which texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from unpickled.export.boosters.registry import knows_dtypes
from unpickled.export.data import columns
from unpickled.export.data.columns import Choices, Column, Kind, Reading
from unpickled.export.data.facts import facts
from unpickled.export.data.labels import fitted_labels
from unpickled.export.data.source import Source
from unpickled.export.inside import everything
from unpickled.server.quote import quoted


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
    def of(cls, pipeline: Any, source: Source, choices: Choices, targets: Sequence[str] = ()) -> "Sample":
        """The sample in a file; ``targets`` are the columns that are predicted. Raises DataError."""
        fitted = fitted_labels(pipeline, source.columns)
        names = [str(name) for name in fitted or source.columns if fitted or name not in targets]
        choices = known(pipeline, names, choices)
        read = tuple(
            columns.column(name, source.columns[name], choices, source.comma)
            for name in names
            if name in source.columns
        )
        if any(map(knows_dtypes, everything(pipeline))):
            read = tuple(_native(column, source) for column in read)
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
    for fact in facts(pipeline, range(len(names))):
        name = names[fact.position]
        if kinds.get(name) not in ("category", "date"):
            kinds[name] = fact.kind
        if fact.texts is not None:
            categories[name] = categories.get(name, frozenset()) | fact.texts
    return replace(choices, kinds=kinds, categories=categories)


def _native(column: Column, source: Source) -> Column:
    """The column with its categories, as the file has them: Parquet keeps those that are text."""
    dtype = getattr(source.columns[column.reading.name], "dtype", None)
    is_native = isinstance(dtype, pd.CategoricalDtype)
    return replace(column, values=column.values.astype(dtype)) if is_native else column


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
