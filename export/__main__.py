"""``python -m export`` in a checkout: the commands that export, without the others."""

import os
import sys
from collections.abc import Sequence

from unpickled import console
from unpickled.export.commands import export


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` and return the exit status; without words, those of the process."""
    return console.run(export, sys.argv[1:] if words is None else words, os.environ, "python -m export")


if __name__ == "__main__":
    sys.exit(main())
