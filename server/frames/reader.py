"""Rows in any form -> tensors of one model, in parts of bounded size.

    [5.1, 3.5, 1.4, 0.2]          one row            numpy.ndarray       (features,) or (rows, features)
    [[5.1, ...], [4.9, ...]]      several            numpy structured    a field per feature
    {"sepal_length": 5.1, ...}    one record         pandas, polars      a column per feature
    [{...}, {...}]                several            Arrow               the same, in any library
    {"sepal_length": [5.1, 4.9], ...}    columns

Lists hold rows and never columns. Each value means what it means in a request over HTTP.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import repeated
from unpickled.server.errors import InvalidInput
from unpickled.server.frames import arrays, kinds
from unpickled.server.frames.columns import check_indexes, is_column, part_of
from unpickled.server.frames.listed import Listed
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.feeds import Feeds, Matrix, Row, Rows
from unpickled.server.quote import counted, quoted

# Rows of which tensors are made at a time, so that a large table is never in memory twice.
PART = 65_536
# The beginning of the names that pyarrow gives to the index of a frame.
_INDEX = "__index_level_"


class Part(NamedTuple):
    """Some rows of a table: their tensors, the same values as rows, and the number of the first one."""

    feeds: Feeds
    rows: Sequence[Row]
    first: int


class Reader:
    """Reads rows for one model. Any thread may call it.

    Args:
        predictor: Runs the model. No limit of rows applies.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._signature = predictor.signature
        self._features = {feature.name: feature for feature in predictor.signature.features}
        self._listed = Listed(predictor.signature)
        self._numeric = all(feature.kind == "number" for feature in predictor.signature.features)

    def parts(self, rows: Any) -> Iterator[Part]:
        """The rows, some at a time; InvalidInput names row and feature, or says what is read instead."""
        if isinstance(rows, list | tuple):
            return self._of_list(rows if self._are_rows(rows) else [rows])
        if isinstance(rows, Mapping):
            return self._of_mapping(rows)
        if isinstance(rows, np.ndarray):
            return self._of_array(rows)
        return self._of_frame(rows)

    @staticmethod
    def _are_rows(rows: Sequence[Any]) -> bool:
        """Whether a list holds rows, and not the values of one."""
        return not rows or isinstance(rows[0], Mapping) or is_column(rows[0])

    def _of_list(self, items: Sequence[Any]) -> Iterator[Part]:
        self._predictor.check_count(len(items))
        for start in range(0, len(items), PART):
            rows = self._listed.read(items[start : start + PART], start)
            yield Part(self._signature.feeds(rows, start), rows, start)

    def _of_mapping(self, rows: Mapping[Any, Any]) -> Iterator[Part]:
        """A record, or columns where each feature has several values."""
        columns = [name for name in rows if is_column(rows[name])]
        if not columns:
            return self._of_list([rows])
        for name in self._features:
            if name in rows and name not in columns:
                sentence = f"feature {quoted(name)} has one value, but {quoted(str(columns[0]))} has several"
                raise InvalidInput(f"{sentence}: give a record, or a list for each", feature=name[:200])
        check_indexes({name: rows[name] for name in self._features if name in rows})
        if all(kinds.is_arrow_column(rows[name]) for name in rows):
            return self._of_arrow(dict(rows))
        return self._of_columns(list(rows), rows.__getitem__)

    def _of_array(self, values: npt.NDArray[Any]) -> Iterator[Part]:
        if values.dtype.names:
            return self._of_columns(list(values.dtype.names), np.atleast_1d(values).__getitem__)
        if values.ndim not in (1, 2):
            sentence = f"the array has {values.ndim} dimensions, but rows have one or two"
            raise InvalidInput(f"{sentence}: give (features,) or (rows, features)")
        block = np.atleast_2d(values)
        if not self._numeric or values.dtype.kind not in arrays.NUMBERS:
            # tolist() would make numbers of dates in nanoseconds.
            return self._of_list([*block] if values.dtype.kind in "mM" else block.tolist())
        return self._of_block(block)

    def _of_block(self, values: npt.NDArray[Any]) -> Iterator[Part]:
        """Rows of numbers, for a model of numbers."""
        self._predictor.check_count(len(values))
        if values.shape[1] != len(self._features):
            # Its error says how many values belong there.
            self._listed.row(values[0], 0)
        for start in range(0, len(values), PART):
            part = arrays.block(values[start : start + PART])
            yield Part(self._signature.matrix(part, start), Matrix(part), start)

    def _of_frame(self, rows: Any) -> Iterator[Part]:
        if kinds.is_pandas_frame(rows) or kinds.is_polars_frame(rows):
            return self._of_columns(list(rows.columns), rows.__getitem__)
        if kinds.is_pandas_series(rows):
            return self._of_list([rows])
        if kinds.is_table(rows):
            return self._of_arrow(rows)
        raise InvalidInput(
            f"rows of the type {type(rows).__name__} are not read: {kinds.remedy(rows)}give a row, a record, "
            "a list of either, a dict of columns, a NumPy array, or a frame of pandas, polars or Arrow"
        )

    def _of_columns(self, names: Sequence[Any], column: Callable[[str], Any]) -> Iterator[Part]:
        """Rows from one column per feature; ``column`` returns that with a name."""
        self._check_names(names)
        columns = {name: column(name) for name in self._features}
        count = max(map(len, columns.values()))
        for name, values in columns.items():
            if len(values) != count:
                sentence = f"feature {quoted(name)} has {counted(len(values), 'value')}"
                remedy = "give one per row of each"
                raise InvalidInput(f"{sentence} where another has {count}: {remedy}", feature=name[:200])
        self._predictor.check_count(count)
        for start in range(0, count, PART):
            end = min(start + PART, count)
            part = {
                name: part_of(columns[name], feature, start, end) for name, feature in self._features.items()
            }
            yield Part(self._signature.table(part, start), Rows([*part.values()]), start)

    def _of_arrow(self, rows: Any) -> Iterator[Part]:
        stream, first = self._tables.stream(rows), 0
        self._check_names([name for name in stream.schema.names if self._is_asked(name)])
        for batch in stream:
            for part in self._tables.batches(batch):
                columns = self._tables.columns(part)
                rows = Rows([columns[name] for name in self._features])
                yield Part(self._signature.table(columns, first), rows, first)
                first += part.num_rows
        self._predictor.check_count(first)

    @cached_property
    def _tables(self) -> Any:
        # Imported when Arrow is met: the reader of streams takes a while.
        from unpickled.server.frames.arrow import Tables

        return Tables(self._predictor)

    def _is_asked(self, name: str) -> bool:
        return name in self._features or not name.startswith(_INDEX)

    def _check_names(self, names: Sequence[Any]) -> None:
        for name in names:
            if not isinstance(name, str):
                sentence = f"a column has the name {name!r:.200}, which is no text"
                raise InvalidInput(
                    f"{sentence}: name the columns, or give the values alone, in feature order"
                )
        if (name := repeated(names)) is not None:
            raise InvalidInput(f"the column {quoted(name)} is given twice", feature=name[:200])
        self._signature.check_names(names)
