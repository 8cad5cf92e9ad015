"""The task of the process that writes the payload log: all that it is told, in one argument."""

import struct
from typing import Self

import msgspec

from unpickled.server.config import Log

# The length of the key of hashes, which comes first on the writer's standard input; 0 where there is none.
KEY = struct.Struct("=I")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The settings and the descriptors that a writer gets.

    rings, size: The descriptor of the rings, and their bytes.
    memory, blocks, token: The descriptor of the counters, the blocks of workers in them, and their token.
    claim, claim_token: The descriptor of the server's claim on its journals, and its token.
    seconds: The time that it has to finish once it is told to end.
    """

    log: Log
    log_level: str
    rings: int
    size: int
    memory: int
    blocks: int
    token: str
    claim: int
    claim_token: str
    seconds: float

    def text(self) -> str:
        """The task as an argument of a program."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> Self:
        """The task in such an argument."""
        return msgspec.json.decode(text, type=cls)
