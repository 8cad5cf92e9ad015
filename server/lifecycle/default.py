"""The default model: the one that answers requests which name none."""

import logging
from collections.abc import Collection, Sequence

from unpickled.server.config import Config
from unpickled.server.errors import ConfigError, UnknownModel
from unpickled.server.quote import listed

logger = logging.getLogger("unpickled")


class Default:
    """Which model is the default one; clients of /predict rely on it, so that it changes as late as possible.

    Args:
        config: ``default_model`` names it, and ``ready`` may ask for one.
        earlier: The one that the first worker of this server chose.

    Attributes:
        name: The default model; None where there is none.
    """

    def __init__(self, config: Config, earlier: str | None = None) -> None:
        self.name: str | None = None
        self._config = config
        self._earlier = earlier
        # Whether the log has said that the default model is one of several by now.
        self._told = False

    def likely(self, names: Sequence[str]) -> str | None:
        """The one that ``choose`` takes if it can be loaded, of all these models; None where none is."""
        return self._config.default_model or self._earlier or _only(names)

    def choose(self, loaded: Collection[str], names: Sequence[str]) -> None:
        """Choose it at the start of a process.

        Args:
            loaded: The models that were looked at.
            names: All models, those that the first request loads included.

        Raises:
            ConfigError: The setting names a model that is not there, or ``ready`` asks for a default model
                where there is none.
        """
        named = self._config.default_model
        if named is not None and named not in loaded:
            raise ConfigError(f"default_model is {named!r}, but {self._config.models} has {all_of(names)}")
        self.name = named or (self._earlier if self._earlier in loaded else _only(names))
        if self._config.ready == "default" and self.name is None and loaded:
            raise ConfigError(
                f"ready is 'default', but none of {all_of(names)} is the default model: set default_model"
            )

    def keep(self, loaded: Collection[str], names: Sequence[str]) -> None:
        """Leave requests to it when further models arrive; choose another where it is gone."""
        if self.name not in loaded:
            self.name = _only(names)
            if self.name is None and self._config.ready == "default":
                logger.warning("there is no default model, so the server is not ready: set default_model")
        elif self._config.default_model is None and len(names) > 1 and not self._told:
            self._told = True
            logger.warning(
                "there are several models now: %r stays the default one, but not beyond a restart: "
                "set default_model",
                self.name,
            )

    def missing(self, loaded: Collection[str], names: Sequence[str]) -> UnknownModel:
        """The error for a request that needs one where there is none."""
        remedy = "POST to /models/<name>/predict, or set default_model"
        if not loaded:
            remedy = "export one with `unpickled train iris`"
        return UnknownModel(f"there is no default model, as this server has {all_of(names)}: {remedy}")


def _only(names: Sequence[str]) -> str | None:
    """The only model there is; None where there is none or several."""
    return names[0] if len(names) == 1 else None


def all_of(names: Sequence[str]) -> str:
    """The names of models, as errors list them."""
    return listed(names) or "no models"
