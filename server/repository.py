"""models/<name>/<version>/model.onnx -> the models that are served, and why the others are not."""

import hashlib
import logging
import re
import time
from pathlib import Path

import msgspec

from server import model
from server.artifact import FILE, NAME
from server.config import Config
from server.errors import ArtifactError, ConfigError, NotReady, UnknownModel
from server.model import Model

logger = logging.getLogger("unpickled")

VERSION = re.compile(r"[1-9][0-9]*|0")


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model that answers. ``load_seconds`` is from reading the file to its last golden row."""

    name: str
    version: int
    model: Model
    sha256: str
    size: int
    load_seconds: float


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A model that does not, and the sentence that says why."""

    name: str
    version: int | None
    reason: str


class Repository:
    """The newest version of each model in a folder, loaded once.

    Raises ConfigError where there is no such folder or the default model is not in it, and
    ProviderError in strict mode; a model that cannot be served ends up in ``refused``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.served: dict[str, Served] = {}
        self.refused: dict[str, Refused] = {}
        for folder in _folders(config):
            self._add(folder)
        self.default = self._default()

    @property
    def ready(self) -> bool:
        """Whether every model found is served, and there is one."""
        return bool(self.served) and not self.refused

    def find(self, name: str | None, version: str | None = None) -> Served:
        """The model of a request; None is the default model, or the served version.

        Raises UnknownModel, or NotReady when the model is there and refused.
        """
        if name is None:
            name = self._default_or_raise()
        if name in self.refused:
            refused = self.refused[name]
            raise NotReady(f"model {name!r} is not served: {refused.reason}", model=name)
        if name not in self.served:
            raise UnknownModel(f"there is no model {name!r}: this server has {self._listing()}", model=name)
        found = self.served[name]
        if version is not None and version != str(found.version):
            raise UnknownModel(
                f"model {name!r} has no version {version!r} here: version {found.version} is served",
                model=name,
                version=version,
            )
        return found

    def _add(self, folder: Path) -> None:
        version: int | None = None
        try:
            version = _newest(folder)
            if version is None:
                logger.warning("%s is passed over: it holds no <number>/%s", folder, FILE)
                return
            if not NAME.fullmatch(folder.name):
                raise ArtifactError(
                    "its name may hold letters, digits, '.', '_' and '-' only: rename the folder"
                )
            path = folder / str(version) / FILE
            self.served[folder.name] = _load(folder.name, version, path, self.config)
        except ArtifactError as error:
            self.refused[folder.name] = Refused(name=folder.name, version=version, reason=str(error))
            logger.error("model %s version %s is not served: %s", folder.name, version, error)

    def _default(self) -> str | None:
        names = sorted(self.served.keys() | self.refused.keys())
        wanted = self.config.default_model
        if wanted is not None and wanted not in names:
            raise ConfigError(f"default_model is {wanted!r}, but {self.config.models} has {self._listing()}")
        return wanted or (names[0] if len(names) == 1 else None)

    def _default_or_raise(self) -> str:
        if self.default is None:
            remedy = "POST to /models/<name>/predict, or set default_model"
            if not self.served and not self.refused:
                remedy = "export one with: python -m export train iris"
            raise UnknownModel(f"there is no default model, as this server has {self._listing()}: {remedy}")
        return self.default

    def _listing(self) -> str:
        return ", ".join(sorted(self.served.keys() | self.refused.keys())) or "no models"


def _folders(config: Config) -> list[Path]:
    root = Path(config.models)
    try:
        found = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(
            f"the models folder {str(root)!r} cannot be read ({error.strerror}): "
            "export a model with `python -m export train iris`, or name another folder with --models"
        ) from None
    return found


def _newest(folder: Path) -> int | None:
    """The highest version; None where there is none: an export may be under way, or it is no model."""
    try:
        names = [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be read: {error.strerror}") from None
    return max((int(name) for name in names if VERSION.fullmatch(name)), default=None)


def _load(name: str, version: int, path: Path, config: Config) -> Served:
    started = time.perf_counter()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
    loaded = model.load(data, config)
    return Served(
        name=name,
        version=version,
        model=loaded,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        load_seconds=round(time.perf_counter() - started, 4),
    )
