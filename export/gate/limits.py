"""The limits of each number feature: numbers may lie as far beyond training as pipeline and graph agree.

The search climbs a ladder of ever larger numbers on each side of each feature, for one feature at a time, and
then for all features at once. Last, it moves the ends inwards until thousands of rows between them are
answered alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
import pandas as pd

from unpickled.export.gate import probes
from unpickled.export.gate.answers import Array
from unpickled.export.gate.neighbors import reach as reach_of
from unpickled.export.gate.pair import Pair, Verdict
from unpickled.export.gate.probes import Cell
from unpickled.export.gate.sweep import NARROW, Lot, frames, in_blocks, shared, swept, tried
from unpickled.export.progress import Counter, Say, Tick, silent
from unpickled.server.artifact.manifest import Feature

# The lowest and the highest number of each feature.
Numbers = dict[str, float]
Ends = tuple[Numbers, Numbers]
# (feature, side: -1 or 1) -> the numbers to try there, ever further out.
Ladders = dict[tuple[str, int], list[float]]
# (feature, side) -> how many rungs of its ladder may be climbed.
Rungs = dict[tuple[str, int], int]
# Feature -> how far beyond training it may lie, in multiples of its range.
Multiples = dict[str, float]

# Rows between the ends that are compared, and how often the ends may be moved inwards.
SPREAD_ROWS, DRAWS = 2_000, 100
# In multiples of the training range: the shortest reach for any feature.
LEAST_REACH = 0.1
# The rungs of a ladder that must not reach 0, in multiples of the end of the training range.
TOWARDS_ZERO = (1.0, 0.1, 0.001)
# The rung of a ladder that lies ten ranges out.
NEAR_RUNG = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """The ends of each number feature, and what came of the rows at the ends and ``drawn`` between them."""

    ends: Ends
    extremes: Lot
    spread: Lot
    drawn: pd.DataFrame
    top: float

    def applied(self, features: Sequence[Feature]) -> tuple[Feature, ...]:
        """The features with ``lowest`` and ``highest`` set, None where the dtype itself is the limit."""
        low, high = self.ends
        return tuple(
            msgspec.structs.replace(
                feature,
                lowest=None if low[feature.name] <= -self.top else low[feature.name],
                highest=None if high[feature.name] >= self.top else high[feature.name],
            )
            if feature.name in low
            else feature
            for feature in features
        )


def search(pair: Pair, frame: pd.DataFrame, numbers: Sequence[Feature], say: Say = silent) -> Limits:
    """The limits of these number features; ``frame`` holds the training rows, ``say`` shows progress."""
    top = float(np.finfo(pair.conversion.layout.dtype).max)
    base = probes.filled(probes.sample(frame, 3), numbers)
    ladders = {(f.name, side): probes.ladder(f, side, top) for f in numbers for side in (-1, 1)}
    ladders = _short_of_zero(pair, base, ladders)
    counter = Counter(say, "searching for the limits, step")
    ends = _together(pair, base, ladders, _alone(pair, base, ladders, counter))
    return _drawn_in(pair, frame, base, numbers, ends, top, say)


def _short_of_zero(pair: Pair, base: pd.DataFrame, ladders: Ladders) -> Ladders:
    """The ladders, but none leads over a zero that the pipeline refuses, as logarithms and quotients do."""
    over = [key for key in ladders if ladders[key][0] * key[1] < 0.0]
    verdicts = pair.verdicts(probes.each(base, [(name, 0.0) for name, _ in over]), len(base)) if over else []
    refused = [key for key, verdict in zip(over, verdicts, strict=True) if verdict == "refused"]
    return ladders | {key: [ladders[key][0] * share for share in TOWARDS_ZERO] for key in refused}


def _alone(pair: Pair, base: pd.DataFrame, ladders: Ladders, tick: Tick) -> Rungs:
    """How many rungs of each ladder may be climbed while all other features stay within training.

    Some rungs are tried at once, twice as many each time that none is refused: a call of the pipeline costs
    more than its few rows do. In a wide table, where many rows are, each is tried by itself.
    """
    reach = dict.fromkeys(ladders, 0)
    climbing = list(ladders)
    rungs, rung, count = max(map(len, ladders.values())), 1, 1
    while rung < rungs and climbing:
        tick(rung, rungs)
        stretch = range(rung, min(rung + count, rungs))
        verdicts = _verdicts(pair, base, ladders, climbing, stretch)
        climbed = _climbed(climbing, ladders, verdicts, stretch, reach)
        rung += count
        is_level = base.shape[1] <= NARROW and "refused" not in verdicts.values()
        climbing, count = climbed, 2 * count if is_level else 1
    return reach


def _verdicts(
    pair: Pair, base: pd.DataFrame, ladders: Ladders, climbing: Sequence[tuple[str, int]], stretch: range
) -> dict[tuple[tuple[str, int], int], Verdict]:
    """The verdict on each of these rungs of each ladder that is still climbed, as far as it has them."""
    steps = [(key, rung) for rung in stretch for key in climbing if rung < len(ladders[key])]
    trials = swept(pair, base, [(key[0], ladders[key][rung]) for key, rung in steps])
    return {step: trial.verdict for step, trial in zip(steps, trials, strict=True)}


def _climbed(
    climbing: list[tuple[str, int]],
    ladders: Ladders,
    verdicts: dict[tuple[tuple[str, int], int], Verdict],
    stretch: range,
    reach: Rungs,
) -> list[tuple[str, int]]:
    """The ladders that are still climbed after these rungs; sets their ``reach``."""
    differing: set[str] = set()
    for rung in stretch:
        on_rung = {key: verdicts[key, rung] for key in climbing if rung < len(ladders[key])}
        # Differences within ten ranges of training are left to _drawn_in, which tests thousands of rows.
        if rung > NEAR_RUNG:
            differing |= {name for (name, _), verdict in on_rung.items() if verdict == "different"}
        climbing = [
            key for key, verdict in on_rung.items() if verdict != "refused" and key[0] not in differing
        ]
        reach.update(dict.fromkeys(climbing, rung))
    return climbing


def _together(pair: Pair, base: pd.DataFrame, ladders: Ladders, reach: Rungs) -> Ends:
    """The ends that all features may reach at once: the furthest are lowered until the answers agree."""
    names = list(dict.fromkeys(name for name, _ in ladders))
    while True:
        low, high = ({name: ladders[name, s][reach[name, s]] for name in names} for s in (-1, 1))
        rows = probes.together(base, low, high)
        furthest = max(reach.values())
        [trial] = pair.trials(rows, len(rows))
        verdict = trial.verdict
        if not furthest or verdict == "alike" or (verdict == "different" and furthest <= NEAR_RUNG):
            return low, high
        reach = {key: min(rung, furthest - 1) for key, rung in reach.items()}


def _drawn_in(
    pair: Pair,
    frame: pd.DataFrame,
    base: pd.DataFrame,
    numbers: Sequence[Feature],
    ends: Ends,
    top: float,
    say: Say,
) -> Limits:
    """The ends, moved towards the training range until thousands of rows between them are answered alike.

    Both sides of a feature get the same multiple of its range, or less where values are refused. Only a
    constant may be limited to its range: every other feature may go some way beyond it.
    """
    dtype = pair.conversion.layout.dtype
    reach = dict.fromkeys((feature.name for feature in numbers), reach_of(pair.pipeline))
    least = {f.name: LEAST_REACH if f.minimum != f.maximum else 0.0 for f in numbers}
    for seed in range(DRAWS):
        low, high = _within(numbers, ends, reach, dtype)
        copies = _at_ends(numbers, low, high, dtype)
        counter = Counter(say, "comparing the extremes of every feature, row")
        tick = partial(counter, total=len(base) * len(copies))
        at_ends = tried(pair, frames(base, copies), len(base), tick)
        rows = probes.spread(frame, numbers, low, high, SPREAD_ROWS // 4, seed)
        between = tried(pair, in_blocks(rows), 1)
        differing = [*at_ends.differing, *between.differing]
        tighter = _tighter(reach, least, probes.outside(differing, numbers))
        if not differing or tighter == reach:
            break
        reach = tighter
    return Limits((low, high), at_ends, between, rows, top)


def _at_ends(numbers: Sequence[Feature], low: Numbers, high: Numbers, dtype: str) -> list[list[Cell]]:
    """The cells of each copy of the base rows: every feature at its ends, then all features at theirs."""
    ends: list[list[Cell]] = [[(f.name, end[f.name])] for f in numbers for end in (low, high)]
    within = probes.inside(numbers, low, high, dtype)
    together: list[list[Cell]] = [list(corner.items()) for corner in probes.corners(low, high)]
    return [*ends, *([within[i] for i in copy] for copy in shared(within, len(numbers))), *together]


def _within(numbers: Sequence[Feature], ends: Ends, reach: Multiples, dtype: str) -> Ends:
    """These ends, but none further than ``reach`` ranges beyond training."""
    low, high, number = dict(ends[0]), dict(ends[1]), np.dtype(dtype).type
    for feature in numbers:
        name, first, last = feature.name, feature.minimum or 0.0, feature.maximum or 0.0
        distance = float(reach[name] * probes.span(feature))
        if np.isfinite(distance):
            low[name] = max(low[name], min(float(number(first - distance)), first))
            high[name] = min(high[name], max(float(number(last + distance)), last))
    return low, high


def _tighter(reach: Multiples, least: Multiples, outside: Array) -> Multiples:
    """Smaller multiples that exclude these rows: of a feature that alone is far out in a row, else of all."""
    alone = (outside > 0.0).sum(axis=1) == 1
    tighter = dict(reach)
    for position, name in enumerate(reach):
        distances = outside[alone, position]
        if (distances > 0.0).any():
            tighter[name] = min(tighter[name], max(_below(distances[distances > 0.0].min()), least[name]))
    if tighter != reach or not len(outside):
        return tighter
    furthest = outside.max(axis=1)
    limit = _below(furthest[furthest > 0.0].min()) if (furthest > 0.0).any() else 0.0
    return {name: min(multiple, max(limit, least[name])) for name, multiple in reach.items()}


def _below(multiple: float) -> float:
    """The next lower power of ten; 0 below a tenth."""
    return float(10.0 ** (np.ceil(np.log10(multiple)) - 1)) if multiple > LEAST_REACH else 0.0
