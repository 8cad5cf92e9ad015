"""python -m server models ...: who is served, and changing it, on the files alone.

Running servers notice by themselves. A change is tried first as a server would, on the new text of
serving.toml; it is in the history before it is in the file, and a failure leaves both as they were.
"""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from msgspec.structs import replace

from unpickled.server import config
from unpickled.server.commands import changes, revision, tables
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError, ServingError, UnpickledError
from unpickled.server.lifecycle import deployment, history, repository, serving
from unpickled.server.lifecycle.deployment import Deployment, Shelf
from unpickled.server.lifecycle.serving import STABLE
from unpickled.server.message import answer

PROG = "python -m server models"

_EPILOG = """\
A new version, safely:
  python -m server models promote iris 3               it answers /predict, and newer ones wait
  python -m export ...                                 writes models/iris/4
  python -m server models list                         which versions there are, and who answers
  python -m server models shadow iris 4                it runs on every request too; see /metrics
  python -m server models canary iris 4 --weight 0.05  it answers 5% of /predict
  python -m server models promote iris 4               it answers all of it
  python -m server models rollback iris                and back; once more, a step further back

No server is restarted for it. What is asked for stands in models/<name>/serving.toml, which you
may edit too; what was served when stands in models/<name>/history.jsonl.
"""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """One command; exit status 1 and a line on stderr where it is not done, 2 where it is none.

    130 where Ctrl-C ended it.
    """
    parser = _parser()
    if not _is_command(arguments):
        return _teach(parser, arguments)
    flags = parser.parse_args(arguments)
    named = [f"--{key}={value}" for key in ("config", "models") if (value := getattr(flags, key)) is not None]
    try:
        with _quiet():
            # What runs here serves nobody, and need not have what a server has.
            settings = replace(config.load(named, environ, PROG), strict=False)
            told = flags.run(flags, settings)
    except UnpickledError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _print(told)


def _list(flags: argparse.Namespace, settings: Config) -> str:
    found = [_shelf(folder, settings) for folder in repository.folders(settings)]
    shelves = [shelf for shelf in found if shelf.exists]
    if flags.json:
        return answer.dumps([tables.summary(shelf) for shelf in shelves]).decode()
    empty = f"there are no models in {settings.models}: export one with: python -m export train iris"
    return tables.listing(shelves) or empty


def _show(flags: argparse.Namespace, settings: Config) -> str:
    shelf = _shelf(_folder(flags.model, settings), settings)
    for number in shelf.versions.numbers:
        if number not in shelf.deployment.wanted.retired:
            with contextlib.suppress(ArtifactError):  # it is among the refused then
                shelf.versions.load(number)
            shelf.versions.keep(set(shelf.deployment.versions))
    return answer.dumps(tables.document(shelf)).decode() if flags.json else tables.page(shelf)


def _change(flags: argparse.Namespace, settings: Config) -> str:
    """Ask for something else, if that can be served; what has changed, in a line."""
    folder = _folder(flags.model, settings)
    try:
        with _alone(folder):
            shelf = _shelf(folder, settings)
            return _changed(flags, shelf) + _follow(settings)
    except OSError as error:
        raise ServingError(
            f"nothing has changed, as {error.filename or folder} cannot be written: {error.strerror}"
        ) from None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One command at a time; who has to wait is told so."""
    with history.alone(folder, wait=False) as free:
        if free:
            yield
            return
    print(f"another change of {folder.name} is under way; waiting (Ctrl-C ends it)", file=sys.stderr)
    with history.alone(folder):
        yield


def _changed(flags: argparse.Namespace, shelf: Shelf) -> str:
    now, folder = shelf.deployment, shelf.versions.folder
    if now.mistake and flags.command != history.ROLLBACK:
        other = (
            f"go back to what is served: rollback {now.name}" if now.versions else f"delete {serving.FILE}"
        )
        raise ServingError(f"{now.mistake}. Repair that, or {other}")
    wanted, told = flags.change(flags, shelf)
    text = revision.rewritten(serving.read(folder) or "", wanted)
    after = shelf.deploy(serving.parse(text))
    if not after.versions:
        raise ServingError(f"{now.name} would have no version left to serve")
    if wanted != now.wanted or now.mistake:
        revision.write(folder, text, now, deployment.record(after, by=_by(flags)))
    return f"{now.name}: {told}; {tables.sentence(after)}{_other_features(now, after)}"


def _shelf(folder: Path, settings: Config) -> Shelf:
    # What is only looked at has not been served.
    shelf = Shelf(folder, settings, recording=False)
    shelf.refresh()
    return shelf


def _folder(name: str, settings: Config) -> Path:
    folders = {folder.name: folder for folder in repository.folders(settings)}
    if name in folders:
        return folders[name]
    near = config.hint(name, folders)
    raise ServingError(
        f"there is no model {name!r} in {settings.models}: {near}It has {', '.join(folders) or 'none'}"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the log: what a server would log here is part of what is printed."""
    logger = logging.getLogger("unpickled")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _by(flags: argparse.Namespace) -> str:
    """The command as it stands in the history, without the model."""
    options = [
        f"--{key} {getattr(flags, key)}" for key in ("label", "weight", "share") if hasattr(flags, key)
    ]
    return " ".join([flags.command, *([flags.version] if hasattr(flags, "version") else []), *options])


