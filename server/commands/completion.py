"""Words that the Tab key offers: models of the models folder, and their versions."""

import contextlib
from pathlib import Path

import click

from unpickled.server import config
from unpickled.server.errors import UnpickledError
from unpickled.server.lifecycle import root


def models(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    """The models whose names begin so."""
    return [folder.name for folder in _folders(context) if folder.name.startswith(start)]


def versions(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    """The versions of the model in the line whose numbers begin so, the newest first."""
    model = context.params.get("model")
    folders = [folder for folder in _folders(context) if folder.name == model]
    numbers = [path.name for folder in folders for path in folder.iterdir() if path.name.isdecimal()]
    return sorted((number for number in numbers if number.startswith(start)), key=int, reverse=True)


def _folders(context: click.Context) -> list[Path]:
    """Folders of models; none where the settings are wrong."""
    flags = {"models": context.params.get("models"), "config": context.params.get("file")}
    with contextlib.suppress(UnpickledError):
        return root.folders(config.load(flags, context.obj))
    return []
