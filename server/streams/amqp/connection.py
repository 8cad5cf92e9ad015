"""A connection to a server of RabbitMQ over AMQP 0-9-1."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pika import exceptions
from pika.adapters.asyncio_connection import AsyncioConnection

from unpickled.server.errors import UnpickledError
from unpickled.server.streams.address import Address
from unpickled.server.streams.amqp.parameters import PATIENCE, parameters
from unpickled.server.streams.amqp.refusals import ERRORS, refusal
from unpickled.server.streams.background import Background, Result
from unpickled.server.streams.encryption import CA

# The options of an address.
OPTIONS = ("vhost", "heartbeat", CA)
# The header with the key of a message.
KEY = "key"

# Errors are raised here.
logging.getLogger("pika").setLevel(logging.CRITICAL)


class Connection:
    """One connection with one channel, made anew when it is asked for."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.blocked = ""
        self._parameters = [parameters(address, host.name, host.port) for host in address.hosts]
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
        *others, last = random.sample(self._parameters, len(self._parameters))
        for each in others:
            with suppress(asyncio.TimeoutError, *ERRORS):
                return await self._connect(each)
        return await self._connect(last)

    async def ask(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The answer of the server to a method of the channel."""
        answers: list[Any] = []

        def take(answer: Any) -> None:
            answers.append(answer)
            self.tell()

        method(*arguments, callback=take, **options)
        end = time.monotonic() + PATIENCE
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
            end = time.monotonic() + PATIENCE
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
        except (TimeoutError, *ERRORS) as error:
            self._lost = self._lost or error
            raise refusal(self.address, error) from error
