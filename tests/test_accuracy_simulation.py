"""Accuracy in simulated windows: how often an alarm is false, and how often a loss is found.

Run as a program, it prints the tables of docs/how-to/accuracy.md.
"""

import numpy as np
import pytest
from handmade import MANIFEST
from msgspec.structs import replace

from unpickled.server.accuracy.judgement import judge
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.artifact.manifest import ClassReport, Errors, Metrics, Outputs
from unpickled.server.model.kinds import outputs_of

WINDOWS = 1000
TARGETS = tuple("abcde")
# The probabilities of the class answered: all alike, or from an even chance to certainty.
CONFIDENCES = {
    **{f"{p}": lambda rng, rows, p=p: np.full(rows, p) for p in (0.75, 0.9, 0.95, 0.97, 0.99)},
    "0.5 to 1": lambda rng, rows: rng.uniform(0.5, 1, rows),
    "mostly 1": lambda rng, rows: 1 - rng.beta(0.3, 6, rows) / 2,
}
# The absolute errors of numbers: of short and of long tails, and mostly none.
ERRORS = {
    "normal": lambda rng, shape: np.abs(rng.normal(size=shape)),
    "lognormal, sigma 1": lambda rng, shape: rng.lognormal(0, 1, shape),
    "lognormal, sigma 1.5": lambda rng, shape: rng.lognormal(0, 1.5, shape),
    "mostly 0": lambda rng, shape: np.where(rng.random(shape) < 0.9, 0.0, rng.exponential(1, shape)),
}


def classifiers(confidence, held_out, rows, lost=0.0, windows=WINDOWS):
    """The shares of windows that are an alarm, by accuracy, and by calibration.

    Args:
        confidence: Which of CONFIDENCES.
        held_out: The held-out rows of training, others for each window.
        rows: The rows of a window.
        lost: By how much an answer is right less often now than its probability says.
        windows: How many.
    """
    board, draw, found = Scoreboard(outputs_of(MANIFEST)), CONFIDENCES[confidence], []
    rng = np.random.default_rng([list(CONFIDENCES).index(confidence), held_out, rows, round(100 * lost)])
    for _ in range(windows):
        before, now = draw(rng, held_out), draw(rng, rows)
        right = rng.random(rows) < now - lost
        scores = np.stack([now, 1 - now], axis=1)
        counts = board.count([0] * rows, scores, np.where(right, 0, 1).tolist())
        judged = judge(1, board, counts, classifier((rng.random(held_out) < before).mean(), held_out))
        found.append((judged.fallen or judged.miscalibrated, judged.fallen, judged.miscalibrated))
    return np.mean(found, axis=0)


def classifier(accuracy, held_out):
    """The manifest of a classifier that was as right in training."""
    report = ClassReport(name="negative", precision=1, recall=1, f1=1, support=held_out)
    metrics = Metrics(accuracy=accuracy, log_loss=None, classes=(report,), confusion=())
    return replace(MANIFEST, training=replace(MANIFEST.training, metrics=metrics, held_out=held_out))


def regressors(kind, held_out, rows, targets=1, larger=1.0, windows=WINDOWS):
    """The share of windows that are an alarm, with the errors of the first target so many times larger."""
    outputs = Outputs(scores="prediction", kind="prediction", targets=TARGETS[:targets])
    golden = replace(MANIFEST.golden, labels=(), scores=((0.0,) * targets,) * 2)
    manifest = replace(MANIFEST, outputs=outputs, classes=(), class_names=(), golden=golden)
    board, draw, found = Scoreboard(outputs_of(manifest)), ERRORS[kind], 0
    rng = np.random.default_rng([list(ERRORS).index(kind), held_out, rows, targets, round(10 * larger)])
    for _ in range(windows):
        before, now = draw(rng, (held_out, targets)), draw(rng, (rows, targets))
        now[:, 0] *= larger
        errors = tuple(errors_of(*each) for each in zip(outputs.targets, before.T, strict=True))
        trained = replace(manifest.training, errors=errors, held_out=held_out)
        counts = board.count([0] * rows, now, np.zeros_like(now))
        found += judge(1, board, counts, replace(manifest, training=trained)).fallen
    return found / windows


