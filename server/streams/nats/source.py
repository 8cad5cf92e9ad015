"""A subject of NATS JetStream as a source, read by a durable pull consumer.

https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from nats.aio.client import Client

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.message.answer import dumps
from unpickled.server.quote import quoted
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Message, SourceOptions
from unpickled.server.streams.encryption import CA
from unpickled.server.streams.nats.connection import KEY, PATIENCE, Connection
from unpickled.server.streams.nats.group import join

# No name of a consumer has these.
_FORBIDDEN = re.compile(r"[\s.*>/\\]")


def source(address: Address, options: SourceOptions) -> "NatsSource":
    """The source of an address such as nats://host,host2/orders.new, whose path is a subject."""
    address.check_options(CA)
    if _FORBIDDEN.search(options.group):
        raise ConfigError(f"the group {quoted(options.group)} is no name in NATS: leave out dots and blanks")
    return NatsSource(address, options)


class NatsSource:
    """Pulls the messages of a subject for a durable consumer."""

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._connection = Connection(address)
        self._options = options
        self._stream = ""
        # The connection that the inbox belongs to, the inbox, and the number of the last request.
        self._client: Client | None = None
        self._inbox, self._request = "", 0
        self._ended: str | None = None
        self._arrived: deque[Any] = deque()
        self._news = asyncio.Event()
        # Replies of the messages that are held: to send them back at the end.
        self._held: set[str] = set()

    def receive(self, most: int, seconds: float) -> list[Message]:
        """See Source."""
        return self._connection.run(self._receive(most, seconds))

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See Source."""
        if messages:
            self._connection.run(self._acknowledge([message.receipt for message in messages]))

    def hold(self, messages: Sequence[Message]) -> None:
        """See Holder."""
        self._connection.run(self._tell([message.receipt for message in messages], b"+WPI"))

    def lag(self) -> int:
        """Messages that the group has not acknowledged, those that its members hold included."""
        return self._connection.run(self._lag())

    def close(self) -> None:
        """See Source."""
        with suppress(UnpickledError):
            if self._client is not None and self._client.is_connected:
                self._connection.run(self._leave())
        self._connection.close()

    async def _receive(self, most: int, seconds: float) -> list[Message]:
        client = await self._joined()
        end = time.monotonic() + seconds
        if len(self._arrived) < most and not await self._pull(client, most, end):
            # Neither messages nor the end of the request came: does the server live?
            await self._connection.ping(client)
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        self._held.update(record.reply for record in taken)
        return [_message(record) for record in taken]

    async def _pull(self, client: Client, most: int, end: float) -> bool:
        """Ask for messages and wait for them; whether the server has said a word."""
        self._request += 1
        self._ended = None
        seconds = max(0.0, end - time.monotonic())
        asked: dict[str, Any] = {"batch": most - len(self._arrived)}
        # The server ends the request at about the time at which nobody waits for it any more.
        asked |= {"expires": int(seconds * 1e9)} if seconds >= 0.001 else {"no_wait": True}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._options.group}"
        await client.publish(subject, dumps(asked), f"{self._inbox}.{self._request}")
        limit = time.monotonic() + seconds + (PATIENCE if not seconds else 0.0)
        while len(self._arrived) < most and self._ended is None and time.monotonic() < limit:
            self._news.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), limit - time.monotonic())
            self._connection.check(client)
        return bool(self._arrived) or self._ended is not None

    async def _take(self, record: Any) -> None:
        """Keep what arrives at the inbox: a message, or the end of a request."""
        status = (record.headers or {}).get("Status")
        if status is None or record.reply:
            self._arrived.append(record)
        elif record.subject.endswith(f".{self._request}"):
            self._ended = status
            # 404 and 408 say that there is nothing more.
            if status not in ("404", "408"):
                self._connection.failure = f"{status} {record.headers.get('Description', '')}".strip()
        self._news.set()

    async def _joined(self) -> Client:
        client = await self._connection.connected()
        if client is self._client:
            return client
        self._stream = await self._connection.stream(client)
        await join(client, self._stream, self._connection.address.path, self._options)
        self._inbox = client.new_inbox()
        # Messages that an earlier connection brought, and that nobody has seen, come again.
        self._arrived.clear()
        await client.subscribe(f"{self._inbox}.*", cb=self._take)
        self._client = client
        return client

    async def _acknowledge(self, replies: list[str]) -> None:
        client = await self._connection.connected()
        for reply in replies[:-1]:
            await client.publish(reply, b"+ACK")
        # The server takes them in this order: once it has confirmed the last, it has them all.
        await client.request(replies[-1], b"+ACK", timeout=PATIENCE)
        self._held.difference_update(replies)

    async def _tell(self, replies: list[str], word: bytes) -> None:
        client = await self._connection.connected()
        for reply in [*replies, *(record.reply for record in self._arrived)]:
            await client.publish(reply, word)
        await self._connection.ping(client)

    async def _leave(self) -> None:
        self._held.update(record.reply for record in self._arrived)
        self._arrived.clear()
        await self._tell([*self._held], b"-NAK")

    async def _lag(self) -> int:
        client = await self._joined()
        info = await client.jetstream(timeout=PATIENCE).consumer_info(self._stream, self._options.group)
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)


def _message(record: Any) -> Message:
    about = record.metadata
    return Message(
        id=f"{about.stream}-{about.sequence.stream}",
        body=bytes(record.data),
        key=(record.headers or {}).get(KEY, ""),
        deliveries=about.num_delivered,
        receipt=record.reply,
    )
