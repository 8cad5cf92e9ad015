"""origin.json beside a version that came from elsewhere: where from, and when."""

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from unpickled.server.errors import RequestError
from unpickled.server.lifecycle import disk
from unpickled.server.message import answer, strict

FILE = "origin.json"
_LONGEST = 16 * 1024


class Origin(NamedTuple):
    """The address of a version's file elsewhere, and the time when it came (ISO 8601, UTC)."""

    address: str
    at: str


def content(address: str, sha256: str) -> bytes:
    """The bytes of the file for a version that comes now."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return answer.dumps({"from": address, "at": at, "sha256": sha256}) + b"\n"


def read(folder: Path) -> Origin | None:
    """The origin of the version in a folder; None where it was made here, or nobody can tell."""
    try:
        with disk.opened(folder / FILE) as file:
            document = strict.parse(file.read(_LONGEST))
    except (OSError, RequestError):
        return None
    address, at = (document.get(key) if isinstance(document, dict) else None for key in ("from", "at"))
    return Origin(address, at) if isinstance(address, str) and isinstance(at, str) else None
