"""``python -m export`` in a checkout: the commands that export, without the others."""

from unpickled.server import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import os
import sys
from collections.abc import Sequence

import click

from unpickled.export.commands.entries import CONVERT, TRAIN
from unpickled.server import console


@click.group(
    cls=console.Group,
    later={"train": TRAIN, "convert": CONVERT},
    epilog=console.examples("unpickled train iris", "unpickled convert fitted.joblib --sample rows.csv"),
)
def export() -> None:
    """Write a fitted pipeline as an ONNX file."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` and return the exit status; without words, those of the process."""
    return console.run(
        export, sys.argv[1:] if words is None else words, os.environ, f"python -m {__package__}"
    )


if __name__ == "__main__":
    sys.exit(main())
