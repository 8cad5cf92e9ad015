"""serving.toml rewritten, and what that means in the history: both or neither."""

import contextlib
import os
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import tomlkit

from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import deployment, history, serving
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Serving

# What a file need not say.
_LEFT_OUT: tuple[Any, ...] = ([], {}, None, "newest")


def rewritten(text: str, wanted: Serving) -> str:
    """A serving.toml with its comments and order, changed to ask for something else.

    ServingError where that would be a mistake.
    """
    try:
        file = tomlkit.parse(text)
    except (ValueError, RecursionError):  # kept all the same, as there may be work in it
        file = tomlkit.parse("".join(f"# {line}\n" for line in text.splitlines()))
    for key in file.keys() - set(Serving.__struct_fields__):
        del file[key]
    for key in wanted.__struct_fields__:
        _put(file, key, msgspec.to_builtins(getattr(wanted, key)))
    changed = tomlkit.dumps(file)
    if not changed.strip():  # an empty file would be a mistake
        changed = 'load = "newest"\n'
    if serving.parse(changed) != wanted:
        raise ServingError(f"{serving.FILE} is written in a way that cannot be changed here: edit it by hand")
    return changed


def _put(file: MutableMapping[str, Any], key: str, value: Any) -> None:
    """A value where there is another one, item by item in tables, so that comments stay."""
    value = list(value) if isinstance(value, tuple) else value
    if key in file and file[key] == value:
        return
    if value in _LEFT_OUT:
        file.pop(key, None)
    elif isinstance(value, dict) and isinstance(file.get(key), MutableMapping):
        for item in file[key].keys() - value.keys():
            del file[key][item]
        for item, part in value.items():
            _put(file[key], item, part)
    else:
        file[key] = value


def write(folder: Path, text: str, now: Deployment, record: Record) -> None:
    """Into the history, then into the file; whatever is raised, such as OSError: in neither.

    Within history.alone, so that nobody else is waited for.
    """
    path = (folder / serving.FILE).resolve()
    fresh = path.with_name(f".{serving.FILE}.new")
    try:
        _store(fresh, text, path)
        if now.versions and not now.mistake:
            history.append(folder, deployment.record(now, by="as found"), wait=False)
        _swap(fresh, path, folder, record)
    finally:
        fresh.unlink(missing_ok=True)


def _swap(fresh: Path, path: Path, folder: Path, record: Record) -> None:
    appended = False
    try:
        appended = history.append(folder, record, wait=False)
        os.replace(fresh, path)
    except BaseException:
        # Ctrl-C may come just after it was replaced.
        if appended and fresh.exists():
            with contextlib.suppress(OSError):
                history.withdraw(folder, record, wait=False)
        raise


def _store(fresh: Path, text: str, path: Path) -> None:
    """A file on disk, whose owner and readers are those of the one it is to replace."""
    fresh.unlink(missing_ok=True)
    with fresh.open("x", encoding="utf-8", newline="") as file:
        history.hand_over(file.fileno(), path if path.exists() else path.parent)
        if path.exists():
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
