"""CSV: one row of features per line, answered with one line per row.

    sepal_length,sepal_width,petal_length,petal_width    prediction,predicted_class,probabilities_setosa,...
    5.1,3.5,1.4,0.2                                      0,setosa,0.9822316667601895,...

https://www.rfc-editor.org/rfc/rfc4180. The header row names the features in any order; with
``Content-Type: text/csv; header=absent`` there is none, and the columns are in the features' order. The
answer has a header if the request has one, and its separator, which may be a semicolon, a tab or a bar.
Cells are read as in training (model/cells.py): an empty one is a missing value, unless the empty text is a
category.
"""

import codecs
import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from unpickled.server.errors import InvalidInput, UnsupportedMedia
from unpickled.server.inference.prediction import Headers, Prediction, with_ignored
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message import accept, body, media
from unpickled.server.message.answer import OPTIONS, Environ, dumps
from unpickled.server.model.cells import read_cells
from unpickled.server.model.feeds import Column, Row, Rows
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.protocols.arrow import answer
from unpickled.server.protocols.arrow.answer import Writer
from unpickled.server.quote import listed, quoted

# charset -> Python's codec. Without one, UTF-8.
_CODECS = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "utf-16": "utf-16",
    "iso-8859-1": "latin-1", "latin-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252",
}  # fmt: skip
_SEPARATORS = ",;\t|"
# As much of a table as decides about its separator, in characters: its first line is hardly longer.
_HEAD = 1 << 20


class Csv:
    """Answers CSV for one model, with CSV or, where Accept asks for it, with JSON arrays or Arrow.

    ``detect``: the first line is the header only if one of its cells is the name of a feature; without
    ``detect`` it always is, unless the request says that there is none.
    """

    def __init__(self, predictor: Predictor, detect: bool = False) -> None:
        self._predictor = predictor
        self._detect = detect
        self._signature = predictor.signature
        self._names = list(predictor.signature.names)
        self._features = {feature.name: feature for feature in predictor.signature.features}
        self._outputs = predictor.outputs
        self._writer = Writer(self._outputs)
        self._head = _line(self._outputs.columns) + b"\r\n"
        self._starts = self._outputs.heads(lambda cells: _line(cells) + b"," if cells else b"")

    def predict(self, request: bytes, environ: Environ) -> Prediction:
        """The answer to one table; InvalidInput names line, row and feature."""
        parameters = body.media_type(environ)[1]
        table = _Table(request, parameters, self._features)
        header = self._header(table, parameters.get("header", "").lower())
        columns = self._columns(table, header or self._names)
        try:
            run = self._predictor.run_feeds(self._signature.table(columns))
        except InvalidInput as error:
            raise table.located(error) from None
        ignored = self._signature.ignored(header or self._names)
        rows: Sequence[Row] = Rows([columns[name] for name in self._names], ignored)
        labels = run.labels.tolist()
        fields: Headers = headers(header is not None)
        kind = accept.preferred(environ, (media.CSV, media.JSON, media.ARROW))
        if kind == media.JSON:
            content, fields = dumps(self._outputs.arrays(labels, run.scores), option=OPTIONS), None
        elif kind == media.ARROW:
            content, fields = self._writer.write(labels, run.scores), answer.HEADERS
        else:
            content = self.write(labels, run.scores, header is not None, table.separator)
        return Prediction(content, run.decoded, run.ran, rows, labels, run.scores, with_ignored(fields, rows))

    def write(self, labels: Labels, scores: Scores, header: bool, separator: str = ",") -> bytes:
        """One line per row: the cells that depend on its label, then its scores."""
        # JSON writes the fewest digits that read back as the same double, in a tenth of repr's time.
        numbers = dumps(scores, option=OPTIONS)[2:-2].split(b"],[")
        lines = [self._starts[label] + row for label, row in zip(labels, numbers, strict=True)]
        table = (self._head if header else b"") + b"\r\n".join(lines) + b"\r\n"
        return table if separator == "," else _separated(table, separator)

    def _header(self, table: "_Table", setting: str) -> list[str] | None:
        """The names of the features in the order of the first line; None if that is no header."""
        if setting == "absent":
            return None
        cells = table.first()
        names = [cell if cell in self._features else cell.strip() for cell in cells]
        if self._detect and setting != "present" and not set(names) & self._features.keys():
            return None
        table.skip()
        self._check_header(names, table)
        return names

    def _check_header(self, names: Sequence[str], table: "_Table") -> None:
        earlier: set[str] = set()
        for number, name in enumerate(names, start=1):
            if not name and not self._signature.ignores(name):
                remedy = "leave it out (pandas: to_csv(index=False))"
                raise InvalidInput(f"column {number} of the header has no name: {remedy}", line=1)
            if name and name in earlier:
                sentence = f"feature {quoted(name)} stands twice in the header"
                raise InvalidInput(sentence, line=1, feature=name[:200])
            earlier.add(name)
        try:
            self._signature.check_names(names)
        except InvalidInput as error:
            raise table.located(error) from None

    def _columns(self, table: "_Table", names: Sequence[str]) -> dict[str, Column]:
        rows = table.rows(self._predictor)
        if set(map(len, rows)) != {len(names)}:
            raise table.located(_uneven(rows, len(names)))
        cells = zip(names, zip(*rows, strict=True), strict=True)
        return {
            name: read_cells(self._features[name], column) for name, column in cells if name in self._features
        }


