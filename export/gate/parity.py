"""The gate: a model is written only if its graph gives the answers of the pipeline.

Both answer the training rows, the held-out rows, rows beside splits, rows equally far from several neighbors,
the extremes of every feature, rows between these, missing values, and unknown and empty categories: in
batches and one row at a time.
Values that the pipeline refuses, or for which its scores are not finite, become limits of the feature: the
server refuses them too.
"""

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from unpickled.export.convert import Conversion
from unpickled.export.converters.splitting import splits
from unpickled.export.data.layout import Rows
from unpickled.export.errors import ParityError, reason
from unpickled.export.gate import probes
from unpickled.export.gate.answers import Answers, Array, labels_differ
from unpickled.export.gate.complaint import advice, complaint, kind_in_words, title
from unpickled.export.gate.limits import search
from unpickled.export.gate.neighbors import borrows, has_neighbors
from unpickled.export.gate.pair import TIE_GAP, Pair, Run, Trial
from unpickled.export.gate.proof import Proof
from unpickled.export.gate.sweep import Lot, swept
from unpickled.export.gate.thresholds import near
from unpickled.export.inside import innermost
from unpickled.export.progress import Counter, running
from unpickled.server.artifact.manifest import Feature, Parity

Features = tuple[Feature, ...]
Progress = Callable[[str], None]

# Rows beside splits, and how many of them where every split has been proven.
NEAR_LIMIT, PROVEN_LIMIT = 20_000, 2_000
SINGLE_ROWS = 100
# Rows in one comparison, and numbers in them.
CHUNK, CHUNK_CELLS = 10_000, 1_000_000
# Rows whose numbers of closed features are drawn from all that the encoders know.
KNOWN_ROWS = 500
# Rows with holes that are filled in by what the other columns hold.
BORROWING_ROWS = 3_000
# Rows between neighbors: TIES_COST / (cells of the table), which take seconds, within the bounds TIES_ROWS.
TIES_COST, TIES_ROWS = 6e9, (12_000, 60_000)


def check(
    pipeline: Any,
    conversion: Conversion,
    run: Run,
    train: Rows,
    held_out: Rows | None = None,
    progress: Progress = lambda line: None,
    proof: Proof | None = None,
) -> tuple[Parity, Features]:
    """Compare a pipeline with its graph on all rows that the server would answer.

    Args:
        pipeline: The fitted pipeline.
        conversion: Its graph.
        run: Runs the graph as a server does; returns labels (rows,) and scores (rows, classes).
        train: The rows (rows, columns) from which the features were made.
        held_out: More rows to compare.
        progress: Called with a line of text for each phase.
        proof: That every split of the graph is a fitted one: fewer rows beside splits are drawn then.

    Returns:
        The report, and the features with ``missing``, ``closed``, ``lowest`` and ``highest`` decided.

    Raises:
        ParityError: The two differ on rows that the server would answer.
    """
    # Batches are small: several threads would only wait for each other, on a busy machine 25 times as long.
    with warnings.catch_warnings(), np.errstate(all="ignore"), threadpool_limits(1):
        # The pipeline would warn of unknown categories and overflows, which are tried here on purpose.
        warnings.simplefilter("ignore")
        return _Gate(Pair(pipeline, conversion, run), progress, proof).check(train, held_out)


