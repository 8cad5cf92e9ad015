"""NATS JetStream: a subject of a stream is a source or a target, a group a durable pull consumer.

https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

import asyncio
import logging
import re
import ssl
import time
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import api

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.message.answer import dumps
from unpickled.server.quote import quoted
from unpickled.server.streams.address import Address
from unpickled.server.streams.background import Background, Result
from unpickled.server.streams.broker import Answer, BrokerAway, Message, SourceOptions

# Seconds: for one question, and for the answers of one batch to be stored.
_PATIENCE, _CONFIRMATION = 5.0, 15.0
# Seconds between signs of life on an idle connection.
_PING = 10
# Seconds after which a lost connection is noticed while answers are stored.
_STEP = 0.2
# Answers under way at once, beyond any batch: the library would wait for room without end.
_WINDOW = 1 << 24
# No name of a consumer has these.
_FORBIDDEN = re.compile(r"[\s.*>/\\]")
_KEY = "key"
# Words of the server that no pause takes back -> the remedy.
_REMEDIES = {
    "authorization violation": "correct the user or the password",
    "authentication": "correct the user or the password",
    "permissions violation": "give the user the right to this subject, to $JS.API.> and to _INBOX.>",
    "maximum payload": "raise max_payload of the server",
    "certificate": "correct the certificates",
    "consumer deleted": "the group is gone; start again to create it",
    "jetstream not enabled": "start the server with JetStream",
}

# Errors are raised here.
logging.getLogger("nats").setLevel(logging.CRITICAL)


def source(address: Address, options: SourceOptions) -> "NatsSource":
    """The source of an address such as nats://host,host2/orders.new, whose path is a subject."""
    address.check_options()
    if _FORBIDDEN.search(options.group):
        raise ConfigError(f"the group {quoted(options.group)} is no name in NATS: leave out dots and blanks")
    return NatsSource(address, options)


def target(address: Address) -> "NatsTarget":
    """The target of an address, as for a source."""
    address.check_options()
    if re.search(r"[\s*>]", address.path):
        raise ConfigError(f"{address} has several subjects: write one, without * and >")
    return NatsTarget(address)


