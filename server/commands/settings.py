"""Settings of Config as options of a command."""

from collections.abc import Collection
from typing import Any

import click

from unpickled.server import config
from unpickled.server.config import DEFAULT_FILE, FIELDS, Config


class Settled(click.Command):
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


def options(keys: Collection[str] = FIELDS.keys()) -> list[click.Parameter]:
    """The option of the file, and those of these settings."""
    defaults = config.settings(Config())
    return [_CONFIG, *(_option(key, value) for key, value in defaults.items() if key in keys)]
