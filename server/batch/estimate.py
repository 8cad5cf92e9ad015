"""How many rows the parts of a job have: counted where files say it, estimated from their size elsewhere."""

import zlib
from collections.abc import Sequence
from typing import BinaryIO, cast

from unpickled.server.batch.forms import registry
from unpickled.server.batch.forms.parquet import PARQUET
from unpickled.server.batch.places.registry import place_of
from unpickled.server.batch.task import Part

# Parts whose files are opened for that, and bytes that are read of one.
_MOST, _BYTES = 50, 1 << 20


class Estimate:
    """The rows of each part.

    Attributes:
        rows: Part -> its rows, roughly where ``exact`` is False.
        exact: Whether all of them are counted.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.rows: dict[str, int] = {}
        sampled = parts if len(parts) <= _MOST else parts[:: len(parts) // _MOST + 1]
        seen = {part.source: _rows(part) for part in sampled}
        sizes = sum(part.size for part in sampled if part.source in seen)
        share = sum(seen.values()) / sizes if sizes else 0.0
        for part in parts:
            self.rows[part.source] = seen.get(part.source, round(part.size * share))
        self.exact = len(sampled) == len(parts) and all(_is_counted(part) for part in parts)

    @property
    def total(self) -> int:
        """The rows of all parts."""
        return sum(self.rows.values())


def _is_counted(part: Part) -> bool:
    return registry.form_of(part.source) is PARQUET


def _rows(part: Part) -> int:
    """The rows of one part; 0 where its file cannot be read, as scoring it will say."""
    try:
        with place_of(part.source).open(part.source) as file:
            return _counted(file) if _is_counted(part) else _by_lines(file, part)
    except (OSError, ValueError, EOFError, zlib.error, ImportError):
        return 0


def _counted(file: BinaryIO) -> int:
    from pyarrow import parquet

    return cast(int, parquet.ParquetFile(file).metadata.num_rows)


def _by_lines(file: BinaryIO, part: Part) -> int:
    """The lines of a part, by those in its beginning."""
    with registry.unpacked(part.source, file) as content:
        lines = content.read(_BYTES).count(b"\n")
        read = file.tell()
    return round(lines * part.size / read) if read else 0
