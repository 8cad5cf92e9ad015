"""Many cells, each set in a copy of the same few rows, and what pipeline and graph answer to each.

The copies are made in blocks, so that memory stays level. In a wide table, copies with one cell each would
take columns times columns numbers. So cells of different columns go into one copy first, and only the cells
of copies that are not answered alike are set alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from unpickled.export.gate import probes
from unpickled.export.gate.pair import Pair, Trial
from unpickled.export.gate.probes import Cell

# Numbers in one block of rows.
BLOCK = 2_000_000
# In a table of more columns than NARROW, cells share copies: COPIES of them for one cell of each column.
NARROW, COPIES = 100, 64


@dataclass(slots=True)
class Lot:
    """The trials of frames that were answered alike; the other frames, and their rows that were not."""

    alike: list[Trial] = field(default_factory=list)
    doubtful: list[pd.DataFrame] = field(default_factory=list)
    differing: list[pd.DataFrame] = field(default_factory=list)


def swept(pair: Pair, base: pd.DataFrame, cells: Sequence[Cell]) -> list[Trial]:
    """A trial of each cell, set in all rows of ``base``.

    The rows of a copy with several cells are counted for the first of these.
    """
    copies = shared(cells, base.shape[1])
    trials: dict[int, Trial] = {}
    for copy, trial in zip(
        copies, alone(pair, base, [[cells[i] for i in copy] for copy in copies]), strict=True
    ):
        if len(copy) == 1 or trial.verdict == "alike":
            trials.update(dict.fromkeys(copy, Trial(trial.verdict)))
            trials[copy[0]] = trial
    doubtful = [index for index in range(len(cells)) if index not in trials]
    trials.update(zip(doubtful, _one_by_one(pair, base, [cells[index] for index in doubtful]), strict=True))
    return [trials[index] for index in range(len(cells))]


def _one_by_one(pair: Pair, base: pd.DataFrame, cells: Sequence[Cell]) -> list[Trial]:
    """A trial of each cell by itself: one that is refused in the first row is not tried in the others."""
    first = alone(pair, base.iloc[:1], [[cell] for cell in cells])
    accepted = [[cell] for cell, trial in zip(cells, first, strict=True) if trial.verdict != "refused"]
    others = iter(alone(pair, base, accepted))
    return [trial if trial.verdict == "refused" else next(others) for trial in first]


def alone(pair: Pair, base: pd.DataFrame, copies: Sequence[Sequence[Cell]]) -> list[Trial]:
    """A trial of each copy of ``base``, in which all cells of the copy are set."""
    return [trial for frame in frames(base, copies) for trial in pair.trials(frame, len(base))]


def frames(base: pd.DataFrame, copies: Sequence[Sequence[Cell]]) -> Iterator[pd.DataFrame]:
    """The copies of ``base``, as many in a frame as fit into a block."""
    count = max(1, BLOCK // max(base.size, 1))
    for start in range(0, len(copies), count):
        yield probes.copies(base, copies[start : start + count])


def in_blocks(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of a frame in frames that fit into a block."""
    count = max(1, BLOCK // max(frame.shape[1], 1))
    for start in range(0, len(frame), count):
        yield frame.iloc[start : start + count]


def tried(
    pair: Pair, rows: Iterable[pd.DataFrame], size: int, tick: Callable[[int], None] = lambda count: None
) -> Lot:
    """The outcome of trials of each ``size`` consecutive rows of these frames; ``tick`` counts the rows."""
    lot, count = Lot(), 0
    for frame in rows:
        tick(count)
        count += len(frame)
        trials = pair.trials(frame, size)
        differing = np.repeat([trial.verdict != "alike" for trial in trials], size)
        if differing.any():
            lot.doubtful.append(frame)
            lot.differing.append(frame[differing])
        else:
            lot.alike += trials
    return lot


def shared(cells: Sequence[Cell], width: int) -> list[list[int]]:
    """The indices of the cells that go into one copy: a single one each, unless the table is wide."""
    if width <= NARROW:
        return [[index] for index in range(len(cells))]
    turns: dict[int, list[int]] = {}
    seen: dict[str, int] = {}
    for index, (name, _) in enumerate(cells):
        turns.setdefault(seen.setdefault(name, 0), []).append(index)
        seen[name] += 1
    return [
        indices[start::COPIES] for indices in turns.values() for start in range(min(COPIES, len(indices)))
    ]
