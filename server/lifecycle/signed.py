"""The rule that each version has to be signed, for the versions of one model."""

from pathlib import Path

from unpickled.server.artifact import detached
from unpickled.server.artifact.detached import SIGNATURE
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError, ConfigError
from unpickled.server.lifecycle import disk
from unpickled.server.lifecycle.disk import Stamp


class Signed:
    """The keys that may sign the versions in a model's folder; with None, none has to be signed.

    The keys are read for each check: those that are added or removed count from then on.

    Args:
        folder: The folder of the model, whose name is signed, too.
        keys: A file or folder of public keys.
    """

    def __init__(self, folder: Path, keys: str | None) -> None:
        self._folder = folder
        self._keys = keys

    def stamp(self, number: int) -> tuple[Stamp, ...]:
        """Another stamp means that a check may end otherwise."""
        if self._keys is None:
            return ()
        return (disk.stamp(str(self._path(number))), *_stamps(Path(self._keys)))

    def check(self, number: int, sha256: str) -> None:
        """ArtifactError unless a key has signed the file with this digest for this model."""
        if self._keys is not None:
            check_file(self._path(number), self._keys, self._folder.name, sha256)

    def _path(self, number: int) -> Path:
        return self._folder / str(number) / SIGNATURE


def check_file(path: Path, keys: str, name: str, sha256: str) -> None:
    """ArtifactError unless a key has signed the file with this digest.

    Args:
        path: The file of signatures, which need not exist.
        keys: A file or folder of public keys.
        name: The model that the file is to be signed for.
        sha256: The digest.
    """
    try:
        known = detached.read_keys(keys)
    except ConfigError as error:
        raise ArtifactError(f"its signature cannot be checked: {error}") from None
    detached.check(_content(path), known, name, sha256)


def _content(path: Path) -> bytes | None:
    try:
        with disk.opened(path) as file:
            return file.read(detached.LONGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"its {path.name} cannot be read: {error.strerror}") from None


def check_keys(config: Config) -> None:
    """ConfigError where signatures are required, and the keys cannot be read."""
    if config.require_signature is None:
        return
    try:
        detached.read_keys(config.require_signature)
    except ConfigError as error:
        raise ConfigError(f"require_signature is {config.require_signature!r}: {error}") from None


def _stamps(path: Path) -> list[Stamp]:
    """The stamps of the files with keys."""
    if not path.is_dir():
        return [disk.stamp(str(path))]
    return [disk.stamp(str(file)) for file in sorted(path.glob("*.pub"))]
