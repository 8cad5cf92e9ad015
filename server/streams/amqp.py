"""RabbitMQ over AMQP 0-9-1: a queue is a source or a target; those who read one queue are a group.

https://www.rabbitmq.com/docs/confirms
"""

import asyncio
import logging
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any

import pika
from pika import exceptions
from pika.adapters.asyncio_connection import AsyncioConnection

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.quote import quoted
from unpickled.server.streams.address import Address
from unpickled.server.streams.background import Background, Result
from unpickled.server.streams.broker import Answer, BrokerAway, Message, SourceOptions

# Seconds: for one question, and for the answers of one batch to be on the disk.
_PATIENCE, _CONFIRMATION = 5.0, 30.0
_OPTIONS = ("vhost", "heartbeat")
_PORT, _SECURE_PORT = 5672, 5671
# The header with the key, and the one in which a quorum queue counts earlier deliveries.
_KEY, _COUNT = "key", "x-delivery-count"
_PERSISTENT = 2
# Codes of the server that no pause takes back -> the remedy.
_REMEDIES = {
    403: "give the user the right to this queue",
    404: "declare the queue, or correct its name",
    405: "another connection has the queue for itself",
    406: "declare the queue as it is used here",
    530: "create the virtual host, give the user the right to it, or correct vhost",
}
_PASSWORD = "correct the user or the password"
# Errors are raised here.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def source(address: Address, options: SourceOptions) -> "AmqpSource":
    """The source of an address such as amqp://user:password@host/queue?vhost=shop."""
    address.check_options(*_OPTIONS)
    return AmqpSource(address, options)


def target(address: Address) -> "AmqpTarget":
    """The target of an address, as for a source."""
    address.check_options(*_OPTIONS)
    return AmqpTarget(address)


class AmqpSource:
    """Reads a queue, not ahead of the batch: what lies here when a process dies counts as delivered."""

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._line = _Line(address)
        self._ahead = min(options.batch, 65_535)
        self._channel: Any = None
        self._arrived: deque[Message] = deque()
        # The tags that receive has returned, in the order of their delivery.
        self._held: dict[int, None] = {}

    def receive(self, most: int, seconds: float) -> list[Message]:
        """See Source."""
        return self._line.run(self._receive(most, seconds))

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See Source. Those of a connection that is lost are left alone: the server delivers them again."""
        self._line.run(self._acknowledge([message.receipt for message in messages]))

    def lag(self) -> int:
        """Messages in the queue, and those that this member has; others' are not among them."""
        return self._line.run(self._lag())

    def close(self) -> None:
        """See Source."""
        self._line.close()

    async def _receive(self, most: int, seconds: float) -> list[Message]:
        await self._consuming()
        end = time.monotonic() + seconds
        while len(self._arrived) < most and (left := end - time.monotonic()) > 0:
            await self._line.news(left)
        # Messages of a lost connection come again.
        self._line.check()
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        self._held.update(dict.fromkeys(message.receipt[1] for message in taken))
        return taken

    async def _consuming(self) -> Any:
        channel = await self._line.connected()
        if channel is self._channel:
            return channel
        self._arrived.clear()
        self._held.clear()
        queue = self._line.address.path
        await self._line.ask(channel.queue_declare, queue, passive=True)
        await self._line.ask(channel.basic_qos, prefetch_count=self._ahead)
        await self._line.ask(channel.basic_consume, queue, self._take)
        self._channel = channel
        return channel

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        self._arrived.append(_message(channel, method, properties, body))
        self._line.tell()

    async def _acknowledge(self, receipts: list[Any]) -> None:
        channel = await self._consuming()
        tags = {tag for owner, tag in receipts if owner is channel}
        if not tags:
            return
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
        answer = await self._line.ask(channel.queue_declare, self._line.address.path, passive=True)
        return int(answer.method.message_count)


