"""Judges whether the rows of a window have drifted from the training rows.

A window is an alarm, by chance alone, once in 1/LEVEL windows at most: all tests of one window share LEVEL.

The spread over the cells of a feature is an alarm if its population stability index (PSI) is above a
threshold and the chi-squared test of two samples says that chance does not explain it. The threshold is
SHIFT, which is a shift worth a look, or what the index reaches by chance, if that is more:

    quantile of chi-squared at the level * (1/training rows + 1/rows)

The training rows are a sample too. With 120 of them and 1,000 rows now, their own chance is nine tenths of
it.

The bins are those of the training rows: a single value of 1e9 lies in the last one and moves no other. Cells
in which fewer than SPARSE rows are to be expected now are one cell. A bin that is empty on one side would
make the index infinite. Both sides therefore get half a row for each cell, spread as both sides together are:
that makes equal shares no different, and different ones no more so.

The share of rows without a value, outside the training range or with an unknown category is an alarm if it
differs by more than POINT and a binomial test of two samples says that chance does not explain it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from unpickled.server.artifact.reference import FEWEST
from unpickled.server.drift.binning import Binning, Floats, Part
from unpickled.server.drift.chance import at_least, at_most, chi_squared_quantile, chi_squared_tail
from unpickled.server.drift.labels import kind, labels
from unpickled.server.drift.report import Cell, FeatureDrift, Share, VersionDrift

# The rows from which on a window is judged.
ENOUGH = 500
# The chance of a false alarm in one window, over all of its tests.
LEVEL = 0.001
# The least PSI that is an alarm, and the least difference of two shares of rows.
SHIFT, POINT = 0.1, 0.01
# Cells with fewer rows to be expected are one.
SPARSE = 5
# Notes: why a file that has no reference is not measured, and why few rows are not judged.
OLDER = "it was exported before drift was measured: export it again"
FEW = f"{ENOUGH} are needed to judge it"


def judge(version: int, binning: Binning, counts: Floats, sampled: float = 1.0) -> VersionDrift:
    """The drift of one version in one window.

    Args:
        version: The version's number.
        binning: Its cells.
        counts: The counts of its rows (binning.size,), as ``Binning.count`` makes them, added up.
        sampled: The share of its rows that was counted.

    Returns:
        All measures, which are None where there is no row, and the alarms, of which there are none below
        ENOUGH rows.
    """
    rows = round(float(counts[0]))
    if not binning.rows:
        return VersionDrift(version=version, rows=rows, sampled=sampled, note=OLDER)
    tests = 3 * len(binning.features) + len(binning.predictions)
    jury = _Jury(binning.rows, rows, LEVEL / max(tests, 1))
    features = tuple(jury.feature(part, counts) for part in binning.features)
    predictions = tuple(jury.spread(part, counts) for part in binning.predictions)
    return VersionDrift(
        version=version,
        rows=rows,
        sampled=sampled,
        trained=binning.rows,
        drifted=any(each.drifted for each in (*features, *predictions)),
        judged=rows >= ENOUGH,
        note="" if rows >= ENOUGH else FEW,
        unmeasured=binning.unmeasured,
        features=features,
        predictions=predictions,
    )


class Distances(NamedTuple):
    """How two counts of the same cells differ, and the PSI that chance reaches at the level."""

    psi: float
    jensen_shannon: float
    chi_squared: float
    p_value: float
    by_chance: float


def distances(trained: Sequence[float], now: Sequence[float], level: float) -> Distances | None:
    """How counts of the training rows and of rows now differ, both (cells,) with at least one row.

    None where there are too few rows for two cells.

    Example:
        >>> distances([50, 50], [50, 50], 0.001)[:4]
        (0.0, 0.0, 0.0, 1.0)
    """
    n, m = sum(trained), sum(now)
    cells = _dense(trained, now, m / n)
    if len(cells) < 2:
        return None
    half, apart, degrees = len(cells) / 2, 1 / n + 1 / m, len(cells) - 1
    psi = divergence = chi_squared = 0.0
    # Lists, as arrays of ten numbers take three times as long.
    for before, after in cells:
        both = (before + after) / (n + m)
        was, is_now = (before + half * both) / (n + half), (after + half * both) / (m + half)
        psi += (is_now - was) * math.log(is_now / was)
        divergence += _bits(before / n, after / m) + _bits(after / m, before / n)
        chi_squared += (after / m - before / n) ** 2 / both / apart
    return Distances(
        psi=psi,
        jensen_shannon=min(max(divergence / 2, 0.0), 1.0),
        chi_squared=chi_squared,
        p_value=chi_squared_tail(chi_squared, degrees),
        by_chance=chi_squared_quantile(level, degrees) * apart,
    )


def _dense(trained: Sequence[float], now: Sequence[float], ratio: float) -> list[tuple[float, float]]:
    """Both counts of each cell. Cells in which few rows are to be expected now are one, empty ones none."""
    dense: list[tuple[float, float]] = []
    rest = (0.0, 0.0)
    for before, after in zip(trained, now, strict=True):
        if before * ratio >= SPARSE:
            dense.append((before, after))
        else:
            rest = rest[0] + before, rest[1] + after
    return [*dense, rest] if rest != (0.0, 0.0) else dense


def _bits(share: float, other: float) -> float:
    """A cell's part of the Kullback-Leibler divergence from the middle of both shares, in bits."""
    return share * math.log2(2 * share / (share + other)) if share else 0.0


