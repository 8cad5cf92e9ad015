"""Tables as text: a row of features a line, a row of answers a line.

    sepal_length,sepal_width,petal_length,petal_width    prediction,predicted_class,probabilities_setosa,...
    5.1,3.5,1.4,0.2                                      0,setosa,0.9822316667601895,...

https://www.rfc-editor.org/rfc/rfc4180. The header row names the features in any order; with
``Content-Type: text/csv; header=absent`` there is none, and the columns are in the features' order. The
answer has a header where the request has one. An empty cell is a missing value.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from server import body
from server.answer import OPTIONS, Environ, dumps
from server.artifact import Feature
from server.errors import InvalidInput, TooManyRows, UnsupportedMedia
from server.protocols.prediction import Labels, Outcome, Predictor, Scores
from server.signature import Column, Row, Rows

Item = TypeVar("Item")

KIND = "text/csv"
_JSON = "application/json"
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
_BOM = b"\xef\xbb\xbf"
# Rows read between two looks at how many there may be.
_FEW = 4096


class Csv:
    """Answers CSV for one model, with CSV or, where Accept asks for it, with JSON arrays.

    ``detect``: a first line is the header only if its cells are the features' names; else it has to be.
    """

    def __init__(self, predictor: Predictor, detect: bool = False) -> None:
        self._predictor = predictor
        self._detect = detect
        self._signature = predictor.signature
        self._names = list(predictor.signature.names)
        self._features = {feature.name: feature for feature in predictor.signature.features}
        columns = [f"{predictor.kind}_{name}" for name in predictor.names]
        self._head = _line("prediction", "predicted_class", *columns) + b"\r\n"
        classes = zip(predictor.model.manifest.classes, predictor.names, strict=True)
        self._starts = {label: _line(label, name) + b"," for label, name in classes}

    def predict(self, request: bytes, environ: Environ) -> Outcome:
        """The answer to one table; InvalidInput names line, row and feature."""
        parameters = body.media_type(environ)[1]
        table = _Table(request, parameters)
        header = self._header(table, parameters.get("header", "").lower())
        columns = self._columns(table, header or self._names)
        try:
            decoded, ran, found, scores = self._predictor.run_feeds(self._signature.table(columns))
        except InvalidInput as error:
            raise table.located(error) from None
        rows: Sequence[Row] = Rows([columns[name] for name in self._names])
        labels = found.tolist()
        if accepted(environ, (KIND, _JSON)) == _JSON:
            content = dumps(self._predictor.arrays(labels, scores), option=OPTIONS)
            return content, decoded, ran, rows, labels, scores, None
        content = self.written(labels, scores, header is not None)
        return content, decoded, ran, rows, labels, scores, headers(header is not None)

    def written(self, labels: Labels, scores: Scores, header: bool) -> bytes:
        """One line per row: label, class name, score of each class."""
        # JSON writes the shortest digits that read back as the same double, at a tenth of repr's time.
        numbers = dumps(scores, option=OPTIONS)[2:-2].split(b"],[")
        lines = [self._starts[label] + row for label, row in zip(labels, numbers, strict=True)]
        return (self._head if header else b"") + b"\r\n".join(lines) + b"\r\n"

    def _header(self, table: "_Table", told: str) -> list[str] | None:
        """The features' names as the first line orders them, None where it is not a header."""
        if told == "absent":
            return None
        cells = table.first()
        names = [cell if cell in self._names else cell.strip() for cell in cells]
        if self._detect and told != "present" and sorted(names) != sorted(self._names):
            return None
        table.skip()
        self._check_header(names, table)
        return names

    def _uneven(rows: Sequence[Sequence[str]], width: int) -> InvalidInput:
    row, cells = next((row, cells) for row, cells in enumerate(rows) if len(cells) != width)
    return InvalidInput(
        f"row {row} has {len(cells)} cells, but {width} belong there",
        row=row,
        expected=width,
        received=len(cells),
    )


def _line(*cells: object) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue().encode()
