"""Changing the file of API keys: an entry is added or removed, and every other line stays as it is."""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path

from unpickled.server.access import keys
from unpickled.server.access.keys import Key
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle import disk
from unpickled.server.lifecycle.history import hand_over
from unpickled.server.system import fcntl

_HEAD = "[[key]]"
_BEGIN = "# API keys, hashed: `unpickled keys` changes this file, and servers follow within a second.\n"


def added(text: str, key: Key) -> str:
    """The text of a file with one more key at its end."""
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return f"{text or _BEGIN}{gap or chr(10)}{_entry(key)}"


def removed(text: str, name: str) -> str:
    """The text of a file without the key of that name; its lines end where the next entry begins."""
    lines = text.splitlines(keepends=True)
    heads = [index for index, line in enumerate(lines) if line.strip().startswith(_HEAD)]
    index = [key.name for key in keys.parse(text.encode(), "it")].index(name)
    if index >= len(heads):
        return text
    end = heads[index + 1] if index + 1 < len(heads) else len(lines)
    return "".join(lines[: heads[index]] + lines[end:])


def change(path: Path, rewrite: Callable[[str, tuple[Key, ...]], str]) -> None:
    """Replace the file by what ``rewrite`` makes of its text and its keys; one program changes it at a time.

    Raises:
        ConfigError: The file is wrong.
        ServingError: The file cannot be written, or is laid out in a way that cannot be changed here.
    """
    try:
        with _alone(path.resolve().parent):
            content = _content(path)
            text = rewrite(content.decode(), keys.parse(content, str(path)))
            _replace(path.resolve(), text)
    except OSError as error:
        raise ServingError(f"nothing has changed, as {path} cannot be written: {error.strerror}") from None


def _entry(key: Key) -> str:
    fields = [f'name = "{key.name}"', f'sha256 = "{key.sha256}"']
    fields.append(f"scopes = [{', '.join(_quoted(scope) for scope in key.scopes)}]")
    if key.end is not None:
        fields.append(f"expires = {key.end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    if key.rate_limit is not None:
        fields.append(f"rate_limit = {key.rate_limit!r}")
    if key.rate_burst is not None:
        fields.append(f"rate_burst = {key.rate_burst}")
    return "\n".join([_HEAD, *fields, ""])


def _quoted(text: str) -> str:
    """A TOML string: the name of a model may have any character."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in escaped) + '"'
    )


def _content(path: Path) -> bytes:
    try:
        with disk.opened(path) as file:
            return file.read()
    except FileNotFoundError:
        return b""


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder of the file, which itself is replaced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    """Write a new file beside the old one, with its owner and permissions, and put it in its place."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        with fresh.open("x", encoding="utf-8", newline="") as file:
            hand_over(file.fileno(), path if path.exists() else path.parent)
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