class NatsSource:
    """Pulls the messages of a subject for a durable consumer."""

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._line = _Line(address)
        self._options = options
        self._stream = ""
        # The connection that the inbox belongs to, the inbox, and the number of the last request.
        self._client: Client | None = None
        self._inbox, self._request = "", 0
        self._arrived: deque[Any] = deque()
        self._news = asyncio.Event()
        # Replies of the messages that are held: to send them back at the end.
        self._held: set[str] = set()

    def receive(self, most: int, seconds: float) -> list[Message]:
        """See Source."""
        return self._line.run(self._receive(most, seconds))

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See Source."""
        if messages:
            self._line.run(self._acknowledge([message.receipt for message in messages]))

    def hold(self, messages: Sequence[Message]) -> None:
        """See Holder."""
        self._line.run(self._tell([message.receipt for message in messages], b"+WPI"))

    def lag(self) -> int:
        """Messages that the group has not acknowledged, those that its members hold included."""
        return self._line.run(self._lag())

    def close(self) -> None:
        """See Source."""
        with suppress(UnpickledError):
            if self._client is not None and self._client.is_connected:
                self._line.run(self._leave())
        self._line.close()

    async def _receive(self, most: int, seconds: float) -> list[Message]:
        client = await self._joined()
        end = time.monotonic() + seconds
        if len(self._arrived) < most and not await self._pull(client, most, end):
            # Neither messages nor the end of the request came: does the server live?
            await self._line.ping(client)
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        self._held.update(record.reply for record in taken)
        return [_message(record) for record in taken]

    async def _pull(self, client: Client, most: int, end: float) -> bool:
        """Ask for messages and wait for them; whether the server has said a word."""
        self._request += 1
        self._ended: str | None = None
        seconds = max(0.0, end - time.monotonic())
        asked: dict[str, Any] = {"batch": most - len(self._arrived)}
        # The server ends the request at about the time at which nobody waits for it any more.
        asked |= {"expires": int(seconds * 1e9)} if seconds >= 0.001 else {"no_wait": True}
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._options.group}"
        await client.publish(subject, dumps(asked), f"{self._inbox}.{self._request}")
        limit = time.monotonic() + seconds + (_PATIENCE if not seconds else 0.0)
        while len(self._arrived) < most and self._ended is None and time.monotonic() < limit:
            self._news.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), limit - time.monotonic())
            self._line.check(client)
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
                self._line.failure = f"{status} {record.headers.get('Description', '')}".strip()
        self._news.set()

    async def _joined(self) -> Client:
        client = await self._line.connected()
        if client is self._client:
            return client
        self._stream = await self._line.stream(client)
        await self._consumer(client)
        self._inbox = client.new_inbox()
        # What another connection brought and nobody has seen comes again.
        self._arrived.clear()
        await client.subscribe(f"{self._inbox}.*", cb=self._take)
        self._client = client
        return client

    async def _consumer(self, client: Client) -> None:
        """Create the consumer, or see that the one of this name does."""
        options, subject = self._options, self._line.address.path
        policy = api.DeliverPolicy.ALL if options.first else api.DeliverPolicy.NEW
        stream = client.jetstream(timeout=_PATIENCE)
        try:
            info = await stream.consumer_info(self._stream, options.group)
        except nats.js.errors.NotFoundError:
            config = api.ConsumerConfig(
                durable_name=options.group,
                filter_subject=subject,
                deliver_policy=policy,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=options.idle,
                max_ack_pending=-1,
            )
            await stream.add_consumer(self._stream, config)
            return
        config = info.config
        if config.deliver_subject or config.ack_policy != api.AckPolicy.EXPLICIT:
            raise ConfigError(
                f"the consumer {options.group} of {self._stream} is no pull consumer with explicit "
                "acknowledgement: choose another group, or delete it"
            )
        if config.filter_subject != subject:
            read = config.filter_subject or "every subject"
            raise ConfigError(
                f"the group {options.group} reads {read} of {self._stream}, not {subject}: choose another "
                "group, or delete it"
            )

    async def _acknowledge(self, replies: list[str]) -> None:
        client = await self._line.connected()
        for reply in replies[:-1]:
            await client.publish(reply, b"+ACK")
        # The server takes them in this order: once it has confirmed the last, it has them all.
        await client.request(replies[-1], b"+ACK", timeout=_PATIENCE)
        self._held.difference_update(replies)

    async def _tell(self, replies: list[str], word: bytes) -> None:
        client = await self._line.connected()
        for reply in [*replies, *(record.reply for record in self._arrived)]:
            await client.publish(reply, word)
        await self._line.ping(client)

    async def _leave(self) -> None:
        self._held.update(record.reply for record in self._arrived)
        self._arrived.clear()
        await self._tell([*self._held], b"-NAK")

    async def _lag(self) -> int:
        client = await self._joined()
        info = await client.jetstream(timeout=_PATIENCE).consumer_info(self._stream, self._options.group)
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)


class NatsTarget:
    """Publishes to a subject. The stream drops an answer that it has got within its window of doubles."""

    def __init__(self, address: Address) -> None:
        self._line = _Line(address)
        self._client: Client | None = None
        self._stream: Any = None

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        self._line.run(self._write(answers))

    def close(self) -> None:
        """See Target."""
        self._line.close()

    async def _write(self, answers: Sequence[Answer]) -> None:
        client = await self._line.connected()
        if client is not self._client:
            await self._line.stream(client)
            self._stream = client.jetstream(publish_async_max_pending=_WINDOW)
            self._client = client
        subject = self._line.address.path
        confirmations = [
            await self._stream.publish_async(subject, answer.body, headers=_headers(subject, answer))
            for answer in answers
        ]
        await self._confirmed(client, confirmations)

    async def _confirmed(self, client: Client, confirmations: list[Any]) -> None:
        late = set(confirmations)
        end = time.monotonic() + _CONFIRMATION
        try:
            while late and time.monotonic() < end:
                _, late = await asyncio.wait(late, timeout=_STEP)
                self._line.check(client)
        finally:
            for confirmation in late:
                confirmation.cancel()
        if late:
            raise nats.errors.TimeoutError
        for confirmation in confirmations:
            # Raises what the server has refused.
            confirmation.result()


class _Line:
    """One connection to one of the servers of an address, made anew when it is asked for."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.failure = ""
        self._client: Client | None = None
        self._background = Background()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """The result of a coroutine in the thread of the connection, its errors as errors of a broker."""
        with self._translated():
            return self._background.run(coroutine)

    async def connected(self) -> Client:
        """The connection."""
        if self._client is not None and self._client.is_connected and not self.failure:
            return self._client
        await self._close()
        self.failure = ""
        self._client = await self._connect()
        # Others of the servers may have failed.
        self.failure = ""
        return self._client

    async def stream(self, client: Client) -> str:
        """The name of the stream that has the subject."""
        try:
            return str(
                await client.jetstream(timeout=_PATIENCE).find_stream_name_by_subject(self.address.path)
            )
        except nats.js.errors.NotFoundError:
            raise ConfigError(
                f"no stream of {self.address.server} has the subject {self.address.path}: create one by "
                f"nats stream add NAME --subjects {self.address.path}"
            ) from None

    async def ping(self, client: Client) -> None:
        """Wait until the server has read all that was sent."""
        await client.flush(timeout=_PATIENCE)  # type: ignore[arg-type]
        self.check(client)

    def check(self, client: Client) -> None:
        """Raise what the server has said apart from any answer."""
        if self.failure:
            raise nats.errors.Error(self.failure)
        if not client.is_connected:
            raise nats.errors.ConnectionClosedError

    def close(self) -> None:
        """Close the connection and end its thread."""
        with suppress(UnpickledError):
            self.run(self._close())
        self._background.close()

    async def _connect(self) -> Client:
        address, client = self.address, Client()
        secure = address.scheme == "natss"
        await client.connect(
            [f"{'tls' if secure else 'nats'}://{host}" for host in address.hosts],
            user=address.user if address.password else None,
            password=address.password or None,
            token=None if address.password else address.user or None,
            tls=ssl.create_default_context() if secure else None,
            # It is this class that connects anew: what the library sent later nobody would wait for.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=int(_PATIENCE),
            ping_interval=_PING,
            error_cb=self._failed,
            name="unpickled",
        )
        return client

    async def _failed(self, error: Exception) -> None:
        self.failure = str(error)

    async def _close(self) -> None:
        if self._client is not None and not self._client.is_closed:
            await self._client.close()
        self._client = None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (TimeoutError, OSError, nats.errors.Error) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> UnpickledError:
        said = self.failure or str(error) or type(error).__name__
        for sign, remedy in _REMEDIES.items():
            if sign in said.lower():
                return ConfigError(f"{self.address} is refused: {said}: {remedy}")
        # Its answers may be on their way: the next call gets a connection of its own.
        self.failure = self.failure or said
        return BrokerAway(f"{self.address.server} is away: {said}")


def _message(record: Any) -> Message:
    about = record.metadata
    return Message(
        id=f"{about.stream}-{about.sequence.stream}",
        body=bytes(record.data),
        key=(record.headers or {}).get(_KEY, ""),
        deliveries=about.num_delivered,
        receipt=record.reply,
    )


def _headers(subject: str, answer: Answer) -> dict[str, str]:
    """The headers of an answer; what its stream knows it by belongs to this subject and body alone."""
    digest = blake2b(subject.encode() + b"\0" + answer.body, digest_size=8).hexdigest()
    headers = {"id": answer.id, api.Header.MSG_ID: f"{answer.id}.{digest}"}
    return headers | {_KEY: answer.key} if answer.key else headers
