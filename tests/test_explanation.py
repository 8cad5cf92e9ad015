"""Explanations add up to the answer, are exact where all mixtures are run, and elsewhere tell their error."""

from itertools import permutations
from math import factorial

import numpy as np
import pandas as pd
import pytest
from conftest import PERSON, people
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.server.errors import InvalidInput
from unpickled.server.explanation import shapley
from unpickled.server.explanation.baseline import baseline
from unpickled.server.explanation.explanation import Version, explained
from unpickled.server.model.session import load

WIDTH = 14
X, y = make_classification(200, WIDTH, n_informative=8, random_state=0)
ESTIMATORS = {
    "logistic": LogisticRegression(),
    "forest": RandomForestClassifier(10, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=5),
    "svc": SVC(),
    "network": MLPClassifier((4,), max_iter=2000, random_state=0),
    "regressor": LinearRegression(),
}


def exported(path, estimator, rows, answers, name="model"):
    """The loaded version of a fitted pipeline, and the pipeline."""
    pipeline = make_pipeline(StandardScaler(), estimator).fit(rows, answers)
    export_pipeline(pipeline, rows, answers, name=name, models=path)
    return opened(path, name), pipeline


def opened(path, name):
    return Version(name, 1, load((path / name / "1" / "model.onnx").read_bytes()))


def shares(found):
    return np.array([each.contribution for each in found.features])


def total(found):
    """The error of the sum rule."""
    return abs(shares(found).sum() - (found.answer - found.baseline_answer))


def answers(version, rows, column):
    _, scores = version.model.run(version.model.signature.feeds(rows))
    return scores[:, column]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_contributions_add_up(kind, tmp_path):
    """For each kind of model, the contributions add up to the answer less that to the baseline."""
    version, _ = exported(tmp_path, ESTIMATORS[kind], X, y)
    row = X[3].tolist()
    found = explained(version, row)
    typical = baseline(version.model.manifest)
    names = version.model.outputs.names
    first, last = answers(version, [row, typical], names.index(found.explained))
    assert (found.answer, found.baseline_answer) == pytest.approx((first, last), abs=1e-9)
    assert total(found) < 1e-7
    assert np.allclose(typical, np.median(X, axis=0))
    assert 0 < found.rows <= 4096
    assert found.note == f"sampled: {found.orders} orders of 14 features"
    assert explained(version, row) == found


def test_few_features_are_exact(models):
    """With few features, each contribution is the mean over all orders, and has no error."""
    version = opened(models.path, "iris")
    row, typical = [6.3, 2.5, 5.0, 1.9], baseline(version.model.manifest)
    found = explained(version, row, "versicolor")
    expected = np.zeros(4)
    for order in permutations(range(4)):
        rows = [
            [row[each] if each in order[:step] else typical[each] for each in range(4)] for step in range(5)
        ]
        expected[list(order)] += np.diff(answers(version, rows, 1)) / factorial(4)
    assert np.allclose(shares(found), expected, atol=1e-12)
    assert (found.rows, found.orders, found.explained, found.kind) == (16, 0, "versicolor", "probabilities")
    assert {each.error for each in found.features} == {0.0}


@pytest.mark.parametrize("features", [3, WIDTH])
def test_linear_models_need_no_luck(features, tmp_path):
    """A linear score is explained by each coefficient times the distance from the median."""
    version, pipeline = exported(tmp_path, RidgeClassifier(), X[:, :features], y)
    found = explained(version, X[0, :features].tolist(), "1")
    scaler, ridge = pipeline[0], pipeline[1]
    distances = X[0, :features] - baseline(version.model.manifest)
    expected = np.ravel(ridge.coef_) / scaler.scale_ * distances
    assert found.kind == "scores"
    assert np.allclose(shares(found), expected, atol=1e-9)
    assert max(each.error for each in found.features) < 1e-9


def test_errors_are_honest():
    """Over many seeds, the standard errors are as large as the distances from the exact values."""
    random = np.random.default_rng(1)
    pairs = random.normal(0, 1, (14, 14))

    def game(coalitions):
        sums = np.einsum("ij,jk,ik->i", coalitions, pairs, coalitions)
        return np.tanh(sums / 5) + coalitions @ pairs[0]

    exact = shapley.shares(game, 14, 2**14, seed=0)
    assert (exact.orders, exact.rows) == (0, 2**14)
    sampled = [shapley.shares(game, 14, 520, seed) for seed in range(300)]
    distances = np.array([each.values - exact.values for each in sampled])
    errors = np.array([each.errors for each in sampled])
    assert sampled[0].orders == 40
    assert (distances**2).mean() == pytest.approx((errors**2).mean(), rel=0.2)
    assert 0.9 < (np.abs(distances) < 2 * errors).mean() < 0.98
    assert np.abs(distances.mean(axis=0)).max() < 4 * errors.mean() / np.sqrt(300)


