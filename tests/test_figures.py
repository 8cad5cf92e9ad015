"""The figures about accuracy that counts lead to, and what is judged an alarm."""

import numpy as np
import pytest
from conftest import Models
from msgspec.structs import replace
from scipy import stats
from sklearn.metrics import log_loss, mean_absolute_error, root_mean_squared_error
from test_scoreboard import answers, outputs

from unpickled.server.accuracy import intervals
from unpickled.server.accuracy.figures import figures
from unpickled.server.accuracy.judgement import judge
from unpickled.server.accuracy.pairs import Pairing
from unpickled.server.accuracy.report import VersionAccuracy
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import ClassReport, Errors, Metrics

THREE = ["a", "b", "c"]


def document(models: Models, name: str):
    return manifest.read((models.path / name / "1" / "model.onnx").read_bytes())


def trained(models: Models, accuracy: float, rows: int):
    """The manifest of iris, as if held-out rows had been measured."""
    classes = tuple(ClassReport(name=name, precision=1, recall=1, f1=1, support=rows) for name in THREE[:1])
    metrics = Metrics(accuracy=accuracy, log_loss=None, classes=classes, confusion=())
    iris = document(models, "iris")
    return replace(iris, training=replace(iris.training, metrics=metrics, held_out=rows))


def judged(models: Models, rows: int, right: float, seed: int, accuracy=0.9) -> VersionAccuracy:
    """The judgement about rows of which this share is answered right, with confidence 0.9."""
    board = Scoreboard(outputs(models, "iris"))
    truths = np.where(np.random.default_rng(seed).random(rows) < right, 0, 1)
    counts = board.count([0] * rows, [[0.9, 0.06, 0.04]] * rows, truths)
    return judge(1, board, counts + board.predicted([0] * rows), trained(models, accuracy, 500))


def test_figures_have_intervals(models: Models) -> None:
    """A share has that of Wilson, a mean a normal one; both hold the figure."""
    board = Scoreboard(outputs(models, "iris"))
    labels, probabilities, truths = answers(3, 1000)
    found = figures(board, board.count(labels, probabilities, truths), document(models, "iris"))
    assert found.rows == 1000
    assert found.accuracy.value == (labels == truths).mean()
    assert found.log_loss.value == pytest.approx(log_loss(truths, probabilities))
    for figure in (found.accuracy, found.log_loss, found.brier):
        assert figure.lowest < figure.value < figure.highest
    assert found.calibration.error < found.calibration.by_chance
    assert [each.name for each in found.calibrations] == list(outputs(models, "iris").names)
    assert sum(bin.rows for bin in found.calibration.bins) == 1000


def test_errors_have_intervals(regressors: Models) -> None:
    board = Scoreboard(outputs(regressors, "area"))
    random = np.random.default_rng(0)
    truths = random.normal(17, 2, 500)
    scores = truths + random.normal(0.3, 1, 500)
    [target] = figures(
        board, board.count([0] * 500, scores[:, None], truths), document(regressors, "area")
    ).targets
    assert target.mae.value == pytest.approx(mean_absolute_error(truths, scores))
    assert target.rmse.value == pytest.approx(root_mean_squared_error(truths, scores))
    assert target.bias.value == pytest.approx((scores - truths).mean())


def test_intervals_of_errors_hold_the_true_ones(regressors: Models) -> None:
    """Those of mean absolute error, root mean squared error and bias do in 95 of 100 cases."""
    board, area = Scoreboard(outputs(regressors, "area")), document(regressors, "area")
    random, hits = np.random.default_rng(0), []
    for _ in range(500):
        counts = board.count([0] * 300, 17 + random.normal(0.3, 1, (300, 1)), [17.0] * 300)
        [target] = figures(board, counts, area).targets
        pairs = (target.mae, 0.8335), (target.rmse, 1.0440), (target.bias, 0.3)
        hits.append([figure.lowest <= true <= figure.highest for figure, true in pairs])
    assert (np.mean(hits, axis=0) > 0.93).all()
    assert (np.mean(hits, axis=0) < 0.97).all()


