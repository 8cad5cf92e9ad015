"""The record of a kind of remote: each kind is a module that ends in one, and an entry in registry.py."""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from unpickled.server.errors import RemoteError
from unpickled.server.quote import printable, shortened
from unpickled.server.remotes.sink import Sink

_QUERY = re.compile(r"\?\S*")
_LONGEST = 500


class Offer(NamedTuple):
    """A version as it lies at a remote now.

    origin: its address, without a query; a digest or a number stands in place of a name that may move.
    mark: two offers of the same address with the same mark are the same; empty where that is not known.
    fetch: writes its file into a sink; RemoteError where that fails.
    signature: returns the bytes of its detached signature; None where there is none.
    number: its number there, if it has one.
    sha256: that of its file, in hex, if the remote tells it.
    """

    origin: str
    mark: str
    fetch: Callable[[Sink], None]
    signature: Callable[[], bytes | None]
    number: int | None = None
    sha256: str | None = None


class Source(Protocol):
    """One address at a remote."""

    @property
    def name(self) -> str:
        """The name of the model, as far as the address tells it."""

    def find(self, known: str) -> Offer:
        """The version that lies there now; ``known`` is the mark of the last one.

        An offer with that mark is not fetched. Raises RemoteError where there is none, or no answer.
        """


class Remote(NamedTuple):
    """Everything that the command knows about a kind of remote.

    schemes: those of its addresses.
    form: an address as people write it.
    open: the source at an address, with the variables of the environment, and the version that is asked for;
        RemoteError where the address is wrong. Nothing is asked yet.
    """

    schemes: tuple[str, ...]
    form: str
    open: Callable[[str, Mapping[str, str], int | None], Source]


def reason(error: BaseException | str) -> str:
    """The message of a library in one line, without the queries of addresses, which may hold keys."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # A store's answer is XML, of which the first line says nothing.
    # Nor may a remote write to the terminal, by a status line that a library repeats.
    return shortened(printable(_QUERY.sub("?...", lines[0].partition("<?")[0]).rstrip(": ")), _LONGEST)


def digest_in(content: bytes | None, place: str) -> str | None:
    """The digest in a file as sha256sum writes it; RemoteError where it holds none."""
    if content is None:
        return None
    words = content[:1024].split()
    if not words or not re.fullmatch(rb"[0-9a-fA-F]{64}", words[0]):
        raise RemoteError(f"{place} holds no sha256: write it with sha256sum, or remove it")
    return words[0].decode().lower()
