"""The cost of a graph: its bytes, and the microseconds that it takes for a row."""

import statistics
from time import perf_counter

import numpy as np
import pandas as pd

from unpickled.export.card.intervals import short
from unpickled.export.card.served import Served, Tensors
from unpickled.server.artifact.card import Cost

# Rows of a batch, and those of a graph that takes longer than SLOW seconds for a row.
MANY, FEW, SLOW = 1_000, 100, 2e-4
# The most runs that are measured, the least, and the seconds after which there are no more than these: three
# have a median that one interruption does not change. A batch that takes so long, in seconds, is run once.
_RUNS, _LEAST, _SECONDS, _LONG = 50, 3, 0.02, 0.5


def measure(graph: Served, frame: pd.DataFrame, size: int) -> Cost | None:
    """The cost of a graph of ``size`` bytes on rows like those of a frame; None where it fails on them."""
    one = graph.tensors(frame.iloc[:1])
    if graph.answers(one) is None:
        return None
    single = _seconds(graph, one)
    rows = MANY if single < SLOW else FEW
    least = _LEAST if single * rows < _LONG else 1
    batch = graph.tensors(frame.iloc[np.resize(np.arange(min(len(frame), rows)), rows)])
    return Cost(
        graph_bytes=size,
        one_row=_microseconds(single),
        of_many=_microseconds(_seconds(graph, batch, least) / rows),
    )


def _seconds(graph: Served, tensors: Tensors, least: int = _LEAST) -> float:
    """The median of some runs, at least so many."""
    times: list[float] = []
    begun = perf_counter()
    while len(times) < least or (len(times) < _RUNS and perf_counter() - begun < _SECONDS):
        start = perf_counter()
        graph.run(tensors)
        times.append(perf_counter() - start)
    return statistics.median(times)


def _microseconds(seconds: float) -> float:
    return short(float(f"{seconds * 1e6:.3g}"))
