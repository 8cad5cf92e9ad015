"""The finished parts of a payload log, counted."""

import zlib
from datetime import date
from pathlib import Path
from typing import NamedTuple

from unpickled.server.errors import ServingError
from unpickled.server.payloads import parts


class Day(NamedTuple):
    """The parts of one version on one day in UTC."""

    model: str
    version: int
    day: date
    files: int
    rows: int
    bytes: int


def models(folder: Path) -> list[str]:
    """The models that have finished parts."""
    return sorted({part.model for part in parts.find(folder)})


def days(folder: Path, model: str | None = None) -> list[Day]:
    """Every day of a model, or of all, by model, day and version. Raises ServingError."""
    counts: dict[tuple[str, date, int], Day] = {}
    for part in parts.find(folder, model):
        try:
            schema, rows = part.schema, parts.reader(part.path).count(part.path)
        except FileNotFoundError:
            continue
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ServingError(f"{part.path} cannot be read: {error}") from error
        if schema is not None:
            key = part.model, part.day, schema.version
            before = counts.get(key, Day(part.model, schema.version, part.day, 0, 0, 0))
            counts[key] = Day(*before[:3], before.files + 1, before.rows + rows, before.bytes + part.size)
    return [counts[key] for key in sorted(counts)]
