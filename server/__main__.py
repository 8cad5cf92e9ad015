"""python -m server: serve the models under models/ over HTTP, or ``models``: say which of them."""

import os
import sys
from collections.abc import Sequence

from server import config
from server.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit status 1 and one line on stderr where something is wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    if list(given[:1]) == ["models"]:
        # tomlkit, which commands need, is nothing for a serving process.
        from server.commands import cli

        return cli.main(given[1:], os.environ)
    try:
        settings = config.load(given, os.environ)
        # After the settings: --help and a wrong key should not wait for ONNX Runtime.
        from server import http

        return http.serve(settings)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
