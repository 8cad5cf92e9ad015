"""``python -m export`` in a checkout: the commands that export, without the others."""

from unpickled.server import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()

import os
import sys
from collections.abc import Sequence

from unpickled.server import console
from unpickled.server.console import Later

_EXPORT = Later("unpickled.export.commands", "export", "export", "Export a pipeline as ONNX.")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line ``words`` and return the exit status; without words, those of the process."""
    return console.run(
        _EXPORT, sys.argv[1:] if words is None else words, os.environ, f"python -m {__package__}"
    )


if __name__ == "__main__":
    sys.exit(main())
