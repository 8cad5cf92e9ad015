"""Publishing a version that answers nobody yet: it gets a label and shadows, and the present one goes on.

``retrain`` composes this with the export: of the server's commands, the export imports this module alone.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from unpickled.server.commands import changes, shelves, transaction
from unpickled.server.config import Config
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import serving
from unpickled.server.lifecycle.serving import CHALLENGER
from unpickled.server.lifecycle.versions import Served

# The author of changes in the history.
AUTHOR = "retrain"


class Standing(NamedTuple):
    """The version that answers plain requests, and the one that shadows as its challenger, if any."""

    champion: Served
    challenger: Served | None


def standing(settings: Config, name: str) -> Standing:
    """The versions that a new one has to be better than.

    Raises ServingError where signatures are required, there is no such model, serving.toml has a mistake, or
    a canary is under way: a new challenger would take its label, and leave it its share of the requests for
    good.
    """
    if settings.require_signature is not None:
        raise ServingError(
            f"require_signature is {settings.require_signature!r}, and {AUTHOR} signs nothing: no server "
            f"would serve what it publishes: {AUTHOR} with settings without it, and sign the new version "
            f"with unpickled sign {settings.models}/{name}/VERSION --key FILE"
        )
    settings = _lenient(settings)
    with shelves.quiet():
        deployment = shelves.shelf_of(shelves.folder_of(name, settings), settings).deployment
    transaction.check(deployment, AUTHOR)
    if not deployment.versions:
        raise ServingError(f"{name} has no version that answers: {deployment.reason}")
    if len(deployment.traffic) > 1:
        raise ServingError(
            f"a canary of {name} is under way ({deployment.sentence}): wait until it has become stable, or "
            f"end it with unpickled models canary {name} VERSION --weight 0"
        )
    labelled = deployment.labels.get(CHALLENGER)
    shadows = deployment.shadow is not None and deployment.shadow[0] == labelled != deployment.main.version
    return Standing(
        deployment.main, deployment.versions[labelled] if shadows and labelled is not None else None
    )


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
        ServingError: Another version answers by now, the new one cannot be served beside it, or a file of the
            model cannot be written. The new version is not there then.
    """
    settings = _lenient(settings)
    with shelves.quiet(), transaction.alone(beaten.name, settings) as shelf:
        now = shelf.deployment
        if not now.versions or (now.main.version, now.main.sha256) != (beaten.version, beaten.sha256):
            raise ServingError(
                f"version {beaten.version} of {beaten.name} was the one to compare with, and another one "
                "answers by now: retrain once more"
            )
        transaction.changed(shelf, AUTHOR, changes.keep)
        path = add()
        try:
            # Another shelf, which trusts the file at its first scan.
            shelf, version = shelves.shelf_of(path.parent.parent, settings), path.parent.name
            line = transaction.changed(shelf, AUTHOR, lambda shelf: changes.challenge(shelf, version))
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