class AmqpTarget:
    """Publishes to a queue, persistent, and waits for the confirmations of a batch together."""

    def __init__(self, address: Address) -> None:
        self._line = _Line(address)
        self._channel: Any = None
        self._tag = 0
        self._waiting: set[int] = set()
        self._refusals: list[str] = []

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        self._line.run(self._write(answers))

    def close(self) -> None:
        """See Target."""
        self._line.close()

    async def _write(self, answers: Sequence[Answer]) -> None:
        channel = await self._ready()
        self._refusals.clear()
        for answer in answers:
            self._tag += 1
            self._waiting.add(self._tag)
            channel.basic_publish(
                "", self._line.address.path, answer.body, _properties(answer), mandatory=True
            )
        end = time.monotonic() + _CONFIRMATION
        while self._waiting and (left := end - time.monotonic()) > 0:
            await self._line.news(left)
            self._line.check()
        if self._waiting or self._refusals:
            self._channel = None
            await self._line.drop()
            raise BrokerAway(f"{self._line.address.server} has not confirmed: {self._reason()}")

    def _reason(self) -> str:
        if self._refusals:
            return self._refusals[0]
        return f"it is blocked ({self._line.blocked})" if self._line.blocked else "its time is over"

    async def _ready(self) -> Any:
        channel = await self._line.connected()
        if channel is self._channel:
            return channel
        self._tag = 0
        self._waiting.clear()
        await self._line.ask(channel.queue_declare, self._line.address.path, passive=True)
        channel.add_on_return_callback(self._returned)
        await self._line.ask(channel.confirm_delivery, self._confirmed)
        self._channel = channel
        return channel

    def _confirmed(self, frame: Any) -> None:
        method = frame.method
        tag = method.delivery_tag
        if isinstance(method, pika.spec.Basic.Nack):
            self._refusals.append("the queue takes no more")
        tags = {waiting for waiting in self._waiting if waiting <= tag} if method.multiple else {tag}
        self._waiting -= tags
        self._line.tell()

    def _returned(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        # It is asked for by name at the next connection, which says that it is gone.
        self._refusals.append(f"{method.reply_text}: the queue is gone")


class _Line:
    """One connection with one channel, made anew when it is asked for."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.blocked = ""
        self._parameters = [_parameters(address, host.name, host.port) for host in address.hosts]
        self._connection: Any = None
        self._channel: Any = None
        self._lost: Exception | None = None
        self._news = asyncio.Event()
        self._background = Background()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine in the thread of the connection, its errors as errors of a broker."""
        with self._translated():
            return self._background.run(coroutine)

    async def connected(self) -> Any:
        """The channel; another object after each loss."""
        if self._channel is not None and self._lost is None:
            return self._channel
        await self.drop()
        parameters = random.sample(self._parameters, len(self._parameters))
        for each in parameters[:-1]:
            with suppress(OSError, asyncio.TimeoutError, exceptions.AMQPError):
                return await self._connect(each)
        return await self._connect(parameters[-1])

    async def ask(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The answer of the server to a method of the channel."""
        answers: list[Any] = []

        def take(answer: Any) -> None:
            answers.append(answer)
            self.tell()

        method(*arguments, callback=take, **options)
        end = time.monotonic() + _PATIENCE
        while not answers:
            self.check()
            if time.monotonic() > end:
                raise TimeoutError
            await self.news(end - time.monotonic())
        return answers[0]

    async def news(self, seconds: float) -> None:
        """Wait for so long, or until something has come."""
        self._news.clear()
        if self._lost is None:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), max(0.0, seconds))

    def tell(self) -> None:
        """Something has come."""
        self._news.set()

    def check(self) -> None:
        """Raise the reason why the connection or its channel is lost."""
        if self._lost is not None:
            raise self._lost

    async def drop(self) -> None:
        """Close the connection: the server gives what is not acknowledged to others."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            connection.close()
            end = time.monotonic() + _PATIENCE
            while not connection.is_closed and time.monotonic() < end:
                await asyncio.sleep(0.005)

    def close(self) -> None:
        """Close the connection and end its thread."""
        with suppress(UnpickledError):
            self.run(self.drop())
        self._background.close()

    async def _connect(self, parameters: Any) -> Any:
        self.blocked, self._lost = "", None
        opened = self._background.loop.create_future()
        connection = AsyncioConnection(
            parameters,
            on_open_callback=opened.set_result,
            on_open_error_callback=lambda _, error: opened.set_exception(error),
            on_close_callback=self._gone,
            custom_ioloop=self._background.loop,
        )
        # The library ends it in time, by the parameters.
        self._connection = await opened
        connection.add_on_connection_blocked_callback(self._stopped)
        connection.add_on_connection_unblocked_callback(self._resumed)
        self._channel = None
        channel = await self.ask(lambda callback: connection.channel(on_open_callback=callback))
        channel.add_on_close_callback(self._gone)
        channel.add_on_cancel_callback(lambda _: self._gone(channel, exceptions.ConsumerCancelled()))
        self._channel = channel
        return channel

    def _gone(self, owner: Any, error: Exception) -> None:
        # The reason of the channel comes first, and says more.
        if owner in (self._connection, self._channel) or self._channel is None:
            self._lost = self._lost or error
        self.tell()

    def _stopped(self, _: Any, frame: Any) -> None:
        self.blocked = frame.method.reason

    def _resumed(self, *_: Any) -> None:
        self.blocked = ""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, OSError, exceptions.AMQPError) as error:
            self._lost = self._lost or error
            raise self._error(error) from error

    def _error(self, error: Exception) -> UnpickledError:
        while error.args and isinstance(error.args[0], Exception):
            # Errors of the connection stand in one another.
            error = error.args[0]
        reason = str(getattr(error, "reply_text", "")) or str(error) or type(error).__name__
        remedy = _REMEDIES.get(getattr(error, "reply_code", 0))
        if isinstance(error, exceptions.ProbableAccessDeniedError):
            remedy = _REMEDIES[530]
        elif isinstance(error, (exceptions.AuthenticationError, exceptions.ProbableAuthenticationError)):
            remedy = _PASSWORD
        # A node of a cluster has the queue, and is away.
        if remedy is None or "down or inaccessible" in reason:
            return BrokerAway(f"{self.address.server} is away: {reason}")
        return ConfigError(f"{self.address} is refused: {reason}: {remedy}")


def _parameters(address: Address, host: str, port: int | None) -> Any:
    secure = address.scheme == "amqps"
    heartbeat = address.number("heartbeat")
    return pika.ConnectionParameters(
        host,
        port or (_SECURE_PORT if secure else _PORT),
        address.options.get("vhost", "/"),
        pika.PlainCredentials(address.user or "guest", address.password or "guest"),
        heartbeat=heartbeat,
        ssl_options=pika.SSLOptions(ssl.create_default_context(), host) if secure else None,
        socket_timeout=_PATIENCE,
        stack_timeout=2 * _PATIENCE,
        client_properties={"connection_name": "unpickled"},
    )


def _message(channel: Any, method: Any, properties: Any, body: bytes) -> Message:
    headers = properties.headers or {}
    key = headers.get(_KEY, "")
    earlier = headers.get(_COUNT, int(method.redelivered))
    encoding = properties.content_encoding
    plain = encoding in (None, "", "identity", "utf-8", "UTF-8")
    return Message(
        id=properties.message_id or _digest(properties, body),
        body=body,
        key=key if isinstance(key, str) else str(key),
        deliveries=1 + earlier,
        receipt=(channel, method.delivery_tag),
        fault="" if plain else f"its content encoding is {quoted(encoding)}, which is not read here",
    )


def _digest(properties: Any, body: bytes) -> str:
    """A name for a message that its sender gave none: the same at each delivery, and for an equal message."""
    parts = (properties.correlation_id, properties.timestamp)
    return blake2b(repr(parts).encode() + body, digest_size=16).hexdigest()


def _properties(answer: Answer) -> Any:
    return pika.BasicProperties(
        content_type="application/json",
        correlation_id=answer.id,
        delivery_mode=_PERSISTENT,
        headers={_KEY: answer.key} if answer.key else None,
        message_id=answer.id,
    )
