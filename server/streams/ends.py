"""The brokers at both ends of a consumer."""

from typing import NamedTuple

from unpickled.server.streams.address import Address, Addresses
from unpickled.server.streams.broker import Source, SourceOptions, Target
from unpickled.server.streams.registry import broker_of


class Ends(NamedTuple):
    """Where messages come from, and where answers and dead letters go, each with its address.

    Without ``letters``, the errors go where answers go.
    """

    source: tuple[Address, Source]
    target: tuple[Address, Target]
    letters: tuple[Address, Target] | None


def ends_of(addresses: Addresses, options: SourceOptions) -> Ends:
    """The ends of these addresses, not yet connected.

    Raises:
        ConfigError: A scheme or an option is unknown.
        UnpickledError: A library is missing.
    """
    source, target, letters = addresses.source, addresses.target, addresses.letters
    return Ends(
        (source, broker_of(source).source(source, options)),
        (target, broker_of(target).target(target)),
        None if letters is None else (letters, broker_of(letters).target(letters)),
    )
