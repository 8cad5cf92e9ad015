"""A version beside an earlier one on the same rows: figures, intervals, verdict, refusals."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from unpickled.export import export_pipeline, slices
from unpickled.export.comparison import paired
from unpickled.export.comparison.compare import compare
from unpickled.export.comparison.contrasts import areas
from unpickled.export.comparison.earlier import Earlier
from unpickled.export.comparison.paired import Pair, Quotient
from unpickled.export.labelled import Labelled
from unpickled.server.artifact.comparison import sentence

# Rows of the table that a version is fitted on; the others are held out.
FITTED = 400
SAME = "no difference that these rows show"


def table(rows: int = 1_200) -> tuple[pd.DataFrame, np.ndarray]:
    """Two numbers and a town: yes where their sum is above 0, in Trier their difference, but for noise."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows)})
    town = rng.choice(np.array(["Bonn", "Trier"], object), rows, p=[0.7, 0.3])
    score = frame["a"] + np.where(town == "Trier", -1, 1) * frame["b"] + rng.normal(scale=0.5, size=rows)
    return frame.assign(town=town), np.where(score > 0, "yes", "no")


def reading(*columns: str, estimator=None) -> Pipeline:
    """An unfitted pipeline of some of the columns, which sees how the town and the numbers go together."""
    numbers = [name for name in columns if name != "town"]
    texts = [("texts", OneHotEncoder(), ["town"])] if "town" in columns else []
    prepared = ColumnTransformer([("numbers", StandardScaler(), numbers), *texts], sparse_threshold=0.0)
    return make_pipeline(prepared, PolynomialFeatures(2), estimator or LogisticRegression())


def written(folder: Path, pipeline: Pipeline, frame: pd.DataFrame, truth: np.ndarray) -> Earlier:
    """The next version of the model "m", fitted on the first rows."""
    rows, answers = frame[:FITTED], truth[:FITTED]
    export = export_pipeline(pipeline.fit(rows, answers), rows, answers, name="m", models=folder)
    return Earlier.opened(folder / "m", export.version)


def held_out(frame: pd.DataFrame, truth: np.ndarray) -> Labelled:
    return Labelled(frame[FITTED:], truth[FITTED:], held_out=True)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Four versions of "m": one reads a, one a and b, one all, one all without probabilities; and rows."""
    folder, (frame, truth) = tmp_path_factory.mktemp("models"), table()
    pipelines = (
        reading("a"),
        reading("a", "b"),
        reading("a", "b", "town"),
        reading("a", "b", "town", estimator=LinearSVC()),
    )
    of_a, of_both, of_all, without = (written(folder, each, frame, truth) for each in pipelines)
    rows = held_out(frame, truth)
    return SimpleNamespace(of_a=of_a, of_both=of_both, of_all=of_all, without=without, rows=rows, path=folder)


def test_mcnemar_is_the_exact_test_of_a_coin():
    """The chance of so uneven a count is that of scipy's binomial test, and 1 where no row tells."""
    for only_this, only_other in ((6, 16), (0, 5), (7, 7), (812, 900), (1, 0)):
        exact = binomtest(only_this, only_this + only_other, 0.5).pvalue
        assert paired.mcnemar(only_this, only_other) == pytest.approx(exact, rel=1e-9)
    assert paired.mcnemar(0, 0) == 1.0


def test_intervals_hold_the_true_difference():
    """Of 300 samples of 40 rows, the interval of a mean and of an area holds the truth in 92% at least."""
    rng, inside, held = np.random.default_rng(0), np.arange(40) < 16, np.zeros(2)
    truth = (-0.2, norm.cdf(1 / np.sqrt(2)) - norm.cdf(0.5 / np.sqrt(2)))
    for seed in range(300):
        scores = rng.normal(size=(2, 40)) + inside * np.array([[1.0], [0.5]])
        losses = rng.exponential(size=(2, 40)) * np.array([[1.0], [1.2]])
        pairs = [Pair(*map(Quotient, losses)), Pair(*(Quotient(areas(each, inside)) for each in scores))]
        for place, drawn in enumerate(paired.differences(pairs, seed).T):
            found = paired.interval(pairs[place].difference, drawn, 40)
            held[place] += found.lowest <= truth[place] <= found.highest
    assert (held / 300 >= 0.92).all(), held


