"""Prediction ids of the rows of a part, in the shape of those over HTTP: observe/ids.py.

They follow from the job, the part and the content of its source alone: a part that is scored again gives its
rows the same ids. Seventy-three bits of a digest tell parts apart, where a server has forty for each start.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.batch.places.paths import absolute
from unpickled.server.batch.task import Part, Task
from unpickled.server.errors import ServingError

# Letters and digits of a token, as base32 has them, workers, and starts of numbers. A part has fewer rows.
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_LENGTH, _WORKERS, _STARTS, _ROWS = 8, 10**4, 10**6, 10**9


class Ids(NamedTuple):
    """The ids of one part.

    Attributes:
        prefix: The ids up to their number: token, worker, and a - behind each.
        first: The number of row 0; the others follow it.
    """

    prefix: str
    first: int

    @classmethod
    def of(cls, task: Task, part: Part) -> "Ids":
        """The ids of a part of a job that is logged."""
        assert task.logged is not None
        # The processes of a cluster get absolute paths: a job that goes on with them has the ids of before.
        source = absolute(part.source)
        content = (task.logged.token, name_of(task, part), source, str(part.size), part.changed)
        drawn = int.from_bytes(_digest(*content), "big")
        drawn, start = divmod(drawn, _STARTS)
        drawn, worker = divmod(drawn, _WORKERS)
        token = "".join(_LETTERS[drawn >> 5 * place & 31] for place in range(_LENGTH))
        return cls(f"{token}-{worker}-", start * _ROWS)

    def number(self, row: int) -> int:
        """The number of a row of the part, from 0. ServingError where it has too many rows."""
        if row >= _ROWS:
            raise ServingError(f"a part with more than {_ROWS:,} rows cannot be logged: split it")
        return self.first + row

    def of_rows(self, rows: npt.NDArray[np.int64]) -> list[str]:
        """The ids of rows by their numbers in the part (rows,), ascending."""
        if len(rows):
            self.number(int(rows[-1]))
        return [f"{self.prefix}{number}" for number in (rows + self.first).tolist()]


def name_of(task: Task, part: Part) -> str:
    """The name of the part's file in the payload log: the same for each attempt, whatever its source has."""
    assert task.logged is not None
    digest = _digest(task.logged.token, absolute(part.target), task.sha256, str(task.version))
    return f"{task.logged.token}-{digest.hex()[:24]}"


def _digest(*texts: str) -> bytes:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "surrogatepass")).digest()
