"""A group of members that share the entries of a stream."""

from typing import Any

import redis


class Group:
    """A group, which is created where it does not exist, and again where somebody deletes it.

    Args:
        client: The client.
        stream: The name of the stream.
        name: The name of the group.
        first: Whether it begins with the first entry that is there when it is created.
    """

    def __init__(self, client: Any, stream: str, name: str, first: bool) -> None:
        self._client = client
        self._stream = stream
        self._name = name
        # The entry behind which the group begins, should it have to be created: all up to there are done.
        self._origin = "0" if first else "$"

    def join(self) -> None:
        """Create the group, and the stream where it does not exist."""
        try:
            self._client.xgroup_create(self._stream, self._name, self._beginning(), mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        self.waiting()
        if self._origin == "$":
            # Others hold messages of the group.
            self._origin = "0"

    def waiting(self) -> int | None:
        """Entries that no member has got or acknowledged; None where the server does not tell."""
        for group in self._client.xinfo_groups(self._stream):
            if group["name"] == self._name.encode():
                pending, waiting = int(group["pending"]), group.get("lag")
                if not pending:
                    self._origin = group["last-delivered-id"].decode()
                # Older servers do not tell, and none does where entries were deleted by hand.
                return None if waiting is None else int(waiting) + pending
        return None

    def _beginning(self) -> str:
        """The id behind which a group begins that is created, perhaps again."""
        if self._origin in ("0", "$"):
            return self._origin
        try:
            last = self._client.xinfo_stream(self._stream)["last-generated-id"]
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            last = b"0-0"
        # Another stream with this name may have lower ids.
        return self._origin if _order(last) >= _order(self._origin.encode()) else "0"


def _order(identity: bytes) -> tuple[int, ...]:
    return tuple(int(number) for number in identity.split(b"-"))
