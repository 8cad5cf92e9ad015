"""The public keys that sign tokens: a JWK Set in a file or at an https address (RFC 7517).

The file is read again when it changes. The address is asked every ten minutes, and when a token names a key
that is not known, but never while a request waits. If it cannot be reached, the keys stay.
"""

import logging
import threading
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from unpickled.server.access import copies
from unpickled.server.access.copies import Copies
from unpickled.server.errors import ConfigError, NotReady, RequestError
from unpickled.server.follower import INTERVAL, follow
from unpickled.server.lifecycle import disk
from unpickled.server.message import strict
from unpickled.server.quote import quoted

logger = logging.getLogger("unpickled")

# Seconds between two fetches: as a rule, after a failure, and where a token names an unknown key.
_EVERY, _AGAIN, _ASKED = 600.0, 5.0, 30.0
# Longest wait for a part of the answer, and for all of it, in seconds; longest answer, in bytes.
_TIMEOUT, _DEADLINE, LONGEST = 5.0, 15.0, 1024 * 1024

Signer = Mapping[str, Any]


class Signers:
    """The keys of one source, by what a token says of its key."""

    interval = INTERVAL

    def __init__(self, source: str, kept: Copies) -> None:
        """Read the source, or else the copy that is ``kept`` of it.

        Without a copy, an address that does not answer is asked again, while a wrong file ends the start.

        Raises:
            ConfigError: The source is no https address, or no file with a JWK Set.
        """
        self._source = source
        self._kept = kept
        self._remote = "://" in source
        if self._remote and urlsplit(source).scheme != "https":
            raise ConfigError(f"jwks is {quoted(source)}: an address has to begin with https://")
        copy = kept.saved(copies.SIGNERS)
        self._keys = None if copy is None else _parsed(copy, source)
        # None before the first look.
        self._stamp: disk.Stamp | None = None
        self._next = 0.0
        self._earliest = 0.0
        self._reported = ""
        self.generation = 0
        self._woken = threading.Event()
        if self._remote or self._keys is not None:
            self.refresh()
        else:
            self._stamp = disk.stamp(source)
            self._keys = self._read()

    def start(self) -> None:
        """Follow the source from now on, until this object is released."""
        self._woken = follow(self, "jwks")

    def of(self, name: str | None) -> list[Signer]:
        """The keys of that name; all keys where a token names none.

        Raises:
            NotReady: The keys could not be fetched yet.
        """
        if self._keys is None:
            raise NotReady(
                "the keys that sign tokens could not be fetched yet: ask again",
                headers={"Retry-After": f"{_AGAIN:.0f}"},
            )
        keys = [key for key in self._keys if name is None or key.get("kid") == name]
        if not keys and self._remote and time.monotonic() >= self._earliest:
            self._next = 0.0
            self._woken.set()
        return keys

    def refresh(self) -> None:
        """Read the source again if that is due."""
        now = time.monotonic()
        changed = self._remote or (found := disk.stamp(self._source)) != self._stamp
        if not changed or now < self._next:
            return
        if self._remote:
            self._next, self._earliest = now + _AGAIN, now + _ASKED
        else:
            self._stamp = found
        try:
            keys = self._read()
        except ConfigError as error:
            self._report(str(error))
            return
        if self._remote:
            self._next = now + _EVERY
        self._reported = ""
        if keys != self._keys:
            self._keys = keys
            self.generation += 1

    def _read(self) -> tuple[Signer, ...]:
        content = _fetched(self._source) if self._remote else _content_of(self._source)
        keys = _parsed(content, self._source)
        self._kept.save(copies.SIGNERS, content)
        return keys

    def _report(self, reason: str) -> None:
        if reason != self._reported:
            self._reported = reason
            stays = (
                "the ones known stay" if self._keys is not None else "tokens are refused until they are known"
            )
            logger.error("the keys that sign tokens were not read, and %s: %s", stays, reason)


def _content_of(path: str) -> bytes:
    try:
        with disk.opened(Path(path)) as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise ConfigError(
            f"the keys of jwks cannot be read from {path} ({error.strerror}): "
            "name a file, or an address that begins with https://"
        ) from None


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https alone: elsewhere, anybody on the way could put keys of their own in."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme != "https":
            raise OSError(f"it redirects to {quoted(newurl)}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetched(address: str) -> bytes:
    request = urllib.request.Request(
        address, headers={"Accept": "application/json", "User-Agent": "unpickled"}
    )
    try:
        with urllib.request.build_opener(_OnlyHttps).open(request, timeout=_TIMEOUT) as answer:
            return _content(answer)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{address} cannot be fetched: {getattr(error, 'reason', None) or error}") from None


def _content(answer: IO[bytes]) -> bytes:
    """The body, read for a bounded time: a server that sends a byte a second would never time out."""
    parts, size, deadline = [], 0, time.monotonic() + _DEADLINE
    while size <= LONGEST and (part := answer.read1(64 * 1024)):  # type: ignore[attr-defined]
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise OSError(f"it takes more than {_DEADLINE:.0f} s")
    return b"".join(parts)


def _parsed(content: bytes, source: str) -> tuple[Signer, ...]:
    """The keys of a JWK Set that may verify a signature; keys with a shared secret are left out."""
    if len(content) > LONGEST:
        raise ConfigError(f"{source} is longer than {LONGEST} bytes: it is no JWK Set")
    try:
        document = strict.parse(content)
    except RequestError:
        raise ConfigError(f"{source} is no JSON, and so {_NO_SET}") from None
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(key, dict) for key in listed):
        raise ConfigError(f"{source} is {_NO_SET}")
    keys = tuple(key for key in listed if key.get("kty") in _TYPES and key.get("use", "sig") == "sig")
    if not keys:
        raise ConfigError(f"{source} has no public key that signs: its keys are {_kinds(listed)}")
    return keys


# The end of a sentence about a document of another kind.
_NO_SET = 'no JWK Set, which looks like {"keys": [{"kty": "RSA", ...}]}'
# Types of keys that have a public half.
_TYPES = {"RSA", "EC", "OKP"}


def _kinds(keys: list[Any]) -> str:
    return ", ".join(sorted({str(key.get("kty")) for key in keys})) or "none"
