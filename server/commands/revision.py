"""Rewriting serving.toml and adding to the history: both files change, or neither does."""

import contextlib
import os
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import tomlkit

from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Serving

# Default values, which the file leaves out.
_DEFAULTS: tuple[Any, ...] = ([], {}, None, "newest")
_BY_HAND = ("inputs", "judge")


def rewritten(text: str, desired: Serving) -> str:
    """Change the text of a serving.toml so that it asks for ``desired``; comments and order stay.

    Raises:
        ServingError: The text is written in a way that cannot be changed here.
    """
    try:
        file = tomlkit.parse(text)
    except (ValueError, RecursionError):  # keep the lines as comments, as somebody wrote them
        file = tomlkit.parse("".join(f"# {line}\n" for line in text.splitlines()))
    for key in file.keys() - set(Serving.__struct_fields__):
        del file[key]
    # No command changes the policy for inputs and the rules of the judge: they stay as somebody wrote them.
    kept = {key for key in _BY_HAND if _written(text, key) == getattr(desired, key)}
    for key in desired.__struct_fields__:
        if key not in kept:
            _replace(file, key, msgspec.to_builtins(getattr(desired, key)))
    changed = tomlkit.dumps(file)
    if not changed.strip():  # servers refuse an empty file
        changed = 'load = "newest"\n'
    if serving.parse(changed) != desired:
        raise ServingError(f"{serving.FILE} is written in a way that cannot be changed here: edit it by hand")
    return changed


def _written(text: str, key: str) -> object:
    """The value of a key in a serving.toml; None where the text is none, or has a mistake."""
    try:
        return getattr(serving.parse(text), key)
    except ServingError:
        return None


def _replace(file: MutableMapping[str, Any], key: str, value: Any) -> None:
    """Replace a value; tables are changed item by item, so that comments stay."""
    value = list(value) if isinstance(value, tuple) else value
    if key in file and file[key] == value:
        return
    if value in _DEFAULTS:
        file.pop(key, None)
    elif isinstance(value, dict) and isinstance(file.get(key), MutableMapping):
        for item in file[key].keys() - value.keys():
            del file[key][item]
        for item, part in value.items():
            _replace(file[key], item, part)
    else:
        file[key] = value


def write(folder: Path, text: str, current: Deployment, record: Record) -> None:
    """Write the history, then serving.toml; where one of them fails, both are as before.

    Args:
        folder: The model's folder, locked by ``history.alone``.
        text: The new serving.toml.
        current: The deployment before the change; it is recorded first if the history lacks it.
        record: The record of the deployment after the change.

    Raises:
        OSError: A file cannot be written.
    """
    path, fresh = _paths(folder)
    try:
        _store(fresh, text, path)
        if current.versions and not current.mistake:
            history.append(folder, current.record(by="as found"), wait=False)
        _swap(fresh, path, folder, record)
    finally:
        fresh.unlink(missing_ok=True)


def take_back(folder: Path, current: Deployment) -> None:
    """Take back the record of a change that was killed before serving.toml was replaced.

    A rollback would lead to what has never been served, and a judge would take it for a share of traffic that
    somebody has withdrawn.

    Args:
        folder: The model's folder, locked by ``history.alone``.
        current: The deployment in force.

    Raises:
        OSError: A file cannot be read or written.
    """
    _, fresh = _paths(folder)
    if not fresh.exists() or not current.versions or current.mistake:
        return
    records = history.read(folder)
    if records and records[-1].state() != current.record(by="").state():
        history.withdraw(folder, records[-1], wait=False)
    fresh.unlink(missing_ok=True)


def _paths(folder: Path) -> tuple[Path, Path]:
    """The serving.toml of a model, and the file that replaces it."""
    path = (folder / serving.FILE).resolve()
    return path, path.with_name(f".{serving.FILE}.new")


def _swap(fresh: Path, path: Path, folder: Path, record: Record) -> None:
    appended = False
    try:
        appended = history.append(folder, record, wait=False)
        os.replace(fresh, path)
    except BaseException:
        # An interrupt may come after the file was replaced: the record then stays.
        if appended and fresh.exists():
            with contextlib.suppress(OSError):
                history.withdraw(folder, record, wait=False)
        raise


def _store(fresh: Path, text: str, path: Path) -> None:
    """Write a new file with the owner and the permissions of the file that it will replace."""
    fresh.unlink(missing_ok=True)
    with fresh.open("x", encoding="utf-8", newline="") as file:
        history.hand_over(file.fileno(), path if path.exists() else path.parent)
        if path.exists():
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
