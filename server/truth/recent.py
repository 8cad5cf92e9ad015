"""The rows that the workers of one server predicted last, so that truth finds them by their ids.

The memory is shared: any worker finds the rows of any other, and those of a worker that has died until its
successor has overwritten them. It has two tables for each place of a worker: of the answers that clients got,
and of those that a shadow gave to the same rows, under the same numbers.
"""

import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from multiprocessing import reduction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.anonymous import anonymous_file
from unpickled.server.lifecycle.versions import Served
from unpickled.server.observe.lot import Lot
from unpickled.server.shared import exclusive
from unpickled.server.truth import versions
from unpickled.server.truth.table import Table
from unpickled.server.truth.versions import Version, Versions


class Known(NamedTuple):
    """The answer to one row that is remembered.

    scores: (width,).
    truth: the truth that was reported, as 64 bits: see values.py; None before.
    row: its place in its request; nothing that counts for the answer of a shadow.
    rows: how many rows that had.
    """

    time: float
    version: Version
    label: Any
    scores: npt.NDArray[np.float64]
    truth: int | None
    row: int = 0
    rows: int = 1


class _Place(NamedTuple):
    """The memory of one worker."""

    versions: Versions
    answered: Table
    shadowed: Table


class Recent:
    """The last ``rows`` rows of each of ``places`` workers; unused pages take no memory.

    Rows of versions with many classes take the room of several, so that fewer are remembered. Create it
    before the workers: they inherit it through a fork, or ``multiprocessing`` sends it to them.

    Attributes:
        rows: As above.
    """

    def __init__(self, places: int, rows: int) -> None:
        self._map(anonymous_file(places * _size(rows), "recent"), places, rows)

    def __getstate__(self) -> Any:
        return reduction.DupFd(self._descriptor), len(self._places), self.rows

    def __setstate__(self, state: Any) -> None:
        descriptor, places, rows = state
        self._map(descriptor.detach(), places, rows)

    def remember(self, place: int, lot: Lot) -> None:
        """Remember rows; for the one thread that writes at this place.

        A version that finds no room among the others makes the place forget all it has.
        """
        part, served = self._places[place], lot.answering
        version = part.versions.find(served)
        if version is None:
            version = self._added(part, served)
        if version is None:
            return
        places = served.model.outputs.places(0)
        scores = np.fromiter(chain.from_iterable(lot.scores), np.float64).reshape(len(lot), -1)
        table = part.answered if lot.shadow is None else part.shadowed
        labels = [places[label] for label in lot.labels]
        table.write(version, lot.numbers, lot.times, labels, scores, lot.requests)

    @property
    def places(self) -> int:
        """How many workers there may be."""
        return len(self._places)

    def settle(self, place: int, number: int) -> None:
        """Note that no row of the worker at this place with a lower number is still to come."""
        self._places[place].answered.settle(number)

    def settled(self, place: int) -> int:
        """The number below which no row of the worker at this place is still to come; 0 without a place."""
        return self._places[place].answered.settled if place < len(self._places) else 0

    def times_settled(self, place: int) -> int:
        """How often the worker at this place has noted such a number."""
        return self._places[place].answered.times_settled if place < len(self._places) else 0

    def find(self, place: int, number: int, shadow: bool = False) -> Known | None:
        """The answer that a client got to the row with this number, or the one of a shadow to the same row.

        None if it is not remembered.
        """
        if place >= len(self._places):
            return None
        part = self._places[place]
        table = part.shadowed if shadow else part.answered
        answer = table.read(number)
        if answer is None:
            return None
        version = part.versions.read(answer.version)
        scores = table.scores(answer, version.width)
        if scores is None:
            return None
        label = version.labels[answer.label]
        return Known(answer.time, version, label, scores, answer.truth, answer.row, answer.rows)

    def mark(self, place: int, number: int, truth: int) -> None:
        """Note the truth of a row, as 64 bits; only while ``locked``."""
        self._places[place].answered.mark(number, truth)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other thread or process is in such a block at the same time."""
        with self._lock, exclusive(self._descriptor):
            yield

    def _added(self, part: _Place, served: Served) -> int | None:
        version = part.versions.add(served)
        if version is None:
            part.answered.clear()
            part.shadowed.clear()
            part.versions.clear()
            part.versions.find(served)
            version = part.versions.add(served)
        return version

    def _map(self, descriptor: int, places: int, rows: int) -> None:
        self._descriptor, self.rows = descriptor, rows
        size, table = _size(rows), Table.size(rows)
        memory = memoryview(mmap.mmap(descriptor, places * size))
        self._places = []
        for place in range(places):
            part = memory[place * size : (place + 1) * size]
            answered, shadowed = (
                Table(part[begin : begin + table], rows) for begin in (versions.SIZE, versions.SIZE + table)
            )
            self._places.append(_Place(Versions(part[: versions.SIZE]), answered, shadowed))
        self._lock = threading.Lock()
        # Closing a descriptor of the file would release the lock of this process: this one stays open.
        weakref.finalize(self, os.close, descriptor).atexit = False


def _size(rows: int) -> int:
    """The bytes of one place."""
    return versions.SIZE + 2 * Table.size(rows)
