"""Command line: ``python -m export train`` and ``python -m export convert``."""

import sys

from unpickled.export.commands import main

if __name__ == "__main__":
    sys.exit(main())
