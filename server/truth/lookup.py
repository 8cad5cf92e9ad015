"""The truths that were reported, found by the ids of rows.

Ids are kept as the numbers in them, in order, apart for each worker: a million truths of a classifier take 16
MB here, and two arrays of as many numbers.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unpickled.server.observe.ids import Id
from unpickled.server.truth.store import Kept

_Numbers = npt.NDArray[np.int64]


class Found(NamedTuple):
    """Which of some rows have a truth (rows,), and the truths of those (found,)."""

    mask: npt.NDArray[np.bool_]
    truths: list[Any]


class Lookup:
    """The first truth of each id in ``lines``.

    Attributes:
        rows: How many ids there are.
        contradicted: Those of them that have another truth, too.
    """

    def __init__(self, lines: Iterable[Kept]) -> None:
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        truths: defaultdict[str, list[Any]] = defaultdict(list)
        # Equal truths are one object.
        same: dict[Any, Any] = {}
        for line in lines:
            identity = Id.read(line.id)
            if identity is not None:
                worker = f"{identity.token}-{identity.worker}"
                numbers[worker].append(identity.number)
                truth = line.truth
                truths[worker].append(same.setdefault(truth, truth) if isinstance(truth, str) else truth)
        self._numbers: dict[str, _Numbers] = {}
        self._truths: dict[str, list[Any]] = {}
        # Those that were found.
        self._hits: dict[str, npt.NDArray[np.bool_]] = {}
        self.rows = self.contradicted = 0
        for worker in list(numbers):
            self._add(worker, np.array(numbers.pop(worker), np.int64), truths.pop(worker))

    @property
    def unmatched(self) -> int:
        """How many ids ``find`` has not been asked for yet."""
        return self.rows - sum(int(hits.sum()) for hits in self._hits.values())

    def _add(self, worker: str, given: _Numbers, truths: Sequence[Any]) -> None:
        order = np.argsort(given, kind="stable")
        numbers, truths = given[order], [truths[place] for place in order.tolist()]
        # Those of one row are side by side, the first one first.
        is_first = np.ones(len(numbers), np.bool_)
        is_first[1:] = numbers[1:] != numbers[:-1]
        firsts = np.flatnonzero(is_first)
        owners = firsts[np.cumsum(is_first) - 1]
        more = np.flatnonzero(~is_first)
        pairs = zip(more.tolist(), owners[more].tolist(), strict=True)
        self.contradicted += len({owner for place, owner in pairs if truths[place] != truths[owner]})
        self._numbers[worker] = numbers[firsts]
        self._truths[worker] = [truths[place] for place in firsts.tolist()]
        self._hits[worker] = np.zeros(len(firsts), np.bool_)
        self.rows += len(firsts)

    def find(self, ids: Sequence[str]) -> Found:
        """The truths of rows with these ids (rows,)."""
        workers: defaultdict[str, list[int]] = defaultdict(list)
        numbers = np.zeros(len(ids), np.int64)
        for row, identity in enumerate(ids):
            worker, _, number = identity.rpartition("-")
            if worker in self._numbers:
                workers[worker].append(row)
                numbers[row] = int(number)
        mask = np.zeros(len(ids), np.bool_)
        truths: dict[int, Any] = {}
        for worker, rows in workers.items():
            known, asked = self._numbers[worker], numbers[rows]
            places = np.minimum(np.searchsorted(known, asked), len(known) - 1)
            hits = known[places] == asked
            mask[np.array(rows)[hits]] = True
            self._hits[worker][places[hits]] = True
            values = self._truths[worker]
            truths |= {
                row: values[place]
                for row, place, hit in zip(rows, places.tolist(), hits.tolist(), strict=True)
                if hit
            }
        return Found(mask, [truths[row] for row in np.flatnonzero(mask).tolist()])
