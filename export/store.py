"""The numbered versions of models on disk: each is written completely or not at all."""

import os
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path

from unpickled.export.errors import DataError, ExportError
from unpickled.server.artifact import numbered
from unpickled.server.artifact.manifest import FILE, NAME
from unpickled.server.quote import shortened

LEFTOVER_SECONDS = 24 * 3600

LONGEST_NAME = 128


def model_folder(models: str | Path, name: str) -> Path:
    """The folder of a model's versions, which need not exist yet.

    Raises:
        DataError: ``name`` cannot name a model.
        ExportError: A file is in the way, or the folder cannot be written to.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise DataError(
            f"{shortened(repr(name), 200)} cannot name a model: use up to 128 of A-Z, a-z, 0-9, "
            "'.', '_' and '-', starting with a letter or digit, so that it works in a URL and as a directory."
        )
    home = Path(models) / name
    existing = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise ExportError(f"{existing} is not a directory, and the model belongs below it: move it away.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ExportError(
            f"{existing} cannot be written to: change its permissions, or choose another place."
        )
    return home


def names(models: Path) -> list[str]:
    """The models in a folder that have a version, sorted; none where there is no such folder."""
    folders = models.iterdir() if models.is_dir() else ()
    return sorted(folder.name for folder in folders if versions(models, folder.name))


def versions(models: Path, name: str) -> list[int]:
    """The numbers of a model's versions that have a file, ascending; none where there is no such model."""
    home = models / name
    if not NAME.fullmatch(name) or not home.is_dir():
        return []
    return sorted(number for number in numbered.numbers(home) if (home / str(number) / FILE).is_file())


def add_version(home: Path, payload: bytes) -> Path:
    """Write the next version into a model's folder and return the path of its file.

    The version is written into a folder beside the others, which gets its number once all bytes are on disk.

    Raises:
        ExportError: It cannot be written; nothing of it is left on disk.
    """
    staging = home / f".new-{uuid.uuid4().hex}"
    absent = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        _sweep(home)
        staging.mkdir(parents=True)
        numbered.write(staging / FILE, payload)
        return numbered.claim(staging, home) / FILE
    except OSError as error:
        raise ExportError(f"{home} cannot be written to ({error.strerror}): no version was added.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):  # not empty: a version was written, by this export or another
            for folder in absent:
                folder.rmdir()


def _sweep(home: Path) -> None:
    """Remove the folders of exports that were killed more than a day ago."""
    for leftover in home.glob(".new-*"):
        with suppress(OSError):  # another export has removed it
            if time.time() - leftover.lstat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