@dataclass(slots=True)
class _Gate:
    pair: Pair
    progress: Progress
    proof: Proof | None = None
    rows: dict[str, int] = field(default_factory=dict)
    max_difference: float = 0.0
    ties: int = 0
    # Rows between the limits of all features.
    spread: pd.DataFrame | None = None

    def check(self, train: Rows, held_out: Rows | None) -> tuple[Parity, Features]:
        """Compare every kind of row in turn; return the report, and the features with their limits."""
        layout = self.pair.conversion.layout
        frame = layout.frame(train)
        self.compare("training", frame, layout.own(train))
        features = self.known_numbers(frame, self.pair.conversion.features)
        if held_out is not None and len(held_out):
            self.compare("held_out", layout.frame(held_out), layout.own(held_out))
        self.beside_splits(frame, features)
        self.neighbors(frame, features)
        features = self.limits(frame, features)
        features = self.missing(frame, features)
        features = self.categories(frame, features)
        self.one_by_one(frame)
        report = Parity(
            rows=self.rows,
            max_difference=self.max_difference,
            tolerance=self.pair.tolerance,
            tie_gap=TIE_GAP,
            ties=self.ties,
        )
        return report, features

    def compare(self, kind: str, frame: pd.DataFrame, rows: Rows | None = None) -> None:
        """Raise ParityError unless both answer alike. ``rows`` is the frame in the pipeline's container."""
        rows = self.pair.conversion.layout.rows(frame) if rows is None else rows
        count = max(1, min(CHUNK, CHUNK_CELLS // max(frame.shape[1], 1)))
        counter = Counter(self.progress, f"comparing {kind_in_words(kind)} rows")
        for start in range(0, len(frame), count):
            counter(start, len(frame))
            part = slice(start, start + count)
            chunk = rows.iloc[part] if isinstance(rows, pd.DataFrame) else rows[part]
            self.judge(
                kind, frame.iloc[part], self.expected(kind, chunk), self.served(kind, frame.iloc[part])
            )

    def expected(self, kind: str, rows: Rows) -> Answers:
        """The pipeline's answers to rows that it must accept."""
        try:
            return self.pair.expected(rows)
        except MemoryError:
            raise
        except Exception as error:
            raise ParityError(
                f"{title(self.pair)} refuses {len(rows)} {kind_in_words(kind)} rows it should accept "
                f"({reason(error)}); nothing was written."
            ) from error

    def served(self, kind: str, frame: pd.DataFrame, feeds: dict[str, Array] | None = None) -> Answers:
        """The graph's answers to rows that it must accept; ``feeds`` are their tensors, if there are some."""
        try:
            return self.pair.answered(self.pair.feeds(frame) if feeds is None else feeds)
        except MemoryError:
            raise
        except Exception as error:
            raise ParityError(
                f"The graph of {title(self.pair)} fails on {len(frame)} {kind_in_words(kind)} rows "
                f"({reason(error)}). {advice(self.pair)}"
            ) from error

    def judge(self, kind: str, frame: pd.DataFrame, expected: Answers, served: Answers) -> None:
        """Add these rows to the report, or raise ParityError if their answers differ."""
        if self.pair.wrong(expected, served).any():
            raise ParityError(complaint(self.pair, kind, frame, expected, served))
        self.rows[kind] = self.rows.get(kind, 0) + len(frame)
        self.ties += int(labels_differ(expected, served).sum())
        self.max_difference = max(self.max_difference, float(self.pair.difference(expected, served).max()))

    def add(self, kind: str, trials: Sequence[Trial]) -> None:
        """Add rows that were answered alike to the report."""
        self.rows[kind] = self.rows.get(kind, 0) + sum(trial.rows for trial in trials)
        self.ties += sum(trial.ties for trial in trials)
        self.max_difference = max([self.max_difference, *(trial.difference for trial in trials)])

    def settle(self, kind: str, lot: Lot) -> None:
        """Add what was answered alike to the report, and compare the other rows again, for the complaint."""
        for frame in lot.doubtful:
            self.compare(kind, frame)
        self.add(kind, lot.alike)

    def beside_splits(self, frame: pd.DataFrame, features: Features) -> None:
        """Compare rows beside the splits of all trees: a sample of them if each split has been proven."""
        if not any(map(splits, innermost(self.pair.pipeline))):
            return
        self.progress("comparing rows beside the splits")
        layout, limit = self.pair.conversion.layout, NEAR_LIMIT if self.proof is None else PROVEN_LIMIT
        counter = Counter(self.progress, "searching for rows beside the splits, step")
        closed = {feature.name for feature in features if feature.closed}
        self.compare(
            "near_threshold", near(self.pair.pipeline, layout, frame, limit, tick=counter, closed=closed)
        )

    def neighbors(self, frame: pd.DataFrame, features: Features) -> None:
        """Compare rows whose nearest neighbors are equally far, if the pipeline has neighbors."""
        if not has_neighbors(self.pair.pipeline):
            return
        self.progress("comparing rows between neighbors")
        self.compare("ties", between_neighbors(frame, features))

    def known_numbers(self, frame: pd.DataFrame, features: Features) -> Features:
        """Set ``closed`` where the pipeline refuses all numbers but those that its encoders know."""
        base = probes.sample(frame, 3)
        decided = tuple(self.closed(base, feature) if feature.values else feature for feature in features)
        closed = [feature for feature in decided if feature.closed and feature.kind == "number"]
        if closed:
            self.compare("known_number", probes.known(probes.sample(frame, KNOWN_ROWS), closed))
        return decided

    def closed(self, base: pd.DataFrame, feature: Feature) -> Feature:
        """The feature with those of its ``values`` that both answer alike; open if others are answered."""
        numbers = [*feature.values, *probes.between(feature.values)]
        rows = probes.each(base, [(feature.name, number) for number in numbers])
        alike = [verdict == "alike" for verdict in self.pair.verdicts(rows, len(base))]
        if all(alike):
            return msgspec.structs.replace(feature, values=())
        values = tuple(itertools.compress(feature.values, alike))
        if not values:
            raise ParityError(
                f"{title(self.pair)} refuses every number of {feature.name!r} that its encoder knows: "
                f"give rows that it answers; nothing was written."
            )
        middle = 0.0 if feature.median is None else feature.median
        return msgspec.structs.replace(
            feature,
            closed=True,
            values=values,
            lowest=min(values),
            highest=max(values),
            median=min(values, key=lambda value: abs(value - middle)),
        )

    def limits(self, frame: pd.DataFrame, features: Features) -> Features:
        """Set ``lowest`` and ``highest``: as far out as both answer alike, one by one and together."""
        numbers = _numbers(features)
        if not numbers:
            return features
        self.progress("comparing the extremes of every feature")
        limits = search(self.pair, frame, numbers, self.progress)
        self.settle("extremes", limits.extremes)
        self.settle("spread", limits.spread)
        self.spread = limits.drawn
        return limits.applied(features)

    def missing(self, frame: pd.DataFrame, features: Features) -> Features:
        """Set ``missing`` where the pipeline accepts a missing value, and the graph answers alike."""
        self.progress("comparing missing values")
        base = probes.sample(frame, 10)
        cells = [(feature.name, probes.blank(feature)) for feature in features]
        with running(self.progress, "comparing missing values"):
            trials = swept(self.pair, base, cells)
        decided = []
        for feature, trial in zip(features, trials, strict=True):
            if trial.verdict == "different":
                self.progress(f"missing {feature.name!r} will be refused: the graph answers it otherwise")
            decided.append(msgspec.structs.replace(feature, missing=trial.verdict == "alike"))
        allowed = [feature for feature in decided if feature.missing]
        if allowed:
            self.add("missing", [trial for trial in trials if trial.verdict == "alike"])
            self.compare("missing", probes.holes(base, allowed))
        if allowed and borrows(self.pair.pipeline):
            ties = probes.ties(frame, _numbers(features), BORROWING_ROWS)
            self.compare("ties", probes.perforated(ties, allowed))
            if self.spread is not None:
                self.compare("missing", probes.perforated(self.spread, allowed))
        return tuple(decided)

    def categories(self, frame: pd.DataFrame, features: Features) -> Features:
        """Set ``closed`` where only the categories of the training rows can be accepted."""
        base = probes.sample(frame, 10)
        cells = [
            cell for feature in features if feature.kind == "category" for cell in probes.unknown(feature)
        ]
        trials: dict[str, list[Trial]] = {}
        with running(self.progress, "comparing unknown categories"):
            swept_trials = swept(self.pair, base, cells)
        for (name, _), trial in zip(cells, swept_trials, strict=True):
            trials.setdefault(name, []).append(trial)
        return tuple(
            feature
            if feature.kind != "category" or self.takes_unknown(feature, trials[feature.name])
            else msgspec.structs.replace(feature, closed=True)
            for feature in features
        )

    def takes_unknown(self, feature: Feature, trials: list[Trial]) -> bool:
        """Whether the feature can accept categories that training has not seen, by the trials of some."""
        verdicts = {trial.verdict for trial in trials}
        if verdicts == {"alike"}:
            self.add("unknown_category", trials)
            return True
        if "refused" not in verdicts:
            self.progress(f"unknown {feature.name!r} will be refused: the graph answers it otherwise")
        return False

    def one_by_one(self, frame: pd.DataFrame) -> None:
        """Compare a sample of the rows again, each in a batch of one row."""
        self.progress("comparing rows one at a time")
        sample = probes.sample(frame, SINGLE_ROWS)
        expected = self.expected("single", self.pair.conversion.layout.rows(sample))
        counter = Counter(self.progress, "comparing rows one at a time, row")
        # To make them of frames of one row takes ten times as long as the graph does.
        feeds = self.pair.feeds(sample)
        singles = []
        for i in range(len(sample)):
            counter(i, len(sample))
            row = {name: tensor[i : i + 1] for name, tensor in feeds.items()}
            singles.append(self.served("single", sample[i : i + 1], row))
        labels = np.concatenate([answers.labels for answers in singles])
        scores = np.concatenate([answers.scores for answers in singles])
        self.judge("single", sample, expected, Answers(labels, scores))


def between_neighbors(frame: pd.DataFrame, features: Features) -> pd.DataFrame:
    """The rows whose nearest neighbors may be equally far, as many as take seconds."""
    count = int(np.clip(TIES_COST // max(frame.size, 1), *TIES_ROWS))
    return probes.ties(frame, _numbers(features), count)


def _numbers(features: Features) -> list[Feature]:
    """The number features that have a value in some training row, and are not limited to a list."""
    numbers = (feature for feature in features if feature.kind == "number" and not feature.closed)
    return [feature for feature in numbers if feature.minimum is not None]