def test_nothing_is_made_up_without_truth(models: Models, regressors: Models) -> None:
    """All figures are None, and a note says why."""
    for home, name in ((models, "iris"), (regressors, "areas")):
        board = Scoreboard(outputs(home, name))
        found = judge(1, board, board.predicted([0, 0]), document(home, name))
        assert (found.predicted, found.coverage, found.judged, found.fallen) == (2, 0.0, False, False)
        assert found.figures.accuracy is None
        assert all(target.mae is None for target in found.figures.targets)
        assert "no truth is reported yet" in found.notes


ALIKE = [(0.75, 500), (0.9, 100), (0.9, 1000), (0.95, 100), (0.97, 100), (0.99, 100)]


@pytest.mark.parametrize(("share", "rows"), ALIKE)
def test_chance_is_no_alarm(models: Models, share: float, rows: int) -> None:
    """Hardly one of 300 windows as right as their probabilities say, and as training, is an alarm."""
    board = Scoreboard(outputs(models, "iris"))
    random, alarms = np.random.default_rng([rows, int(100 * share)]), 0
    for held_out in random.binomial(1000, share, 300):
        truths = np.where(random.random(rows) < share, 0, 1).tolist()
        counts = board.count([0] * rows, [[share, 1 - share, 0.0]] * rows, truths)
        found = judge(1, board, counts, trained(models, held_out / 1000, 1000))
        alarms += found.fallen or found.miscalibrated
    assert alarms <= 2


@pytest.mark.parametrize(("share", "rows"), ALIKE)
def test_the_chance_of_an_alarm_is_at_most_the_level(share: float, rows: int) -> None:
    """Added up over all that can happen, each of the two tests of a classifier has half of 1 in 1,000."""
    right, before = np.arange(rows + 1), np.arange(201)
    chances, chances_before = stats.binom.pmf(right, rows, share), stats.binom.pmf(before, 200, share)
    limit = intervals.calibration_by_chance([(rows, rows * share * (1 - share))])
    assert 0.00005 < chances[np.abs(right / rows - share) > limit].sum() <= 0.0005
    worse = np.frompyfunc(lambda now, then: intervals.fewer(now, rows, then, 200, 0.0005), 2, 1)
    alarms = worse.outer(right.tolist(), before.tolist()).astype(float)
    assert 0.0 < chances @ alarms @ chances_before <= 0.0005


def test_right_probabilities_hardly_reach_the_error_by_chance() -> None:
    """Over ten bins, one window in 2,000 has a larger error; of a billion rows it is a normal quantile."""
    random, bins = np.random.default_rng(0), np.arange(0.05, 1, 0.1)
    limit = intervals.calibration_by_chance([(100, 100 * p * (1 - p)) for p in bins])
    errors = sum(np.abs(random.binomial(100, p, 400_000) - 100 * p) for p in bins) / 1000
    assert np.mean(errors > limit) < 0.0005 < np.mean(errors > 0.95 * limit)
    many = intervals.calibration_by_chance([(1e9, 1e9 * 0.25)])
    assert many == pytest.approx(3.4808 * np.sqrt(0.25 / 1e9), rel=2e-3)
    assert intervals.calibration_by_chance([(0, 0.0), (5, 0.0)]) == 0.0


def test_worse_is_an_alarm(models: Models) -> None:
    """Accuracy of 80% where training had 90% is found in 1,000 rows, and so are its probabilities."""
    alarms = [judged(models, 1000, 0.8, seed) for seed in range(100)]
    assert sum(each.fallen for each in alarms) >= 99
    assert sum(each.miscalibrated for each in alarms) >= 99
    assert "90.0% on held-out rows" in alarms[0].reasons[0]
    assert not judged(models, 99, 0.5, 0).judged


def test_larger_errors_are_an_alarm(regressors: Models) -> None:
    area = document(regressors, "area")
    errors = Errors(target=area.outputs.targets[0], rows=200, mae=1.0, rmse=1.25, r2=None, residuals=())
    area = replace(area, training=replace(area.training, errors=(errors,), held_out=200))
    board = Scoreboard(outputs(regressors, "area"))
    random = np.random.default_rng(0)
    for spread, fallen in ((1.25, False), (2.0, True)):
        counts = board.count([0] * 500, 17 + random.normal(0, spread, (500, 1)), [17.0] * 500)
        assert judge(1, board, counts, area).fallen == fallen


