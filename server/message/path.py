"""The path of a request, as logs and traces show it."""

from collections.abc import Mapping
from typing import Any

# Longest path, in characters.
LONGEST = 500


def shown(environ: Mapping[str, Any]) -> str:
    """The path as text: WSGI hands out its bytes as if they were latin-1 text."""
    path: str = environ.get("PATH_INFO", "")[:LONGEST]
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")
