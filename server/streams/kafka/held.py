"""The messages of one partition that were received and are not acknowledged."""


class Held:
    """Offsets of messages, and the one up to which all are acknowledged.

    Attributes:
        committed: The offset that the cluster has for the group; -1 where nothing was received.

    Example:
        >>> held = Held()
        >>> for offset in (7, 8, 9):
        ...     held.take(offset)
        >>> held.release(8)
        >>> held.free
        7
        >>> held.release(7)
        >>> held.free
        9
    """

    def __init__(self) -> None:
        self._offsets: dict[int, None] = {}
        self._next = -1
        self.committed = -1

    @property
    def free(self) -> int:
        """The offset before which nothing is held; -1 where nothing was received."""
        return next(iter(self._offsets), self._next)

    def take(self, offset: int) -> None:
        """Note a message that was received."""
        if self._next < 0:
            # The group has this offset, or none.
            self.committed = offset
        self._offsets[offset] = None
        self._next = offset + 1

    def release(self, offset: int) -> None:
        """Note that a message is acknowledged."""
        self._offsets.pop(offset, None)
