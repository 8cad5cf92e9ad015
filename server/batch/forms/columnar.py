"""Rows of Arrow tables, as Parquet and Arrow streams have them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from unpickled.server.batch.forms.answers import Answers
from unpickled.server.batch.forms.cell import text_of
from unpickled.server.batch.forms.form import Chunk, Given, Kept
from unpickled.server.frames.arrow import Tables
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.payloads import arrays

if TYPE_CHECKING:
    import pyarrow

_TYPES = {"integer": "int64", "text": "string", "number": "float64"}
_DTYPES = {"integer": np.int64, "number": np.float64}
# Bytes of the features of a batch that are read at once: a reader refuses more texts than 64 MiB.
_HEAVY = 1 << 24


class Columnar:
    """Rows of a record batch."""

    def __init__(self, batch: "pyarrow.RecordBatch") -> None:
        self._batch = batch
        self.names: Sequence[str] = batch.schema.names

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def kept(self, keep: Kept) -> "Columnar":
        """The same rows with these columns alone."""
        places = [place for place, name in enumerate(self.names) if keep(name)]
        return self if len(places) == len(self.names) else Columnar(self._batch.select(places))

    def taken(self, places: Sequence[int]) -> "Columnar":
        """The rows at these places."""
        return Columnar(self._batch.take(arrays.numbers(places, np.int64)))

    def batch(self) -> "pyarrow.RecordBatch":
        """The rows as they are."""
        return self._batch

    def cells(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """The cells of each row as text: empty for null, ISO 8601 for dates, JSON for lists."""
        if not names:
            return iter([()] * len(self))
        return zip(*(_texts(self._batch.column(name)) for name in names), strict=True)

    def records(self) -> Sequence[dict[str, Any]]:
        """Each row by names."""
        columns = (_values(column) for column in self._batch.columns)
        rows = zip(*columns, strict=True) if self._batch.num_columns else [()] * len(self)
        return [dict(zip(self.names, row, strict=True)) for row in rows]


def empty_batch(schema: "pyarrow.Schema") -> "pyarrow.RecordBatch":
    """No rows, with these columns. Schema.empty_table would import pandas."""
    import pyarrow

    columns = [pyarrow.nulls(0, field.type) for field in schema]
    return pyarrow.RecordBatch.from_arrays(columns, schema=schema)


def check_distinct(schema: "pyarrow.Schema") -> None:
    """ValueError where two columns have the same name."""
    name, count = Counter(schema.names).most_common(1)[0] if schema.names else ("", 0)
    if count > 1:
        raise ValueError(f"{count} of its columns are named {name!r}: give each its own name")


def chunks(
    batches: Iterator["pyarrow.RecordBatch"], tables: Tables, features: Sequence[str]
) -> Iterator[Chunk]:
    """Chunks of no more rows, and of no more bytes, than are read at once."""
    first = 0
    for whole in batches:
        for batch in _parts(whole, tables.most_rows, features):
            yield Chunk(first, Columnar(batch), partial(tables.columns, batch))
            first += batch.num_rows


def _parts(
    batch: "pyarrow.RecordBatch", most_rows: int, features: Sequence[str]
) -> Iterator["pyarrow.RecordBatch"]:
    if not batch.num_rows:
        return
    heavy = batch.select(features).nbytes > _HEAVY and batch.num_rows > 1
    if batch.num_rows <= most_rows and not heavy:
        yield batch
        return
    middle = min(batch.num_rows // 2, most_rows)
    yield from _parts(batch.slice(0, middle), most_rows, features)
    yield from _parts(batch.slice(middle), most_rows, features)


class Joined:
    """Puts the columns of answers behind those of rows.

    Args:
        answers: The columns of the answers.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    @property
    def numbers(self) -> set[str]:
        """The names of the columns of scores."""
        pairs = zip(self._answers.names, self._answers.types, strict=True)
        return {name for name, kind in pairs if kind == "number"}

    def schema(self, given: Given) -> "pyarrow.Schema":
        """The columns of rows like these, with their answers. Names and metadata of the rows are kept."""
        import pyarrow

        schema = given.batch().schema
        for name, kind in zip(self._answers.names, self._answers.types, strict=True):
            schema = schema.append(pyarrow.field(name, getattr(pyarrow, _TYPES[kind])(), nullable=False))
        return schema

    def batch(
        self, schema: "pyarrow.Schema", given: Given, labels: Labels, scores: Scores
    ) -> "pyarrow.RecordBatch":
        """The rows with their answers, in the types of ``schema``.

        Raises:
            ValueError: A value of a column is of another type than those of earlier rows.
        """
        import pyarrow

        rows = given.batch()
        count = len(self._answers.names)
        columns = _alike(rows, schema, len(schema) - count)
        pairs = zip(self._answers.types, self._answers.columns(labels, scores), strict=True)
        columns += [
            arrays.texts(each) if kind == "text" else arrays.numbers(each, _DTYPES[kind])
            for kind, each in pairs
        ]
        return pyarrow.RecordBatch.from_arrays(columns, schema=schema)


