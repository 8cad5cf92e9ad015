"""The command ``report``: a page about one version, made from its file alone."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import msgspec

from unpickled.server import console
from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import FILE
from unpickled.server.card import page
from unpickled.server.card.version import Version
from unpickled.server.commands import reports, shelves
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.lifecycle import disk, serving
from unpickled.server.lifecycle.serving import VERSION, Serving
from unpickled.server.message import answer
from unpickled.server.quote import listed, size

# In the place of a path: the page is printed.
_PRINTED = "-"


@click.command(
    epilog=console.examples(
        "unpickled report iris                          writes iris-<version>.html",
        "unpickled report iris --version 2 --against 1  two versions side by side",
        "unpickled report iris -o report.html",
        "unpickled report iris --json                   the figures alone",
    )
)
@reports.MODEL
@click.option(
    "--version", "version", metavar="VERSION", help="number or label of a version  [default: the newest]"
)
@click.option("--against", metavar="VERSION", help="number or label of a version to set beside it")
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    metavar="FILE",
    help="file for the page, - to print it  [default: MODEL-VERSION.html]",
)
@reports.JSON
@shelves.with_settings
def report(
    settings: Config,
    model: str,
    version: str | None,
    against: str | None,
    output: str | None,
    as_json: bool,
) -> str:
    """Write a page about a version: its data, quality, importances, parity and origin.

    The page is one HTML file that needs no other one, for a screen or on paper. No server is asked: all
    figures were measured at the export, and are in the model file.
    """
    folder = shelves.folder_of(model, settings)
    chosen = _read(folder, _number(folder, version))
    number = None if against is None else _number(folder, against)
    if as_json:
        return answer.dumps(_figures(chosen)).decode()
    text = page.html(chosen, number, _other(folder, chosen, number))
    return (
        text
        if output == _PRINTED
        else _written(text, Path(output or f"{model}-{chosen.number}.html"), chosen)
    )


def _number(folder: Path, word: str | None) -> int:
    """The version that a number or a label stands for, or the newest. Raises ServingError: there is none."""
    numbers = sorted(_numbers(folder))
    if not numbers:
        raise ServingError(
            f"{folder} holds no version: export one with: unpickled train ... --name {folder.name}"
        )
    if word is None:
        return numbers[-1]
    text = serving.read(folder)
    number = (Serving() if text is None else serving.parse(text)).number(word)
    if number not in numbers:
        versions = listed([str(each) for each in reversed(numbers)])
        raise ServingError(f"there is no version {word} of {folder.name}: there {_are(numbers)} {versions}")
    return number


def _numbers(folder: Path) -> list[int]:
    try:
        return [int(path.name) for path in folder.iterdir() if VERSION.fullmatch(path.name)]
    except OSError as error:
        raise ServingError(f"{folder} cannot be read: {error.strerror}") from None


def _are(numbers: list[int]) -> str:
    return "is only" if len(numbers) == 1 else "are"


def _read(folder: Path, number: int) -> Version:
    """A version, by its file. Raises ServingError where that cannot be read."""
    path = folder / str(number) / FILE
    try:
        with disk.opened(path) as stream:
            data, _ = disk.content(stream)
        return Version(folder.name, number, manifest.read(data), len(data), sha256(data).hexdigest())
    except OSError as error:
        raise ServingError(f"{path} cannot be read: {error.strerror}") from None
    except ArtifactError as error:
        raise ServingError(f"{path} cannot be read: {error}") from None


def _other(folder: Path, chosen: Version, against: int | None) -> manifest.Manifest | None:
    """The manifest of the version that is set beside the chosen one, which may have their comparison."""
    if against is None or any(each.version == against for each in chosen.manifest.comparisons):
        return None
    return _read(folder, against).manifest


def _figures(chosen: Version) -> dict[str, Any]:
    """The figures of the page as JSON values."""
    found = chosen.manifest
    return {
        "model": chosen.name,
        "version": chosen.number,
        "exported": found.created,
        "size": chosen.size,
        "sha256": chosen.sha256,
        **{
            name: msgspec.to_builtins(getattr(found, name))
            for name in ("training", "parity", "card", "comparisons", "recipe")
        },
    }


def _written(text: str, path: Path, chosen: Version) -> str:
    """Write the page; a line that says so. Raises ServingError where it cannot be written."""
    content = text.encode(errors="replace")
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ServingError(f"{path} cannot be written: {error.strerror}") from None
    return f"{path} is written: {chosen.title}, {size(len(content))}"
