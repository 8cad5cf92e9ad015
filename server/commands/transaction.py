"""The changes that commands make to one model: locked, tried as a server would, and in the history first."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from unpickled.server.commands import revision, shelves
from unpickled.server.commands.changes import Change
from unpickled.server.config import Config
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.decision import Decision
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.shelf import Shelf


def change(settings: Config, model: str, by: str, make: Callable[[Shelf], Change]) -> str:
    """Make a change if the outcome can be served; returns one line that says what has changed."""
    with alone(model, settings) as shelf:
        return changed(shelf, by, make) + _follow(settings)


@contextlib.contextmanager
def alone(model: str, settings: Config) -> Iterator[Shelf]:
    """The shelf of a model while nobody else changes it; who has to wait for another one says so.

    Raises:
        ServingError: There is no such model, or a file of it cannot be written.
    """
    folder = shelves.folder_of(model, settings)
    try:
        with _locked(folder):
            shelf = shelves.shelf_of(folder, settings)
            revision.take_back(folder, shelf.deployment)
            yield shelf
    except OSError as error:
        raise ServingError(
            f"nothing has changed, as {error.filename or folder} cannot be written: {error.strerror}"
        ) from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with history.alone(folder, wait=False) as free:
        if free:
            yield
            return
    print(f"another change of {folder.name} is under way; waiting (Ctrl-C ends it)", file=sys.stderr)
    with history.alone(folder):
        yield


def changed(shelf: Shelf, by: str, make: Callable[[Shelf], Change], decision: Decision | None = None) -> str:
    """Make a change of a shelf that nobody else changes; returns a clause that says what has changed.

    Args:
        shelf: From ``alone``.
        by: The command.
        make: Makes the change.
        decision: That of a judge, for the history; it is recorded whether or not anything changes.
    """
    current, folder = shelf.deployment, shelf.versions.folder
    check(current, by)
    desired, summary = make(shelf)
    text = revision.rewritten(serving.read(folder) or "", desired)
    after = shelf.deploy(serving.parse(text))
    if not after.versions:
        raise ServingError(f"{current.name} would have no version left to serve")
    record = replace(after.record(by=by), decision=decision)
    if desired != current.serving or current.mistake:
        revision.write(folder, text, current, record)
    elif decision is not None:
        history.append(folder, record, wait=False)
    return f"{current.name}: {summary}; {after.sentence}{_other_features(current, after)}"


def check(current: Deployment, by: str) -> None:
    """ServingError where serving.toml has a mistake, which only a rollback may pass over."""
    if current.mistake and by != history.ROLLBACK:
        remedy = f"delete {serving.FILE}"
        if current.versions:
            remedy = f"return to what is served: unpickled models rollback {current.name}"
        raise ServingError(f"{current.mistake}. Repair that, or {remedy}")


def _follow(settings: Config) -> str:
    # The next scan finds the change; one second more is for loading the model.
    seconds = settings.reload_seconds + 1
    return f". Running servers follow {f'within {seconds:g} s' if settings.reload_seconds else 'at SIGHUP'}."


def _other_features(current: Deployment, changed: Deployment) -> str:
    """A warning where callers have to send other features from now on."""
    if not current.versions or _features(current) == _features(changed):
        return ""
    return f", which takes other features than version {current.main.version}"


def _features(deployment: Deployment) -> list[tuple[str, str]]:
    features = deployment.main.model.manifest.features
    return [(feature.name, "date" if feature.date else feature.kind) for feature in features]
