"""CSV: one row of features per line, answered with one line per row.

    sepal_length,sepal_width,petal_length,petal_width    prediction,predicted_class,probabilities_setosa,...
    5.1,3.5,1.4,0.2                                      0,setosa,0.9822316667601895,...

https://www.rfc-editor.org/rfc/rfc4180. The header row names the features in any order; with
``Content-Type: text/csv; header=absent`` there is none, and the columns are in the features' order. The
answer has a header if the request has one, and its separator, which may be a semicolon, a tab or a bar.
Cells are read as in training (model/cells.py): an empty one is a missing value, unless the empty text is a
category.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.prediction import Headers, Prediction, Run
from unpickled.server.inference.predictor import Predictor
from unpickled.server.inference.turn import alone, paced
from unpickled.server.inference.writing import slices, written
from unpickled.server.message import accept, body, media
from unpickled.server.message.answer import OPTIONS, Environ, dumps
from unpickled.server.model.cells import read_cells
from unpickled.server.model.feeds import Column, Row, Rows
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.model.rule import fault_of
from unpickled.server.protocols.arrow import answer
from unpickled.server.protocols.arrow.answer import Writer
from unpickled.server.protocols.arrow.columns import joined
from unpickled.server.protocols.table import Table, check_end
from unpickled.server.quote import quoted


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
        check_end(request, environ)
        table = Table(request, parameters.get("charset", "utf-8").lower(), self._features)
        header = self.header(table, parameters.get("header", "").lower())
        columns = self._columns(table, header or self._names)
        ignored = self._signature.ignored(header or self._names)
        rows: Sequence[Row] = Rows([columns[name] for name in self._names], ignored)
        try:
            run = self._predictor.run_feeds(self._signature.table(columns), rows).listed()
        except InvalidInput as error:
            raise table.located(error) from None
        kind = accept.preferred(environ, (media.CSV, media.JSON, media.ARROW))
        content, fields = self.written(kind, run, header is not None, table.separator)
        return run.prediction(content, rows, fields)

    def written(
        self, kind: str, run: Run[list[Any]], header: bool, separator: str = ","
    ) -> tuple[bytes, Headers]:
        """The answer in one of the media types of a table, or as JSON arrays, and its HTTP headers."""
        labels, scores = run.labels, run.scores
        if kind == media.JSON:
            return written(run.document(self._outputs.arrays(labels, scores)), scores.size), None
        if kind == media.ARROW:
            return self._writer.write(labels, scores), answer.HEADERS
        return self.write(labels, scores, header, separator), _headers(header)

    def write(self, labels: Labels, scores: Scores, header: bool, separator: str = ",") -> bytes:
        """One line per row: the cells that depend on its label, then its scores."""
        # JSON writes the fewest digits that read back as the same double, in a tenth of repr's time.
        parts = [self._head] if header else []
        for part in paced(slices(labels, len(dumps(scores[:1], option=OPTIONS))), 1):
            numbers = dumps(scores[part], option=OPTIONS)[2:-2].split(b"],[")
            lines = [self._starts[label] + row for label, row in zip(labels[part], numbers, strict=True)]
            parts.append(b"\r\n".join(lines) + b"\r\n")
        if separator != ",":
            parts = [_separated(part, separator) for part in parts]
        return b"".join(parts)

    def header(self, table: Table, setting: str = "") -> list[str] | None:
        """The names of the columns in the order of the first line; None if that is no header.

        ``setting`` is "absent", "present" or empty. InvalidInput: the header is not that of the model.
        """
        if setting == "absent":
            return None
        names = self._named(table.first())
        if self._detect and setting != "present" and not set(names) & self._features.keys():
            return None
        table.skip()
        self._check_header(names, table)
        return names

    def _named(self, cells: Sequence[str]) -> list[str]:
        """The names in a header, without spaces around them where no feature or other column has both."""
        given, features = set(cells), self._features
        names = []
        for place, cell in enumerate(cells):
            name = cell.strip()
            # pandas' name for a column whose name is empty.
            unnamed = f"Unnamed: {place}"
            if cell in features or (name and name in given):
                name = cell
            elif not name and unnamed in features:
                name = unnamed
            names.append(name)
        return names

    def _check_header(self, names: Sequence[str], table: Table) -> None:
        if len(names) > len(self._names) and table.is_one_line:
            sentence = f"the whole table is one line, as long as a header: {table.words.ends}"
            raise InvalidInput(sentence, line=1)
        earlier: set[str] = set()
        for number, name in enumerate(names, start=1):
            if not name and name not in self._features and not self._signature.ignores(name):
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

    def _columns(self, table: Table, names: Sequence[str]) -> dict[str, Column]:
        if table.is_long:
            columns = self._long_columns(table, names)
            if columns is not None:
                return columns
        if table.is_heavy:
            alone()
        rows = table.rows(self._predictor)
        if set(map(len, rows)) != {len(names)}:
            raise table.uneven(rows, len(names))
        cells = [
            pair for pair in zip(names, zip(*rows, strict=True), strict=True) if pair[0] in self._features
        ]
        for name, column in cells:
            if self._features[name].two_blanks and "" in column:
                fault = 'is empty: send JSON, in which "" is a text, and null a missing value'
                raise table.located(fault_of(name, column.index(""), fault))
        return {name: read_cells(self._features[name], column) for name, column in cells}

    def _long_columns(self, table: Table, names: Sequence[str]) -> dict[str, Column] | None:
        """The values of many rows, read some rows at a time; None where one of them is wrong."""
        columns: dict[str, list[Column]] = {name: [] for name in self._names}
        count = 0
        for rows in paced(table.chunks(), 1):
            count += len(rows)
            self._predictor.check_bounded(count)
            if set(map(len, rows)) != {len(names)}:
                return None
            for name, cells in zip(names, zip(*rows, strict=True), strict=True):
                if name in columns:
                    values = self._read(name, cells)
                    if values is None:
                        return None
                    columns[name].append(values)
        return {name: joined(parts) for name, parts in columns.items()} if count else None

    def _read(self, name: str, cells: Sequence[str]) -> Column | None:
        """The values of a feature; None where one of them is wrong."""
        feature = self._features[name]
        if feature.two_blanks and "" in cells:
            return None
        values = read_cells(feature, cells)
        return None if feature.kind == "number" and isinstance(values, list) else values


def _headers(header: bool) -> tuple[tuple[str, str], ...]:
    """The HTTP headers of a CSV answer, with or without a header row."""
    return (("Content-Type", f"text/csv; charset=utf-8; header={'present' if header else 'absent'}"),)


def _separated(table: bytes, separator: str) -> bytes:
    """A table of commas with another separator."""
    text = io.StringIO()
    rows = csv.reader(io.StringIO(table.decode(), newline=""))
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _line(cells: Sequence[object]) -> bytes:
    text = io.StringIO()
    # csv quotes the line ends in a cell only where its own line end has them.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().encode().removesuffix(b"\r\n")
