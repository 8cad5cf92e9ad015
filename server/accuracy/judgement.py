"""Judges the accuracy of a version: against that of training, and whether truth is known evenly.

A difference is an alarm if chance explains it once in 1,000 windows at most, all tests of a window together,
and if it is worth a look: a point of accuracy, a twentieth of the mean absolute error, five points between
probabilities and what comes true. The held-out rows of training are a sample too, so their own chance is part
of it.
"""

import math
from collections.abc import Iterator, Sequence

from unpickled.server.accuracy import intervals
from unpickled.server.accuracy.figures import figures, predicted, reasons_for_none
from unpickled.server.accuracy.layout import Floats
from unpickled.server.accuracy.report import (
    ClassAccuracy,
    Figures,
    TargetAccuracy,
    Trained,
    VersionAccuracy,
)
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.artifact.manifest import Errors, Manifest
from unpickled.server.drift.chance import chi_squared_tail
from unpickled.server.quote import counted, listed, quoted

# The rows with truth from which on a version is judged, and the held-out rows from which on the errors of
# numbers are compared: fewer hardly show how large an error can be.
ENOUGH, HELD_OUT = 100, 30
# The least differences that are alarms.
POINT, TWENTIETH, CALIBRATION = 0.01, 0.05, 0.05
# The least difference of two coverages that makes them uneven, and the rows of a class to be expected for
# that.
_UNEVEN, _SPARSE = 0.05, 5


def judge(
    version: int,
    board: Scoreboard,
    counts: Floats,
    manifest: Manifest,
    labels: Sequence[str] = (),
) -> VersionAccuracy:
    """The report about one version.

    Args:
        version: Its number.
        board: The scoreboard of its outputs.
        counts: The counts of its rows (board.size,), added up.
        manifest: Its manifest.
        labels: The labels that stand for it.
    """
    found = figures(board, counts, manifest)
    rows = max(predicted(board, counts), found.rows)
    trained = _trained(manifest)
    judged = found.rows >= ENOUGH
    comparable = judged and bool(manifest.training.held_out)
    fallen = tuple(_fallen(found, trained, manifest)) if comparable else ()
    miscalibrated = tuple(_miscalibrated(found)) if judged else ()
    uneven = tuple(_uneven(found.classes))
    return VersionAccuracy(
        version=version,
        labels=tuple(labels),
        predicted=rows,
        coverage=found.rows / rows if rows else None,
        uneven=bool(uneven),
        figures=found,
        trained=trained,
        judged=judged,
        fallen=bool(fallen),
        miscalibrated=bool(miscalibrated),
        reasons=(*fallen, *miscalibrated, *uneven),
        notes=tuple(_notes(found, board, manifest, trained)),
    )


def _trained(manifest: Manifest) -> Trained | None:
    metrics = manifest.training.metrics
    if metrics is None:
        return None
    rows = sum(each.support for each in metrics.classes)
    held_out = bool(manifest.training.held_out)
    return Trained(accuracy=metrics.accuracy, rows=rows, held_out=held_out, log_loss=metrics.log_loss)


def _fallen(found: Figures, trained: Trained | None, manifest: Manifest) -> Iterator[str]:
    if found.accuracy is not None and trained is not None and trained.rows:
        value, expected = found.accuracy.value, trained.accuracy
        counts = round(value * found.rows), found.rows, round(expected * trained.rows), trained.rows
        worse = intervals.fewer(*counts, intervals.LEVEL / intervals.CLASSIFIER)
        if expected - value > POINT and worse:
            now = f"{value:.1%} of {found.rows} rows"
            yield f"the accuracy has fallen: {now}, {expected:.1%} on held-out rows"
    before = {errors.target: errors for errors in manifest.training.errors}
    level = intervals.LEVEL / max(len(found.targets), 1)
    for target in found.targets:
        if target.target in before and _risen(target, before[target.target], level):
            assert target.mae is not None
            yield (
                f"the error of {quoted(target.target)} has risen: it is {target.mae.value:.4g} on average, "
                f"{before[target.target].mae:.4g} on held-out rows"
            )


