"""Counts of an hour, a day and a week: added up over processes, kept when one dies, forgotten in time."""

import multiprocessing
from contextlib import contextmanager

import numpy as np
import pytest

from unpickled.server.observe import windows
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.windows import WINDOWS, Windows

# Python 3.12 warns of forks in a process with threads, which other tests may have left.
pytestmark = pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")

KEY = ("iris", "1")
# A Tuesday at noon, where buckets of all windows begin.
NOON = 1_800_014_400.0
HOUR, DAY = 3600.0, 86_400.0


def add(memory: Memory, pipe, counts: list[float], now: float) -> None:
    """Add counts in a process of its own, which then waits."""
    Windows(memory.claim(), "rows").add(KEY, np.array(counts), now)
    pipe.send(None)
    pipe.recv()


@contextmanager
def process(memory: Memory, counts: list[float], now: float = NOON):
    """A process that has added counts; it is killed at the end of the block."""
    ours, its = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=add, args=(memory, its, counts, now))
    child.start()
    its.close()
    try:
        ours.recv()
        yield
    finally:
        child.kill()
        child.join()
        ours.close()


def rows(memory: Memory, window: str, now: float) -> list[float]:
    """The counts of the key in a window."""
    return windows.total(memory, "rows", KEY, window, now)[0].tolist()


def test_processes_add_up():
    """Two processes and the successor of one that was killed count together."""
    memory = windows.shared(blocks=2, began=NOON - DAY)
    with process(memory, [1, 10]):
        with process(memory, [2, 20]):
            pass
        with process(memory, [4, 40]):
            assert set(memory.workers()) == {0, 1}
            assert [rows(memory, window, NOON + 60) for window in WINDOWS] == [[7, 70]] * 3


@pytest.mark.parametrize("window", WINDOWS)
def test_window_passes(window):
    """Rows stay for the length of the window, and for a bucket more at most."""
    memory = windows.shared(blocks=1, began=NOON)
    span = WINDOWS[window]
    counts = Windows(memory.claim(), "rows")
    counts.add(KEY, np.ones(3), NOON + 1)
    assert rows(memory, window, NOON + span.seconds + 1) == [1, 1, 1]
    counts.add(KEY, np.ones(3), NOON + span.seconds)
    assert rows(memory, window, NOON + span.seconds + 1) == [2, 2, 2]
    assert rows(memory, window, NOON + span.seconds + span.width) == [1, 1, 1]
    assert rows(memory, window, NOON + 3 * span.seconds) == []


def test_beginning():
    """A window tells when it begins, and whether everything in it was counted."""
    memory = windows.shared(blocks=1, began=NOON + 10)
    reads = [windows.totals(memory, "rows", (), "1h", NOON + passed) for passed in (60, HOUR, HOUR + 310)]
    assert [read.since - NOON for read in reads] == [10, 10, 300]
    assert [read.complete for read in reads] == [False, False, True]
    assert all(read.counts == {} for read in reads)


def test_keys():
    """Keys, kinds and prefixes are kept apart, and one key has counts of one size."""
    memory = windows.shared(blocks=1, began=NOON)
    first, second = Windows(memory.claim(), "rows"), Windows(memory.claim(), "errors")
    for number, key in enumerate([("iris", "1"), ("iris", "10"), ("people", "1")]):
        first.add(key, np.full(number + 1, 5.0), NOON)
    second.add(KEY, np.ones(1), NOON)
    totals = windows.totals(memory, "rows", ("iris",), "24h", NOON)
    assert {key: counts.tolist() for key, counts in totals.counts.items()} == {
        ("iris", "1"): [5],
        ("iris", "10"): [5, 5],
    }
    assert windows.total(memory, "errors", KEY, "7d", NOON)[0].tolist() == [1]
    with pytest.raises(ValueError, match=r"not \d"):
        Windows(memory.claim(), "errors").add(KEY, np.ones(2), NOON)


def test_memory_is_bounded():
    """Buckets that have passed give their memory to later ones, also of versions of about the same size."""
    memory = windows.shared(blocks=1, began=NOON)
    block = memory.claim()
    counts = Windows(block, "rows")
    for day in range(30):
        for hour in range(24):
            counts.add(("iris", str(day)), np.ones(380 + day % 3), NOON + day * DAY + hour * HOUR)
    used = block._words[0]
    for day in range(30, 90):
        for hour in range(24):
            counts.add(("iris", str(day)), np.ones(380 + day % 3), NOON + day * DAY + hour * HOUR)
    assert block._words[0] == used
    assert len(block.keys()) < 2 + 26 + 30


def test_late_counts():
    """Counts of the past are added to the windows that have that moment, and disturb no others."""
    memory = windows.shared(blocks=1, began=NOON)
    counts = Windows(memory.claim(), "rows")
    counts.add(KEY, np.ones(1), NOON + DAY)
    counts.add(KEY, np.ones(1), NOON)
    counts.add(KEY, np.ones(1), NOON + DAY + 1)
    assert [rows(memory, window, NOON + DAY + 2) for window in WINDOWS] == [[2], [3], [3]]
