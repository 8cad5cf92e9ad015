"""A queue of RabbitMQ as a target."""

import time
from collections.abc import Sequence
from typing import Any

import pika

from unpickled.server.streams.address import Address
from unpickled.server.streams.amqp.connection import KEY, OPTIONS, Connection
from unpickled.server.streams.broker import Answer, BrokerAway

# Seconds for the answers of one batch to be on the disk.
_CONFIRMATION = 30.0
_PERSISTENT = 2
# Bytes of a message, the default of servers since version 4, which do not tell theirs.
_LARGEST = 16 << 20


def target(address: Address) -> "AmqpTarget":
    """The target of an address, as for a source."""
    address.check_options(*OPTIONS)
    return AmqpTarget(address)


class AmqpTarget:
    """Publishes to a queue, persistent, and waits for the confirmations of a batch together."""

    def __init__(self, address: Address) -> None:
        self._connection = Connection(address)
        self._channel: Any = None
        self._tag = 0
        self._waiting: set[int] = set()
        self._refusals: list[str] = []

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        self._connection.run(self._write(answers))

    def takes(self, answer: Answer) -> bool:
        """See Target."""
        return answer.size <= _LARGEST

    def close(self) -> None:
        """See Target."""
        self._connection.close()

    async def _write(self, answers: Sequence[Answer]) -> None:
        channel = await self._ready()
        self._refusals.clear()
        for answer in answers:
            self._tag += 1
            self._waiting.add(self._tag)
            channel.basic_publish(
                "", self._connection.address.path, answer.body, _properties(answer), mandatory=True
            )
        end = time.monotonic() + _CONFIRMATION
        while self._waiting and (left := end - time.monotonic()) > 0:
            await self._connection.news(left)
            self._connection.check()
        if self._waiting or self._refusals:
            self._channel = None
            await self._connection.drop()
            raise BrokerAway(f"no confirmation: {self._reason()}")

    def _reason(self) -> str:
        if self._refusals:
            return self._refusals[0]
        return (
            f"it is blocked ({self._connection.blocked})" if self._connection.blocked else "its time is over"
        )

    async def _ready(self) -> Any:
        channel = await self._connection.connected()
        if channel is self._channel:
            return channel
        self._tag = 0
        self._waiting.clear()
        await self._connection.ask(channel.queue_declare, self._connection.address.path, passive=True)
        channel.add_on_return_callback(self._returned)
        await self._connection.ask(channel.confirm_delivery, self._confirmed)
        self._channel = channel
        return channel

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        tag = method.delivery_tag
        if isinstance(method, pika.spec.Basic.Nack):
            self._refusals.append("the queue takes no more")
        tags = {waiting for waiting in self._waiting if waiting <= tag} if method.multiple else {tag}
        self._waiting -= tags
        self._connection.tell()

    def _returned(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        # It is asked for by name at the next connection, which says that it is gone.
        self._refusals.append(f"{method.reply_text}: the queue is gone")


def _properties(answer: Answer) -> Any:
    return pika.BasicProperties(
        content_type="application/json",
        correlation_id=answer.id,
        delivery_mode=_PERSISTENT,
        headers={KEY: answer.key} if answer.key else None,
        message_id=answer.id,
    )
