"""Recognizing callers: by a key or a token, or, where neither is asked for, by their address.

A caller is remembered by the header that it sent, so that its next request costs one look-up. The memory is
bounded, and forgets everything after a minute: no key stays there for long, and each is checked again.
"""

import ipaddress
import time
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from unpickled.server.access.buckets import Bucket, Buckets
from unpickled.server.access.caller import Caller
from unpickled.server.access.copies import Copies
from unpickled.server.access.keys import Key
from unpickled.server.access.ring import Ring
from unpickled.server.access.scopes import ALL, Scopes
from unpickled.server.access.signers import Signers
from unpickled.server.config import Access
from unpickled.server.errors import ConfigError, Unauthorized
from unpickled.server.follower import INTERVAL, follow
from unpickled.server.observe.counters import Block, Memory
from unpickled.server.observe.keyed import Keyed

if TYPE_CHECKING:
    from unpickled.server.access.tokens import Claims, Tokens

# Seconds for which a caller is remembered, and the most callers.
_REMEMBERED, _MOST = 60.0, 10_000
# Seconds after which a look-up reads changed files itself: no thread survives the fork of some servers.
_OUTDATED = 5.0

Environ = Mapping[str, Any]


class Callers:
    """The callers that this process has recognized.

    Attributes:
        known: Caller by the value of the environment entry ``first``, or else ``second``.
        first, second: The entries by which callers are known.
    """

    first = second = ""
    interval = INTERVAL

    def __init__(self) -> None:
        self.known: dict[str | None, Caller] = {}
        self._began = time.monotonic()

    def start(self) -> None:
        """Follow what changes on disk and elsewhere, until this object is released."""
        follow(self, "callers")

    def find(self, environ: Environ) -> Caller:
        """The caller of a request; Unauthorized where it is none."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Forget callers that have been remembered for long."""
        now = time.monotonic()
        if now - self._began > _REMEMBERED or len(self.known) >= _MOST:
            self.forget()

    def forget(self) -> None:
        """Recognize every caller anew."""
        self.known, self._began = {}, time.monotonic()

    def remember(self, value: str, caller: Caller) -> Caller:
        """The same caller, which is known by that value from now on."""
        if len(self.known) >= _MOST:
            self.forget()
        self.known[value] = caller
        return caller


class Addresses(Callers):
    """Callers without keys, by the address that they send from: each may do everything, but not too often."""

    first = second = "REMOTE_ADDR"

    def __init__(self, access: Access, buckets: Buckets) -> None:
        super().__init__()
        assert access.rate_limit is not None
        self._rate, self._burst, self._buckets = access.rate_limit, access.rate_burst, buckets

    def find(self, environ: Environ) -> Caller:
        """The caller at the address of a request; those behind a Unix socket are one."""
        address = environ.get("REMOTE_ADDR") or ""
        caller = self.known.get(address)
        if caller is None or caller.until <= time.monotonic():
            bucket = self._buckets.of(f"address:{_network(address)}", self._rate, self._burst)
            caller = self.remember(address, Caller("", ALL, time.monotonic() + _REMEMBERED, bucket, None))
        return caller