def _risen(target: TargetAccuracy, trained: Errors, level: float) -> bool:
    """Whether the mean absolute error is larger than in training, beyond chance."""
    near = target.rows - target.far
    if near < ENOUGH or trained.rows < HELD_OUT or target.mae is None or target.mae.highest is None:
        return False
    reach = target.mae.highest - target.mae.value
    now = intervals.Sample(target.mae.value, reach / intervals.SURE * math.sqrt(near), near)
    spread = trained.rmse**2 - trained.mae**2
    deviation = math.sqrt(max(spread, 0.0) * trained.rows / (trained.rows - 1))
    before = intervals.Sample(trained.mae, deviation, trained.rows)
    return now.mean - before.mean > TWENTIETH * before.mean and intervals.larger(now, before, level)


def _miscalibrated(found: Figures) -> Iterator[str]:
    calibration = found.calibration
    if calibration is not None and calibration.error > max(CALIBRATION, calibration.by_chance):
        error, chance = calibration.figures
        yield f"the probabilities are off: calibration error {error}, by chance {chance} at most"


def _uneven(classes: Sequence[ClassAccuracy]) -> Iterator[str]:
    """A sentence if the truth is known for other shares of the rows of some classes than of others."""
    rows, known = (sum(getattr(each, name) for each in classes) for name in ("predicted", "known"))
    some = [each for each in classes if each.predicted and _is_dense(each.predicted, known, rows)]
    shares = {each.name: each.known / each.predicted for each in some}
    if len(some) < 2 or max(shares.values()) - min(shares.values()) < _UNEVEN:
        return
    total, all_known = (sum(getattr(each, name) for each in some) for name in ("predicted", "known"))
    share = all_known / total
    statistic = sum(
        (each.known - each.predicted * share) ** 2 / (each.predicted * share * (1 - share)) for each in some
    )
    if chi_squared_tail(statistic, len(some) - 1) < intervals.LEVEL:
        least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        yield (
            f"truth is known for {shares[most]:.1%} of the rows answered {quoted(most)}, and for "
            f"{shares[least]:.1%} of those answered {quoted(least)}: the figures lean towards the former"
        )


def _is_dense(rows: int, known: int, total: int) -> bool:
    """Whether rows enough of a class are to be expected with and without truth."""
    return min(rows * known, rows * (total - known)) >= _SPARSE * total


def _notes(found: Figures, board: Scoreboard, manifest: Manifest, trained: Trained | None) -> Iterator[str]:
    if not found.rows:
        yield "no truth is reported yet"
    elif found.rows < ENOUGH:
        rows = counted(found.rows, "row")
        yield f"truth is known of {rows}: accuracy is judged from {ENOUGH} on"
    if trained is None and not manifest.training.errors:
        yield "its file does not tell its accuracy on held-out rows, so that it is compared with nothing"
    elif not manifest.training.held_out:
        yield "its file has the accuracy on rows that it may have learned, so that no fall is an alarm"
    else:
        yield from _not_compared(found, manifest)
    yield from reasons_for_none(board)
    far = [target.target for target in found.targets if target.far]
    if far:
        yield (f"some errors of {listed(far, 5, quoted)} are above 1000 times the usual range: left out")


def _not_compared(found: Figures, manifest: Manifest) -> Iterator[str]:
    """Why the errors of some targets are not compared with those of training, though others may be."""
    few = [errors.target for errors in manifest.training.errors if errors.rows < HELD_OUT]
    if few:
        yield (
            f"the error of {listed(few, 5, quoted)} is that of fewer than {HELD_OUT} held-out rows: "
            "too few for an alarm"
        )
    rare = [each.target for each in found.targets if each.rows - each.far < ENOUGH <= found.rows]
    if rare:
        yield f"truth of {listed(rare, 5, quoted)} is known of fewer than {ENOUGH} rows: not judged"
