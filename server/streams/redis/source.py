"""A stream of Redis as a source, such as redis://host/stream, or rediss://host/stream over TLS.

An entry of a stream is a message: its field ``data`` has the body, ``key`` perhaps the key. An answer is an
entry with ``data`` and ``id``, and ``key`` where its message has one. Options of an address:

    db       number of the database
    field    another name for the field with the body
    key      another name for the field with the key
    ca       file with more authorities that may have signed the server's certificate, as PEM; for rediss
    maxlen   of a target: about how many entries the stream keeps, so that the oldest go
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import redis

from unpickled.server.quote import quoted
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import BrokerAway, Message, SourceOptions
from unpickled.server.streams.redis.client import client
from unpickled.server.streams.redis.fields import fields_of
from unpickled.server.streams.redis.group import Group
from unpickled.server.streams.redis.refusals import translated

# Seconds for one question, and the longest wait for messages in it.
_PATIENCE, _BLOCK = 5.0, 1.0
# Forgets a member that holds nothing, in one step: another one with its name may get messages at any time,
# and the group would forget them, too.
_LEAVE = """
local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
return #held > 0 or redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
"""


def source(address: Address, options: SourceOptions) -> "RedisSource":
    """The source of an address; ConfigError where an option is wrong."""
    address.check_options("db", "field", "key", "ca")
    return RedisSource(address, options)


class RedisSource:
    """One member of a group that reads a stream.

    Redis gives a message to one member and keeps it for that one. A member asks now and then for what others
    have held for too long, and after a reconnection for what it holds itself.
    """

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._address = address
        self._options = options
        self._client = client(address, _PATIENCE)
        self._stream, self._name, self._member = address.path, options.group, options.member
        self._group = Group(self._client, self._stream, self._name, options.first)
        self._body, self._key = (field.encode() for field in fields_of(address))
        self._is_connected = False
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
            self._client.xack(self._stream, self._name, *(message.id for message in messages))

    def hold(self, messages: Sequence[Message]) -> None:
        """See Holder."""
        with self._answering():
            self._claim([message.id for message in messages], 0, justid=True)

    def lag(self) -> int | None:
        """See Source: entries that no member has got, and those that are not acknowledged."""
        with self._answering():
            return self._group.waiting()

    def close(self) -> None:
        """See Source. The group forgets a member that holds nothing, where the user may run scripts."""
        with suppress(redis.RedisError):
            if self._is_connected:
                self._client.eval(_LEAVE, 1, self._stream, self._name, self._member)
        self._client.close()

    def _fresh(self, most: int, seconds: float) -> list[Message]:
        """New messages, until there are ``most`` or the seconds are over."""
        messages: list[Message] = []
        deadline = time.monotonic() + seconds
        while len(messages) < most:
            pause = max(1, round(1000 * min(deadline - time.monotonic(), _BLOCK)))
            reply = self._client.xreadgroup(
                self._name, self._member, {self._stream: ">"}, most - len(messages), pause
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
        entries = self._client.xpending_range(self._stream, self._name, "-", "+", most, member, idle)
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
            self._stream, self._name, self._member, idle, identities, justid=justid
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
            with translated(self._address):
                if not self._is_connected:
                    self._group.join()
                    self._is_connected = True
                yield
        except BrokerAway:
            self._is_connected, self._has_own = False, True
            self._client.connection_pool.disconnect()
            raise
