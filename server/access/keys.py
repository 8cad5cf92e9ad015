"""API keys: the file that lists them, hashed, and the text that a client sends.

    [[key]]
    name = "web-shop"
    sha256 = "..."                       of the key itself, in hexadecimal
    scopes = ["predict:iris", "read"]
    expires = 2027-01-01T00:00:00Z       by default never
    rate_limit = 50                      by default that of the server
    rate_burst = 100

A key is 32 random bytes, so nobody can guess one from its hash, and a slow hash as passwords need it would
only cost time on each request.
"""

import hashlib
import secrets
import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from unpickled.server.access import scopes
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import disk
from unpickled.server.quote import quoted

# A constant beginning lets scanners find keys that were published by mistake.
PREFIX = "unp_"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
# Longest file that is read, in bytes: some 100,000 keys.
LONGEST = 32 * 1024 * 1024


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of the file: the name of a caller, the hash of its key, and what the key is for."""

    name: Annotated[str, Meta(pattern=NAME)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[str, ...], Meta(min_length=1)]
    # A datetime with a zone, or a date: msgspec has no union of the two.
    expires: Any = None
    rate_limit: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    rate_burst: Annotated[int, Meta(ge=1, le=10**9)] | None = None

    @property
    def end(self) -> datetime | None:
        """When the key expires: a date alone is its first moment, in UTC."""
        if isinstance(self.expires, datetime):
            return self.expires
        return None if self.expires is None else datetime.combine(self.expires, time(), UTC)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: tuple[Key, ...] = ()


def fresh() -> str:
    """A new key: 256 random bits, as text."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(key: str) -> str:
    """The hash of a key, as the file has it."""
    return hashlib.sha256(key.encode("latin-1", "replace")).hexdigest()


def read(path: str) -> tuple[Key, ...]:
    """The keys of a file.

    Raises:
        ConfigError: The file cannot be read, or an entry is wrong; the sentence names it.
    """
    return parse(content_of(path), path)


def content_of(path: str) -> bytes:
    """The content of a file; ConfigError where it cannot be read, or is too long for one of keys."""
    try:
        with disk.opened(Path(path)) as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"the keys of api_keys cannot be read from {path} ({error.strerror}): "
            f"create the file with `unpickled keys add NAME --scopes read --api-keys {path}`"
        ) from None
    if len(content) > LONGEST:
        raise ConfigError(f"{path} is longer than {LONGEST} bytes: it is no file of API keys")
    return content


def parse(content: bytes, path: str) -> tuple[Key, ...]:
    """The keys in the content of a file; ConfigError where it is wrong, which ``path`` names."""
    try:
        entries = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    try:
        keys = msgspec.convert(entries, _File).key
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path} is no file of API keys: {_placed(str(error), entries)}") from None
    _check(keys, path)
    return keys


def _check(keys: tuple[Key, ...], path: str) -> None:
    names: set[str] = set()
    digests: dict[str, str] = {}
    for number, key in enumerate(keys, start=1):
        place = f"key {number} ({key.name}) in {path}"
        scopes.check(key.scopes, place)
        _check_end(key, place)
        if key.name in names:
            raise ConfigError(f"{place} has the name of another one: choose another name")
        if key.sha256 in digests:
            raise ConfigError(f"{place} has the same sha256 as {digests[key.sha256]}: remove one of them")
        names.add(key.name)
        digests[key.sha256] = key.name


def _check_end(key: Key, place: str) -> None:
    if isinstance(key.expires, datetime) and key.expires.tzinfo is None:
        raise ConfigError(f"{place} expires at a time without a zone: write {key.expires.isoformat()}Z")
    if key.expires is not None and not isinstance(key.expires, date):
        raise ConfigError(f"{place} expires at {quoted(key.expires)}: write 2027-12-31, without quotes")


def _placed(reason: str, entries: dict[str, object]) -> str:
    """The sentence of msgspec, with the number and the name of the entry in place of its index."""
    text = reason.replace("`", "")
    listed = entries.get("key")
    for index, entry in enumerate(listed if isinstance(listed, list) else []):
        name = entry.get("name") if isinstance(entry, dict) else None
        text = text.replace(f"$.key[{index}]", f"key {index + 1}{f' ({quoted(name)})' if name else ''}")
    return text
