"""The names of the fields in an entry of a stream."""

from typing import NamedTuple

from unpickled.server.streams.address import Address

# The field of an answer with the id of its message.
ID = "id"


class Fields(NamedTuple):
    """The fields with the body of a message and with its key."""

    body: str
    key: str


def fields_of(address: Address) -> Fields:
    """The names that the options ``field`` and ``key`` of an address give, or the usual ones."""
    return Fields(address.options.get("field") or "data", address.options.get("key") or "key")
