"""The API keys of a file, which is read again when it changes."""

import logging
import time

from unpickled.server.access import copies, keys
from unpickled.server.access.copies import Copies
from unpickled.server.access.keys import Key
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import disk

logger = logging.getLogger("unpickled")

# Seconds for which a file has to stay as it is before it is read.
_SETTLING = 0.1


class Ring:
    """Finds the entry of a key.

    A key is looked up by its hash. How long that takes tells something about the hash, which nobody can
    steer, and nothing about a key: there is no comparison with one that could end early.
    """

    def __init__(self, path: str, kept: Copies) -> None:
        """Read the file, or else the copy that is ``kept`` of it; ConfigError where both are wrong."""
        self._path = path
        self._kept = kept
        self._stamp = disk.stamp(path)
        try:
            self._keys = self._taken(keys.content_of(path))
        except ConfigError as error:
            copy = kept.saved(copies.KEYS)
            if copy is None:
                raise
            self._keys = _by_digest(copy, path)
            _report(error)

    def find(self, key: str) -> Key | None:
        """The entry of a key; None where it has none."""
        return self._keys.get(keys.digest(key))

    def refresh(self) -> bool:
        """Read the file again if it has changed; whether the keys are others now.

        A file that is gone or wrong leaves the keys as they are, and the log says so once. One that somebody
        is writing is left for later: its first half may be a whole file, with fewer keys.
        """
        found = disk.stamp(self._path)
        if found == self._stamp:
            return False
        time.sleep(_SETTLING)
        if disk.stamp(self._path) != found:
            return False
        try:
            content = keys.content_of(self._path)
            # It may have changed between the look at it and its reading, too.
            if disk.stamp(self._path) != found:
                return False
            self._stamp = found
            self._keys = self._taken(content)
        except ConfigError as error:
            self._stamp = found
            _report(error)
            return False
        logger.info("read %d API keys from %s", len(self._keys), self._path)
        return True

    def _taken(self, content: bytes) -> dict[str, Key]:
        """The keys in the content of the file, of which a copy is kept."""
        found = _by_digest(content, self._path)
        self._kept.save(copies.KEYS, content)
        return found


def _by_digest(content: bytes, path: str) -> dict[str, Key]:
    return {key.sha256: key for key in keys.parse(content, path)}


def _report(error: ConfigError) -> None:
    logger.error("the API keys stay as they were: %s", error)
