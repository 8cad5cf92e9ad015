"""The brokers, by the schemes of their addresses. Each has modules that are imported when they are used."""

from typing import NamedTuple

from unpickled.server import console
from unpickled.server.errors import ConfigError
from unpickled.server.quote import hint, listed
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Source, SourceOptions, Target


class Broker(NamedTuple):
    """A broker: a module with a function source, one with a function target, and the extra of both."""

    source_module: str
    target_module: str
    extra: str

    def source(self, address: Address, options: SourceOptions) -> Source:
        """The source of an address. It connects at its first call; until then the broker may be away.

        Raises:
            ConfigError: An option of the address is wrong.
            UnpickledError: The library is missing.
        """
        source: Source = console.needed(self.source_module, self.extra).source(address, options)
        return source

    def target(self, address: Address) -> Target:
        """The target of an address; the rest is as for a source."""
        target: Target = console.needed(self.target_module, self.extra).target(address)
        return target


def _broker(package: str, extra: str) -> Broker:
    return Broker(f"{package}.source", f"{package}.target", extra)


_AMQP = _broker("unpickled.server.streams.amqp", "amqp")
_KAFKA = _broker("unpickled.server.streams.kafka", "kafka")
_NATS = _broker("unpickled.server.streams.nats", "nats")
_REDIS = _broker("unpickled.server.streams.redis", "redis")

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
