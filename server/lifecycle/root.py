"""The models folder: the names in it, while it can be read."""

import logging
from pathlib import Path

from unpickled.server.config import Config
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import disk

logger = logging.getLogger("unpickled")


class ModelsFolder:
    """Tells the names of the folders that may hold a model, sorted.

    Args:
        config: The settings, which name the folder.
    """

    def __init__(self, config: Config) -> None:
        self._root = str(Path(config.models))
        self._unreadable = ""

    def names(self) -> list[str]:
        """The names; ConfigError where there is no such folder, or it cannot be read."""
        try:
            return disk.folders(self._root)
        except OSError as error:
            raise ConfigError(
                f"the models folder {self._root!r} cannot be read ({error.strerror}): "
                "export a model with `unpickled train iris`, or name another folder with --models"
            ) from None

    def look(self) -> list[str] | None:
        """The names; None, and a line in the log the first time, while the folder cannot be read."""
        try:
            names, self._unreadable = self.names(), ""
        except ConfigError as error:
            if self._unreadable != str(error):
                logger.error("%s; what is served stays", error)
            self._unreadable = str(error)
            return None
        return names


def folders(config: Config) -> list[Path]:
    """Folders that may hold a model, sorted by name.

    Raises:
        ConfigError: There is no such folder, or it cannot be read.
    """
    return [Path(config.models) / name for name in ModelsFolder(config).names()]
