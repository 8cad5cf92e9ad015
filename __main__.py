"""The one command: ``unpickled``, or ``python -m unpickled``."""

from unpickled.server import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

import click

from unpickled.export.commands.entries import CONVERT, RETRAIN, TRAIN
from unpickled.server import console
from unpickled.server.commands.entries import (
    AB,
    ACCURACY,
    CHECK,
    CONSUME,
    DRIFT,
    EXPLAIN,
    JUDGE,
    KEYS,
    LOG,
    MODELS,
    PREDICT,
    PULL,
    REPORT,
    SERVE,
    SIGN,
)

_COMMANDS = {
    "train": TRAIN,
    "convert": CONVERT,
    "retrain": RETRAIN,
    "check": CHECK,
    "serve": SERVE,
    "predict": PREDICT,
    "consume": CONSUME,
    "models": MODELS,
    "pull": PULL,
    "sign": SIGN,
    "keys": KEYS,
    "report": REPORT,
    "explain": EXPLAIN,
    "drift": DRIFT,
    "accuracy": ACCURACY,
    "judge": JUDGE,
    "ab": AB,
    "log": LOG,
}
_LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "scikit-learn", "skl2onnx")


def main(words: Sequence[str] | None = None, program: str = "unpickled") -> int:
    """Run the command line ``words`` and return the exit status; without words, those of the process."""
    return console.run(unpickled, sys.argv[1:] if words is None else words, os.environ, program)


def _on_version(context: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked:
        print("\n".join(_versions()))
        context.exit()


@click.group(
    cls=console.Group,
    later=_COMMANDS,
    epilog=console.examples(
        "unpickled train iris     writes models/iris/1/model.onnx",
        "unpickled serve          serves it at http://127.0.0.1:8000/predict",
        "unpickled models list    lists its versions",
        "",
        "# Completion of commands, models and versions by the Tab key (also zsh_source, fish_source):",
        'eval "$(_UNPICKLED_COMPLETE=bash_source unpickled)"',
    ),
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_on_version,
    help="The same as the command version.",
)
def unpickled() -> None:
    """Export fitted scikit-learn pipelines as ONNX files that are proven to answer the same, and serve
    them over HTTP.
    """


@unpickled.command("version", epilog=console.examples("unpickled version"))
def show_version() -> str:
    """Show the versions of this package, of Python and of the libraries it uses."""
    return "\n".join(_versions())


def _versions() -> Iterator[str]:
    yield f"unpickled {_installed('unpickled') or '(not installed)'}"
    yield f"python {platform.python_version()}"
    for name in _LIBRARIES:
        number = _installed(name)
        if number is not None:
            yield f"{name} {number}"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main(program="python -m unpickled"))
