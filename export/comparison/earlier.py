"""The earlier versions of a model: their own files, loaded as a server loads them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from unpickled.export.errors import DataError, reason
from unpickled.server.artifact.manifest import FILE, Manifest
from unpickled.server.errors import ArtifactError
from unpickled.server.model.session import Model, load


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier version.

    Attributes:
        version: Its number.
        sha256: The digest of its file, in hex.
        model: It answers as a server would.
    """

    version: int
    sha256: str
    model: Model

    @classmethod
    def opened(cls, home: Path, version: int) -> "Earlier":
        """A version in the folder of a model. Raises DataError where it cannot be read or loaded."""
        path = home / str(version) / FILE
        try:
            data = path.read_bytes()
            return cls(version, hashlib.sha256(data).hexdigest(), load(data))
        except OSError as error:
            raise DataError(f"Version {version} cannot be read ({path}: {error.strerror}).") from error
        except ArtifactError as error:
            raise DataError(f"Version {version} cannot be loaded ({path}): {reason(error)}.") from error


def newest(home: Path, count: int) -> list[int]:
    """The numbers of the newest versions in the folder of a model, the newest first; there may be none."""
    names = [path.name for path in home.glob("[0-9]*") if (path / FILE).is_file()]
    return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)[:count]


def unseen(this: Manifest, other: Manifest) -> bool:
    """Whether both were fitted on the same part of the same table, as far as they tell.

    The rows that the one was not fitted on, the other one then was not either.
    """
    ours, theirs = this.training, other.training
    split = (ours.fingerprint, ours.seed, ours.rows, ours.held_out)
    return None not in split and split == (theirs.fingerprint, theirs.seed, theirs.rows, theirs.held_out)
