"""Redis Streams: redis://host/stream, or rediss://host/stream over TLS. One server, or what answers like one.

An entry of a stream is a message: its field ``data`` has the body, ``key`` perhaps the key. An answer is an
entry with ``data`` and ``id``, and ``key`` where its message has one. Options of an address:

    db       number of the database
    field    another name for the field with the body
    key      another name for the field with the key
    ca       file with the authorities that sign the server's certificate, as PEM; for rediss
    maxlen   of a target: about how many entries the stream keeps, so that the oldest go
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.retry import Retry

from unpickled.server.errors import ConfigError
from unpickled.server.quote import quoted
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Answer, BrokerAway, Message, SourceOptions

_PORT = 6379
# Seconds that a server may take to answer, longer than any wait for messages.
_PATIENCE = 15.0
# Errors that go away by themselves: a restart, a change of the master, a full memory or disk. The library has
# classes for some, and takes their codes off their texts; the texts of the others begin like this.
_PASSING = (ClusterDownError, OutOfMemoryError, ReadOnlyError)
_PASSING_TEXTS = ("NOGROUP", "MISCONF", "NOREPLICAS", "BUSY ", "UNBLOCKED", "no such key")
# The field of an answer with the id of its message.
_ID = "id"
_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)


def source(address: Address, options: SourceOptions) -> "RedisSource":
    """The source of an address; ConfigError where an option is wrong."""
    address.check_options("db", "field", "key", "ca")
    return RedisSource(address, options)


def target(address: Address) -> "RedisTarget":
    """The target of an address; ConfigError where an option is wrong."""
    address.check_options("db", "field", "key", "ca", "maxlen")
    return RedisTarget(address)


class RedisSource:
    """One member of a group that reads a stream.

    Redis gives a message to one member and keeps it for that one. A member asks now and then for what others
    have held for too long, and after a reconnection for what it holds itself.
    """

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._address = address
        self._options = options
        self._client = _client(address)
        self._stream, self._group, self._member = address.path, options.group, options.member
        self._body, self._key = (_field(address, name) for name in ("field", "key"))
        self._is_connected = False
        # The entry behind which the group begins, should it have to be created: all up to there are done.
        self._origin = "0" if options.first else "$"
        # Whether this member may hold messages that it does not know of: their delivery was cut off.
        self._has_own = True
        self._next_look = 0.0

    def receive(self, most: int, seconds: float) -> Sequence[Message]:
        """See Source. Messages that were delivered before come first, and one of them alone at its third
        delivery and later ones: it may be the one that ends processes.
        """
        with self._answering():
            return self._left(most) or self._fresh(most, seconds)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See Source."""
        with self._answering():
            self._client.xack(self._stream, self._group, *(message.id for message in messages))

    def hold(self, messages: Sequence[Message]) -> None:
        """See Holder."""
        with self._answering():
            self._claim([message.id for message in messages], 0, justid=True)

    def lag(self) -> int | None:
        """See Source: entries that no member has got, and those that are not acknowledged."""
        with self._answering():
            return self._look()

    def close(self) -> None:
        """See Source. A member that holds nothing is forgotten by the group."""
        with suppress(redis.RedisError):
            if self._is_connected and not self._pending(1, self._member):
                self._client.xgroup_delconsumer(self._stream, self._group, self._member)
        self._client.close()

    def _connect(self) -> None:
        """Create the group, and the stream where it does not exist."""
        try:
            self._client.xgroup_create(self._stream, self._group, self._beginning(), mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self._look()
        if self._origin == "$":
            # Others hold messages of the group.
            self._origin = "0"
        self._is_connected = True

    def _beginning(self) -> str:
        """The id behind which a group begins that is created, perhaps again."""
        if self._origin in ("0", "$"):
            return self._origin
        try:
            last = self._client.xinfo_stream(self._stream)["last-generated-id"]
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            last = b"0-0"
        # Another stream with this name may have lower ids.
        return self._origin if _order(last) >= _order(self._origin.encode()) else "0"

    def _look(self) -> int | None:
        """Entries that no member has got or acknowledged; None where the server does not tell."""
        for group in self._client.xinfo_groups(self._stream):
            if group["name"] == self._group.encode():
                pending, waiting = int(group["pending"]), group.get("lag")
                if not pending:
                    self._origin = group["last-delivered-id"].decode()
                # Older servers do not tell, and none does where entries were deleted by hand.
                return None if waiting is None else int(waiting) + pending
        return None

    def _fresh(self, most: int, seconds: float) -> list[Message]:
        """New messages, until there are ``most`` or the seconds are over."""
        messages: list[Message] = []
        deadline = time.monotonic() + seconds
        while len(messages) < most:
            pause = max(1, round(1000 * (deadline - time.monotonic())))
            reply = self._client.xreadgroup(
                self._group, self._member, {self._stream: ">"}, most - len(messages), pause
            )
            messages += [self._message(entry, 1) for _, entries in reply or () for entry in entries]
            if time.monotonic() >= deadline:
                break
        return messages

    def _left(self, most: int) -> list[Message]:
        """Messages that were delivered before and not acknowledged."""
        if self._has_own:
            counts = self._pending(most, self._member)
            self._has_own = bool(counts)
            return self._taken(counts, 0)
        if time.monotonic() < self._next_look:
            return []
        idle = round(1000 * self._options.idle)
        counts = self._pending(most, None, idle)
        if len(counts) < most:
            self._next_look = time.monotonic() + self._options.idle / 4
        return self._taken(counts, idle)

    def _pending(self, most: int, member: str | None, idle: int | None = None) -> dict[bytes, int]:
        """How often each message was delivered that a member, or any, holds for at least ``idle`` ms."""
        entries = self._client.xpending_range(self._stream, self._group, "-", "+", most, member, idle)
        return {entry["message_id"]: entry["times_delivered"] for entry in entries}

    def _taken(self, counts: Mapping[bytes, int], idle: int) -> list[Message]:
        """These messages, now held by this member; those that were delivered once, or else one alone."""
        chosen = [identity for identity, count in counts.items() if count < 2] or list(counts)[:1]
        if not chosen:
            return []
        entries = self._claim(chosen, idle)
        return [self._message(entry, counts[entry[0]] + 1) for entry in entries if entry[1] is not None]

    def _claim(self, identities: Sequence[Any], idle: int, justid: bool = False) -> list[Any]:
        claimed: list[Any] = self._client.xclaim(
            self._stream, self._group, self._member, idle, identities, justid=justid
        )
        return claimed

    def _message(self, entry: tuple[bytes, Mapping[bytes, bytes]], deliveries: int) -> Message:
        identity, fields = entry
        body, fault = fields.get(self._body), ""
        if body is None:
            body = b"\n".join(b"%b: %b" % pair for pair in fields.items())
            fault = f"the entry has no field {quoted(self._body.decode())}, which has the body"
        key = fields.get(self._key, b"").decode("utf-8", "replace")
        return Message(id=identity.decode(), body=body, key=key, deliveries=deliveries, fault=fault)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """A connection to a server that answers; BrokerAway, ConfigError."""
        try:
            with _translated(self._address):
                if not self._is_connected:
                    self._connect()
                yield
        except BrokerAway:
            self._is_connected, self._has_own = False, True
            self._client.connection_pool.disconnect()
            raise


class RedisTarget:
    """Appends to a stream."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = _client(address)
        self._maxlen = address.number("maxlen", 1)
        self._body, self._key = (_field(address, name).decode() for name in ("field", "key"))
        if len({self._body, self._key, _ID}) < 3:
            raise ConfigError(f"two fields of {address} have one name: give field, key and {_ID} three names")

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        with _translated(self._address):
            if not answers:
                self._check()
                return
            pipeline = self._client.pipeline(transaction=False)
            for answer in answers:
                fields: dict[Any, Any] = {self._body: answer.body, _ID: answer.id}
                if answer.key:
                    fields[self._key] = answer.key
                pipeline.xadd(self._address.path, fields, maxlen=self._maxlen)
            # The library itself would raise an error with the whole command, thus the answer, in its text.
            for result in pipeline.execute(raise_on_error=False):
                if isinstance(result, Exception):
                    raise result

    def _check(self) -> None:
        """ConfigError where the name is that of something else than a stream."""
        # A user may have the right to append and no other.
        with suppress(NoPermissionError):
            kind = self._client.type(self._address.path).decode()
            if kind not in ("none", "stream"):
                raise ConfigError(f"{self._address} is a {kind}, not a stream: choose another name")

    def close(self) -> None:
        """See Target."""
        self._client.close()


def _client(address: Address) -> Any:
    """A client that has not connected yet, and tries nothing twice: the consumer does, and says so."""
    host = address.only_host(_PORT)
    return redis.Redis(
        host.name,
        host.port or _PORT,
        address.number("db") or 0,
        address.password or None,
        username=address.user or None,
        socket_timeout=_PATIENCE,
        socket_connect_timeout=_PATIENCE,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **_encryption(address),
    )


def _encryption(address: Address) -> dict[str, Any]:
    authorities = address.options.get("ca")
    if address.scheme == "redis":
        if authorities is not None:
            raise ConfigError(f"ca is for rediss://, and {address} is not encrypted: leave one of them out")
        return {}
    if authorities is not None and not Path(authorities).is_file():
        raise ConfigError(f"ca of {address} is {quoted(authorities)}, which is no file")
    return {"ssl": True, "ssl_ca_certs": authorities}


def _order(identity: bytes) -> tuple[int, ...]:
    return tuple(int(number) for number in identity.split(b"-"))


def _field(address: Address, option: str) -> bytes:
    return (address.options.get(option) or {"field": "data", "key": "key"}[option]).encode()


@contextmanager
def _translated(address: Address) -> Iterator[None]:
    """Turn the library's errors into ours: BrokerAway, or ConfigError where waiting would not help."""
    try:
        yield
    except _REFUSED as error:
        raise ConfigError(
            f"{address.server} refuses the user ({error}): correct user and password of the address, or give "
            "the user permission"
        ) from None
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise BrokerAway(_reason(error)) from None
    except InvalidResponse as error:
        raise ConfigError(f"{address.server} does not answer as Redis does: correct host and port") from error
    except _PASSING as error:
        raise BrokerAway(_reason(error)) from None
    except redis.ResponseError as error:
        if str(error).startswith(_PASSING_TEXTS):
            raise BrokerAway(_reason(error)) from None
        raise ConfigError(f"{address} cannot be used: {error}") from None


def _reason(error: Exception) -> str:
    """The system's word for what failed, or else the library's."""
    cause = error.__cause__ or error.__context__
    if isinstance(error, redis.TimeoutError):
        return "no answer in time"
    reason = str(getattr(cause, "strerror", None) or error).rstrip(".")
    # A code of the server stays as it is.
    return reason if reason[:2].isupper() else reason[:1].lower() + reason[1:]
