"""Measurements of versions for metrics: one worker posts them, every process reads them.

They stand in the notice of a memory of counts (see counters.py).
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec

from unpickled.server.observe.counters import Memory

Version = TypeVar("Version")
# Seconds for which a notice is told: it is posted again much sooner, if anybody still measures.
_LONGEST = 300.0


class Posted(NamedTuple, Generic[Version]):
    """The measurements of all versions at a time, in seconds since 1970."""

    moment: float
    versions: Sequence[Version]


class Notice(Generic[Version]):
    """Writes and reads the measurements of one kind.

    Args:
        kind: The type of them.
    """

    def __init__(self, kind: type[Posted[Version]]) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)

    def post(self, memory: Memory, posted: Posted[Version]) -> None:
        """Replace what the processes of a server tell."""
        memory.post(msgspec.msgpack.encode(posted))

    def posted(self, memory: Memory | None, now: float) -> Posted[Version]:
        """Those that were posted last; no versions where that was long ago, or where there is no memory."""
        content = memory.posted() if memory else b""
        posted = self._decoder.decode(content) if content else Posted[Version](0.0, ())
        return posted if abs(now - posted.moment) < _LONGEST else Posted(posted.moment, ())
