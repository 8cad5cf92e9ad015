"""CSV: cells mean what they mean to POST /predict, and columns that are passed through keep their text."""

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from unpickled.server.batch.forms.answers import Answers
from unpickled.server.batch.forms.form import Chunk, Fault, Form, Given, Kept
from unpickled.server.errors import InvalidInput
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.cells import read_cells
from unpickled.server.model.feeds import Column
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.model.rule import fault_of
from unpickled.server.payloads import arrays
from unpickled.server.protocols import table
from unpickled.server.protocols.csv import Csv

if TYPE_CHECKING:
    import pyarrow

# Rows that are read at a time.
_ROWS = 8192
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_GZIP = b"\x1f\x8b"
_END = "\r\n"
_SAVE = ": save it as UTF-8"
_BLANKS = 'is empty: write JSON Lines, in which "" is a text, and null a missing value'
_WORDS = table.Words(
    whole="it",
    empty="begin it with a header row that has the features' names",
    ends="put each row on a line of its own",
    json="rows in JSON are read from a file whose name ends with .jsonl",
    header="its first line is the header, whose cells are separated by commas or semicolons",
)


class Cells:
    """Rows of text."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.names, self._rows = names, rows

    def __len__(self) -> int:
        return len(self._rows)

    def kept(self, keep: Kept) -> "Cells":
        """The same rows with these columns alone."""
        places = [place for place, name in enumerate(self.names) if keep(name)]
        if len(places) == len(self.names):
            return self
        names = [self.names[place] for place in places]
        if not places:
            return Cells(names, [()] * len(self))
        if len(places) == 1:
            return Cells(names, [(row[places[0]],) for row in self._rows])
        return Cells(names, list(map(itemgetter(*places), self._rows)))

    def taken(self, places: Sequence[int]) -> "Cells":
        """The rows at these places."""
        return Cells(self.names, [self._rows[place] for place in places])

    def batch(self) -> "pyarrow.RecordBatch":
        """The rows as columns of texts."""
        import pyarrow

        columns = list(zip(*self._rows, strict=True)) or [()] * len(self.names)
        return pyarrow.RecordBatch.from_arrays(list(map(arrays.texts, columns)), names=list(self.names))

    def cells(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """The rows as they are: their columns are the same in each row."""
        return iter(self._rows)

    def records(self) -> Sequence[dict[str, Any]]:
        """Each row by names; all values are texts."""
        return [dict(zip(self.names, row, strict=True)) for row in self._rows]


class _Text(io.TextIOWrapper):
    """The text of a file that others close."""

    def close(self) -> None:
        """Leave the file open."""


class Table:
    """The table in a CSV file; see ``Source`` in forms/form.py."""

    rows: int | None = None

    def __init__(self, file: BinaryIO, predictor: Predictor, keep: Kept) -> None:
        self._features = {feature.name: feature for feature in predictor.signature.features}
        text = _text(file)
        head = _head(text)
        self._table = table.Table(head.encode(), "utf-8", self._features, _WORDS)
        self._names = Csv(predictor).header(self._table) or []
        self._reader = self._table.reader(chain(io.StringIO(head, newline=""), text))
        next(self._reader)
        self.empty: Given = Cells(self._names, [])

    def chunks(self) -> Iterator[Chunk]:
        """The rows, some thousands at a time; each row that cannot be read ends a chunk."""
        first, line = 0, self._reader.line_num + 1
        blank: list[list[str]] = []
        for more in iter(self._more, []):
            rows, blank = _without_end(blank + more)
            for start, end, fault in self._runs(rows, first):
                faults = [fault] if fault else []
                if fault:
                    faults = [fault._replace(line=line + _lines(rows[: fault.row - first]))]
                yield self._chunk(rows[start:end], first + start, line + _lines(rows[:start]), faults)
            first += len(rows)
            line = self._reader.line_num + 1 - len(blank)

    def _more(self) -> list[list[str]]:
        try:
            return list(islice(self._reader, _ROWS))
        except csv.Error as error:
            raise ValueError(f"line {self._reader.line_num} is not CSV: {error}") from None
        except UnicodeDecodeError:
            raise ValueError(
                f"it is not UTF-8 somewhere behind line {self._reader.line_num}{_SAVE}"
            ) from None

    def _chunk(self, rows: Sequence[Sequence[str]], first: int, line: int, faults: Sequence[Fault]) -> Chunk:
        given = Cells(self._names, rows)
        return Chunk(
            first, given, partial(self._columns, rows), faults, lambda place: line + _lines(rows[:place])
        )

    def _runs(self, rows: Sequence[Sequence[str]], first: int) -> Iterator[tuple[int, int, Fault | None]]:
        """Where rows that can be read begin and end, and the fault of the row behind them."""
        start, width = 0, len(self._names)
        blanks = [place for place, name in enumerate(self._names) if self._is_ambiguous(name)]
        if set(map(len, rows)) == {width} and not blanks:
            yield 0, len(rows), None
            return
        for place, row in enumerate(rows):
            error = self._fault(row, first + place, blanks)
            if error is not None:
                values = {"cells": row} if len(row) != width else dict(zip(self._names, row, strict=True))
                yield start, place, Fault(first + place, None, error, values)
                start = place + 1
        if start < len(rows):
            yield start, len(rows), None

    def _is_ambiguous(self, name: str) -> bool:
        return name in self._features and self._features[name].two_blanks

    def _fault(self, row: Sequence[str], number: int, blanks: Sequence[int]) -> InvalidInput | None:
        if len(row) != len(self._names):
            return table.uneven(number, row, len(self._names))
        empty = next((place for place in blanks if not row[place]), None)
        return None if empty is None else fault_of(self._names[empty], number, _BLANKS)

    def _columns(self, rows: Sequence[Sequence[str]]) -> dict[str, Column]:
        return {
            name: read_cells(self._features[name], cells)
            for name, cells in zip(self._names, zip(*rows, strict=True), strict=True)
            if name in self._features
        }


class Writer:
    """Writes CSV, with a header; see ``Writer`` in forms/form.py."""

    def __init__(self, file: BinaryIO, answers: Answers, empty: Given) -> None:
        self._file, self._answers = file, answers
        self._names: Sequence[str] | None = None
        self._empty = empty

    def write(self, given: Given, labels: Labels, scores: Scores) -> None:
        """Write a line for each row."""
        if self._names is None:
            self._begin(given)
        names = self._names or []
        if unknown := set(given.names) - set(names):
            remedy = "write jsonl, or name the columns to keep with --only"
            raise ValueError(f"column {sorted(unknown)[0]!r} is not in its first rows: {remedy}")
        answers = zip(*self._answers.cells(labels, scores), strict=True)
        self._write([(*row, *answer) for row, answer in zip(given.cells(names), answers, strict=True)])

    def close(self) -> None:
        """Write the header, where there was no row."""
        if self._names is None:
            self._begin(self._empty)

    def drop(self) -> None:
        """Forget nothing: all is written."""

    def _begin(self, given: Given) -> None:
        self._names = given.names
        self._write([(*given.names, *self._answers.names)])

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        text = _END.join(map(",".join, rows)) + _END
        if not _is_plain(text, len(rows), len(rows[0])):
            stream = io.StringIO()
            csv.writer(stream, lineterminator=_END).writerows(rows)
            text = stream.getvalue()
        self._file.write(text.encode())


def _is_plain(text: str, rows: int, width: int) -> bool:
    """Whether no cell of rows that are joined needs quotes."""
    ends = text.count("\n") == text.count("\r") == rows
    return ends and '"' not in text and text.count(",") == rows * (width - 1)


def _text(file: BinaryIO) -> io.TextIOWrapper:
    """The text of a file, in UTF-8 or in what its byte order mark says."""
    buffered = file if hasattr(file, "peek") else io.BufferedReader(cast(io.RawIOBase, file))
    mark = buffered.peek(2)[:2]
    if mark == _GZIP:
        raise ValueError("it is compressed: the name of such a file ends with .csv.gz")
    codec = _MARKS.get(mark, "utf-8-sig")
    return _Text(buffered, codec, newline="")


def _head(text: io.TextIOWrapper) -> str:
    """The header: its first line, and more lines where a quoted name has a line end."""
    try:
        head = text.readline()
        while head.count('"') % 2 and (more := text.readline()):
            head += more
    except UnicodeDecodeError:
        raise ValueError(f"it is not UTF-8{_SAVE}") from None
    return head


def _without_end(rows: list[list[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """The rows without blank lines at their end, and these: they count only if a row follows."""
    end = len(rows)
    while end and not rows[end - 1]:
        end -= 1
    return rows[:end], rows[end:]


def _lines(rows: Sequence[Sequence[str]]) -> int:
    """How many lines rows take: line ends within cells count."""
    return sum(1 + sum(map(_ends, row)) for row in rows)


def _ends(cell: str) -> int:
    return cell.count("\n") + cell.count("\r") - cell.count("\r\n")


CSV = Form("csv", (".csv", ".csv.gz"), Table, Writer)
