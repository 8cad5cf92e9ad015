"""The shelf of a model as commands find it: by the settings and the name, without the log of a server."""

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from unpickled.server import config
from unpickled.server.config import Config
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import history, repository
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.shelf import Shelf
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
    folders = {folder.name: folder for folder in repository.folders(settings)}
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
