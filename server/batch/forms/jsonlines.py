"""JSON Lines: each line is a record, by the rules of POST /predict, or an array of the features' values."""

import math
import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

from unpickled.server.batch.forms.answers import Answers
from unpickled.server.batch.forms.cell import ENCODER, text_of
from unpickled.server.batch.forms.form import Chunk, Fault, Form, Given, Kept
from unpickled.server.errors import InvalidInput, RequestError
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message import strict
from unpickled.server.message.strict import Members
from unpickled.server.model.feeds import Column
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.model.rule import fault_of
from unpickled.server.model.signature import Signature
from unpickled.server.quote import shortened

if TYPE_CHECKING:
    import pyarrow

# Bytes that are read at a time, and the longest line.
_BLOCK, _LONGEST = 1 << 20, 1 << 26
# Characters of a line that cannot be read which stand in the file of refused rows.
_SHOWN = 2000
_MINUS_ZERO = re.compile(rb"-0[^.eE0-9]")
_decode = msgspec.json.Decoder()
# The types of values that an array of doubles can hold.
_NUMBERS = {float, type(None)}


class Records:
    """Rows by names, which may differ from row to row."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def names(self) -> Sequence[str]:
        """All names, in the order in which they come first."""
        return list(dict.fromkeys(chain.from_iterable(self._rows)))

    def kept(self, keep: Kept) -> "Records":
        """The same rows with these members alone."""
        names = [name for name in self.names if keep(name)]
        return Records([{name: row[name] for name in names if name in row} for row in self._rows])

    def taken(self, places: Sequence[int]) -> "Records":
        """The rows at these places."""
        return Records([self._rows[place] for place in places])

    def batch(self) -> "pyarrow.RecordBatch":
        """The rows as columns, of the types that their values have; ValueError where these differ."""
        import pyarrow

        names = list(self.names)
        arrays = []
        for name in names:
            try:
                arrays.append(pyarrow.array([row.get(name) for row in self._rows]))
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError) as error:
                raise ValueError(f"the values of {name!r} are of several types: {error}") from None
        return pyarrow.RecordBatch.from_arrays(arrays, names=names)

    def cells(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """The cells of each row as text."""
        return ([text_of(row.get(name)) for name in names] for row in self._rows)

    def records(self) -> Sequence[dict[str, Any]]:
        """The rows as they are."""
        return self._rows


class Table:
    """The records in a file; see ``Source`` in forms/form.py."""

    rows: int | None = None
    empty: Given = Records([])

    def __init__(self, file: BinaryIO, predictor: Predictor, keep: Kept) -> None:
        self._file = file
        self._signature = predictor.signature

    def chunks(self) -> Iterator[Chunk]:
        """The rows, as many as are read at a time; each line that is no row of the model ends a chunk."""
        first, number = 0, 1
        for block in _blocks(self._file):
            lines = block.split(b"\n")
            filled = [
                (number + place, line) for place, line in enumerate(lines) if line and not line.isspace()
            ]
            number += len(lines) - 1
            yield from self._read(filled, first, block)
            first += len(filled)

    def _read(self, lines: Sequence[tuple[int, bytes]], first: int, block: bytes) -> Iterator[Chunk]:
        records = _records(block, len(lines))
        if records is not None and self._fits(records):
            yield self._chunk(records, first, [number for number, _ in lines])
            return
        rows: list[dict[str, Any]] = []
        places: list[int] = []
        start = first
        for row, (number, line) in enumerate(lines, first):
            try:
                rows.append(self._record(line, row))
                places.append(number)
            except RequestError as error:
                text = shortened(line.decode(errors="replace"), _SHOWN)
                yield self._chunk(rows, start, places, [Fault(row, number, error, {"line": text})])
                rows, places, start = [], [], row + 1
        if rows:
            yield self._chunk(rows, start, places)

    def _chunk(
        self,
        records: Sequence[dict[str, Any]],
        first: int,
        lines: Sequence[int],
        faults: Sequence[Fault] = (),
    ) -> Chunk:
        columns = partial(_columns, self._signature, records)
        return Chunk(first, Records(records), columns, faults, lines.__getitem__)

    def _fits(self, records: Sequence[dict[str, Any]]) -> bool:
        """Whether each row has all features."""
        try:
            deque(map(itemgetter(*self._signature.names), records), 0)
        except KeyError:
            return False
        return True

    def _record(self, line: bytes, row: int) -> dict[str, Any]:
        """The row in one line. Raises RequestError."""
        try:
            document = strict.parse(line)
        except RequestError as error:
            raise InvalidInput(_reason(str(error)).replace("the body", f"row {row}", 1), row=row) from None
        if isinstance(document, list):
            self._signature.check_row(document, row)
            return dict(zip(self._signature.names, document, strict=True))
        if not isinstance(document, Members):
            raise InvalidInput(f"row {row} is neither an object nor an array", row=row)
        for name in document.repeated:
            raise fault_of(name, row, "is given twice")
        self._signature.check_names(document, row)
        # Other members keep their numbers as they are written.
        plain = _plain(line)
        features = {name: document[name] for name in self._signature.names}
        return {**document, **plain, **features}


class Writer:
    """Writes a record for each row; see ``Writer`` in forms/form.py."""

    def __init__(self, file: BinaryIO, answers: Answers, empty: Given) -> None:
        self._file, self._answers = file, answers

    def write(self, given: Given, labels: Labels, scores: Scores) -> None:
        """Write a line for each row."""
        names = self._answers.names
        columns = (
            values.tolist() if isinstance(values, np.ndarray) else values
            for values in self._answers.columns(labels, scores)
        )
        rows = zip(given.records(), zip(*columns, strict=True), strict=True)
        records = [row | dict(zip(names, answer, strict=True)) for row, answer in rows]
        self._file.write(ENCODER.encode_lines(records))

    def close(self) -> None:
        """Write nothing: the lines are all."""

    def drop(self) -> None:
        """Forget nothing: all is written."""


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, as many as can be read at a time; ValueError where one is too long."""
    read = getattr(file, "read1", file.read)
    parts: list[bytes] = []
    length = 0
    while block := read(_BLOCK):
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join((*parts, block[:end]))
            parts, length = [], 0
        parts.append(block[end:])
        length += len(block) - end
        if length > _LONGEST:
            raise ValueError(f"a line of it is longer than {_LONGEST >> 20} MiB")
    if length:
        yield b"".join((*parts, b"\n"))


