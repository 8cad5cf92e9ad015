"""python -m server: serve the models under models/ over HTTP, or ``models``: say which of them."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from server import config
from server.errors import ConfigError


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit status 1 and one line on stderr where something is wrong.

    130 where Ctrl-C ended it before it served.
    """
    _open_standard_streams()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if list(given[:1]) == ["models"]:
            with _starting():
                # tomlkit, which commands need, is nothing for a serving process.
                from server.commands import cli

            return cli.main(given[1:], os.environ)
        settings = config.load(given, os.environ)
        # It means to look at the models again; until there is somebody to do so, it is to end nothing.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with _starting():
            # After the settings: --help and a wrong key should not wait for ONNX Runtime.
            from server import http

        return http.serve(settings)
    except KeyboardInterrupt:
        return 130
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


@contextmanager
def _starting() -> Iterator[None]:
    """Ctrl-C ends the process: an exception in the middle of imports may be swallowed by what is imported."""
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if callable(before) else before)


def _open_standard_streams() -> None:
    """Where one was closed, what is opened next would take its place, and whatever is printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


if __name__ == "__main__":
    raise SystemExit(main())
