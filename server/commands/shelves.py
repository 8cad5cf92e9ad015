"""The shelf of a model as commands use it: found by the model's name, and locked while it is changed."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from unpickled.server.commands import revision
from unpickled.server.commands.changes import Change
from unpickled.server.config import Config
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import history, repository, serving
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.quote import hint, listed


def folder_of(name: str, settings: Config) -> Path:
    """The folder of a model. Raises ServingError where there is none of that name."""
    folders = {folder.name: folder for folder in repository.folders(settings)}
    if name in folders:
        return folders[name]
    suggestion = hint(name, folders)
    raise ServingError(
        f"there is no model {name!r} in {settings.models}: {suggestion}"
        f"The models are {listed(folders) or 'none'}"
    )


def shelf_in(folder: Path, settings: Config) -> Shelf:
    """The shelf of a model's folder, as it is served now."""
    # Not recorded in the history: a version that a command loads serves nobody.
    shelf = Shelf(folder, settings.runtime, recording=False)
    shelf.refresh()
    return shelf


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a model; a command that has to wait for another one says so."""
    with history.alone(folder, wait=False) as free:
        if free:
            yield
            return
    print(f"another change of {folder.name} is under way; waiting (Ctrl-C ends it)", file=sys.stderr)
    with history.alone(folder):
        yield


def revised(shelf: Shelf, by: str, change: Callable[[Shelf], Change]) -> str:
    """Make a change of which ``by`` is the author; a line that says what has changed.

    The model is locked by ``alone``. Raises ServingError where the outcome cannot be served, or makes no
    sense; nothing is written then. Raises OSError where a file cannot be written.
    """
    current, folder = shelf.deployment, shelf.versions.folder
    if current.mistake and by != history.ROLLBACK:
        remedy = f"delete {serving.FILE}"
        if current.versions:
            remedy = f"return to what is served: unpickled models rollback {current.name}"
        raise ServingError(f"{current.mistake}. Repair that, or {remedy}")
    desired, summary = change(shelf)
    text = revision.rewritten(serving.read(folder) or "", desired)
    changed = shelf.deploy(serving.parse(text))
    if not changed.versions:
        raise ServingError(f"{current.name} would have no version left to serve")
    if desired != current.serving or current.mistake:
        revision.write(folder, text, current, changed.record(by=by))
    return f"{current.name}: {summary}; {changed.sentence}{_other_features(current, changed)}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Disable the log: the command itself prints what a server would log."""
    logger = logging.getLogger("unpickled")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _other_features(current: Deployment, changed: Deployment) -> str:
    """A warning where callers have to send other features from now on."""
    if not current.versions or _features(current) == _features(changed):
        return ""
    return f", which takes other features than version {current.main.version}"


def _features(deployment: Deployment) -> list[tuple[str, str]]:
    features = deployment.main.model.manifest.features
    return [(feature.name, "date" if feature.date else feature.kind) for feature in features]