class _Table:
    """The lines of one body; InvalidInput where it is not CSV, UnsupportedMedia where it is not UTF-8."""

    def __init__(self, request: bytes, parameters: Mapping[str, str], names: Collection[str]) -> None:
        charset = parameters.get("charset", "utf-8").lower()
        if charset not in _CODECS:
            known = listed(list(_CODECS))
            raise UnsupportedMedia(f"the charset of the table is {quoted(charset)}: send one of {known}")
        try:
            self._text = request.removeprefix(codecs.BOM_UTF8).decode(_CODECS[charset])
        except UnicodeDecodeError as error:
            name = _CODECS[charset].upper()
            raise InvalidInput(f"the body is not CSV: byte {error.start} is not {name}") from None
        self.separator = self._separator(names)
        self._skipped = 0

    def first(self) -> list[str]:
        """The cells of the first line."""
        cells = next(self._lines(), None)
        if not cells:
            state = "empty" if cells is None else "blank in its first line"
            raise InvalidInput(f"the body is {state}: send a header row with the features' names, and rows")
        return cells

    def skip(self) -> None:
        """Leave the first line out of the rows."""
        self._skipped = 1

    def rows(self, predictor: Predictor) -> list[list[str]]:
        """The cells of each row; TooManyRows."""
        lines = islice(self._lines(), self._skipped, None)
        rows = predictor.bounded(lines)
        while rows and not rows[-1]:  # blank lines at the end
            rows.pop()
        predictor.check_count(len(rows))
        return rows

    def located(self, error: InvalidInput) -> InvalidInput:
        """The error with the number of its line: that of the row that it is about, or of the header."""
        row = error.details.get("row")
        if not isinstance(row, int):
            return self._of_header(error)
        reader = self._reader()
        for _ in islice(reader, self._skipped + row):
            pass
        return error.on_line(reader.line_num + 1)

    def _of_header(self, error: InvalidInput) -> InvalidInput:
        if not self._skipped:
            return error
        remedy = "a table without a header is sent as Content-Type: text/csv; header=absent"
        return error.on_line(1, f"; the header's cells are separated by commas or semicolons, and {remedy}")

    def _lines(self) -> Iterator[list[str]]:
        reader = self._reader()
        try:
            yield from reader
        except csv.Error as error:
            line = reader.line_num
            raise InvalidInput(f"line {line}: the body is not CSV: {error}", line=line) from None

    def _reader(self) -> Any:
        # Not splitlines: it would also end lines inside quoted cells.
        return csv.reader(io.StringIO(self._text, newline=""), strict=True, delimiter=self.separator)

    def _separator(self, names: Collection[str]) -> str:
        """The separator by which most cells of the first line are names, or by which they are as many."""
        head = self._text[:_HEAD]
        if _fit(head, ",", names)[0] == len(names):
            return ","
        return max(_SEPARATORS, key=lambda separator: _fit(head, separator, names))


def _fit(text: str, separator: str, names: Collection[str]) -> tuple[int, bool]:
    """How many cells of the first line are among the names, and whether there is one for each."""
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    except csv.Error:
        return 0, False
    return sum(cell.strip() in names for cell in cells), len(cells) == len(names)


def headers(header: bool) -> tuple[tuple[str, str], ...]:
    """The HTTP headers of a CSV answer, with or without a header row."""
    return (("Content-Type", f"text/csv; charset=utf-8; header={'present' if header else 'absent'}"),)


def _uneven(rows: Sequence[Sequence[str]], width: int) -> InvalidInput:
    row, cells = next((row, cells) for row, cells in enumerate(rows) if len(cells) != width)
    return InvalidInput(
        f"row {row} has {len(cells)} cells, but {width} belong there",
        row=row,
        expected=width,
        received=len(cells),
    )


def _separated(table: bytes, separator: str) -> bytes:
    """A table of commas with another separator."""
    text = io.StringIO()
    rows = csv.reader(io.StringIO(table.decode(), newline=""))
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _line(cells: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue().encode()
