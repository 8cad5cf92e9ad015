"""The last rows that one worker has predicted, in memory that all workers read.

    head     | settled | position | times settled |     8 bytes each; the next scores begin at the position
    rows     | stamp | time | version | label | row | rows | start | truth of | truth | ...
    scores   | number | number | ...        the scores of the rows, one behind the other, in a ring

The row with the number n is at n % rows; its stamp is n + 1 once all of it is written, 0 until then. A reader
looks at the stamp before and behind, and at ``position``: the scores of a row with many may have been
overwritten by then. The truth of a row is the only thing that other workers write: it belongs to the row
whose stamp it names, so that one that comes later, to the same place, has none.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_ROW = struct.Struct("=qdiiiiqqq")
_FIELDS = np.dtype(
    [
        ("stamp", "i8"),
        ("time", "f8"),
        ("version", "i4"),
        ("label", "i4"),
        ("row", "i4"),
        ("rows", "i4"),
        ("start", "i8"),
        ("truth_of", "i8"),
        ("truth", "i8"),
    ]
)
_TRUTH = struct.Struct("=qq")
# Where it is in a row.
_TRUTH_PLACE = _ROW.size - _TRUTH.size
_HEAD_SIZE = 64
# Scores that a row may have on average. A version with more takes the room of several rows.
WIDTH = 16
# Scores for which there is room in any case.
_LEAST = 4096


class Answer(NamedTuple):
    """The answer to one row.

    number: in its id.
    time: when it was answered, in seconds since 1970.
    version: the offset of its version: see versions.py.
    label: the place of its label among those of the version.
    row: its place in its request.
    rows: how many rows that had.
    start: where its scores are.
    truth: the truth that was reported, as 64 bits; None before.
    """

    number: int
    time: float
    version: int
    label: int
    row: int
    rows: int
    start: int
    truth: int | None


class Table:
    """The rows of one worker; one thread writes, any process reads."""

    def __init__(self, region: memoryview, rows: int) -> None:
        self._region = region
        self._rows = rows
        self._room = _room(rows)
        size = _HEAD_SIZE + rows * _ROW.size
        self._head = np.frombuffer(region[:_HEAD_SIZE], np.int64)
        table = np.frombuffer(region[_HEAD_SIZE:size], _FIELDS)
        self._stamps, self._times, self._versions, self._labels, self._starts = (
            table[name] for name in ("stamp", "time", "version", "label", "start")
        )
        self._within, self._counts = table["row"], table["rows"]
        self._scores = np.frombuffer(region[size : size + self._room * 8], np.float64)

    @staticmethod
    def size(rows: int) -> int:
        """The bytes of a table with so many rows."""
        return _HEAD_SIZE + rows * _ROW.size + _room(rows) * 8

    @property
    def settled(self) -> int:
        """The number below which each row is written, or will never be."""
        return int(self._head[0])

    @property
    def times_settled(self) -> int:
        """How often such a number was noted."""
        return int(self._head[2])

    def write(
        self,
        version: int,
        numbers: Sequence[int],
        times: Sequence[float],
        labels: Sequence[int],
        scores: npt.NDArray[np.float64],
        requests: Sequence[range] | None = None,
    ) -> None:
        """Remember rows (rows,), with the places of their labels and their scores (rows, width).

        ``requests`` has the numbers of all rows of the request of each; None where each is alone.
        """
        width = scores.shape[1]
        most = min(self._rows, self._room // width)
        if not most:
            return
        if len(numbers) > most:
            numbers, times, labels = numbers[-most:], times[-most:], labels[-most:]
            scores, requests = scores[-most:], requests and requests[-most:]
        stamps = np.array(numbers, np.int64)
        places = stamps % self._rows
        stamps += 1
        # Rows come by source, those of one beside later ones of another.
        older = stamps <= self._stamps[places]
        if older.any():
            rows = np.flatnonzero(~older).tolist()
            numbers, times = [numbers[row] for row in rows], [times[row] for row in rows]
            labels = [labels[row] for row in rows]
            stamps, places, scores = stamps[rows], places[rows], scores[rows]
            requests = requests and [requests[row] for row in rows]
        count = len(stamps)
        if not count:
            return
        start = self._start(count * width)
        self._stamps[places] = 0
        # Written first: a reader whose scores are overwritten from here on has to know.
        self._head[1] = start + count * width
        place = start % self._room
        self._scores[place : place + count * width] = scores.reshape(-1)
        self._times[places] = times
        self._versions[places] = version
        self._labels[places] = labels
        if requests is None:
            self._within[places], self._counts[places] = 0, 1
        else:
            pairs = zip(numbers, requests, strict=True)
            self._within[places] = [number - request.start for number, request in pairs]
            self._counts[places] = [len(request) for request in requests]
        self._starts[places] = np.arange(start, start + count * width, width)
        self._stamps[places] = stamps

    def settle(self, number: int) -> None:
        """Note that no row with a lower number is still to be written."""
        self._head[0] = number
        self._head[2] += 1

    def read(self, number: int) -> Answer | None:
        """The answer to the row with a number; None where it is not remembered."""
        fields = _ROW.unpack_from(self._region, self._place(number))
        stamp, time, version, label, row, rows, start, truth_of, truth = fields
        if stamp != number + 1:
            return None
        return Answer(number, time, version, label, row, rows, start, truth if truth_of == stamp else None)

    def scores(self, answer: Answer, width: int) -> npt.NDArray[np.float64] | None:
        """The scores of an answer (width,); None where they, or its row, were overwritten meanwhile."""
        place = answer.start % self._room
        scores = self._scores[place : place + width].copy()
        whole = self._head[1] - answer.start <= self._room
        same = self._stamps[answer.number % self._rows] == answer.number + 1
        return scores if whole and same else None

    def mark(self, number: int, truth: int) -> None:
        """Note the truth of a row."""
        place = self._place(number) + _TRUTH_PLACE
        # Its number comes last: a process that dies in between leaves no half of a truth.
        _TRUTH.pack_into(self._region, place, 0, truth)
        _TRUTH.pack_into(self._region, place, number + 1, truth)

    def clear(self) -> None:
        """Forget all rows."""
        self._stamps[:] = 0

    def _place(self, number: int) -> int:
        return _HEAD_SIZE + number % self._rows * _ROW.size

    def _start(self, count: int) -> int:
        """Where so many scores are written; they lie one behind the other."""
        start = int(self._head[1])
        place = start % self._room
        return start + self._room - place if place + count > self._room else start


def _room(rows: int) -> int:
    """The scores for which a table has room."""
    return max(_LEAST, rows * WIDTH)
