"""The reference of drift: how the training rows spread over the features, and the predictions for them.

Numbers get ten cells of about equally many rows. A value that alone makes more than a tenth of them, such as
0, has a cell of its own. No cell has fewer than FEWEST rows but an empty one of others: small tables have
fewer cells.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace

from unpickled.server.artifact.manifest import Feature
from unpickled.server.artifact.reference import FEWEST, MOST, Reference, Spread

# How many cells the numbers of a feature are parted into, if there are rows enough.
CELLS = 10

Array = npt.NDArray[Any]


def make(
    frame: pd.DataFrame,
    features: Sequence[Feature],
    predicted: Array,
    classes: Sequence[int | str],
    names: Sequence[str],
) -> Reference:
    """The reference of these rows.

    Args:
        frame: The training rows, one column per feature, as the graph sees them (data/layout.py).
        features: The features.
        predicted: The pipeline's predictions for them: labels (rows,), or numbers (rows, targets).
        classes: The labels of a classifier; none of a regressor.
        names: The names of the classes, or of the targets.
    """
    spreads = [_of_feature(feature, frame[feature.name]) for feature in features]
    if classes:
        answers = [_of_labels(predicted, dict(zip(classes, names, strict=True)))]
    else:
        answers = [of_numbers(name, numbers) for name, numbers in zip(names, predicted.T, strict=True)]
    return Reference(
        rows=len(frame),
        features=tuple(spread for spread in spreads if spread is not None),
        predictions=tuple(spread for spread in answers if spread is not None),
    )


def _of_feature(feature: Feature, column: pd.Series) -> Spread | None:
    if feature.kind == "number":
        return of_numbers(feature.name, column.to_numpy(np.float64))
    texts = column.dropna()
    return _of_texts(feature.name, Counter(texts), len(column) - len(texts))


def _of_labels(labels: Array, names: dict[int | str, str]) -> Spread | None:
    """The spread of a classifier's labels; None where no class has rows enough."""
    texts = isinstance(next(iter(names)), str)
    counts = Counter(names[str(label) if texts else int(label)] for label in np.ravel(labels).tolist())
    spread = _of_texts("prediction", counts, 0)
    return replace(spread, unseen=0) if spread is not None and spread.categories else None


def _of_texts(name: str, counts: Counter[str], missing: int) -> Spread | None:
    """The spread of texts; None of too few. The least frequent one joins the others if these are few."""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST]
    kept = [(text, count) for text, count in most if count >= FEWEST]
    others = counts.total() - sum(count for _, count in kept)
    while kept and 0 < others < FEWEST:
        others += kept.pop()[1]
    unseen = sum(count == 1 for count in counts.values())
    return _covered(
        Spread(
            name=name,
            categories=tuple(text for text, _ in kept),
            counts=(*(count for _, count in kept), others),
            missing=missing,
            unseen=unseen and max(unseen, FEWEST),
        )
    )


def of_numbers(name: str, numbers: npt.NDArray[np.float64]) -> Spread | None:
    """The spread of numbers (rows,), of which NaN is a missing one; None of too few."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return None
    # Infinity has no text in JSON: it counts in the cell of the outermost number.
    numbers = numbers.clip(finite.min(), finite.max())
    values, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
    ends = _cells(counts)
    return _covered(
        Spread(
            name=name,
            bounds=tuple(between(values[end - 1], values[end]) for end in ends[:-1]),
            counts=tuple(np.add.reduceat(counts, [0, *ends[:-1]]).tolist()),
            missing=len(numbers) - int(counts.sum()),
        )
    )


def _covered(spread: Spread) -> Spread | None:
    """The spread, with 1 to 9 missing values told as 10, so that nobody learns of so few rows.

    The largest cell gives the rows for that. None, where a cell is too small.
    """
    if sum(spread.counts) < FEWEST:
        return None
    if not 0 < spread.missing < FEWEST:
        return spread
    counts, largest = list(spread.counts), int(np.argmax(spread.counts))
    counts[largest] -= FEWEST - spread.missing
    return replace(spread, counts=tuple(counts), missing=FEWEST) if counts[largest] >= FEWEST else None


def _cells(counts: Array) -> list[int]:
    """The place behind the last value of each cell, for the counts of distinct values in ascending order."""
    rows = max(counts.sum() / CELLS, FEWEST)
    heavy = np.flatnonzero(counts > rows)
    runs = pairwise(sorted({0, len(counts), *heavy.tolist(), *(heavy + 1).tolist()}))
    ends = [end for first, after in runs for end in _parted(counts[first:after], first, rows)]
    return _filled(counts, ends)


def _parted(counts: Array, first: int, rows: float) -> list[int]:
    """The ends of cells of about so many rows; the first value of these is at the place ``first``."""
    sums = np.cumsum(counts)
    cells = max(round(sums[-1] / rows), 1)
    wanted = sums[-1] * np.arange(1, cells + 1) / cells
    places = np.minimum(np.searchsorted(sums, wanted), len(sums) - 1)
    before = np.maximum(places - 1, 0)
    nearest = np.where(wanted - sums[before] < sums[places] - wanted, before, places)
    return sorted({first + place + 1 for place in (*nearest.tolist(), len(counts) - 1)})


def _filled(counts: Array, ends: list[int]) -> list[int]:
    """The ends without those of cells that are too small: each joins the smaller of its neighbors."""
    while len(ends) > 1:
        cells = np.add.reduceat(counts, [0, *ends[:-1]])
        small = int(np.argmin(cells))
        if cells[small] >= FEWEST:
            break
        with_next = small == 0 or (small < len(cells) - 1 and cells[small + 1] < cells[small - 1])
        del ends[small if with_next else small - 1]
    return ends


def between(value: float, following: float) -> float:
    """The shortest number from ``value`` on, and below the following one: a bound tells of neither."""
    middle = value / 2 + following / 2
    for digits in range(1, 17):
        short = float(f"{middle:.{digits}g}")
        if value <= short < following:
            return short
    return float(value)
