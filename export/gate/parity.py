"""The gate: a graph leaves here only if it answers as the pipeline does.

Both answer the training rows, the held-out rows, rows beside every kind of split, rows equally far from
several neighbors, the extremes of every feature, rows spread between these, missing values, and unknown
and empty categories; in batches and one row at a time.
What the pipeline itself refuses, or answers with no number, becomes a limit of the feature: the
server refuses it too.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from unpickled.export.convert import Conversion
from unpickled.export.data.table import Rows
from unpickled.export.errors import ParityError, reason
from unpickled.export.gate import probes
from unpickled.export.gate.pair import TIE_GAP, TOLERANCE, Answers, Pair, Run, has_neighbors, others, said
from unpickled.export.gate.thresholds import near
from unpickled.server.artifact.manifest import Feature, Parity

Features = tuple[Feature, ...]
Progress = Callable[[str], None]
# The lowest and the highest number of each feature.
Ends = tuple[dict[str, float], dict[str, float]]
# One side (-1 or 1) of one feature, and the numbers to try there.
Ladders = dict[tuple[str, int], list[float]]

NEAR_LIMIT = 20_000
SINGLE_ROWS = 100
CHUNK = 10_000
# How many rows between neighbors: as many as are done in seconds, between these.
TIES_COST, TIES_ROWS = 6e9, (12_000, 60_000)
# Rows within the limits, and how often these may be drawn in.
SPREAD_ROWS, DRAWS = 2_000, 100
# How far limits lie beyond training, in multiples of its range: of neighbors at most, of others at least.
NEIGHBORS_REACH, LEAST_REACH = 10.0, 0.1
# The rung of a ladder that lies ten ranges out.
NEAR_RUNG = 3


def check(
    pipeline: Any,
    conversion: Conversion,
    run: Run,
    train: Rows,
    held_out: Rows | None = None,
    progress: Progress = lambda line: None,
) -> tuple[Parity, Features]:
    """Compare the pipeline with ``run``, the artifact as it is served: feeds in, (labels, scores) out.

    Returns the report, and the features with ``missing``, ``closed``, ``lowest`` and ``highest``
    decided. Raises ParityError where the two differ on rows the server would answer.
    """
    # Many small batches: threads would only wait for each other.
    threads = 1 if len(train) < 2 * CHUNK else None
    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(threads):
        # Unknown categories, overflows and the like: the pipeline warns, and answers.
        warnings.simplefilter("ignore")
        return _Gate(Pair(pipeline, conversion, run), progress).check(train, held_out)


@dataclass(slots=True)
class _Gate:
    pair: Pair
    progress: Progress
    rows: dict[str, int] = field(default_factory=dict)
    max_difference: float = 0.0
    ties: int = 0

    def check(self, train: Rows, held_out: Rows | None) -> tuple[Parity, Features]:
        """Every kind of row in turn; the limits found on the way."""
        table = self.pair.conversion.table
        frame = table.frame(train)
        self.compare("training", frame, table.own(train))
        if held_out is not None and len(held_out):
            self.compare("held_out", table.frame(held_out), table.own(held_out))
        self.progress("comparing rows beside the splits")
        self.compare("near_threshold", near(self.pair.pipeline, table, frame, NEAR_LIMIT))
        self.neighbors(frame, self.pair.conversion.features)
        features = self.limits(frame, self.pair.conversion.features)
        features = self.missing(frame, features)
        features = self.categories(frame, features)
        self.one_by_one(frame)
        report = Parity(
            rows=self.rows,
            max_difference=self.max_difference,
            tolerance=TOLERANCE,
            tie_gap=TIE_GAP,
            ties=self.ties,
        )
        return report, features

    def compare(self, kind: str, frame: pd.DataFrame, rows: Rows | None = None) -> None:
        """Raise ParityError unless both answer alike. ``rows``: the frame as the pipeline takes it."""
        rows = self.pair.conversion.table.rows(frame) if rows is None else rows
        for start in range(0, len(frame), CHUNK):
            if len(frame) > CHUNK:
                self.progress(f"comparing {said(kind)} rows: {start} of {len(frame)}")
            part = slice(start, start + CHUNK)
            some = rows.iloc[part] if isinstance(rows, pd.DataFrame) else rows[part]
            self.judge(kind, frame.iloc[part], self.expected(kind, some), self.served(kind, frame.iloc[part]))

    def expected(self, kind: str, rows: Rows) -> Answers:
        """The pipeline's answers to rows it has to accept."""
        try:
            return self.pair.expected(rows)
        except Exception as error:
            raise ParityError(
                f"{self.pair.named()} refuses {len(rows)} {said(kind)} rows it should accept "
                f"({reason(error)}); nothing was written."
            ) from error

    def served(self, kind: str, frame: pd.DataFrame) -> Answers:
        """The artifact's answers to rows it has to accept."""
        try:
            return self.pair.served(frame)
        except Exception as error:
            raise ParityError(
                f"The graph of {self.pair.named()} fails on {len(frame)} {said(kind)} rows "
                f"({reason(error)}). {self.pair.advice()}"
            ) from error

    def judge(self, kind: str, frame: pd.DataFrame, expected: Answers, served: Answers) -> None:
        """Count these rows, or raise ParityError."""
        if self.pair.wrong(expected, served).any():
            raise ParityError(self.pair.complaint(kind, frame, expected, served))
        self.rows[kind] = self.rows.get(kind, 0) + len(frame)
        self.ties += int(others(expected, served).sum())
        self.max_difference = max(self.max_difference, float(self.pair.difference(expected, served).max()))

    def neighbors(self, frame: pd.DataFrame, features: Features) -> None:
        """Rows whose nearest neighbors are equally far, where there are neighbors."""
        if not has_neighbors(self.pair.pipeline):
            return
        self.progress("comparing rows between neighbors")
        numbers = [f for f in features if f.kind == "number" and f.minimum is not None]
        count = int(np.clip(TIES_COST // max(frame.size, 1), *TIES_ROWS))
        self.compare("ties", probes.ties(frame, numbers, count))

    # Limits

    def limits(self, frame: pd.DataFrame, features: Features) -> Features:
        """Sets ``lowest`` and ``highest``: as far out as both answer alike, one by one and all at once."""
        numbers = [f for f in features if f.kind == "number" and f.minimum is not None]
        if not numbers:
            return features
        self.progress("comparing the extremes of every feature")
        dtype = self.pair.conversion.table.dtype
        top = float(np.finfo(dtype).max)
        base = probes.filled(probes.sample(frame, 3), numbers)
        ladders = {(f.name, side): probes.ladder(f, side, top) for f in numbers for side in (-1, 1)}
        ends = self.corners(base, ladders, self.reach(base, ladders))
        low, high = self.drawn_in(frame, base, numbers, ends)
        return tuple(_limited(f, low, high, top) if f.name in low else f for f in features)

    def reach(self, base: pd.DataFrame, ladders: Ladders) -> dict[tuple[str, int], int]:
        """How many rungs of each ladder may be climbed, one feature at a time."""
        reach = dict.fromkeys(ladders, 0)
        climbing = list(ladders)
        differ: set[str] = set()
        for rung in range(1, max(map(len, ladders.values()))):
            climbing = [key for key in climbing if rung < len(ladders[key])]
            rows = probes.each(base, [(name, ladders[name, side][rung]) for name, side in climbing])
            verdicts = self.pair.verdicts(rows, len(base))
            # What differs on the first rungs already is left to drawn_in, which has more rows to judge by.
            differ |= {
                k[0] for k, v in zip(climbing, verdicts, strict=True) if v == "different" and rung > NEAR_RUNG
            }
            climbing = [
                k for k, v in zip(climbing, verdicts, strict=True) if v != "refused" and k[0] not in differ
            ]
            reach.update(dict.fromkeys(climbing, rung))
        return reach

    def corners(self, base: pd.DataFrame, ladders: Ladders, reach: dict[tuple[str, int], int]) -> Ends:
        """The ends all features may reach together, the furthest drawn in until they do."""
        names = list(dict.fromkeys(name for name, _ in ladders))
        while True:
            low, high = ({name: ladders[name, s][reach[name, s]] for name in names} for s in (-1, 1))
            rows = probes.together(base, low, high)
            furthest = max(reach.values())
            [verdict] = self.pair.verdicts(rows, len(rows))
            if not furthest or verdict == "alike" or (verdict == "different" and furthest <= NEAR_RUNG):
                return low, high
            reach = {key: min(rung, furthest - 1) for key, rung in reach.items()}

    def drawn_in(self, frame: pd.DataFrame, base: pd.DataFrame, numbers: list[Feature], ends: Ends) -> Ends:
        """The ends nearer to the training range, until both answer thousands of rows within alike.

        Both sides of a feature keep to the same multiple of its range, or less where they are refused.
        Only a constant may be held to its range: all others stay some way beyond it.
        """
        dtype = self.pair.conversion.table.dtype
        cap = {f.name: NEIGHBORS_REACH if has_neighbors(self.pair.pipeline) else np.inf for f in numbers}
        floor = {f.name: LEAST_REACH if f.minimum != f.maximum else 0.0 for f in numbers}
        for seed in range(DRAWS):
            low, high = _capped(numbers, ends, cap, dtype)
            extremes = [probes.inside(base, numbers, low, high, dtype), probes.together(base, low, high)]
            spread = probes.spread(frame, numbers, low, high, SPREAD_ROWS // 4, seed)
            rows = probes.stacked([*extremes, spread])
            bad = np.array(self.pair.verdicts(rows, 1)) != "alike"
            tighter = _tighter(cap, floor, probes.outside(rows[bad], numbers))
            if not bad.any() or tighter == cap:
                break
            cap = tighter
        self.compare("extremes", probes.stacked(extremes))
        self.compare("spread", spread)
        return low, high

    # Missing values and categories

    def missing(self, frame: pd.DataFrame, features: Features) -> Features:
        """Sets ``missing``: the pipeline accepts it, and the artifact agrees."""
        self.progress("comparing missing values")
        base = probes.sample(frame, 10)
        alone = probes.each(base, [(feature.name, probes.blank(feature)) for feature in features])
        verdicts = self.pair.verdicts(alone, len(base))
        decided = []
        for feature, verdict in zip(features, verdicts, strict=True):
            if verdict == "different":
                self.progress(f"missing {feature.name!r} will be refused: the graph answers it otherwise")
            decided.append(msgspec.structs.replace(feature, missing=verdict == "alike"))
        allowed = [feature for feature in decided if feature.missing]
        if allowed:
            self.compare("missing", probes.holes(base, allowed))
        return tuple(decided)

    def categories(self, frame: pd.DataFrame, features: Features) -> Features:
        """Sets ``closed``: only the categories of the training rows are accepted."""
        base, decided = probes.sample(frame, 10), []
        for feature in features:
            if feature.kind == "category" and not self.open(base, feature):
                feature = msgspec.structs.replace(feature, closed=True)
            decided.append(feature)
        return tuple(decided)

    def open(self, base: pd.DataFrame, feature: Feature) -> bool:
        """Are categories accepted that this feature does not know?"""
        rows = probes.strange(base, feature)
        [verdict] = self.pair.verdicts(rows, len(rows))
        if verdict == "different":
            self.progress(f"unknown {feature.name!r} will be refused: the graph answers it otherwise")
        if verdict != "alike":
            return False
        self.compare("unknown_category", rows)
        return True

    def one_by_one(self, frame: pd.DataFrame) -> None:
        """A sample of rows again, each in a batch of its own."""
        self.progress("comparing rows one at a time")
        sample = probes.sample(frame, SINGLE_ROWS)
        expected = self.expected("single", self.pair.conversion.table.rows(sample))
        singles = [self.served("single", sample.iloc[i : i + 1]) for i in range(len(sample))]
        labels = np.concatenate([one.labels for one in singles])
        scores = np.concatenate([one.scores for one in singles])
        self.judge("single", sample, expected, Answers(labels, scores))


def _capped(numbers: list[Feature], ends: Ends, cap: dict[str, float], dtype: str) -> Ends:
    """These ends, or those ``cap`` ranges beyond training where they are nearer."""
    low, high, kind = dict(ends[0]), dict(ends[1]), np.dtype(dtype).type
    for feature in numbers:
        name, first, last = feature.name, feature.minimum or 0.0, feature.maximum or 0.0
        reach = float(cap[name] * probes.span(feature))
        if np.isfinite(reach):
            low[name] = max(low[name], min(float(kind(first - reach)), first))
            high[name] = min(high[name], max(float(kind(last + reach)), last))
    return low, high


def _tighter(cap: dict[str, float], floor: dict[str, float], outside: Any) -> dict[str, float]:
    """Caps that leave these rows out: of one feature where one alone is far, else of all of them."""
    alone = (outside > 0.0).sum(axis=1) == 1
    out = dict(cap)
    for place, name in enumerate(cap):
        mine = outside[alone, place]
        if (mine > 0.0).any():
            out[name] = min(out[name], max(_below(mine[mine > 0.0].min()), floor[name]))
    if out != cap or not len(outside):
        return out
    furthest = outside.max(axis=1)
    limit = _below(furthest[furthest > 0.0].min()) if (furthest > 0.0).any() else 0.0
    return {name: min(value, max(limit, floor[name])) for name, value in out.items()}


def _below(multiple: float) -> float:
    """The next lower power of ten; 0 below a tenth."""
    return float(10.0 ** (np.ceil(np.log10(multiple)) - 1)) if multiple > LEAST_REACH else 0.0


def _limited(feature: Feature, low: dict[str, float], high: dict[str, float], top: float) -> Feature:
    lowest, highest = low[feature.name], high[feature.name]
    return msgspec.structs.replace(
        feature,
        lowest=None if lowest <= -top else lowest,
        highest=None if highest >= top else highest,
    )
