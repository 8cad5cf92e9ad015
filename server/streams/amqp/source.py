"""A queue of RabbitMQ as a source; those who read one queue are a group.

https://www.rabbitmq.com/docs/confirms
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from unpickled.server.quote import quoted
from unpickled.server.streams.address import Address
from unpickled.server.streams.amqp.connection import KEY, OPTIONS, Connection
from unpickled.server.streams.broker import BrokerAway, Message, SourceOptions

# The header in which a quorum queue counts earlier deliveries.
_COUNT = "x-delivery-count"
# Members that may have died at once, each with a batch of messages.
_SUSPECTS = 2
# Most messages that a channel may have under way.
_MOST = 65_535


def source(address: Address, options: SourceOptions) -> "AmqpSource":
    """The source of an address such as amqp://user:password@host/queue?vhost=shop."""
    address.check_options(*OPTIONS)
    return AmqpSource(address, options)


class AmqpSource:
    """Reads a queue, not ahead of the batch: what lies here when a process dies counts as delivered."""

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._connection = Connection(address)
        self._ahead = min(options.batch, _MOST)
        self._channel: Any = None
        self._arrived: deque[Message] = deque()
        # Messages in a row of which the server says that they were delivered before, and not how often.
        self._again = 0
        # The tags that receive has returned, in the order of their delivery.
        self._held: dict[int, None] = {}

    def receive(self, most: int, seconds: float) -> list[Message]:
        """See Source."""
        return self._connection.run(self._receive(most, seconds))

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See Source. BrokerAway for those of a connection that is lost, which the server delivers again."""
        self._connection.run(self._acknowledge([message.receipt for message in messages]))

    def lag(self) -> int:
        """Messages in the queue, and those that this member has; others' are not among them."""
        return self._connection.run(self._lag())

    def close(self) -> None:
        """See Source."""
        self._connection.close()

    async def _receive(self, most: int, seconds: float) -> list[Message]:
        await self._consuming()
        end = time.monotonic() + seconds
        while len(self._arrived) < most and (left := end - time.monotonic()) > 0:
            await self._connection.news(left)
        # Messages of a lost connection come again.
        self._connection.check()
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        self._held.update(dict.fromkeys(message.receipt[1] for message in taken))
        return taken

    async def _consuming(self) -> Any:
        channel = await self._connection.connected()
        if channel is self._channel:
            return channel
        self._arrived.clear()
        self._held.clear()
        self._again = 0
        queue = self._connection.address.path
        await self._connection.ask(channel.queue_declare, queue, passive=True)
        await self._connection.ask(channel.basic_qos, prefetch_count=self._ahead)
        await self._connection.ask(channel.basic_consume, queue, self._take)
        self._channel = channel
        return channel

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        headers = properties.headers or {}
        deliveries = 1 + self._earlier(headers, method.redelivered)
        receipt = (channel, method.delivery_tag)
        self._arrived.append(_message(headers.get(KEY, ""), properties, body, deliveries, receipt))
        self._connection.tell()

    def _earlier(self, headers: Mapping[str, Any], redelivered: bool) -> int:
        """How often a message was delivered before.

        A server that has started anew says of all the messages of a classic queue that they were. Those of a
        member that died are among the first, no more than it held; the ones behind them count as new, since
        messages that were delivered before are answered one by one.
        """
        if _COUNT in headers:
            return int(headers[_COUNT])
        self._again = self._again + 1 if redelivered else 0
        return int(0 < self._again <= _SUSPECTS * self._ahead)

    async def _acknowledge(self, receipts: list[Any]) -> None:
        channel = await self._consuming()
        # A tag that is acknowledged twice would end the channel.
        tags = {tag for owner, tag in receipts if owner is channel and tag in self._held}
        if tags:
            await self._settle(channel, tags)
        if any(owner is not channel for owner, _ in receipts):
            raise BrokerAway("the connection was lost before all was acknowledged")

    async def _settle(self, channel: Any, tags: set[int]) -> None:
        last = max(tags)
        if tags == {tag for tag in self._held if tag <= last}:
            channel.basic_ack(last, multiple=True)
        else:
            for tag in sorted(tags):
                channel.basic_ack(tag)
        for tag in tags:
            self._held.pop(tag, None)
        # An acknowledgement has no answer; the server takes it before this question, which has one.
        await self._count(channel)

    async def _lag(self) -> int:
        waiting = await self._count(await self._consuming())
        return waiting + len(self._held) + len(self._arrived)

    async def _count(self, channel: Any) -> int:
        answer = await self._connection.ask(
            channel.queue_declare, self._connection.address.path, passive=True
        )
        return int(answer.method.message_count)


def _message(key: Any, properties: Any, body: bytes, deliveries: int, receipt: Any) -> Message:
    encoding = properties.content_encoding
    plain = encoding in (None, "", "identity", "utf-8", "UTF-8")
    return Message(
        id=properties.message_id or _digest(properties, body),
        unique=bool(properties.message_id),
        body=body,
        key=key if isinstance(key, str) else str(key),
        deliveries=deliveries,
        receipt=receipt,
        fault="" if plain else f"its content encoding is {quoted(encoding)}, which is not read here",
    )


def _digest(properties: Any, body: bytes) -> str:
    """A name for a message that its sender gave none: the same at each delivery, and for an equal message."""
    parts = (properties.correlation_id, properties.timestamp)
    return blake2b(repr(parts).encode() + body, digest_size=16).hexdigest()
