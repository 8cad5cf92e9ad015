"""A subject of NATS JetStream as a target."""

import asyncio
import re
import time
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.js import api

from unpickled.server.errors import ConfigError
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Answer
from unpickled.server.streams.encryption import CA
from unpickled.server.streams.nats.connection import KEY, Connection

# Seconds for the answers of one batch to be stored.
_CONFIRMATION = 15.0
# Seconds after which a lost connection is noticed while answers are stored.
_STEP = 0.2
# Answers under way at once, beyond any batch: the library would wait for room without end.
_WINDOW = 1 << 24
# Bytes of the headers of an answer, without its key and its id.
_HEADERS = 256


def target(address: Address) -> "NatsTarget":
    """The target of an address, as for a source."""
    address.check_options(CA)
    if re.search(r"[\s*>]", address.path):
        raise ConfigError(f"{address} has several subjects: write one, without * and >")
    return NatsTarget(address)


class NatsTarget:
    """Publishes to a subject. The stream drops an answer that it has got within its window of doubles."""

    def __init__(self, address: Address) -> None:
        self._connection = Connection(address)
        self._client: Client | None = None
        self._stream: Any = None

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        self._connection.run(self._write(answers))

    def takes(self, answer: Answer) -> bool:
        """See Target."""
        return self._client is None or answer.size + _HEADERS <= self._client.max_payload

    def close(self) -> None:
        """See Target."""
        self._connection.close()

    async def _write(self, answers: Sequence[Answer]) -> None:
        client = await self._connection.connected()
        if client is not self._client:
            await self._connection.stream(client)
            self._stream = client.jetstream(publish_async_max_pending=_WINDOW)
            self._client = client
        subject = self._connection.address.path
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
                self._connection.check(client)
        finally:
            for confirmation in late:
                confirmation.cancel()
        if late:
            raise nats.errors.TimeoutError
        for confirmation in confirmations:
            # Raises what the server has refused.
            confirmation.result()


def _headers(subject: str, answer: Answer) -> dict[str, str]:
    """The headers of an answer; what its stream knows it by belongs to this subject and body alone."""
    digest = blake2b(subject.encode() + b"\0" + answer.body, digest_size=8).hexdigest()
    headers = {"id": answer.id, api.Header.MSG_ID: f"{answer.id}.{digest}"}
    return headers | {KEY: answer.key} if answer.key else headers
