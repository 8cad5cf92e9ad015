"""Partial dependence: the mean answer of all rows where one feature is set to the same value in each."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from unpickled.export.card.effort import affordable, drawn
from unpickled.export.card.intervals import short
from unpickled.export.card.served import Served
from unpickled.server.artifact.card import Dependence
from unpickled.server.artifact.manifest import Feature
from unpickled.server.artifact.reference import Spread
from unpickled.server.model.dates import DAY

# The most values that a feature is set to, and the most rows in which it is.
MOST, _MOST_ROWS = 20, 500
# The most scores in an answer: a card of more classes has no dependences.
_MOST_SCORES = 50
# The seconds that all features may take together.
_SECONDS = 1.0

Values = list[Any]


def measure(
    graph: Served,
    frame: pd.DataFrame,
    features: Sequence[tuple[Feature, Spread | None]],
    width: int,
    each: float,
    rng: np.random.Generator,
) -> tuple[list[Dependence], list[str]]:
    """The dependences of answers on features, and sentences about what was left out.

    Args:
        graph: The graph.
        frame: The rows.
        features: The features, each with the spread of its training rows.
        width: How many scores an answer has.
        each: The seconds that the graph takes for a row among many.
        rng: Draws the rows.
    """
    if width > _MOST_SCORES:
        return [], [f"Dependences are left out: an answer has {width:,} scores."]
    count = affordable(len(frame), _SECONDS / max(len(features) * MOST, 1), each, _MOST_ROWS)
    if not count:
        return [], ["To measure dependences takes too long."]
    rows = frame.iloc[drawn(len(frame), count, rng)]
    notes = [f"Dependences are of {count:,} of the rows, drawn by chance."] if count < len(frame) else []
    measured = (_dependence(graph, rows, feature, values(feature, spread)) for feature, spread in features)
    return [dependence for dependence in measured if dependence is not None], notes


def values(feature: Feature, spread: Spread | None) -> Values:
    """The values that a feature is set to, in order: numbers of its training range, or categories."""
    if feature.kind == "category":
        return sorted(spread.categories if spread is not None and spread.categories else feature.categories)[
            :MOST
        ]
    if feature.values and (feature.closed or len(feature.values) <= MOST):
        return _some(sorted(feature.values))
    if feature.boolean:
        return [0.0, 1.0]
    return _numbers(feature, spread)


def _numbers(feature: Feature, spread: Spread | None) -> Values:
    """The ends of the training range, the bounds between cells of rows and what lies amid these."""
    if feature.minimum is None or feature.maximum is None:
        return []
    bounds = spread.bounds if spread is not None else ()
    low, high = feature.minimum, feature.maximum
    amid = [first / 2 + second / 2 for first, second in pairwise(bounds or (low, high))]
    amid = amid if feature.date else [*map(short, amid)]
    numbers = {min(max(number, low), high) for number in (low, *bounds, *amid, high)}
    return sorted({_whole_date(number, feature) for number in numbers})


def _whole_date(number: float, feature: Feature) -> float:
    """The number as the feature may have it: of dates, when a day begins, but not before the first one."""
    if feature.date is None or feature.minimum is None:
        return number
    unit = 60.0 if feature.date.times else float(DAY)
    return max(number // unit * unit, feature.minimum)


def _some(known: Values) -> Values:
    """At most MOST of the values, evenly."""
    return [
        known[place] for place in sorted({*np.linspace(0, len(known) - 1, MOST).round().astype(int).tolist()})
    ]


def _dependence(graph: Served, rows: pd.DataFrame, feature: Feature, at: Values) -> Dependence | None:
    """The dependence on a feature; None where it has one value, or leads to an answer that is no number."""
    if len(at) < 2:
        return None
    tensors = graph.tensors(rows)
    cells, means = graph.column(tensors, feature.name), []
    for value in at:
        cells[:] = value
        answers = graph.answers(tensors)
        if answers is None:
            return None
        means.append(tuple(short(number) for number in answers.scores.mean(axis=0).tolist()))
    return Dependence(feature=feature.name, at=tuple(at), answers=tuple(means))
