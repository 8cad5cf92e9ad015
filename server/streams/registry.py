"""The brokers, by the schemes of their addresses. Each is a module that is imported when it is used."""

from types import ModuleType
from typing import NamedTuple

from unpickled.server import console
from unpickled.server.errors import ConfigError
from unpickled.server.quote import hint, listed
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Source, SourceOptions, Target


class Broker(NamedTuple):
    """A broker: ``module`` has the functions source and target, whose library ``extra`` brings."""

    module: str
    extra: str

    def source(self, address: Address, options: SourceOptions) -> Source:
        """The source of an address. It connects at its first call; until then the broker may be away.

        Raises:
            ConfigError: An option of the address is wrong.
            UnpickledError: The library is missing.
        """
        source: Source = self._load().source(address, options)
        return source

    def target(self, address: Address) -> Target:
        """The target of an address; the rest is as for a source."""
        target: Target = self._load().target(address)
        return target

    def _load(self) -> ModuleType:
        return console.needed(self.module, self.extra)


_AMQP = Broker("unpickled.server.streams.amqp", "amqp")
_KAFKA = Broker("unpickled.server.streams.kafka", "kafka")
_NATS = Broker("unpickled.server.streams.nats", "nats")
_REDIS = Broker("unpickled.server.streams.redis", "redis")

# The scheme with an s at its end is the same broker over TLS.
BROKERS = {
    "amqp": _AMQP,
    "amqps": _AMQP,
    "kafka": _KAFKA,
    "kafkas": _KAFKA,
    "nats": _NATS,
    "natss": _NATS,
    "redis": _REDIS,
    "rediss": _REDIS,
}


def broker_of(address: Address) -> Broker:
    """The broker of an address; ConfigError where its scheme is unknown."""
    if address.scheme not in BROKERS:
        raise ConfigError(
            f"{address.scheme!r} of {address} is no broker: {hint(address.scheme, BROKERS)}"
            f"The brokers are {listed(list(BROKERS))}"
        )
    return BROKERS[address.scheme]
