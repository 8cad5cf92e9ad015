"""Publishing a version that answers nobody yet: it gets a label and shadows, and the present one goes on.

``retrain`` composes this with the export: of the server's commands, the export imports this module alone.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from unpickled.server.commands import changes, shelves
from unpickled.server.config import Config
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import serving
from unpickled.server.lifecycle.versions import Served

# The author of changes in the history.
AUTHOR = "retrain"


def champion(settings: Config, name: str) -> Served:
    """The version that answers plain requests at present, or most of them.

    Raises ServingError where there is no such model, or where serving.toml has a mistake.
    """
    with shelves.quiet():
        shelf = shelves.shelf_in(shelves.folder_of(name, _lenient(settings)), _lenient(settings))
    deployment = shelf.deployment
    if deployment.mistake:
        raise ServingError(f"{deployment.mistake}. Repair that, or delete {serving.FILE}")
    if not deployment.versions:
        raise ServingError(f"{name} has no version that answers: {deployment.reason}")
    return deployment.main


def publish(settings: Config, beaten: Served, add: Callable[[], Path]) -> tuple[str, int]:
    """Add a version, which gets the label ``challenger`` and shadows.

    The version that answers plain requests is made ``stable`` before the file is there: otherwise servers
    that load the newest one would let it answer at once.

    Args:
        settings: Those with the models folder.
        beaten: The version that it was compared with, which has to answer still.
        add: Writes the file of the version, and returns its path.

    Returns:
        A line that says what has changed, and the number of the version.

    Raises:
        ServingError: Another version answers by now, or the new one cannot be served beside it. It is not
            there then.
        OSError: A file of the model cannot be written.
    """
    settings = _lenient(settings)
    folder = shelves.folder_of(beaten.name, settings)
    with shelves.quiet(), shelves.alone(folder):
        shelf = shelves.shelf_in(folder, settings)
        now = shelf.deployment
        if not now.versions or (now.main.version, now.main.sha256) != (beaten.version, beaten.sha256):
            raise ServingError(
                f"version {beaten.version} of {beaten.name} was the one to compare with, and another one "
                "answers by now: retrain once more"
            )
        shelves.revised(shelf, AUTHOR, changes.keep)
        path = add()
        try:
            # Another shelf, which trusts the file at its first scan.
            shelf, version = shelves.shelf_in(folder, settings), path.parent.name
            line = shelves.revised(shelf, AUTHOR, lambda shelf: changes.challenge(shelf, version))
            return line, int(version)
        except BaseException:
            _withdraw(path.parent)
            raise


def _withdraw(folder: Path) -> None:
    """Remove a version, unless serving.toml names it: an interrupt may come after all was written."""
    named = serving.parse(serving.read(folder.parent) or "load = 'newest'").required()
    if int(folder.name) not in named:
        shutil.rmtree(folder, ignore_errors=True)


def _lenient(settings: Config) -> Config:
    # A command serves no requests: it needs none of the providers that a server needs.
    return replace(settings, runtime=replace(settings.runtime, strict=False))