def _alike(rows: "pyarrow.RecordBatch", schema: "pyarrow.Schema", count: int) -> list[Any]:
    """The columns of rows in the types of the first ``count`` of a schema."""
    import pyarrow

    columns: list[Any] = []
    names = set(rows.schema.names)
    unknown = [name for name in rows.schema.names if name not in schema.names[:count]]
    if unknown:
        remedy = "write jsonl, or name the columns to keep with --only"
        raise ValueError(f"column {unknown[0]!r} is not in its first rows: {remedy}")
    if list(rows.schema.names) == schema.names[:count]:
        given = rows.columns
    else:
        given = [
            rows.column(name) if name in names else pyarrow.nulls(rows.num_rows)
            for name in schema.names[:count]
        ]
    for place, column in enumerate(given):
        field = schema.field(place)
        columns.append(cast(column, field))
    return columns


def cast(column: "pyarrow.Array", field: "pyarrow.Field") -> "pyarrow.Array":
    """A column in the type of a field; ValueError where it does not hold each of its values as it is."""
    import pyarrow

    if column.type.equals(field.type):
        return column
    try:
        if _is_wider(field.type, column.type):
            return column.cast(field.type)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        pass
    raise ValueError(
        f"column {field.name!r} is {column.type} in some rows and {field.type} in its first ones: write "
        "jsonl, or name the columns to keep with --only"
    )


def _is_wider(wider: "pyarrow.DataType", other: "pyarrow.DataType") -> bool:
    """Whether each value of the other type is one of this type: a cast would also read numbers in texts."""
    from pyarrow import types

    if wider.equals(other) or types.is_null(other):
        return True
    if types.is_list(wider) and types.is_list(other):
        return _is_wider(wider.value_type, other.value_type)
    if types.is_struct(wider) and types.is_struct(other):
        fields = {field.name: field.type for field in wider}
        # A member that is not given is null; one that has no place would be lost.
        return all(field.name in fields and _is_wider(fields[field.name], field.type) for field in other)
    # The cast fails where a number is not the same as the other type has it.
    return all(types.is_integer(kind) or types.is_floating(kind) for kind in (wider, other))


def _is_binary(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(test(kind) for test in tests)


def _values(column: "pyarrow.Array") -> list[Any]:
    """The values as Python has them, but times of nanoseconds as texts: pandas would make them."""
    import pyarrow
    from pyarrow import types

    kind = column.type
    is_fine = (types.is_timestamp(kind) or types.is_time64(kind)) and kind.unit == "ns"
    if not is_fine:
        values: list[Any] = column.to_pylist()
        return values
    return [text and text.replace(" ", "T", 1) for text in column.cast(pyarrow.string()).to_pylist()]


def _texts(column: "pyarrow.Array") -> list[str]:
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_binary(column.type):
        # Some of them happen to be UTF-8: all are written in the same way.
        return [text_of(value) for value in column.to_pylist()]
    try:
        texts = column.cast(pyarrow.string()).to_pylist()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return [text_of(value) for value in column.to_pylist()]
    return [text or "" for text in texts]
