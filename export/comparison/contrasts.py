"""The metrics of two versions on the same rows, each as a pair of quotients of sums."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from unpickled.export.card.intervals import short
from unpickled.export.card.losses import log_losses
from unpickled.export.comparison.paired import Pair, Quotient, coin, interval, widened
from unpickled.export.comparison.sides import Classified, Floats, Places
from unpickled.server.artifact.comparison import Contrast
from unpickled.server.artifact.reference import FEWEST

# The most classes with metrics of their own: those with the most rows.
MOST_CLASSES = 20

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of both versions: its noun, the class or target it is of, and its figures.

    ``exact`` are ends that the interval holds at least: those of a test that is exact (paired.py).
    """

    noun: str
    better: Literal["higher", "lower"]
    pair: Pair
    of: str = ""
    exact: tuple[float, float] | None = None

    def contrast(self, drawn: Floats, rows: int) -> Contrast:
        """The figures, from the differences of each drawing (RESAMPLES,)."""
        difference = interval(self.pair.difference, drawn, rows)
        return Contrast(
            metric=self.noun,
            better=self.better,
            this=short(self.pair.this.value),
            other=short(self.pair.other.value),
            difference=difference if self.exact is None else widened(difference, self.exact),
            of=self.of,
        )


def of_classes(names: Sequence[str], truth: Places, this: Classified, other: Classified) -> list[Metric]:
    """The metrics of two classifiers: those of all rows first, then those of each class.

    Args:
        names: The classes of both.
        truth: (rows,): the place of the true class among them.
        this: The answers of the later version.
        other: Those of the earlier one.
    """
    both = this, other
    right = [side.places == truth for side in both]
    metrics = [Metric("accuracy", "higher", Pair(*map(_share, right)), exact=_exact(right, len(truth)))]
    if this.probable and other.probable:
        losses = [Quotient(log_losses(side.scores, truth)) for side in both]
        metrics.append(Metric("log loss", "lower", Pair(*losses)))
    counts = np.bincount(truth, minlength=len(names))
    most = [place for place in np.argsort(-counts, kind="stable").tolist() if counts[place] >= FEWEST]
    for place in sorted(most[:MOST_CLASSES]):
        metrics += _of_class(names[place], place, truth, both)
    return metrics


def of_targets(names: Sequence[str], truth: Floats, this: Floats, other: Floats) -> list[Metric]:
    """The metrics of two regressors; of several targets, first that of all of them together.

    Args:
        names: The targets.
        truth: (rows, targets): the true numbers.
        this: (rows, targets): the predictions of the later version.
        other: Those of the earlier one.
    """
    errors = [np.abs(predicted - truth) for predicted in (this, other)]
    metrics = []
    if len(names) > 1:
        relative = [Quotient(error.mean(axis=1)) for error in in_shares(*errors)]
        metrics.append(Metric("relative mean absolute error", "lower", Pair(*relative)))
    for place, name in enumerate(names):
        absolute = [Quotient(error[:, place]) for error in errors]
        squared = [Quotient(error[:, place] ** 2, root=True) for error in errors]
        metrics.append(Metric("mean absolute error", "lower", Pair(*absolute), name))
        metrics.append(Metric("root mean squared error", "lower", Pair(*squared), name))
        whole = (truth[:, place] - truth[:, place].mean()) ** 2
        if whole.any():
            told = [Quotient(whole - error[:, place] ** 2, whole) for error in errors]
            metrics.append(Metric("R2", "higher", Pair(*told), name))
    return metrics


def in_shares(this: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Absolute errors (rows, targets) of both, each in shares of the mean one of the other version."""
    means = other.mean(axis=0)
    means[means == 0] = 1.0
    return this / means, other / means


def _of_class(name: str, place: int, truth: Places, both: Sequence[Classified]) -> Iterator[Metric]:
    """The metrics of a class with at least FEWEST rows in it, as far as FEWEST rows tell of each."""
    inside = truth == place
    if (~inside).sum() >= FEWEST and all(side.known[place] for side in both):
        curves = [Quotient(areas(side.scores[:, place], inside)) for side in both]
        yield Metric("ROC AUC", "higher", Pair(*curves), name)
        curves = [Quotient(precisions(side.scores[:, place], inside)) for side in both]
        yield Metric("average precision", "higher", Pair(*curves), name)
    taken = [side.places == place for side in both]
    hits = [each & inside for each in taken]
    if all(each.sum() >= FEWEST for each in taken):
        yield Metric("precision", "higher", Pair(*map(_share, hits, taken)), name)
    recalls = Pair(*(_share(each, inside) for each in hits))
    yield Metric("recall", "higher", recalls, name, _exact(hits, int(inside.sum())))


def _share(happened: Bools, among: Bools | None = None) -> Quotient:
    """The share of rows where something happened; ``among`` are the rows that count."""
    return Quotient(happened.astype(np.float64), None if among is None else among.astype(np.float64))


def _exact(happened: Sequence[Bools], rows: int) -> tuple[float, float]:
    """The ends of an interval of the difference of two shares of so many rows, those of both versions."""
    this, other = happened
    return coin(int((this & ~other).sum()), int((other & ~this).sum()), rows)


def areas(scores: Floats, inside: Bools) -> Floats:
    """(rows,): numbers whose mean is the area under the ROC curve, and whose spread is that of the area.

    By DeLong: the number of a row tells of the share of the rows of the other kind that it stands on the
    right side of. So the area, which is no sum, is drawn as sums are.
    """
    rows, positives = len(scores), int(inside.sum())
    ranks = rankdata(scores)
    # A row's rank among all, without that among its own kind, counts the rows of the other kind below it.
    own: Any = np.empty(rows)
    own[inside], own[~inside] = rankdata(scores[inside]), rankdata(scores[~inside])
    below = ranks - own
    shares = np.where(inside, below / (rows - positives), 1 - below / positives)
    area = shares[inside].mean()
    sizes = np.where(inside, positives, rows - positives)
    return np.asarray(area + (shares - area) * rows / sizes)


def precisions(scores: Floats, inside: Bools) -> Floats:
    """(rows,): numbers whose mean is the average precision, and whose spread is that of it.

    The average precision is the mean, over the rows of the class, of the precision among all rows with a
    score of at least theirs. The number of a row tells how that changes with the weight of the row.
    """
    values, places = np.unique(scores, return_inverse=True)
    among = np.bincount(places, minlength=len(values))
    hits = np.bincount(places, inside, len(values))
    # From the highest score down to each one.
    taken, found = (np.cumsum(counts[::-1])[::-1] for counts in (among, hits))
    positives = int(inside.sum())
    average = float((hits * found / taken).sum()) / positives
    # A row is among those taken at its own score and at all lower ones.
    gained, lost = np.cumsum(hits / taken), np.cumsum(hits * found / taken**2)
    slopes = inside * (found / taken + gained - average)[places] - lost[places]
    return np.asarray(average + slopes * len(scores) / positives)
