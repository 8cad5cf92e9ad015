"""A stream of Redis as a target."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import NoPermissionError

from unpickled.server.errors import ConfigError
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Answer
from unpickled.server.streams.redis.client import client
from unpickled.server.streams.redis.fields import ID, fields_of
from unpickled.server.streams.redis.refusals import translated

# Seconds for the answers of one batch to be on the disk.
_CONFIRMATION = 15.0
# Bytes of a value, the server's default.
_LARGEST = 512 << 20


def target(address: Address) -> "RedisTarget":
    """The target of an address; ConfigError where an option is wrong."""
    address.check_options("db", "field", "key", "ca", "maxlen")
    return RedisTarget(address)


class RedisTarget:
    """Appends to a stream."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = client(address, _CONFIRMATION)
        self._maxlen = address.number("maxlen", 1)
        self._fields = fields_of(address)
        if len({*self._fields, ID}) < 3:
            raise ConfigError(f"two fields of {address} have one name: give field, key and {ID} three names")

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        with translated(self._address):
            if not answers:
                self._check()
                return
            pipeline = self._client.pipeline(transaction=False)
            for answer in answers:
                fields: dict[Any, Any] = {self._fields.body: answer.body, ID: answer.id}
                if answer.key:
                    fields[self._fields.key] = answer.key
                pipeline.xadd(self._address.path, fields, maxlen=self._maxlen)
            # The library itself would raise an error with the whole command, thus the answer, in its text.
            for result in pipeline.execute(raise_on_error=False):
                if isinstance(result, Exception):
                    raise result

    def takes(self, answer: Answer) -> bool:
        """See Target."""
        return answer.size <= _LARGEST

    def close(self) -> None:
        """See Target."""
        self._client.close()

    def _check(self) -> None:
        """ConfigError where the name is that of something else than a stream."""
        # A user may have the right to append and no other.
        with suppress(NoPermissionError):
            kind = self._client.type(self._address.path).decode()
            if kind not in ("none", "stream"):
                raise ConfigError(f"{self._address} is a {kind}, not a stream: choose another name")