def test_errors_of_few_rows_are_not_compared(regressors: Models) -> None:
    """Neither those of fewer than 30 held-out rows, nor truth of fewer than 100; the report says so."""
    area = document(regressors, "area")
    board, target = Scoreboard(outputs(regressors, "area")), area.outputs.targets[0]
    random = np.random.default_rng(0)
    for held_out, rows, judged in ((30, 100, True), (29, 100, False), (30, 99, False)):
        errors = Errors(target=target, rows=held_out, mae=0.1, rmse=0.12, r2=None, residuals=())
        area = replace(area, training=replace(area.training, errors=(errors,), held_out=held_out))
        scores = 17 + random.normal(0, 2, (rows, 1))
        found = judge(1, board, board.count([0] * rows, scores, [17.0] * rows), area)
        assert found.fallen == judged
        assert ("fewer than 30 held-out rows" in " ".join(found.notes)) == (held_out < 30)


def test_a_target_whose_truth_is_rare_is_not_judged(regressors: Models) -> None:
    """Other targets of the same rows are."""
    areas = document(regressors, "areas")
    board, names, few = Scoreboard(outputs(regressors, "areas")), areas.outputs.targets, 50
    errors = tuple(Errors(target=n, rows=200, mae=0.1, rmse=0.12, r2=None, residuals=()) for n in names)
    areas = replace(areas, training=replace(areas.training, errors=errors, held_out=200))
    truths = np.full((200, len(names)), 17.0)
    truths[few:, 0] = np.nan
    scores = 17 + np.random.default_rng(0).normal(0, 2, truths.shape)
    found = judge(1, board, board.count([0] * 200, scores, truths), areas)
    assert [name for name in names if any(repr(name) in each for each in found.reasons)] == list(names[1:])
    assert f"truth of '{names[0]}' is known of fewer than 100 rows: not judged" in found.notes


def test_uneven_coverage_is_told(models: Models) -> None:
    """Truth that is known for rows of one class only leans every figure towards it."""
    board = Scoreboard(outputs(models, "iris"))
    asked = board.predicted([0] * 500 + [1] * 500)
    scores = [[0.5, 0.4, 0.1]]
    even = board.count([0] * 100 + [1] * 110, scores * 210, [0] * 210)
    uneven = board.count([0] * 150 + [1] * 60, scores * 210, [0] * 210)
    assert not judge(1, board, asked + even, document(models, "iris")).uneven
    found = judge(1, board, asked + uneven, document(models, "iris"))
    assert found.uneven
    assert "30.0% of the rows answered 'setosa'" in found.reasons[-1]
    assert [each.coverage for each in found.figures.classes] == [0.3, 0.12, None]


def test_wilson_covers_in_95_of_100_cases() -> None:
    random = np.random.default_rng(0)
    for rows, share in ((30, 0.9), (100, 0.5), (1000, 0.99)):
        found = [intervals.share(happened, rows) for happened in random.binomial(rows, share, 2000)]
        assert 0.93 < np.mean([each.lowest <= share <= each.highest for each in found]) < 0.98


def test_pairs_of_classifiers(models: Models) -> None:
    """Rows that both answer alike tell nothing of which is better; those that one answers right do."""
    pairing = Pairing(outputs(models, "iris"), outputs(models, "forest"))
    sure, unsure = [[0.8, 0.1, 0.1]], [[0.1, 0.8, 0.1]]
    counts = pairing.count(([0] * 100, sure * 100), ([0] * 70 + [1] * 30, sure * 70 + unsure * 30),
                           [0] * 95 + [1] * 5)  # fmt: skip
    pair = pairing.report(1, 2, counts + counts)
    assert (pair.rows, pair.only_version, pair.only_shadow) == (200, 50, 10)
    assert pair.accuracy.value == -0.2
    assert pair.accuracy.highest < 0 < pair.log_loss.lowest
    assert pair.note == "the version is more often right"


def test_pairs_of_regressors(models: Models, regressors: Models) -> None:
    area = outputs(regressors, "area")
    pairing = Pairing(area, area)
    truths = np.random.default_rng(0).normal(17, 1, (50, 1))
    counts = pairing.count(([0] * 50, truths + 1), ([0] * 50, truths - 0.5), truths)
    pair = pairing.report(1, 2, counts)
    assert pair.rows == 50
    assert pair.mae["sepal"].value == pytest.approx(-0.5)
    assert pair.note == "the shadow is closer to the truth"
    assert not Pairing(area, outputs(models, "iris")).comparable