def _records(block: bytes, count: int) -> list[dict[str, Any]] | None:
    """The records in lines; None where one of them needs the strict reader."""
    # The decoder takes -0 for the integer 0, and keeps the last of duplicate names: each name has a colon.
    if _MINUS_ZERO.search(block):
        return None
    try:
        records = _decode.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(records) != count or set(map(type, records)) != {dict}:
        return None
    return records if block.count(b":") == sum(map(len, records)) else None


def _reason(error: str) -> str:
    """The words of an error over HTTP, for a row in a file: it has one line."""
    reason = error.partition("; it begins with")[0].replace(" at line 1, column ", " at column ")
    return reason.replace(strict.ENCODED, "the name of such a file ends with .jsonl.gz")


def _plain(line: bytes) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = _decode.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return plain


def _columns(signature: Signature, records: Sequence[dict[str, Any]]) -> dict[str, Column]:
    return {name: _column([record[name] for record in records]) for name in signature.names}


def _column(values: list[Any]) -> Column:
    """The values of a feature: an array where all are numbers and nulls, a list otherwise."""
    kinds = set(map(type, values))
    if int in kinds:
        values = [_double(value) if type(value) is int else value for value in values]
        kinds = kinds - {int} | {float}
    if float in kinds and kinds <= _NUMBERS:
        return np.array(values, np.float64)
    return values


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


JSON_LINES = Form("jsonl", (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"), Table, Writer)