def test_slices_are_judged_together():
    """By Holm, the smallest of four chances has to be below a quarter of 5%, the next below a third."""
    for chances, beyond in (
        ([0.02, 0.2, 0.012, 0.016], [True, False, True, True]),
        ([0.02, 0.2, 0.03, 0.013], [False] * 4),
        ([], []),
    ):
        assert slices.beyond_chance(np.array(chances, np.float64)).tolist() == beyond


def test_a_version_beside_itself_shows_no_difference(versions):
    """Equal answers have differences of exactly 0, and chance explains them."""
    found = compare(versions.of_all.model, versions.of_all, versions.rows)
    ends = {(each.difference.lowest, each.difference.highest) for each in found.contrasts}
    assert ends == {(0.0, 0.0)}
    assert (found.verdict, found.chance, found.disagreements) == (SAME, 1.0, ())
    assert not any(each.worse or each.better for each in found.slices)
    assert "is right on as many of 800 held-out rows as version 3 (0 to 0)" in sentence(found)


def test_a_better_version_is_better(versions):
    """A version that reads more columns is better, and worse from the other side, by the same figures."""
    found = compare(versions.of_all.model, versions.of_a, versions.rows, unseen=True)
    other = compare(versions.of_a.model, versions.of_all, versions.rows)
    assert (found.verdict, found.version, found.rows, found.unseen) == ("better", 1, 800, True)
    assert (other.verdict, other.version, other.unseen) == ("worse", 3, False)
    gain = found.contrasts[0].difference.value
    assert gain == pytest.approx((found.only_this - found.only_other) / found.rows)
    assert gain == pytest.approx(-other.contrasts[0].difference.value)
    assert sum(each.rows for each in found.disagreements) == found.only_this + found.only_other
    assert found.chance == other.chance < 0.001


def test_figures_are_those_of_scikit_learn(versions):
    """Log loss and ROC AUC of both versions are what scikit-learn measures with their probabilities."""
    rows = versions.rows
    found = compare(versions.of_all.model, versions.of_a, rows)
    by_name = {(each.metric, each.of): each for each in found.contrasts}
    for earlier, side in ((versions.of_all, "this"), (versions.of_a, "other")):
        columns = {name: rows.frame[name].to_numpy() for name in earlier.model.signature.names}
        _, scores = earlier.model.run(earlier.model.signature.table(columns))
        assert getattr(by_name["log loss", ""], side) == pytest.approx(log_loss(rows.truth, scores))
        area = roc_auc_score(rows.truth == "yes", scores[:, 1])
        assert getattr(by_name["ROC AUC", "yes"], side) == pytest.approx(area)


def test_slices_that_got_worse_come_first(versions, tmp_path):
    """A version that was told the opposite of the truth in Trier is worse there alone."""
    frame, truth = table()
    lies = np.where(frame["town"] == "Trier", np.where(truth == "yes", "no", "yes"), truth)
    misled = written(tmp_path, reading("a", "b", "town"), frame, lies)
    found = compare(misled.model, versions.of_all, versions.rows)
    towns = {each.value: each for each in found.slices if each.feature == "town"}
    assert found.slices[0] == towns["Trier"]
    assert (towns["Trier"].worse, towns["Bonn"].worse) == (True, False)
    assert towns["Trier"].difference.value < -0.5
    better = compare(versions.of_all.model, misled, versions.rows)
    assert [(each.value, each.better) for each in better.slices if each.feature == "town"][-1] == (
        "Trier",
        True,
    )


def test_without_probabilities_the_accuracy_decides(versions):
    """A version that has none is compared by accuracy, ROC AUC, precision and recall."""
    found = compare(versions.without.model, versions.of_a, versions.rows)
    assert {each.metric for each in found.contrasts} == {"accuracy", "ROC AUC", "precision", "recall"}
    assert found.verdict == "better"
    assert "log loss" not in sentence(found)