class Holders(Callers):
    """Callers with keys or tokens."""

    first, second = "HTTP_AUTHORIZATION", "HTTP_X_API_KEY"

    def __init__(
        self, access: Access, buckets: Buckets, keyed: Keyed, ring: Ring | None, tokens: "Tokens | None"
    ) -> None:
        super().__init__()
        self._access, self._buckets, self._keyed = access, buckets, keyed
        self._ring, self._tokens = ring, tokens
        # Tokens that were found valid, by their hash: a signature takes a hundred times as long to check.
        self._valid: dict[bytes, Claims] = {}
        self._generation = 0
        self._looked = time.monotonic()

    def start(self) -> None:
        """Follow the keys, and those that sign tokens."""
        super().start()
        if self._tokens is not None:
            self._tokens.signers.start()

    def refresh(self) -> None:
        """Read keys again where they have changed; every caller is then recognized anew."""
        self._looked = time.monotonic()
        changed = self._ring is not None and self._ring.refresh()
        if self._tokens is not None and self._tokens.signers.generation != self._generation:
            self._generation = self._tokens.signers.generation
            self._valid, changed = {}, True
        if changed:
            self.forget()
        super().refresh()

    def find(self, environ: Environ) -> Caller:
        """The caller with the key or token of a request.

        Raises:
            Unauthorized: There is none, or it is unknown or has expired.
            NotReady: The keys that sign tokens could not be fetched yet.
        """
        now = time.monotonic()
        if now - self._looked > _OUTDATED:
            self.refresh()
        value, secret = _presented(environ)
        caller = self.known.get(value)
        if caller is not None and now < caller.until:
            return caller
        return self.remember(value, self._recognized(secret))

    def _recognized(self, secret: str) -> Caller:
        key = self._ring.find(secret) if self._ring is not None else None
        if key is not None:
            return self._holder(key)
        if self._tokens is not None and secret.count(".") == 2:
            return self._bearer(self._tokens, secret)
        raise _refused("the key is not known here: it is misspelt, or was revoked")

    def _holder(self, key: Key) -> Caller:
        left = (key.end - datetime.now(key.end.tzinfo)).total_seconds() if key.end else _REMEMBERED
        if left <= 0:
            raise _refused(f"the key of {key.name} has expired: ask for a new one")
        rate = key.rate_limit or self._access.rate_limit
        # The server's burst belongs to the server's rate.
        burst = key.rate_burst or (None if key.rate_limit else self._access.rate_burst)
        bucket = self._buckets.of(f"key:{key.name}", rate, burst) if rate else None
        return self._caller(key.name, Scopes.of(key.scopes), left, bucket)

    def _bearer(self, tokens: "Tokens", token: str) -> Caller:
        digest = sha256(token.encode("latin-1", "replace")).digest()
        claims = self._valid.get(digest)
        if claims is None:
            claims = tokens.read(token)
            if len(self._valid) >= _MOST:
                self._valid = {}
            self._valid[digest] = claims
        left = claims.expires - time.time()
        if left <= 0:
            raise _refused("the token has expired: ask for a new one")
        rate, burst = self._access.rate_limit, self._access.rate_burst
        bucket = self._buckets.of(f"token:{claims.name}", rate, burst) if rate else None
        return self._caller(claims.name, Scopes.of(claims.scopes), left, bucket)

    def _caller(self, name: str, scopes: Scopes, left: float, bucket: Bucket | None) -> Caller:
        until = time.monotonic() + min(left, _REMEMBERED)
        return Caller(name, scopes, until, bucket, self._keyed.of(name))


def callers(access: Access, memory: Memory, block: Block, kept: Copies | None = None) -> Callers | None:
    """Those that the settings ask for; None where everybody may send any number of requests.

    ``kept`` are the copies of files that the processes of one server share; without it, there are none.

    Raises:
        ConfigError: A setting lacks another one, or a file is wrong, or the extra for tokens is missing.
    """
    _check(access)
    buckets = Buckets(memory.common)
    if access.api_keys is None and access.jwks is None:
        return Addresses(access, buckets) if access.rate_limit is not None else None
    kept = kept or Copies()
    ring = Ring(access.api_keys, kept) if access.api_keys is not None else None
    tokens = _tokens(access, kept) if access.jwks is not None else None
    return Holders(access, buckets, Keyed(block), ring, tokens)


def _check(access: Access) -> None:
    """ConfigError where a setting does nothing without another one."""
    for key, needed in (("jwt_audience", "jwks"), ("jwt_issuer", "jwks")):
        if getattr(access, key) is not None and getattr(access, needed) is None:
            raise ConfigError(f"{key} does nothing without {needed}: set {needed}, or leave {key} out")
    if access.rate_burst is not None and access.rate_limit is None and access.api_keys is None:
        raise ConfigError(
            "rate_burst does nothing without rate_limit: set rate_limit, or leave rate_burst out"
        )


def _tokens(access: Access, kept: Copies) -> "Tokens":
    try:
        # Imported here, as it belongs to an extra.
        from unpickled.server.access.tokens import Tokens
    except ModuleNotFoundError as error:
        raise ConfigError(f"jwks needs {error.name}: pip install 'unpickled[jwt]'") from None
    return Tokens(access, Signers(access.jwks or "", kept))


def _presented(environ: Environ) -> tuple[str, str]:
    """The header with the key or token of a request, and the key or token itself."""
    header = environ.get("HTTP_AUTHORIZATION") or ""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return header, rest.strip()
    value = environ.get("HTTP_X_API_KEY") or ""
    if value.strip():
        return value, value.strip()
    raise Unauthorized(
        "the request has no key: send one as `Authorization: Bearer <key>`, or in an X-API-Key header",
        headers={"WWW-Authenticate": 'Bearer realm="unpickled"'},
    )


def _refused(reason: str) -> Unauthorized:
    return Unauthorized(
        reason, headers={"WWW-Authenticate": 'Bearer realm="unpickled", error="invalid_token"'}
    )


def _network(address: str) -> str:
    """The address, or the /64 network of an IPv6 address: one customer has all of that."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