@dataclass(frozen=True, slots=True)
class _Jury:
    """Judges the parts of one window: of ``trained`` and ``rows`` rows, each test at ``level``."""

    trained: int
    rows: int
    level: float

    def feature(self, part: Part, counts: Floats) -> FeatureDrift:
        """A feature: its spread, its missing values, and the rows outside."""
        missing, outside = (round(float(count)) for count in counts[part.after : part.after + 2])
        spread = self.spread(part, counts)
        absent = self._missing(part.spread.missing, missing)
        beyond = self._outside(part.spread.unseen, outside)
        reasons = (
            *spread.reasons,
            *_sentences(absent, "without a value"),
            *_sentences(beyond, _OUTSIDE[spread.kind == "category"]),
        )
        return replace(spread, drifted=bool(reasons), reasons=reasons, missing=absent, outside=beyond)

    def spread(self, part: Part, counts: Floats) -> FeatureDrift:
        """The spread over the cells of a feature or of a prediction."""
        trained, now = part.spread.counts, counts[part.first : part.after].tolist()
        rows = round(sum(now))
        spread = FeatureDrift(
            name=part.spread.name, kind=kind(part), rows=rows, bins=tuple(_cells(part, trained, now))
        )
        apart = distances(trained, now, self.level) if rows else None
        if apart is None:
            return spread
        threshold = max(SHIFT, apart.by_chance)
        drifted = rows >= ENOUGH and apart.psi > threshold and apart.p_value < self.level
        reason = f"the values lie elsewhere: PSI {apart.psi:.2f}, above {threshold:.2f}"
        return replace(
            spread,
            drifted=drifted,
            reasons=(reason,) if drifted else (),
            psi=apart.psi,
            jensen_shannon=apart.jensen_shannon,
            chi_squared=apart.chi_squared,
            p_value=apart.p_value,
            threshold=threshold,
        )

    def _missing(self, trained: int, now: int) -> Share:
        """The rows without a value. Ten in training stand for one to ten: fewer now are then no alarm."""
        fewer = trained > FEWEST and self._fewer(trained, now)
        return self._share(trained, now, fewer or self._more(trained, now))

    def _outside(self, unseen: int, now: int) -> Share:
        """The rows outside the training range, or with an unknown category.

        No training row is outside, but training rows and new ones are equally likely to be the outermost: so
        many new rows beyond them have the chance that one training row outside would give them.
        """
        return self._share(unseen, now, self._more(max(unseen, 1), now))

    def _share(self, trained: int, now: int, differs: bool) -> Share:
        return Share(
            reference=trained / self.trained,
            now=now / self.rows if self.rows else None,
            drifted=differs and self.rows >= ENOUGH,
        )

    def _more(self, trained: int, now: int) -> bool:
        """Whether so many rows now are more than ``trained`` of training, by a point and chance."""
        if not self.rows or now / self.rows - trained / self.trained <= POINT:
            return False
        return at_most(trained, trained + now, self._chance) < self.level

    def _fewer(self, trained: int, now: int) -> bool:
        if not self.rows or trained / self.trained - now / self.rows <= POINT:
            return False
        return at_least(trained, trained + now, self._chance) < self.level

    @property
    def _chance(self) -> float:
        """The chance that a row of both together is one of training."""
        return self.trained / (self.trained + self.rows)


_OUTSIDE = ("outside the training range", "of a category that training does not know")


def _sentences(share: Share, place: str) -> Iterator[str]:
    """Why this share of the rows is an alarm; nothing if it is none."""
    if share.drifted and share.now is not None:
        yield f"{share.now:.1%} of the rows are {place}, {share.reference:.1%} in training"


def _cells(part: Part, trained: Sequence[float], now: Sequence[float]) -> Iterator[Cell]:
    n, m = sum(trained), sum(now)
    for label, before, after in zip(labels(part), trained, now, strict=True):
        yield Cell(
            label=label.text,
            lower=label.lower,
            upper=label.upper,
            reference=before / n,
            now=after / m if m else None,
        )
