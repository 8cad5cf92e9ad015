"""The file of the rows of a part that are refused, each with its reason."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, BinaryIO

import msgspec

from unpickled.server.errors import RequestError

# Reasons that a result has, and the most characters of each.
_MOST, _LONGEST = 3, 300


class Refusals:
    """Counts refused rows and writes them as JSON Lines; there is no file before the first one.

    A line has ``row``, the number in the source; ``line``, where the source has lines; ``error`` and ``code``
    as an answer over HTTP has them, with its details; and ``values``, the row.

    Args:
        file: Opens the file.
    """

    def __init__(self, file: Callable[[], BinaryIO]) -> None:
        self.count = 0
        self.reasons: list[str] = []
        self._open = file
        self._file: BinaryIO | None = None

    def add(self, row: int, line: int | None, error: RequestError, values: dict[str, Any]) -> None:
        """Write one row."""
        if self._file is None:
            self._file = self._open()
        place = {"row": row} if line is None else {"row": row, "line": line}
        document = {**place, "error": str(error), "code": error.code, **error.details, "values": values}
        self._file.write(msgspec.json.encode(document, enc_hook=str) + b"\n")
        self.count += 1
        if len(self.reasons) < _MOST:
            self.reasons.append(str(error)[:_LONGEST])


def opened(stack: ExitStack, write: Callable[[], Any]) -> Callable[[], BinaryIO]:
    """Enters a context when the file is first needed; the stack leaves it."""

    def enter() -> BinaryIO:
        file: BinaryIO = stack.enter_context(write())
        return file

    return enter
