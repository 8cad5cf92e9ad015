"""The commands ``keys`` make, list and revoke API keys. They work on the file of keys alone.

Running servers follow the file within a second. It has the hash of each key: the key itself is printed once,
by the command that makes it.
"""

import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import update_wrapper
from pathlib import Path

import click

from unpickled.server import config, console
from unpickled.server.access import keyfile, scopes
from unpickled.server.access import keys as ring
from unpickled.server.access.keys import Key
from unpickled.server.commands import tables
from unpickled.server.errors import ConfigError, ServingError, UnpickledError
from unpickled.server.message import answer
from unpickled.server.quote import hint, listed, quoted

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@click.group(
    cls=console.Group,
    epilog=console.examples(
        "unpickled keys add web-shop --scopes predict:iris,read --api-keys keys.toml",
        "unpickled serve --api-keys keys.toml",
        "curl -H 'Authorization: Bearer unp_...' http://127.0.0.1:8000/models",
        "unpickled keys revoke web-shop --api-keys keys.toml",
    ),
)
def keys() -> None:
    """Make, list and revoke the API keys of callers, while servers run.

    The keys stand in the file that the setting api_keys names, each as a hash.
    """


def _complete_name(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    try:
        names = [key.name for key in ring.read(str(_file(context.obj, context.params)))]
    except UnpickledError:
        return []
    return [name for name in names if name.startswith(start)]


def _with_file(command: Callable[..., str]) -> Callable[..., str]:
    """Add --api-keys and --config; the command gets the path of the file as its first argument."""

    @click.option(
        "--api-keys",
        type=click.Path(),
        metavar="FILE",
        help="file of keys  [default: that of the server's settings]",
    )
    @click.option("--config", type=click.Path(), metavar="FILE", help="TOML file of the server's settings")
    @click.pass_obj
    def located(
        environ: Mapping[str, str], /, api_keys: str | None, config: str | None, **options: object
    ) -> str:
        return command(_file(environ, {"api_keys": api_keys, "config": config}), **options)

    return update_wrapper(located, command)


def _file(environ: Mapping[str, str], flags: Mapping[str, str | None]) -> Path:
    given = {key: flags.get(key) for key in ("api_keys", "config")}
    path = config.load(given, environ).access.api_keys
    if path is None:
        raise ConfigError("there is no file of keys: name one, as in --api-keys keys.toml")
    return Path(path)


@keys.command(
    epilog=console.examples(
        "unpickled keys add web-shop --scopes predict:iris,read --expires 90d",
        "unpickled keys add prometheus --scopes metrics",
        "KEY=$(unpickled keys add nightly --scopes 'predict:*' --rate-limit 50)",
    )
)
@click.argument("name", metavar="NAME")
@click.option(
    "--scopes",
    "words",
    multiple=True,
    required=True,
    metavar="SCOPES",
    help=f"what the key is for: {', '.join(scopes.CHOICES)}; several with commas",
)
@click.option("--expires", metavar="WHEN", help="such as 90d, 12h or 2027-12-31; in UTC  [default: never]")
@click.option("--rate-limit", type=float, metavar="RATE", help="requests per second  [default: the server's]")
@click.option(
    "--rate-burst", type=int, metavar="COUNT", help="requests at once  [default: those of one second]"
)
@_with_file
def add(
    path: Path,
    name: str,
    words: tuple[str, ...],
    expires: str | None,
    rate_limit: float | None,
    rate_burst: int | None,
) -> str:
    """Make a key, and print it: nobody can show it again.

    Send it as Authorization: Bearer KEY, or in an X-API-Key header.
    """
    if not re.fullmatch(ring.NAME, name):
        raise ConfigError(
            f"the name {quoted(name)} cannot be used: write 1 to 64 letters, digits and signs out of ._@-, "
            "with a letter or a digit first"
        )
    secret = ring.fresh()
    entry = Key(
        name=name,
        sha256=ring.digest(secret),
        scopes=tuple(word.strip() for text in words for word in text.split(",") if word.strip()),
        expires=None if expires is None else _moment(expires, datetime.now(UTC)),
        rate_limit=rate_limit,
        rate_burst=rate_burst,
    )
    keyfile.change(path, lambda text, present: _checked(keyfile.added(text, entry), path))
    print(f"{name} is in {path}; its key is printed this once:", file=sys.stderr)
    return secret


@keys.command(
    "list", epilog=console.examples("unpickled keys list", "unpickled keys list --api-keys keys.toml --json")
)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@_with_file
def list_keys(path: Path, as_json: bool) -> str:
    """List the names of all keys, what each is for, and when it expires."""
    rows = [_row(key, datetime.now(UTC)) for key in ring.read(str(path))]
    if as_json:
        return answer.dumps(rows).decode()
    return "\n".join(tables.table(rows)) or f"there are no keys in {path}"


@keys.command(epilog=console.examples("unpickled keys revoke web-shop"))
@click.argument("name", metavar="NAME", shell_complete=_complete_name)
@_with_file
def revoke(path: Path, name: str) -> str:
    """Remove a key: running servers refuse it within a second."""

    def without(text: str, present: tuple[Key, ...]) -> str:
        names = [key.name for key in present]
        if name not in names:
            raise ServingError(
                f"there is no key {quoted(name)} in {path}: {hint(name, names)}"
                f"The keys are {listed(names) or 'none'}"
            )
        changed = _checked(keyfile.removed(text, name), path)
        if ring.parse(changed.encode(), str(path)) != tuple(key for key in present if key.name != name):
            raise ServingError(f"{path} is laid out in a way that cannot be changed here: edit it by hand")
        return changed

    keyfile.change(path, without)
    return f"{name} is revoked. Running servers follow within a second."


def _checked(text: str, path: Path) -> str:
    """The same text; ConfigError where it would be no file of keys."""
    ring.parse(text.encode(), str(path))
    return text


def _moment(text: str, now: datetime) -> datetime:
    """The moment that --expires means."""
    if span := re.fullmatch("([0-9]{1,4})([mhd])", text):
        moment = now + timedelta(**{_UNITS[span[2]]: int(span[1])})
    else:
        moment = _date(text)
    if moment <= now:
        raise ConfigError(f"--expires is {quoted(text)}, which is past: name a moment to come, such as 90d")
    return moment


def _date(text: str) -> datetime:
    """A moment in ISO 8601, in UTC unless it names a zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--expires is {quoted(text)}: write 90d, 12h, 30m or 2027-12-31") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _row(key: Key, now: datetime) -> dict[str, str]:
    ended = key.end is not None and key.end <= now
    limit = "" if key.rate_limit is None else f"{key.rate_limit:g}/s"
    return {
        "name": key.name,
        "scopes": " ".join(key.scopes),
        "expires": f"{key.end:%Y-%m-%d %H:%M}{' (expired)' if ended else ''}" if key.end else "never",
        "limit": limit,
    }
