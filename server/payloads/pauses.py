"""The pauses between attempts at a disk that fails, and what the log says of it."""

import logging

logger = logging.getLogger("unpickled")

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


class Pauses:
    """Pauses that grow, with one line when the trouble begins and one when it is over.

    Args:
        task: Names the attempt: "the payload log cannot be <task>".

    Attributes:
        seconds: The next pause; 0 while all is well.
    """

    def __init__(self, task: str) -> None:
        self.seconds = 0.0
        self._task = task
        self._failures = 0

    def failed(self, error: OSError) -> None:
        """Note a failure."""
        if not self._failures:
            place = f"{error.filename}: " if error.filename else ""
            reason = error.strerror or str(error)
            logger.error("the payload log cannot be %s (%s%s): trying again", self._task, place, reason)
        self.seconds = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
        self._failures += 1

    def worked(self) -> None:
        """Note that it works."""
        if self._failures:
            logger.warning("the payload log is %s again, after %d attempts", self._task, self._failures)
        self._failures, self.seconds = 0, 0.0
