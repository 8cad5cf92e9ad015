"""A table in a body as text: its charset, its separator, its header and the cells of its rows."""

import codecs
import csv
import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import InvalidInput, UnsupportedMedia
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message.answer import Environ
from unpickled.server.model.cells import SEPARATORS, read_cells
from unpickled.server.protocols.slices import HEAVY, LONG
from unpickled.server.quote import listed, quoted

# charset -> Python's codec. Without one, UTF-8. Latin-1 is read as Windows-1252, which has signs such as the
# euro where Latin-1 has controls, as browsers do, and training.
_CODECS = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "utf-16": "utf-16",
    "iso-8859-1": "cp1252", "latin-1": "cp1252", "latin1": "cp1252", "windows-1252": "cp1252",
}  # fmt: skip
# A byte order mark -> the codec of a table that begins with it, whatever its charset is said to be.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_GZIP = b"\x1f\x8b"
# As much of a table as decides about its separator, in characters: its first line is hardly longer.
_HEAD = 1 << 20
# Characters of a table, and rows, that are read at a time.
_PIECE, _CHUNK = 64 * 1024, 512


class Words(NamedTuple):
    """The words of errors that differ between the body of a request and a file.

    Attributes:
        whole: The table as a whole.
        empty: The remedy for an empty one.
        ends: The remedy for one without line ends.
        json: The remedy for a document in JSON.
        header: The remedy for a header that is none.
    """

    whole: str = "the body"
    empty: str = "send a header row with the features' names, and rows"
    ends: str = "keep the line ends (curl: --data-binary)"
    json: str = "JSON is sent as Content-Type: application/json"
    header: str = (
        "the header's cells are separated by commas or semicolons, and a table without a header is sent as "
        "Content-Type: text/csv; header=absent"
    )


class Table:
    """The lines of one table; InvalidInput where it is not CSV, UnsupportedMedia where it is not UTF-8.

    Args:
        request: The bytes of the table, or of its header alone.
        charset: Their charset.
        features: The features of the model by name.
        words: Those of its errors.
    """

    def __init__(
        self, request: bytes, charset: str, features: Mapping[str, Feature], words: Words | None = None
    ) -> None:
        self.words = words or _BODY
        self._text = _decoded(request, charset)
        self.separator = self._separator(features)
        self._spaced = self._is_spaced(features)
        self._skipped = 0

    @property
    def is_long(self) -> bool:
        """Whether its rows are to be read in chunks."""
        return len(self._text) > LONG

    @property
    def is_heavy(self) -> bool:
        """Whether no other table of such a length is to be in memory, all of its cells at once."""
        return len(self._text) > HEAVY

    @property
    def is_one_line(self) -> bool:
        """Whether there is no line end in the table, and no document either."""
        return "\n" not in self._text and "\r" not in self._text and not self._is_json()

    def first(self) -> list[str]:
        """The cells of the first line."""
        cells = next(self._lines(), None)
        if not cells:
            state = "empty" if cells is None else "blank in its first line"
            raise InvalidInput(f"{self.words.whole} is {state}: {self.words.empty}")
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

    def chunks(self) -> Iterator[list[list[str]]]:
        """The cells of each row, some rows at a time."""
        lines = islice(self._lines(), self._skipped, None)
        while chunk := list(islice(lines, _CHUNK)):
            yield chunk

    def uneven(self, rows: Sequence[Sequence[str]], width: int) -> InvalidInput:
        """The error for the first of the rows that has not as many cells."""
        row, cells = next((row, cells) for row, cells in enumerate(rows) if len(cells) != width)
        return self.located(uneven(row, cells, width))

    def located(self, error: InvalidInput) -> InvalidInput:
        """The error with the number of its line: that of the row that it is about, or of the header."""
        row = error.details.get("row")
        if not isinstance(row, int):
            return self._of_header(error)
        reader = self._reader()
        for _ in islice(reader, self._skipped + row):
            pass
        return error.on_line(reader.line_num + 1)

    def _is_json(self) -> bool:
        return self._text[:_HEAD].lstrip()[:1] in ("{", "[")

    def _of_header(self, error: InvalidInput) -> InvalidInput:
        if not self._skipped:
            return error
        if self._is_json():
            return error.on_line(1, f"; {self.words.json}")
        return error.on_line(1, f"; {self.words.header}")

    def _lines(self) -> Iterator[list[str]]:
        reader = self._reader()
        try:
            yield from reader
        except csv.Error as error:
            line = reader.line_num
            remedy = f"; {self.words.json}" if self._is_json() else ""
            sentence = f"line {line}: {self.words.whole} is not CSV: {error}{remedy}"
            raise InvalidInput(sentence, line=line) from None

    def reader(self, lines: Iterable[str]) -> Any:
        """A csv.reader of lines that are separated as this table is."""
        return csv.reader(lines, strict=True, delimiter=self.separator, skipinitialspace=self._spaced)

    def _reader(self) -> Any:
        return self.reader(_text_lines(self._text))

    def _separator(self, features: Mapping[str, Feature]) -> str:
        """The separator by which most cells of the first line are names; that of a row where none is."""
        head = self._text[:_HEAD]
        if _names(head, ",", features) == len(features):
            return ","
        separator = max(SEPARATORS, key=lambda separator: _names(head, separator, features))
        return separator if _names(head, separator, features) else self._separator_of_row(features)

    def _separator_of_row(self, features: Mapping[str, Feature]) -> str:
        """The separator by which the first line is a row, and most of its cells are what training knew.

        Where "1,5;DE" may be 1 and an unknown "5;DE", or 1.5 and an unknown "DE", that is an error.
        """
        readings: dict[tuple[str, ...], str] = {}
        for separator in SEPARATORS:
            cells = _first(self._text[:_HEAD], separator)
            if len(cells) == len(features):
                readings.setdefault(tuple(cells), separator)
        if len(readings) < 2:
            return next(iter(readings.values()), ",")
        known = {separator: _known(cells, features) for cells, separator in readings.items()}
        best = [separator for separator, count in known.items() if count == max(known.values())]
        if len(best) > 1:
            kinds = " or by ".join(map(quoted, best))
            remedy = "send a header row with the features' names"
            raise InvalidInput(f"line 1: its cells may be separated by {kinds}: {remedy}", line=1)
        return best[0]

    def _is_spaced(self, features: Mapping[str, Feature]) -> bool:
        """Whether the table is in the form ``a, b, c``: a space after a separator is no part of a cell.

        Training decides that by the header. A row without one has to be of a model that knows no category
        with a space before it.
        """
        cells = _first(self._text[:_HEAD], self.separator)[1:]
        if not cells or not all(cell.startswith(" ") and cell not in features for cell in cells):
            return False
        spaced = _first(self._text[:_HEAD], self.separator, skipinitialspace=True)
        return any(cell.strip() in features for cell in spaced) or not any(
            category.startswith(" ") for feature in features.values() for category in feature.categories
        )


