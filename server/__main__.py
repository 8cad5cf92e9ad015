"""``python -m server`` in a checkout: the command serve, or the models commands after the word models."""

from unpickled.server import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import os
import sys
from collections.abc import Sequence

from unpickled.server import console
from unpickled.server.commands.entries import MODELS, SERVE

_PROGRAM = f"python -m {__package__}"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` and return the exit status; without words, those of the process."""
    words = sys.argv[1:] if words is None else words
    if list(words[:1]) == ["models"]:
        return console.run(MODELS, words[1:], os.environ, f"{_PROGRAM} models")
    return console.run(SERVE, words, os.environ, _PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
