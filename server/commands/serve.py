"""The command ``serve``: every setting of Config as an option."""

import signal
from collections.abc import Mapping
from typing import Any

import click

from unpickled.server import config, console
from unpickled.server.commands.settings import Settled, options
from unpickled.server.config import DEFAULT_FILE, PREFIX


@click.command(
    cls=Settled,
    params=options(),
    epilog=console.examples(
        "unpickled serve",
        "unpickled serve --models /srv/models --host 0.0.0.0 --workers 4",
        "unpickled serve --default-model iris --max-rows 500",
        f"{PREFIX}MAX_ROWS=500 unpickled serve",
        f"echo 'max_rows = 500' >> {DEFAULT_FILE}; unpickled serve",
    ),
)
@click.pass_obj
def serve(environ: Mapping[str, str], /, **flags: Any) -> int:
    """Serve every model of a folder over HTTP.

    Every setting is a flag, an environment variable and a key of a TOML file. Flags win over variables,
    variables over the file.
    """
    settings = config.load(flags, environ)
    # Orders to workers, by default the end of a process: ignored until a worker waits for them.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    # Imported after the settings are read, so that neither --help nor a wrong key waits for ONNX Runtime.
    workers = console.needed("unpickled.server.process.workers", "server")
    activation = console.needed("unpickled.server.process.activation", "server")
    status: int = workers.serve(settings, activation.handed_over(environ))
    return status