def test_categories_and_missing_values(models):
    """Contributions of categories and of gaps add up; a value equal to its baseline adds nothing."""
    version = opened(models.path, "people")
    table, _ = people()
    typical = dict(zip(PERSON, baseline(version.model.manifest), strict=True))
    assert typical["city"] == table["city"].mode()[0]
    assert typical["age"] == table["age"].median()
    found = explained(version, [None, 900.0, "Rome", typical["plan"]])
    assert total(found) < 1e-7
    assert [each.value for each in found.features] == [None, 900.0, "Rome", typical["plan"]]
    # The pipeline fills a gap with the median.
    assert [each.contribution == 0 for each in found.features] == [True, False, False, True]


def test_dates(tmp_path):
    """A date is explained as a number of seconds, and written as a date."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(120), unit="D")
    table = pd.DataFrame({"day": days.strftime("%Y-%m-%d"), "size": np.arange(120) % 7})
    table["late"] = np.where(days.month > 2, "yes", "no")
    table.to_csv(tmp_path / "days.csv", index=False)
    options = ["--target", "late", "--dates", "expand", "--classifier", "decision_tree", "--name", "days"]
    assert main(["train", "--data", str(tmp_path / "days.csv"), *options, "--models", str(tmp_path)]) == 0
    version = opened(tmp_path, "days")
    row = version.model.signature.check_row(["2024-04-20", 1.0], 0)
    found = explained(version, row)
    day, _ = found.features
    assert (day.value, found.explained, total(found) < 1e-7) == ("2024-04-20", "yes", True)
    assert "2024-02-20" < day.baseline < "2024-03-10"
    assert day.contribution > 0


def test_baselines_are_values_that_the_model_takes(tmp_path):
    """The baseline is one of a list of numbers, and true or false, though the median may be neither."""
    table = pd.DataFrame({"rooms": [1, 2, 5, 5] * 30, "express": [True, False] * 60, "none": [np.nan] * 120})
    columns = make_column_transformer(
        (OneHotEncoder(), ["rooms"]),
        ("passthrough", ["express"]),
        (SimpleImputer(strategy="constant", fill_value=0, keep_empty_features=True), ["none"]),
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, table["rooms"] > 2)
    export_pipeline(pipeline, table, name="rooms", models=tmp_path)
    version = opened(tmp_path, "rooms")
    rooms, express, none = baseline(version.model.manifest)
    assert (rooms in (1.0, 2.0, 5.0), express in (0.0, 1.0)) == (True, True)
    found = explained(version, [1.0, 1.0, none])
    assert found.features[1].value is True
    assert total(found) < 1e-7


def test_a_typical_row(models):
    """The baseline itself has nothing to explain."""
    version = opened(models.path, "people")
    found = explained(version, baseline(version.model.manifest))
    assert found.answer == found.baseline_answer
    assert not shares(found).any()
    assert (found.rows, found.note) == (1, "exact: all mixtures of the row and its baseline were run, 1 row")


def test_contributions_to_all_classes_cancel(models):
    """A feature takes from other classes as much as it adds to one: their probabilities add up to 1."""
    version = opened(models.path, "forest")
    every = [shares(explained(version, [5.1, 3.5, 1.4, 0.2], name)) for name in ("0", "1", "2")]
    assert np.allclose(np.sum(every, axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("features", [600, 1200])
def test_wide_models(features, tmp_path):
    """With very many features no more rows are run; neighbors then share, and the note says so."""
    rows = np.random.default_rng(0).normal(size=(60, features))
    version, _ = exported(tmp_path, RidgeClassifier(), rows, np.arange(60) % 2)
    found = explained(version, rows[0].tolist())
    assert found.rows <= 4096 + 2
    assert total(found) < 1e-7
    assert ("neighbors have equal parts" in found.note) == (features > 1025)
    assert found.note.endswith("the orders are few, so the errors themselves are rough")


def test_targets(regressors):
    """A regressor is explained by its first target, or by the one that is named."""
    version = opened(regressors.path, "areas")
    row = [5.1, 3.5, 1.4, 0.2]
    assert explained(version, row) == explained(version, row, "sepal")
    found = explained(version, row, "petal")
    assert (found.explained, found.kind) == ("petal", "prediction")
    assert found.answer == pytest.approx(found.prediction["petal"])
    with pytest.raises(InvalidInput, match=r"^target is 'leaf': it has to be one of 'sepal', 'petal'$"):
        explained(version, row, "leaf")
