"""The parts of a command that shows a report: its options, the versions chosen, and its output."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from msgspec.structs import replace

from unpickled.server import console
from unpickled.server.commands import completion
from unpickled.server.errors import ServingError
from unpickled.server.message import answer
from unpickled.server.observe.windows import DEFAULT, WINDOWS
from unpickled.server.quote import listed
from unpickled.server.report.document import Report

Shown = TypeVar("Shown", bound=Report[Any])
Command = TypeVar("Command", bound=Callable[..., Any])

MODEL = click.argument("model", metavar="MODEL", shell_complete=completion.models)
URL = click.option(
    "--url", default="http://127.0.0.1:8000", show_default=True, metavar="URL", help="address of the server"
)
VERSION = click.option(
    "--version", "number", type=int, metavar="N", help="one version  [default: all with rows]"
)
KEY = click.option("--key", metavar="KEY", help="API key or token, where the server asks for one")
HTML = click.option("--html", type=click.Path(), metavar="FILE", help="write a page with pictures, too")
JSON = click.option("--json", "as_json", is_flag=True, help="print JSON")


def window(meaning: str) -> Callable[[Command], Command]:
    """The option for the window, with its line of help."""
    choice = console.Choice(list(WINDOWS))
    return click.option("--window", type=choice, default=DEFAULT, show_default=True, help=meaning)


def chosen(report: Shown, number: int | None, done: str) -> Shown:
    """The report about one version, or about all where ``number`` is None.

    Raises:
        ServingError: It has none; ``done`` says how versions come by rows: "answered".
    """
    versions = tuple(version for version in report.versions if number in (None, version.version))
    if versions:
        return replace(report, versions=versions)
    which = "no version" if number is None else f"version {number}"
    others = [str(version.version) for version in report.versions]
    known = f" ({_have(others)})" if others else ""
    remedy = f"name {'it' if len(others) == 1 else 'one of them'} with --version, " if others else ""
    raise ServingError(
        f"{which} of {report.model} has {'' if number is None else 'not '}{done} rows in the last "
        f"{report.window}{known}: {remedy}wait, or name a longer --window"
    )


def _have(versions: list[str]) -> str:
    return f"version {versions[0]} has" if len(versions) == 1 else f"versions {listed(versions)} have"


def show(
    report: Shown, html: str | None, as_json: bool, page: Callable[[Shown], str], text: Callable[[Shown], str]
) -> None:
    """Print a report as JSON or as ``text`` makes it; a file for HTML gets what ``page`` makes of it."""
    if html is not None:
        _write(Path(html), page(report))
    printed = answer.dumps(msgspec.to_builtins(report)).decode() if as_json else text(report)
    print(printed, flush=True)


def _write(path: Path, page: str) -> None:
    """Write a page, and say so; ServingError where it cannot be written."""
    try:
        path.write_text(page, "utf-8", errors="replace")
    except OSError as error:
        raise ServingError(f"{path} cannot be written: {error.strerror}") from None
    print(f"{path} is written", file=sys.stderr)
