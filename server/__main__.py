"""python -m server: serve the models under models/ over HTTP."""

import os
import sys
from collections.abc import Sequence

from server import config
from server.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit status 1 and one line on stderr where a setting is wrong."""
    try:
        settings = config.load(sys.argv[1:] if arguments is None else arguments, os.environ)
        # After the settings: --help and a wrong key should not wait for ONNX Runtime.
        from server import http

        return http.serve(settings)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
