"""Answered rows: in lots, as an intake passes them on, and in cells, as the payload log writes them."""

from collections.abc import Sequence
from typing import Any

from unpickled.server.lifecycle.versions import Served
from unpickled.server.observe.lot import Lot
from unpickled.server.observe.source import Source
from unpickled.server.payloads.rows import Hasher, Packer, Unpacker
from unpickled.server.payloads.schema import Cells, Schema


def lot(
    source: Source,
    rows: Sequence[Any],
    labels: Sequence[Any],
    scores: Sequence[Any],
    number: int = 0,
    shadow: Served | None = None,
) -> Lot:
    """The lot of these rows, numbered from ``number`` on and answered at one moment."""
    numbers = range(number, number + len(rows))
    return Lot(source, shadow, numbers, [1.8e9] * len(rows), rows, labels, scores)


def cells(
    schema: Schema,
    rows: Sequence[Any],
    labels: Sequence[Any],
    scores: Sequence[Any],
    number: int = 0,
    time: float = 1.8e9,
    route: str = "/predict",
    version: int = 1,
    shadow: int | None = None,
    prefix: str = "abcdefgh-0-",
    key: bytes | None = None,
) -> list[Cells]:
    """The cells that the payload log writes of these rows; the others are as for Packer and ``lot``."""
    answers = zip(range(number, number + len(rows)), [time] * len(rows), labels, scores, rows, strict=True)
    payload = Packer(schema, len(rows[0]), prefix, route, version, shadow).pack(list(answers))
    return list(Unpacker(schema).cells(payload if key is None else Hasher(schema, key).hashed(payload)))
