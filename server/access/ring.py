"""The API keys of a file, which is read again when it changes."""

import logging

from unpickled.server.access import keys
from unpickled.server.access.keys import Key
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import disk

logger = logging.getLogger("unpickled")


class Ring:
    """Finds the entry of a key.

    A key is looked up by its hash. How long that takes tells something about the hash, which nobody can
    steer, and nothing about a key: there is no comparison with one that could end early.
    """

    def __init__(self, path: str) -> None:
        """Read the file; ConfigError where it is wrong."""
        self._path = path
        self._stamp = disk.stamp(path)
        self._keys = _by_digest(path)

    def find(self, key: str) -> Key | None:
        """The entry of a key; None where it has none."""
        return self._keys.get(keys.digest(key))

    def refresh(self) -> bool:
        """Read the file again if it has changed; whether the keys are others now.

        A file that is gone or wrong leaves the keys as they are, and the log says so once.
        """
        found = disk.stamp(self._path)
        if found == self._stamp:
            return False
        self._stamp = found
        try:
            self._keys = _by_digest(self._path)
        except ConfigError as error:
            logger.error("the API keys stay as they were: %s", error)
            return False
        logger.info("read %d API keys from %s", len(self._keys), self._path)
        return True


def _by_digest(path: str) -> dict[str, Key]:
    return {key.sha256: key for key in keys.read(path)}
