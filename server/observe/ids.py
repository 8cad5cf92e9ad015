"""Prediction ids: by them a client reports later what turned out to be true.

    Prediction-Id: 7f3kq2ma-0-1832      a token of the server's start, its worker, and a number
    7f3kq2ma-0-1832:4                   row 4 of that request (from 0), which has the number 1836
    7f3kq2ma-0-1836:0                   the same row, by its own number, as the payload log has it

Each row takes a number. A worker that follows one that has died goes on far behind its last number, so that
no id is given twice.
"""

import re
from typing import NamedTuple

from unpickled.server.observe.counters import Block, fresh_token

HEADER = "Prediction-Id"

_ID = re.compile(r"([a-z2-7]{8})-([0-9]{1,4})-([0-9]{1,15})(?::([0-9]{1,9}))?")
# (NUMBERS, block): a number above which the worker has given none. The sum over the blocks means nothing.
NUMBERS = "prediction_numbers"
# The worker notes its last number some times a second; it gives fewer than so many in between.
_GAP = 10**8


class Id(NamedTuple):
    """The id of one row.

    number: that of the row.
    row: its place in the request, if the text says one.
    """

    token: str
    worker: int
    number: int
    row: int | None = None

    @classmethod
    def read(cls, text: str) -> "Id | None":
        """The id in a text, with or without a row; None where it is none."""
        match = _ID.fullmatch(text)
        if match is None:
            return None
        token, worker, number, row = match.groups()
        if row is None:
            return cls(token, int(worker), int(number))
        return cls(token, int(worker), int(number) + int(row), int(row))

    def __str__(self) -> str:
        return f"{self.token}-{self.worker}-{self.number}"


def prefix(block: Block) -> str:
    """The ids of a worker up to their number. One that found no block has a token of its own."""
    token = fresh_token() if block.number is None else block.token
    return f"{token}-{block.number or 0}-"


def first(block: Block) -> int:
    """The first number that a worker may give; the numbers before it may have been given."""
    last = noted(block)
    return last + _GAP if last else 0


def noted(block: Block) -> int:
    """The number that was noted last."""
    return int(block.series((NUMBERS, str(block.number)), 1)[0])


def note(block: Block, number: int) -> None:
    """Note that the next row gets ``number``."""
    block.series((NUMBERS, str(block.number)), 1)[0] = float(number)