def _follow(settings: Config) -> str:
    # One look finds the change; the rest is for loading.
    seconds = settings.reload_seconds + 1
    return f". Running servers follow {f'within {seconds:g} s' if settings.reload_seconds else 'at SIGHUP'}."


def _other_features(now: Deployment, after: Deployment) -> str:
    """A warning where callers have to send something else from now on."""
    if not now.versions or _taken(now) == _taken(after):
        return ""
    return f", which takes other features than version {now.main.version}"


def _taken(served: Deployment) -> list[tuple[str, str]]:
    return [(feature.name, feature.kind) for feature in served.main.model.manifest.features]


def _print(told: str) -> int:
    try:
        print(told, flush=True)
    except OSError as error:
        # Else Python tries again on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            print(f"error: it is done, but cannot be printed: {error.strerror}", file=sys.stderr)
            return 1
    return 0


def _is_command(arguments: Sequence[str]) -> bool:
    return bool(arguments) and arguments[0] in {*_COMMANDS, "-h", "--help"}


def _teach(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    parser.print_help(sys.stderr)
    if arguments:
        near = config.hint(arguments[0], _COMMANDS)
        print(
            f"\nerror: {arguments[0]!r} is no command{': ' if near else ''}{near.rstrip()}", file=sys.stderr
        )
    return 2


_MODEL = ("model", {"metavar": "NAME", "help": "folder of the model"})
_VERSION = ("version", {"metavar": "VERSION", "help": "its number, or a label"})
_JSON = ("--json", {"action": "store_true", "help": "as JSON"})
_LABEL = (
    "--label",
    {"default": STABLE, "metavar": "WORD", "help": f"(default: {STABLE}, which answers /predict)"},
)
_WEIGHT = (
    "--weight",
    {"type": float, "required": True, "metavar": "SHARE", "help": "of /predict, such as 0.05; 0 ends it"},
)
_SHARE = (
    "--share",
    {"type": float, "default": 1.0, "metavar": "SHARE", "help": "of /predict (default: 1.0); 0 ends it"},
)


class _Command(msgspec.Struct, frozen=True):
    """``change`` is None where nothing is changed."""

    does: str
    takes: tuple[tuple[str, dict[str, Any]], ...]
    run: Callable[[argparse.Namespace, Config], str] = _change
    change: Callable[[argparse.Namespace, Shelf], changes.Change] | None = None


_COMMANDS = {
    "list": _Command("all models and their versions", (_JSON,), _list),
    "show": _Command("one model: versions, features, what is asked for, history", (_MODEL, _JSON), _show),
    "promote": _Command(
        "a version answers /predict, or gets another label",
        (_MODEL, _VERSION, _LABEL),
        change=lambda flags, shelf: changes.promote(shelf, flags.version, flags.label),
    ),
    "canary": _Command(
        "a version answers a share of /predict",
        (_MODEL, _VERSION, _WEIGHT),
        change=lambda flags, shelf: changes.canary(shelf, flags.version, flags.weight),
    ),
    "shadow": _Command(
        "a version runs on requests too, unseen by callers",
        (_MODEL, _VERSION, _SHARE),
        change=lambda flags, shelf: changes.shadow(shelf, flags.version, flags.share),
    ),
    history.ROLLBACK: _Command(
        "who answered /predict before; once more: a step further back",
        (_MODEL,),
        change=lambda flags, shelf: changes.rollback(shelf),
    ),
    "retire": _Command(
        "a version is not loaded any more",
        (_MODEL, _VERSION),
        change=lambda flags, shelf: changes.retire(shelf, flags.version),
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROG,
        description="Who is served, and changing it, while servers run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, command in _COMMANDS.items():
        one = added.add_parser(name, help=command.does, description=command.does, allow_abbrev=False)
        one.set_defaults(run=command.run, change=command.change)
        for flag, options in command.takes:
            one.add_argument(flag, **options)
        one.add_argument(
            "--models", metavar="DIR", help="models folder (default: that of the server's settings)"
        )
        one.add_argument("--config", metavar="FILE", help="TOML file of the server's settings")
    return parser