def errors_of(target, absolute):
    mae, rmse = absolute.mean(), np.sqrt((absolute**2).mean())
    return Errors(target=target, rows=len(absolute), mae=mae, rmse=rmse, r2=None, residuals=())


SAME_CLASSES = [
    ("0.75", 1000, 500),
    ("0.9", 1000, 100),
    ("0.95", 1000, 100),
    ("0.97", 1000, 100),
    ("0.99", 1000, 100),
    ("0.99", 100, 1000),
    ("0.5 to 1", 100, 100),
    ("0.5 to 1", 1000, 1000),
    ("0.5 to 1", 10_000, 10_000),
    ("mostly 1", 100, 1000),
    ("mostly 1", 1000, 100),
]
SAME_NUMBERS = [(held_out, rows) for held_out in (30, 100, 1000) for rows in (100, 1000)]
LOST = [(0.95, 0.9), (0.95, 0.92), (0.9, 0.85), (0.9, 0.8), (0.99, 0.97)]


@pytest.mark.long
@pytest.mark.parametrize(("confidence", "held_out", "rows"), SAME_CLASSES)
def test_as_right_as_in_training(confidence, held_out, rows):
    """At most 0.5% of the windows are an alarm where the answers are as right as in training."""
    assert classifiers(confidence, held_out, rows)[0] <= 0.005


@pytest.mark.long
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize(("held_out", "rows"), SAME_NUMBERS)
@pytest.mark.parametrize("targets", [1, 5])
def test_errors_as_in_training(kind, held_out, rows, targets):
    """At most 0.5% of the windows are an alarm where errors are as large as in training, however spread."""
    assert regressors(kind, held_out, rows, targets) <= 0.005


@pytest.mark.long
def test_losses_are_found():
    """A loss of five points and errors that are a half larger are found, beside held-out rows enough."""
    assert classifiers("0.95", 10_000, 1000, lost=0.05)[1] >= 0.95
    assert classifiers("0.9", 1000, 1000, lost=0.1)[2] >= 0.99
    assert regressors("normal", 200, 500, larger=1.5) >= 0.99
    assert regressors("lognormal, sigma 1", 1000, 1000, larger=1.5) >= 0.99


def test_a_few_windows():
    """A few windows show what the long tests show of a thousand."""
    assert classifiers("0.95", 1000, 100, windows=50)[0] == 0
    assert classifiers("0.9", 1000, 1000, lost=0.15, windows=20).tolist() == [1, 1, 1]
    assert regressors("lognormal, sigma 1.5", 30, 1000, windows=50) == 0
    assert regressors("normal", 200, 1000, targets=5, larger=2.0, windows=20) == 1


def _line(cells):
    print(f"| {' | '.join(str(cell) for cell in cells)} |", flush=True)


def _percent(*shares):
    return [f"{share:.1%}" for share in shares]


def main():
    """Print the tables."""
    for confidence, held_out, rows in SAME_CLASSES:
        shares = classifiers(confidence, held_out, rows)
        _line([confidence, f"{held_out:,}", f"{rows:,}", *_percent(*shares)])
    for kind in ERRORS:
        for targets in (1, 5):
            _line([kind, targets, *_percent(*(regressors(kind, *each, targets) for each in SAME_NUMBERS))])
    for before, after in LOST:
        for held_out in (200, 1000, 10_000):
            lost = [classifiers(f"{before}", held_out, rows, before - after) for rows in (100, 500, 1000)]
            found = _percent(*(share for shares in lost for share in shares[1:]))
            _line([f"{before:.0%} to {after:.0%}", f"{held_out:,}", *found])
    for kind in ERRORS:
        for held_out in (30, 100, 1000):
            larger = [(rows, factor) for rows in (100, 1000) for factor in (1.2, 1.5, 2.0)]
            found = (regressors(kind, held_out, rows, larger=factor) for rows, factor in larger)
            _line([kind, f"{held_out:,}", *_percent(*found)])


if __name__ == "__main__":
    main()
