"""A connection to a server of NATS, and its errors as ours."""

import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.streams import encryption
from unpickled.server.streams.address import Address
from unpickled.server.streams.background import Background, Result
from unpickled.server.streams.broker import SILENT, BrokerAway

# Seconds for one question.
PATIENCE = 5.0
# The header with the key of a message.
KEY = "key"
# Seconds between signs of life on an idle connection.
_PING = 10
# The reason of a server that has no TLS.
_PLAIN = "the server does not speak TLS"
# Words of the server that no pause takes back -> the remedy.
_REMEDIES = {
    "authorization violation": "correct the user or the password",
    "authentication": "correct the user or the password",
    "permissions violation": "give the user the right to this subject, to $JS.API.> and to _INBOX.>",
    "maximum payload": "raise max_payload of the server",
    _PLAIN.lower(): "correct the port or the scheme",
    "consumer deleted": "the group is gone; start again to create it",
    "jetstream not enabled": "start the server with JetStream",
}

# Errors are raised here.
logging.getLogger("nats").setLevel(logging.CRITICAL)
# Over TLS, the end of each connection has a line about how the library is made.
logging.getLogger("asyncio").addFilter(lambda record: "eof_received" not in record.getMessage())


class _Encrypted(Client):
    """A client that speaks to no server without TLS.

    The library encrypts where the server demands it, which it says in a line that is not encrypted yet.
    """

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and not (info.get("tls_required") or info.get("tls_available")):
            raise nats.errors.Error(_PLAIN)
        info["tls_required"] = True
        await super()._process_info(info, initial_connection)


class Connection:
    """One connection to one of the servers of an address, made anew when it is asked for."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.failure = ""
        self._trusted = encryption.context(address)
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
                await client.jetstream(timeout=PATIENCE).find_stream_name_by_subject(self.address.path)
            )
        except nats.js.errors.NotFoundError:
            raise ConfigError(
                f"no stream of {self.address.server} has the subject {self.address.path}: create one by "
                f"nats stream add NAME --subjects {self.address.path}"
            ) from None

    async def ping(self, client: Client) -> None:
        """Wait until the server has read all that was sent."""
        await client.flush(timeout=PATIENCE)  # type: ignore[arg-type]
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
        address, client = self.address, _Encrypted() if self._trusted else Client()
        opening = client.connect(
            [f"{'tls' if self._trusted else 'nats'}://{host}" for host in address.hosts],
            user=address.user if address.password else None,
            password=address.password or None,
            token=None if address.password else address.user or None,
            tls=self._trusted,
            # It is this class that connects anew: what the library sent later nobody would wait for.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=int(PATIENCE),
            ping_interval=_PING,
            error_cb=self._failed,
            name="unpickled",
        )
        try:
            await opening
        except BaseException:
            # The library leaves the connection open; its own close waits for a task that it has not begun.
            transport = getattr(client, "_transport", None)
            if transport is not None:
                transport.close()
            raise
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
        if refusal := encryption.refusal(self.address, error):
            return refusal
        silent = SILENT if isinstance(error, TimeoutError) else ""
        said = self.failure or silent or str(error) or type(error).__name__
        for sign, remedy in _REMEDIES.items():
            if sign in said.lower():
                return ConfigError(f"{self.address} is refused: {said}: {remedy}")
        # Its answers may be on their way: the next call gets a connection of its own.
        self.failure = self.failure or said
        return BrokerAway(said)
