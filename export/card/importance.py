"""Permutation importance: how much the loss rises where the cells of one feature are shuffled."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from unpickled.export.card import intervals
from unpickled.export.card.effort import affordable, drawn
from unpickled.export.card.intervals import Floats
from unpickled.export.card.losses import Loss
from unpickled.export.card.served import Array, Served, Tensors
from unpickled.export.labelled import Labelled
from unpickled.server.artifact.card import MOST_IMPORTANCES, Importance
from unpickled.server.quote import listed

# How often the cells of a feature are shuffled; once where that takes too long.
SHUFFLES = 5
# The most rows, and the seconds that all features may take together.
_MOST, _SECONDS = 2_000, 1.5
# The seconds that a run takes at least, and for each row those of its loss.
_RUN, _ROW = 5e-5, 2e-7


class Importances(NamedTuple):
    """The importances of features, which fall, and sentences about what was left out."""

    importances: tuple[Importance, ...]
    notes: tuple[str, ...] = ()


def measure(
    graph: Served,
    labelled: Labelled,
    loss: Loss,
    features: Sequence[str],
    each: float,
    rng: np.random.Generator,
) -> Importances:
    """The importances of features on some rows.

    Args:
        graph: The graph.
        labelled: The rows; their truth as places among the classes, or as numbers.
        loss: The loss.
        features: The names of all features.
        each: The seconds that the graph takes for a row among many.
        rng: Draws the rows and shuffles their cells.
    """
    count, shuffles = _effort(len(labelled), len(features), each)
    if not count:
        return Importances((), (f"To measure the importances of {len(features):,} features takes too long.",))
    rows = labelled.at(drawn(len(labelled), count, rng))
    tensors = graph.tensors(rows.frame)
    answers = graph.answers(tensors)
    rises: dict[str, Floats | None] = {}
    if answers is not None:
        before = loss.rows(answers, rows.truth)
        for name in features:
            rises[name] = _rise(graph, tensors, name, loss, rows.truth, before, shuffles, rng)
    lacking = [name for name in features if rises.get(name) is None]
    measured = [
        Importance(feature=name, rise=intervals.mean(rise))
        for name, rise in rises.items()
        if rise is not None
    ]
    measured.sort(key=lambda importance: -importance.rise.value)
    notes = (
        *_drawn(count, len(labelled)),
        *_lacking(lacking),
        *_cut(measured),
    )
    return Importances(tuple(measured[:MOST_IMPORTANCES]), notes)


def _effort(rows: int, features: int, each: float) -> tuple[int, int]:
    """How many rows are shuffled, and how often."""
    for shuffles in (SHUFFLES, 1):
        runs = features * shuffles
        count = affordable(rows, (_SECONDS - runs * _RUN) / runs, each + _ROW, _MOST)
        if count >= min(rows, _MOST // 4) or shuffles == 1:
            return count, shuffles
    return 0, 0


def _rise(
    graph: Served,
    tensors: Tensors,
    feature: str,
    loss: Loss,
    truth: Array,
    before: Floats,
    shuffles: int,
    rng: np.random.Generator,
) -> Floats | None:
    """(rows,): the mean rise of each row's loss; None where an answer is no number.

    The tensors are in the end as they were.
    """
    cells = graph.column(tensors, feature)
    own, rises = cells.copy(), np.zeros(len(before))
    try:
        for _ in range(shuffles):
            cells[:] = own[rng.permutation(len(own))]
            answers = graph.answers(tensors)
            if answers is None:
                return None
            rises += loss.rows(answers, truth) - before
    finally:
        cells[:] = own
    return rises / shuffles


def _drawn(count: int, rows: int) -> list[str]:
    return [f"Importances are of {count:,} of the rows, drawn by chance."] if count < rows else []


def _lacking(names: Sequence[str]) -> list[str]:
    whose = "that of" if len(names) == 1 else "those of"
    return (
        [f"Importances lack {whose} {listed(names, 5)}: shuffled, answers are no numbers."] if names else []
    )


def _cut(falling: Sequence[Importance]) -> list[str]:
    """A sentence about those that are not kept."""
    left_out = falling[MOST_IMPORTANCES:]
    if not left_out:
        return []
    highest = left_out[0].rise.value
    return [f"The importances of {len(left_out):,} more features are left out: none is above {highest:.3g}."]
