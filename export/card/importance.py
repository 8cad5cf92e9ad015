"""Permutation importance: how much the loss rises where the cells of one feature are shuffled."""

from collections.abc import Sequence
from dataclasses import dataclass
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
    trial = _Trial(graph, graph.tensors(rows.frame), rows.truth, loss, shuffles, rng)
    before = trial.losses()
    rises = {} if before is None else {name: trial.rises(name, before) for name in features}
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


@dataclass(frozen=True, slots=True)
class _Trial:
    """Rows with their truth, whose cells are shuffled so often, a feature at a time."""

    graph: Served
    tensors: Tensors
    truth: Array
    loss: Loss
    shuffles: int
    rng: np.random.Generator

    def losses(self) -> Floats | None:
        """(rows,): the loss of each as its cells are now; None where an answer is no number."""
        answers = self.graph.answers(self.tensors)
        return None if answers is None else self.loss.rows(answers, self.truth)

    def rises(self, feature: str, before: Floats) -> Floats | None:
        """(rows,): how much each moves the rise, which is their mean; None where an answer is no number.

        A row takes part twice: its own loss rises, and so does that of the row which receives its cell.
        """
        cells = self.graph.column(self.tensors, feature)
        own, taken, given = cells.copy(), np.zeros(len(before)), np.zeros(len(before))
        for _ in range(self.shuffles):
            order = self.rng.permutation(len(own))
            cells[:] = own[order]
            losses = self.losses()
            if losses is None:
                break
            taken += losses - before
            given[order] += losses - before
        cells[:] = own
        return None if losses is None else (taken + given - taken.mean()) / self.shuffles


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
