"""Makes the figures of a report from counts of a scoreboard."""

from collections.abc import Iterator

import numpy as np

from unpickled.server.accuracy import intervals
from unpickled.server.accuracy.classes import BINS, MATRIX, ClassCounts
from unpickled.server.accuracy.intervals import Interval
from unpickled.server.accuracy.layout import Floats
from unpickled.server.accuracy.report import (
    Bin,
    Calibration,
    ClassAccuracy,
    Estimate,
    Figures,
    TargetAccuracy,
)
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.accuracy.targets import ABSOLUTE, ERROR, FAR_ROWS, FOURTHS, ROWS, SQUARES, TargetCounts
from unpickled.server.artifact.manifest import Manifest


def figures(board: Scoreboard, counts: Floats, manifest: Manifest) -> Figures:
    """The figures of counts (board.size,) of rows that a version with this manifest answered."""
    views = board.counts.layout.views(counts)
    if isinstance(board.counts, TargetCounts):
        return _of_numbers(board.counts, views["errors"], manifest)
    return _of_classes(board.counts, views)


def predicted(board: Scoreboard, counts: Floats) -> int:
    """The rows that were answered, with and without truth."""
    return round(float(board.counts.layout.views(counts)["predicted"].sum()))


def estimate(interval: Interval | None) -> Estimate | None:
    """An interval as a report has it."""
    return None if interval is None else Estimate(**interval._asdict())


def _of_classes(board: ClassCounts, views: dict[str, Floats]) -> Figures:
    confusion = views.get("confusion")
    true, answered, right = _margins(views)
    rows = float(answered.sum())
    losses = views.get("losses", np.zeros(5)).tolist()
    log_loss, brier = (intervals.mean(losses[first], losses[first + 1], losses[0]) for first in (1, 3))
    return Figures(
        rows=round(rows),
        accuracy=estimate(intervals.share(float(right.sum()), rows)),
        log_loss=estimate(_not_negative(log_loss)),
        brier=estimate(_not_negative(brier)),
        calibration=calibration(views["bins"]) if losses[0] else None,
        calibrations=tuple(_calibrations(board, views)) if losses[0] else (),
        classes=tuple(_classes(board, views["predicted"], true, answered, right)),
        confusion=None if confusion is None else tuple(tuple(map(round, row)) for row in confusion.tolist()),
    )


def _margins(views: dict[str, Floats]) -> tuple[Floats, Floats, Floats]:
    """Rows by true class (classes,), by the class answered, and those answered right."""
    confusion = views.get("confusion")
    if confusion is None:
        return views["truth"][:-1], views["answered"], views["right"]
    return confusion[:-1].sum(axis=1), confusion.sum(axis=0), np.diagonal(confusion)


def _classes(
    board: ClassCounts, asked: Floats, true: Floats, answered: Floats, right: Floats
) -> Iterator[ClassAccuracy]:
    columns = (column.tolist() for column in (asked, true, answered, right))
    for name, rows, of_class, known, hits in zip(board.names, *columns, strict=True):
        yield ClassAccuracy(
            name=name,
            # The truth of a row may be counted before the row is: the two go different ways.
            predicted=round(max(rows, known)),
            known=round(known),
            true=round(of_class),
            coverage=min(known / rows, 1.0) if rows else None,
            precision=estimate(intervals.share(hits, known)),
            recall=estimate(intervals.share(hits, of_class)),
        )


def _calibrations(board: ClassCounts, views: dict[str, Floats]) -> Iterator[Calibration]:
    for name, bins in zip(board.names, views.get("each", ()), strict=False):
        yield calibration(bins, name)


def calibration(bins: Floats, name: str = "") -> Calibration:
    """The calibration of counts in bins (BINS, 3), as classes.py makes them."""
    rows, probabilities, came_true = bins.T
    total = float(rows.sum())
    # Within a bin the variance of a mean probability stands for the mean of the variances.
    means = np.clip(probabilities / np.maximum(rows, 1.0), 0.0, 1.0)
    variances = (rows * means * (1 - means)).tolist()
    return Calibration(
        name=name,
        error=float(np.abs(came_true - probabilities).sum() / total) if total else 0.0,
        by_chance=intervals.calibration_by_chance(list(zip(rows.tolist(), variances, strict=True))),
        bins=tuple(_bins(bins, means)),
    )


def _bins(bins: Floats, means: Floats) -> Iterator[Bin]:
    for place, ((rows, _, came_true), mean) in enumerate(zip(bins.tolist(), means.tolist(), strict=True)):
        yield Bin(
            lowest=place / BINS,
            highest=(place + 1) / BINS,
            rows=round(rows),
            probability=mean if rows else None,
            came_true=estimate(intervals.share(came_true, rows)),
        )


def _of_numbers(board: TargetCounts, errors: Floats, manifest: Manifest) -> Figures:
    trained = {each.target: each for each in manifest.training.errors}
    targets = []
    for name, sums in zip(board.targets, errors.tolist(), strict=True):
        near = sums[ROWS] - sums[FAR_ROWS]
        mae = intervals.mean(sums[ABSOLUTE], sums[SQUARES], near)
        target = TargetAccuracy(
            target=name,
            rows=round(sums[ROWS]),
            far=round(sums[FAR_ROWS]),
            mae=estimate(_not_negative(mae)),
            rmse=estimate(intervals.root_mean(sums[SQUARES], sums[FOURTHS], near)),
            bias=estimate(intervals.mean(sums[ERROR], sums[SQUARES], near)),
            trained_mae=trained[name].mae if name in trained else None,
            trained_rmse=trained[name].rmse if name in trained else None,
            held_out=bool(manifest.training.held_out),
        )
        targets.append(target)
    return Figures(rows=max((target.rows for target in targets), default=0), targets=tuple(targets))


def _not_negative(interval: Interval | None) -> Interval | None:
    if interval is None or interval.lowest is None:
        return interval
    return interval._replace(lowest=max(0.0, interval.lowest))


def reasons_for_none(board: Scoreboard) -> Iterator[str]:
    """Why some figures of this version are None."""
    if isinstance(board.counts, TargetCounts):
        return
    if not board.counts.has_probabilities:
        kind = board.counts.kind
        yield f"it answers with {kind}, not with probabilities: no log loss, Brier score or calibration"
    if len(board.counts.names) > MATRIX:
        yield f"it has more than {MATRIX} classes: no confusion matrix"
