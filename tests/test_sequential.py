"""Statistics that hold at every look: how often they err in simulated worlds, and how soon they tell."""

import math

import numpy as np
import pytest

from unpickled.server.accuracy.pairs import Sums
from unpickled.server.judge import power, sequential
from unpickled.server.judge.sequential import Paired

LEVEL = 0.05
TESTS, LOOKS, ROWS = 2000, 50, 5000


def paired(gain: float, apart: float, tests: int = TESTS) -> Paired:
    """Cumulative counts (tests, looks) of rows on which one of two versions alone is right this often."""
    shares = [(apart + gain) / 2, (apart - gain) / 2, 1 - apart]
    drawn = np.random.default_rng(3).multinomial(ROWS // LOOKS, shares, (tests, LOOKS)).cumsum(axis=1)
    gained, lost, _ = np.moveaxis(drawn.astype(float), -1, 0)
    return Paired(np.arange(1, LOOKS + 1.0) * (ROWS // LOOKS), lost, gained)


def shows(counts: Paired, above: float = 0.0) -> np.ndarray:
    """Whether each test shows a larger gain at any look (tests,)."""
    return (sequential.wealth(counts, above) > -math.log(LEVEL)).any(axis=1)


@pytest.mark.parametrize("apart", [0.02, 0.1, 0.3])
def test_two_versions_that_are_alike_are_rarely_told_apart(apart):
    """At most 5 of 100 are, over 50 looks; a test at 5% that is repeated tells a fifth of them apart."""
    counts = paired(0.0, apart)
    naive = (counts.gained - counts.lost) / np.sqrt(np.maximum(counts.gained + counts.lost, 1)) > 1.645
    assert shows(counts).mean() <= LEVEL
    assert shows(counts.swapped).mean() <= LEVEL
    assert naive.any(axis=1).mean() > 0.2


def test_the_true_gain_is_in_the_interval_at_every_look():
    """Each end is beyond it in 5 of 100 tests at most, while all of them show that there is a gain."""
    counts = paired(0.03, 0.1)
    assert shows(counts, above=0.03).mean() <= LEVEL
    assert shows(counts.swapped, above=-0.03).mean() <= LEVEL
    assert shows(counts, above=0.0).mean() > 0.99


def test_the_ends_of_an_interval_are_where_the_bets_end():
    counts = Paired(1000, 20, 60)
    _, lowest, highest = sequential.difference(counts, LEVEL)
    assert sequential.wealth(counts, lowest) == pytest.approx(-math.log(LEVEL))
    assert sequential.wealth(counts.swapped, -highest) == pytest.approx(-math.log(LEVEL))
    assert sequential.difference(counts.swapped, LEVEL)[1:] == pytest.approx((-highest, -lowest))
    assert sequential.difference(Paired(0, 0, 0), LEVEL) is None


@pytest.mark.parametrize("tail", ["normal", "t5", "lognormal"])
def test_means_of_numbers(tail):
    """The interval of a mean is beyond it in 5 of 100 tests at most, from the first look on."""
    rng, shape = np.random.default_rng(5), (1000, LOOKS, 100)
    numbers = {
        "normal": lambda: rng.normal(size=shape),
        "t5": lambda: rng.standard_t(5, size=shape),
        "lognormal": lambda: rng.lognormal(size=shape) - rng.lognormal(size=shape),
    }[tail]()
    above = np.zeros(1000, bool)
    totals, squares = (each.sum(axis=2).cumsum(axis=1).T for each in (numbers, numbers**2))
    for look in range(1, LOOKS):
        rows = (look + 1) * 100
        error = np.sqrt((squares[look] - totals[look] ** 2 / rows) / (rows - 1) / rows)
        above |= totals[look] / rows > sequential.deviations(rows, 200, LEVEL) * error
    assert above.mean() <= LEVEL


def test_a_mean_and_its_sums():
    """Its interval is as far on both sides; there is none before the first look."""
    value, lowest, highest = sequential.mean(Sums(400, 40.0, 404.0), 200, LEVEL)
    assert (value, lowest + highest) == (0.1, pytest.approx(0.2))
    assert (highest - value) / (1 / 20) == pytest.approx(sequential.deviations(400, 200, LEVEL), rel=0.01)
    assert sequential.mean(Sums(199, 40.0, 404.0), 200, LEVEL) is None


def test_two_groups():
    """Their difference has the errors of both; a hundred ones do not mean that no zero will come."""
    stable, canary = Sums(9000.0, 900.0, 900.0), Sums(1000.0, 150.0, 150.0)
    value, lowest, highest = sequential.apart(stable, canary, 100, LEVEL, binary=True)
    assert value == pytest.approx(0.05)
    assert 0 < lowest < value < highest
    ones = Sums(100.0, 100.0, 100.0)
    value, lowest, highest = sequential.apart(ones, ones, 100, LEVEL, binary=True)
    assert (value, lowest < -0.03, highest > 0.03) == (0, True, True)
    assert sequential.apart(stable, Sums(99.0, 9.0, 9.0), 100, LEVEL) is None


@pytest.mark.parametrize("apart", [0.05, 0.1, 0.2])
def test_as_many_rows_as_are_named_are_enough(apart):
    """In 80 of 100 simulated tests a gain of 3 points shows after that many rows."""
    needed = power.rows_for_labels(Paired(1000, 500 * (apart - 0.03), 500 * (apart + 0.03)), 0.0, LEVEL)
    shares = [(apart + 0.03) / 2, (apart - 0.03) / 2, 1 - apart]
    gained, lost, _ = np.random.default_rng(4).multinomial(needed, shares, 4000).T
    enough = sequential.wealth(Paired(np.full(4000, needed), lost, gained)) > -math.log(LEVEL)
    assert enough.mean() == pytest.approx(0.8, abs=0.05)


def test_rows_for_a_mean_are_enough():
    """So do those for the mean of numbers, and for two groups."""
    needed = power.rows_for_mean(Sums(1000, 100.0, 1010.0), 0.0, 200, LEVEL)
    means = 0.1 + np.random.default_rng(4).normal(size=4000) / math.sqrt(needed)
    reach = sequential.deviations(needed, 200, LEVEL) / math.sqrt(needed)
    assert (means > reach).mean() == pytest.approx(0.8, abs=0.03)
    alike = Sums(1000.0, 500.0, 500.0), Sums(1000.0, 560.0, 560.0)
    assert 2000 < power.rows_apart(*alike, 100, LEVEL, binary=True) < 10_000


def test_no_number_of_rows_tells():
    """There is none where nothing differs, or so little that nobody waits for it."""
    assert power.rows_for_labels(Paired(1000, 30, 30), 0.0, LEVEL) is None
    assert power.rows_for_labels(Paired(1000, 30, 40), 0.02, LEVEL) is None
    assert power.rows_for_labels(Paired(0, 0, 0), 0.0, LEVEL) is None
    assert power.rows_for_labels(Paired(10**7, 300_000, 300_001), 0.0, LEVEL) is None
    assert power.rows_for_mean(Sums(100, -5.0, 100.0), 0.0, 50, LEVEL) is None
    assert power.rows_apart(Sums(1.0, 1.0, 1.0), Sums(5.0, 1.0, 1.0), 5, LEVEL) is None
