"""Champions and challengers whose true difference is known, and tests of it, repeated at each look."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.reporting.peeking import GAIN, Case, Figures
from unpickled.server.accuracy.pairs import Sums
from unpickled.server.judge import sequential
from unpickled.server.judge.sequential import Paired

LEVEL = 0.05
# The quantile of the normal distribution above which 5% lie.
_SURE = 1.6448536269514722
# Accuracies of the champion, and correlations between which rows the two have right.
ACCURACIES, CORRELATIONS = (0.70, 0.90, 0.95), (0.2, 0.5)
# Rows with truth from which on means are looked at, as minimum_rows of serving.toml; an A/B test has its own.
_FIRST, _SPLIT = 200, 0.2

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Simulation:
    """``tests`` of each kind, looked at ``looks`` times while they grow to ``rows`` rows."""

    tests: int
    looks: int
    rows: int
    seed: int

    def measure(self) -> Figures:
        """Every case, without a difference and with a gain."""
        generator = np.random.default_rng(self.seed)
        cases = [
            self._labels(generator, accuracy, correlation, gain)
            for gain in (0.0, GAIN)
            for accuracy in ACCURACIES
            for correlation in CORRELATIONS
        ]
        cases.append(self._errors(generator))
        cases.append(self._split(generator))
        return Figures(tests=self.tests, looks=self.looks, rows=self.rows, seed=self.seed, cases=cases)

    @property
    def _step(self) -> int:
        return self.rows // self.looks

    def _labels(
        self, generator: np.random.Generator, accuracy: float, correlation: float, gain: float
    ) -> Case:
        """Labels of both versions for the same rows; the judge's bets beside McNemar's test."""
        other = accuracy + gain
        spread = math.sqrt(accuracy * (1 - accuracy) * other * (1 - other))
        both = accuracy * other + correlation * spread
        shares = [other - both, accuracy - both, 1 - (other + accuracy - 2 * both)]
        drawn = generator.multinomial(self._step, shares, (self.tests, self.looks)).cumsum(axis=1)
        gained, lost, _ = np.moveaxis(drawn.astype(np.float64), -1, 0)
        rows = np.arange(1, self.looks + 1.0) * self._step
        judged = sequential.wealth(Paired(rows, lost, gained)) > -math.log(LEVEL)
        naive = gained - lost > _SURE * np.sqrt(np.maximum(gained + lost, 1.0))
        title = f"accuracy {accuracy:.0%}, correlation {correlation:g}"
        return self._case(title, gain, judged, naive)

    def _errors(self, generator: np.random.Generator) -> Case:
        """Differences of |error| with long tails, as those of two regressors; a z-test beside the judge."""
        shape = self.tests, self.looks
        totals, squares = np.zeros(shape), np.zeros(shape)
        for look in range(self.looks):
            drawn = generator.standard_t(5, (self.tests, self._step))
            totals[:, look], squares[:, look] = drawn.sum(axis=1), (drawn**2).sum(axis=1)
        totals, squares = totals.cumsum(axis=1), squares.cumsum(axis=1)
        rows = np.arange(1, self.looks + 1.0) * self._step
        error = np.sqrt((squares - totals**2 / rows) / (rows - 1) / rows)
        away = np.array([sequential.deviations(each, _FIRST, LEVEL) for each in rows])
        looked = rows >= _FIRST
        scores = np.where(looked, totals / rows / error, 0.0)
        return self._case("errors of regressors (Student's t, 5)", 0.0, scores > away, scores > _SURE)

    def _split(self, generator: np.random.Generator) -> Case:
        """An A/B test of accuracy, a fifth of the rows for the canary."""
        accuracy = ACCURACIES[1]
        sizes = round(self._step * (1 - _SPLIT)), round(self._step * _SPLIT)
        right = [
            generator.binomial(size, accuracy, (self.tests, self.looks)).cumsum(axis=1) for size in sizes
        ]
        judged, naive = (np.zeros((self.tests, self.looks), np.bool_) for _ in "ab")
        for look in range(self.looks):
            counts = [size * (look + 1.0) for size in sizes]
            for test in range(self.tests):
                sums = [
                    Sums(rows, each[test, look], each[test, look])
                    for rows, each in zip(counts, right, strict=True)
                ]
                interval = sequential.apart(sums[0], sums[1], 100, LEVEL, binary=True)
                judged[test, look] = (
                    interval is not None and interval.lowest is not None and interval.lowest > 0
                )
            shares = [each[:, look] / rows for rows, each in zip(counts, right, strict=True)]
            error = np.sqrt(
                sum(share * (1 - share) / rows for share, rows in zip(shares, counts, strict=True))
            )
            naive[:, look] = (shares[1] - shares[0] > _SURE * error) & (min(counts) >= 100)
        return self._case(f"A/B test, accuracy {accuracy:.0%}, {_SPLIT:.0%} canary", 0.0, judged, naive)

    def _case(
        self, title: str, gain: float, judged: npt.NDArray[np.bool_], naive: npt.NDArray[np.bool_]
    ) -> Case:
        return Case(title=title, gain=gain, judged=_by_look(judged), repeated=_by_look(naive))


def _by_look(shows: npt.NDArray[np.bool_]) -> list[float]:
    """The share of tests (tests, looks) that have shown a gain at any look up to each."""
    return [float(share) for share in np.maximum.accumulate(shows, axis=1).mean(axis=0)]
