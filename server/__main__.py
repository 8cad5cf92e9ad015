"""``python -m server`` in a checkout: the command serve, or the models commands after the word models."""

import os
import sys
from collections.abc import Sequence

from unpickled.server import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

from unpickled.server import console
from unpickled.server.console import Later

_SERVE = Later("unpickled.server.commands.serve", "serve", "server", "Serve a folder of models over HTTP.")
_MODELS = Later(
    "unpickled.server.commands.models", "models", "server", "List versions and change which are served."
)


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` and return the exit status; without words, those of the process."""
    words = sys.argv[1:] if words is None else words
    if list(words[:1]) == ["models"]:
        return console.run(_MODELS, words[1:], os.environ, "python -m server models")
    return console.run(_SERVE, words, os.environ, "python -m server")


if __name__ == "__main__":
    sys.exit(main())
