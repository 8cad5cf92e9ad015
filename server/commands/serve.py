"""The command ``serve``: every setting of Config as an option."""

import signal
from collections.abc import Mapping
from typing import Any

import click

from unpickled.server import config, console
from unpickled.server.config import DEFAULT_FILE, FIELDS, PREFIX, Config


class _Serve(click.Command):
    """Takes several values after an option that is a list: ``--provider CUDA... CPU...``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _repeated(args))


def _repeated(words: list[str]) -> list[str]:
    """The words, with the option of a list repeated before each of its values."""
    lists = {config.flag(key) for key in FIELDS if config.is_list(key)}
    repeated: list[str] = []
    option = None
    for word in words:
        if word.startswith("-"):
            option = word if word in lists else None
        elif option and repeated[-1] != option:
            repeated.append(option)
        repeated.append(word)
    return repeated


def _option(key: str, default: Any) -> click.Option:
    flag = config.flag(key)
    if config.is_list(key):
        first = getattr(default[0], "name", default[0]) if default else "none"
        text = f"{config.description(key)}  [default: {first}]"
        return click.Option([flag], multiple=True, metavar="NAME...", help=text)
    text = f"{config.description(key)}  [default: {_default_text(default)}]"
    if isinstance(default, bool):
        return click.Option([f"{flag}/--no-{flag.removeprefix('--')}"], default=None, help=text)
    metavar = "|".join(config.choices(key)) or key.rsplit("_", 1)[-1].upper()
    return click.Option([flag], metavar=metavar, help=text)


def _default_text(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return "none" if default in (None, "") else str(default)


_CONFIG = click.Option(
    ["--config"],
    type=click.Path(),
    metavar="FILE",
    help=f"TOML file of settings  [default: {DEFAULT_FILE}, where there is one]",
)


@click.command(
    cls=_Serve,
    params=[_CONFIG, *(_option(key, value) for key, value in config.settings(Config()).items())],
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
