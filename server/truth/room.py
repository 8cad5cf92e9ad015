"""The room that truth has on the disk, for all models, processes and dates together.

Any number of reports can name predictions that nobody remembers, with ids that were never given. They may
take half of the room: the other half is for predictions that are remembered, each of which has one truth.
Beyond that, reports are refused: if the oldest truth had to go instead, a flood of reports would remove it.
"""

import time
from contextlib import suppress
from pathlib import Path

from unpickled.server.errors import TruthNotStored

# Truth may have one in so many of log_keep_bytes; one in so many of those is for what is not remembered.
_SHARE, _HALF = 4, 2
# Seconds between two looks at the files, which other processes write, too.
_LOOK = 1.0


class Room:
    """The room below a folder; for one thread at a time.

    Args:
        folder: The setting log_folder.
        pattern: Matches the files with truth.
        keep: The setting log_keep_bytes.
    """

    def __init__(self, folder: Path, pattern: str, keep: int) -> None:
        self._folder = folder
        self._pattern = pattern
        self._most = keep // _SHARE
        self._taken = 0
        self._looked = -_LOOK

    def check(self, size: int, remembered: bool) -> None:
        """Raise TruthNotStored if so many bytes more have no room."""
        self._look()
        if remembered and self._taken + size > self._most:
            raise _no_room("truth", "a quarter")
        if not remembered and self._taken + size > self._most // _HALF:
            raise _no_room("truth of predictions that the server does not remember", "an eighth")

    def take(self, size: int) -> None:
        """Note that so many bytes more are written."""
        self._taken += size

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked, self._taken = now, 0
        for path in self._folder.glob(self._pattern):
            # It may just have been removed.
            with suppress(OSError):
                self._taken += path.stat().st_size


def _no_room(subject: str, share: str) -> TruthNotStored:
    return TruthNotStored(
        f"{subject} is not stored once log_folder has {share} of log_keep_bytes in truth, and none of this "
        "request counts: raise log_keep_bytes or lower log_keep_days, and send it again",
        headers={"Retry-After": "3600"},
    )
