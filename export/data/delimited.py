"""Tables as text: the encoding, the separator and the cells of CSV and its relatives."""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.csv

from unpickled.export.data.source import Source, nameable
from unpickled.export.data.texts import Texts
from unpickled.export.errors import DataError, reason
from unpickled.server.model.cells import SEPARATORS
from unpickled.server.quote import shortened

SUFFIXES = (".csv", ".tsv", ".tab", ".txt")

# As much of a file as decides about its separator, characters and lines, and about its encoding, in bytes.
_SAMPLE, _LINES = 1 << 18, 50
_NULS = 1 << 10
# Bytes that are read at once: the longest row that can be read.
_BLOCK = 1 << 24
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: Path) -> Source:
    """The cells of a file, all of them text. Raises DataError, which names the row or the remedy."""
    text, notes = _decoded(_bytes(path), path)
    if not text.strip():
        raise DataError(f"{path} is empty: its first line must name the columns.")
    _check_lines(text, path)
    separator = _separator(text[:_SAMPLE])
    header = _header(text, separator, path)
    spaced = len(header) > 1 and all(name.startswith(" ") for name in header[1:])
    if spaced:
        header = [name.strip() for name in _header(text, separator, path, skipinitialspace=True)]
    table = _spaced(text, separator, path) if spaced else _table(text, separator, len(header), path)
    names = nameable(header, path)
    if separator != ",":
        notes.append(f"{path.name} is separated by {SEPARATORS[separator]}.")
    columns = dict(zip(names, map(Texts.of, table.columns), strict=True))
    nameless = {name for name, given in zip(names, header, strict=True) if not given.strip()}
    return Source(path, columns, frozenset(nameless), separator != ",", tuple(notes))


def _check_lines(text: str, path: Path) -> None:
    """Raise DataError for a line that only Excel understands, and for one line alone."""
    first, *more = islice(io.StringIO(text.lstrip("\r\n"), newline=None), 2)
    if re.fullmatch(r'"?sep=.?"?', first.strip(), re.IGNORECASE):
        raise DataError(f"{path} begins with {first.strip()!r}, which is no row: leave that line out.")
    if not more:
        raise DataError(f"{path} has no rows: below the names of the columns, each row has a line.")


def _bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.name.lower().endswith(".gz") else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}.") from error


def _decoded(content: bytes, path: Path) -> tuple[str, list[str]]:
    """The text, and a note if it is not UTF-8."""
    if content.startswith(_UTF_16):
        return content.decode("utf-16", "replace"), [f"{path.name} is read as UTF-16."]
    # UTF-16 without its mark: every second byte of plain letters is zero.
    if content[:_NULS].count(0) * 3 > len(content[:_NULS]):
        raise DataError(f"{path} is no text, or UTF-16 without a byte order mark: save it as CSV in UTF-8.")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        place = content[max(error.start - 10, 0) : error.start + 10].decode("cp1252", "replace")
    if b"\x00" in content:
        raise DataError(f"{path} is no text: save the table as CSV in UTF-8.")
    note = f"{path.name} is not UTF-8, and is read as Windows-1252 (Latin-1), as in {place.strip()!r}."
    # The five bytes that Windows-1252 leaves undefined are controls in Latin-1.
    return content.decode("cp1252", "replace"), [note]


def _separator(sample: str) -> str:
    """The separator by which all of the first lines have as many cells as the header, and more than one."""
    widths = {separator: _widths(sample, separator) for separator in SEPARATORS}
    for separator, counts in widths.items():
        if counts and counts[0] > 1 and len(set(counts)) == 1:
            return separator
    return max(SEPARATORS, key=lambda separator: widths[separator][:1])


def _widths(sample: str, separator: str) -> list[int]:
    try:
        counts = [len(row) for row in islice(_rows(sample, separator), _LINES + 1)]
    except csv.Error:
        return []
    # The sample may end in the middle of a row.
    return counts[:_LINES] if len(sample) < _SAMPLE or len(counts) > _LINES else counts[:-1]


def _rows(text: str, separator: str, **options: Any) -> Iterator[list[str]]:
    """The cells of each line that is not empty, by the line ends of any system."""
    # newline="": the line ends inside quoted cells stay as they are, as the server reads them.
    return filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=separator, **options))


def _header(text: str, separator: str, path: Path, **options: Any) -> list[str]:
    try:
        return next(_rows(text, separator, **options))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {reason(error)}.") from error


def _table(text: str, separator: str, width: int, path: Path) -> pyarrow.Table:
    wrong: list[pyarrow.csv.InvalidRow] = []

    def refuse(row: pyarrow.csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    try:
        table = pyarrow.csv.read_csv(
            pyarrow.BufferReader(text.encode()),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, autogenerate_column_names=True, block_size=_BLOCK
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types={f"f{place}": pyarrow.large_string() for place in range(width)},
                strings_can_be_null=False,
            ),
        )
    except pyarrow.ArrowException as error:
        if wrong:
            raise _uneven(wrong[0].text, wrong[0].number, wrong[0].actual_columns, width, path) from None
        raise DataError(f"{path} cannot be read as CSV: {reason(error)}.") from error
    return table.slice(1)


def _spaced(text: str, separator: str, path: Path) -> pyarrow.Table:
    """The cells of a table in the form ``a, b, c``: a space after a separator is not part of a value."""
    rows = list(_rows(text, separator, skipinitialspace=True))
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise _uneven(separator.join(row), number, len(row), len(rows[0]), path)
    cells: list[Sequence[str]] = list(zip(*rows[1:], strict=True)) or [()] * len(rows[0])
    names = [f"f{place}" for place in range(len(rows[0]))]
    return pyarrow.table([pyarrow.array(column, pyarrow.large_string()) for column in cells], names)


def _uneven(text: str, number: int | None, cells: int, width: int, path: Path) -> DataError:
    remedy = "quote cells that hold the separator"
    if width == 1:
        remedy = "leave out what stands above the names of the columns"
    elif cells < width:
        remedy = "complete that row, or leave it out if it is none"
    elif cells == width + 1 and text.endswith(tuple(SEPARATORS)):
        remedy = "rows end with a separator, so end the header with one too"
    elif number == 2 and cells == width + 1:
        remedy = "give its first column a name in the header too"
    count = f"{cells} cell{'s' * (cells != 1)}"
    return DataError(
        f"{path} cannot be read as CSV: row {number} has {count} where the header has {width} "
        f"({shortened(text)!r}); {remedy}."
    )
