"""All places, by the paths and addresses of their files."""

from unpickled.server import objects
from unpickled.server.batch.places.bucket import bucket_at
from unpickled.server.batch.places.disk import Disk
from unpickled.server.batch.places.place import Place
from unpickled.server.errors import ServingError
from unpickled.server.quote import quoted

_DISK = Disk()


def place_of(address: str) -> Place:
    """The place of a path or an address.

    Raises:
        ServingError: The address is of a kind that is not read here.
    """
    scheme, mark, _ = address.partition("://")
    if not mark:
        return _DISK
    if objects.is_address(address):
        return bucket_at(objects.address_of(address).root)
    raise ServingError(f"{quoted(address)} is no place for files here: name a path without {scheme}://")
