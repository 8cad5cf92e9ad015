"""The shelf of a model as commands find it: by the settings and the name, without the log of a server."""

import contextlib
import functools
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from unpickled.server import config
from unpickled.server.artifact.manifest import FILE
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.lifecycle import disk, history, root, signed
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model import session
from unpickled.server.model.policy import Policy
from unpickled.server.quote import hint, listed

Result = TypeVar("Result", str, int)


def with_settings(command: Callable[..., Result]) -> Callable[..., Result]:
    """Add --models and --config; the command gets the settings that they lead to as its first argument."""

    @click.option(
        "--models",
        type=click.Path(),
        metavar="DIR",
        help="models folder  [default: that of the server's settings]",
    )
    @click.option(
        "--config", "file", type=click.Path(), metavar="FILE", help="TOML file of the server's settings"
    )
    @click.pass_obj
    def configured(
        environ: Mapping[str, str], /, models: str | None, file: str | None, **options: Any
    ) -> Result:
        with quiet():
            settings = config.load({"config": file, "models": models}, environ)
            # A command serves no requests: it needs none of the providers that a server needs.
            runtime = replace(settings.runtime, strict=False)
            return command(replace(settings, runtime=runtime), **options)

    return functools.update_wrapper(configured, command)


def folder_of(name: str, settings: Config) -> Path:
    """The folder of a model; ServingError where there is no such model."""
    folders = {folder.name: folder for folder in root.folders(settings)}
    if name in folders:
        return folders[name]
    if not folders:
        raise ServingError(
            f"there is no model {name!r} in {settings.models}, and no other one: unpickled train writes a "
            "model, --models names another folder"
        )
    raise ServingError(
        f"there is no model {name!r} in {settings.models}: {hint(name, folders)}"
        f"The models are {listed(folders)}"
    )


def shelf_of(folder: Path, settings: Config) -> Shelf:
    """The shelf of a model; what a command loads into it serves nobody, and is not recorded."""
    shelf = Shelf(folder, settings.runtime, recording=False, keys=settings.require_signature)
    shelf.refresh()
    return shelf


def served(shelf: Shelf, version: str | None) -> tuple[Served, Policy]:
    """A version, or the one that answers, and the policy for its inputs.

    Args:
        shelf: The model.
        version: A number or a label; None for the version that answers most of the plain requests.

    Raises:
        ServingError: There is no such version, or it cannot be loaded.
    """
    deployment, model = shelf.deployment, shelf.name
    policy = deployment.serving.inputs
    if version is None:
        if not deployment.versions:
            raise ServingError(f"{model} has no version that answers: {deployment.reason}")
        return deployment.main, policy
    number = deployment.serving.number(version)
    if number not in shelf.versions.numbers:
        known = listed(list(map(str, shelf.versions.numbers))) or "none"
        raise ServingError(f"{model} has no version {number}: it has {known}")
    try:
        return shelf.versions.load(number), policy
    except ArtifactError as error:
        raise ServingError(f"version {number} of {model} cannot be loaded: {error}") from None


def found(settings: Config, model: str, version: str | None) -> tuple[Served, Policy, Path]:
    """A version of a model in the models folder or at a path, the policy for its inputs, and its place.

    The path may be that of the model's folder, of the folder of a version, or of the file itself. The place
    is the folder of the model, or the file.

    Raises:
        ServingError: There is no such model or version.
    """
    path = Path(model)
    file = path if path.is_file() else path / FILE
    if not file.is_file():
        folder = path if _is_path(model) and path.is_dir() else folder_of(model, settings)
        return *served(shelf_of(folder, settings), version), folder
    if version is not None:
        raise ServingError(f"{model} is one version: leave out --version, or name the folder of the model")
    folder = file.absolute().parent
    if VERSION.fullmatch(folder.name) and file.name == FILE:
        return *served(shelf_of(folder.parent, settings), folder.name), folder.parent
    return _alone(file, settings), Policy(), file


def _is_path(model: str) -> bool:
    return os.sep in model or model.startswith(".")


def _alone(file: Path, settings: Config) -> Served:
    """A file that is not in a folder of versions; it is the first version."""
    start = time.perf_counter()
    try:
        with disk.opened(file) as stream:
            data, _ = disk.content(stream)
        sha256 = hashlib.sha256(data).hexdigest()
        model = session.load(data, settings.runtime)
        signed.check_file(file, settings.require_signature, model.manifest.name, sha256)
    except (ArtifactError, OSError) as error:
        raise ServingError(f"{file} cannot be loaded: {error}") from None
    return Served(
        name=model.manifest.name,
        version=1,
        model=model,
        sha256=sha256,
        size=len(data),
        load_seconds=time.perf_counter() - start,
    )


def records(shelf: Shelf) -> list[Record]:
    """The history of a model, oldest first; ServingError where it cannot be read."""
    try:
        return history.read(shelf.versions.folder)
    except OSError as error:
        raise ServingError(f"{history.FILE} cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Disable the log: the command itself prints what a server would log."""
    logger = logging.getLogger("unpickled")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