_BODY = Words()


def uneven(row: int, cells: Sequence[str], width: int) -> InvalidInput:
    """The error for a row that has not as many cells as the header."""
    count = f"has {len(cells)} cell{'s' * (len(cells) != 1)}, but {width} belong there"
    sentence = f"{count}: quote cells that hold the separator" if cells else "is blank: leave that line out"
    return InvalidInput(f"row {row} {sentence}", row=row, expected=width, received=len(cells))


def _text_lines(text: str) -> Iterator[str]:
    """The lines of a text with their ends, as a file has them; splitlines would end lines in quoted cells."""
    start = 0
    while start < len(text):
        # A piece at a time: StringIO takes four bytes for each character.
        end = text.find("\n", start + _PIECE) + 1 or len(text)
        yield from io.StringIO(text[start:end], newline="")
        start = end


def check_end(request: bytes, environ: Environ) -> None:
    """InvalidInput if the body may have been cut inside its last number.

    The HTTP server takes a chunked body that breaks off for one that ends.
    """
    announced = environ.get("CONTENT_LENGTH") or environ.get("HTTP_CONTENT_ENCODING")
    if request and not announced and request.rstrip(b"\0")[-1:] not in (b"\n", b"\r"):
        raise InvalidInput(
            "the body has no Content-Length, and its last line no end, so that it may be cut short: end the "
            "last line, or announce the length"
        )


def _decoded(request: bytes, charset: str) -> str:
    """The text of a body, in its charset or in the one that its byte order mark says."""
    if charset not in _CODECS:
        known = listed(list(_CODECS))
        raise UnsupportedMedia(f"the charset of the table is {quoted(charset)}: send one of {known}")
    codec = next((_MARKS[mark] for mark in _MARKS if request.startswith(mark)), _CODECS[charset])
    if codec == "cp1252":
        if not request.isascii() and _is_utf8(request):
            raise InvalidInput(f"the charset of the table is {charset}, but its bytes are UTF-8: name that")
        # Training replaces the five bytes that Windows-1252 leaves undefined, too.
        return request.decode(codec, "replace")
    try:
        return request.decode(codec)
    except UnicodeDecodeError as error:
        if request.startswith(_GZIP):
            raise InvalidInput("the body is compressed: say Content-Encoding: gzip") from None
        place = f"byte {error.start} is not {codec.removesuffix('-sig').upper()}"
        remedy = "send UTF-8, or name the charset, as in Content-Type: text/csv; charset=windows-1252"
        raise InvalidInput(f"the body is not CSV: {place}: {remedy}") from None


def _is_utf8(request: bytes) -> bool:
    try:
        request.decode()
    except UnicodeDecodeError:
        return False
    return True


def _first(text: str, separator: str, **options: Any) -> list[str]:
    """The cells of the first line; none where they cannot be read."""
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator, **options), [])
    except csv.Error:
        return []


def _names(text: str, separator: str, features: Collection[str]) -> int:
    """How many cells of the first line are names of features."""
    return sum(cell.strip() in features for cell in _first(text, separator, skipinitialspace=True))


def _known(cells: Sequence[str], features: Mapping[str, Feature]) -> int:
    """How many cells of a row are numbers, gaps and texts of their features."""
    return sum(_knows(feature, cell) for feature, cell in zip(features.values(), cells, strict=True))


def _knows(feature: Feature, cell: str) -> bool:
    if feature.kind == "number":
        return not isinstance(read_cells(feature, [cell]), list)
    return not cell or cell in feature.categories or cell.strip() in feature.missing_words
