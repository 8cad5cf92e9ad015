"""From a table to a fitted, measured pipeline: quality, curves and refusals."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    root_mean_squared_error,
)
from tables import customers, lines, write

from unpickled.export.boosters.registry import LIBRARIES
from unpickled.export.data import dataset as data
from unpickled.export.errors import DataError, QualityError
from unpickled.export.tasks.classification import CLASSIFIERS, measure, require
from unpickled.export.tasks.regression import REGRESSION, REGRESSORS
from unpickled.export.train import SCALERS, build, train
from unpickled.server.artifact.manifest import Errors, ResidualReport, Training

BOOSTERS = {library.name for library in LIBRARIES}


@pytest.mark.parametrize(
    ("name", "features", "classes"),
    [("iris", 4, "setosa"), ("wine", 13, "class_0"), ("breast_cancer", 30, "malignant"), ("digits", 64, "0")],
)
def test_bundled_sets_have_names_that_work_as_json_keys(name, features, classes):
    """Features have plain names; labels are 0, 1, 2 and so on, and classes keep their own names."""
    table = data.bundled(name)
    assert table.features.shape[1] == features
    assert all(column.isidentifier() and column == column.lower() for column in table.features)
    assert table.class_names[0] == classes
    assert table.labels.tolist()[:1] == [0]
    assert table.labels.dtype == np.int64


def test_iris_has_the_names_of_its_requests():
    """The README's record is a row of this table."""
    assert list(data.bundled("iris").features) == [
        "sepal_length",
        "sepal_width",
        "petal_length",
        "petal_width",
    ]


def test_metrics_are_scikit_learns_on_rows_the_pipeline_never_saw(tmp_path):
    """Metrics are scikit-learn's, for rows on which the pipeline was not fitted."""
    table = data.read(write(customers(), tmp_path / "customers.csv"), "churned")
    fitted = train(table, "standard", "logistic", seed=1, held_out=0.25)
    assert set(fitted.train.index).isdisjoint(fitted.held_out.index)
    labels = table.labels[fitted.held_out.index]
    predicted, metrics = fitted.pipeline.predict(fitted.held_out), fitted.training.metrics
    assert metrics.accuracy == accuracy_score(labels, predicted)
    assert metrics.log_loss == pytest.approx(log_loss(labels, fitted.pipeline.predict_proba(fitted.held_out)))
    scores = precision_recall_fscore_support(labels, predicted, labels=["no", "yes"])
    assert [line.f1 for line in metrics.classes] == scores[2].tolist()
    assert sum(map(sum, metrics.confusion)) == len(labels) == fitted.training.held_out


def test_the_same_seed_gives_the_same_model():
    """The same seed gives the same model, and another seed another one."""
    table = data.bundled("iris")
    first, again, different = (train(table, "none", "forest", seed=seed) for seed in (5, 5, 6))
    assert first.training == again.training
    assert first.training.metrics.log_loss != different.training.metrics.log_loss


def test_missing_and_unknown_values_pass_through_the_pipeline(tmp_path):
    """The pipeline imputes a missing number, and encodes missing or unknown text."""
    table = data.read(write(customers(), tmp_path / "customers.csv"), "churned")
    fitted = train(table, "robust", "logistic")
    row = fitted.held_out.iloc[[0]].assign(age=np.nan, city=pd.Series([np.nan], dtype=object))
    assert np.isfinite(fitted.pipeline.predict_proba(row)).all()
    assert np.isfinite(fitted.pipeline.predict_proba(row.assign(city="Atlantis"))).all()


def test_a_table_of_whole_number_columns_needs_no_column_transformer():
    """A table of numbers has a pipeline without a ColumnTransformer."""
    features = data.bundled("wine").features
    final = ("classifier", CLASSIFIERS["knn"](0))
    assert [name for name, _ in build(features, "minmax", final).steps] == ["scaler", "classifier"]
    assert [name for name, _ in build(features, "none", final).steps] == ["classifier"]


@pytest.mark.parametrize("classifier", sorted(CLASSIFIERS.keys() - BOOSTERS))
def test_every_classifier_learns_iris_without_a_warning(classifier):
    """Each classifier converges on iris, and is right in more than nine of ten rows."""
    assert train(data.bundled("iris"), "standard", classifier).training.metrics.accuracy > 0.9


@pytest.mark.parametrize("scaler", sorted(SCALERS))
def test_every_scaler_serves_a_classifier_without_a_warning(scaler):
    """Each scaler, and none, leads to a good classifier."""
    assert train(data.bundled("wine"), scaler, "logistic").training.metrics.accuracy > 0.9


@pytest.mark.parametrize(
    ("classifier", "unit"),
    [
        ("mlp", "epoch"),
        ("gradient_boosting", "stage"),
        ("hist_gradient_boosting", "stage"),
        ("adaboost", "stage"),
    ],
)
def test_the_training_curve_is_kept_where_there_is_one(classifier, unit):
    """The curve has a loss for each epoch or stage; without AdaBoost's, it falls to a tenth."""
    curve = train(data.bundled("wine"), "standard", classifier).training.curve
    assert curve.unit == unit
    assert len(curve.loss) >= 50
    assert classifier == "adaboost" or curve.loss[-1] < curve.loss[0] / 10


@pytest.mark.parametrize("classifier", ["forest", "logistic", "knn"])
def test_no_curve_is_made_up(classifier):
    """A classifier without epochs or stages has no curve."""
    assert train(data.bundled("iris"), "standard", classifier).training.curve is None


def test_no_log_loss_without_probabilities():
    """A linear SVM has scores only, so it has no log loss."""
    assert train(data.bundled("iris"), "standard", "linear_svc").training.metrics.log_loss is None


def test_a_table_too_small_to_split_is_refused(tmp_path):
    """If there are fewer held-out rows than classes, the error names the remedy."""
    path = lines(tmp_path / "x.csv", "x,y", *(f"{i / 7},{'ab'[i % 2]}" for i in range(10)))
    with pytest.raises(DataError, match="another fraction"):
        train(data.read(path, "y"), "standard", "logistic", held_out=0.1)


def test_a_model_below_the_asked_accuracy_is_refused():
    """The error has both accuracies; without labels it asks for them."""
    metrics = train(data.bundled("iris"), "standard", "logistic").training.metrics
    require(metrics, metrics.accuracy)
    require(None, None)
    with pytest.raises(QualityError, match=r"0\.9667 is below the 0\.99"):
        require(metrics, 0.99)
    with pytest.raises(DataError, match="needs labels"):
        require(None, 0.5)


@pytest.mark.parametrize(
    ("labels", "ok"), [([0.0, 1.0], True), ([True, False], True), (["0", "1"], True), ([3], False)]
)
def test_labels_of_a_sample_are_matched_to_the_pipelines_own(labels, ok):
    """Labels 1, 1.0, true and '1' of a file are the same; an unknown label is refused."""
    fitted = train(data.bundled("iris"), "standard", "logistic")
    rows = fitted.train.iloc[: len(labels)]
    if ok:
        assert 0.0 <= measure(fitted.pipeline, rows, np.array(labels), ("a", "b", "c")).accuracy <= 1.0
        return
    with pytest.raises(DataError, match="The label 3 is none of the pipeline's classes"):
        measure(fitted.pipeline, rows, np.array(labels), ("a", "b", "c"))


@pytest.mark.long
@pytest.mark.parametrize("regressor", sorted(REGRESSORS.keys() - BOOSTERS - {"mlp", "decision_tree"}))
def test_every_regressor_learns_houses_without_a_warning(regressor):
    """Each regressor converges on the made-up houses, and errs clearly less than the median does."""
    table = data.bundled("houses")
    few = dataclasses.replace(table, features=table.features[:600], labels=table.labels[:600])
    (errors,) = train(few, "standard", regressor).training.errors
    assert errors.target == "price"
    assert errors.mae < errors.baseline * (0.9 if regressor in ("elastic_net", "gamma") else 0.7)


def test_errors_are_scikit_learns_on_rows_the_pipeline_never_saw():
    """MAE, RMSE and R2 are scikit-learn's, for held-out rows; the residuals describe each row once."""
    table = data.bundled("diabetes")
    fitted = train(table, "standard", "ridge", seed=1, held_out=0.25)
    truth, predicted = table.labels[fitted.held_out.index], fitted.pipeline.predict(fitted.held_out)
    (errors,) = fitted.training.errors
    assert errors.mae == pytest.approx(mean_absolute_error(truth, predicted))
    assert errors.rmse == pytest.approx(root_mean_squared_error(truth, predicted))
    assert errors.r2 == r2_score(truth, predicted)
    assert errors.baseline == pytest.approx(np.abs(truth - np.median(truth)).mean())
    assert sum(line.rows for line in errors.residuals) == len(truth) == fitted.training.held_out
    assert fitted.training.metrics is None


@pytest.mark.parametrize(
    ("regressor", "unit"),
    [("mlp", "epoch"), ("gradient_boosting", "stage"), ("hist_gradient_boosting", "stage")],
)
def test_the_training_curve_of_a_regressor(regressor, unit):
    """The curve of a regressor has a loss for each epoch or stage, and falls."""
    curve = train(data.bundled("diabetes"), "standard", regressor).training.curve
    assert curve.unit == unit
    assert len(curve.loss) >= 50
    assert curve.loss[-1] < curve.loss[0] / 2


@pytest.mark.parametrize("regressor", ["svr", "linear_svr"])
def test_the_unit_of_the_target_does_not_matter(regressor):
    """A target in millionths is learned as well as one in thousands."""
    table = data.bundled("diabetes")
    tiny = dataclasses.replace(table, labels=table.labels * 1e-9)
    errors, less = (train(each, "standard", regressor).training.errors[0] for each in (table, tiny))
    assert less.mae == pytest.approx(errors.mae * 1e-9, rel=1e-3)


def test_a_gamma_regressor_says_that_it_takes_positive_numbers_only(tmp_path):
    """A target that the regressor cannot learn is an error with its reason and a remedy."""
    path = lines(tmp_path / "x.csv", "x,y", *(f"{i / 7},{i / 3 - 5}" for i in range(40)))
    with pytest.raises(DataError, match=r"GammaRegressor cannot be fitted: .*name another --regressor"):
        train(data.read(path, "y"), "standard", "gamma")


def test_every_boosting_library_is_trained_by_its_name():
    """Models that are exported can be trained: each library of the registry has a name in both tasks."""
    assert CLASSIFIERS.keys() & REGRESSORS.keys() >= BOOSTERS


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    """A booster without its library is an error that says what to install."""
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(DataError, match=r"XGBRegressor .* not installed: pip install xgboost\."):
        train(data.bundled("diabetes"), "standard", "xgboost")


def test_made_up_houses_are_the_same_everywhere():
    """The houses hang on nothing but the code: their fingerprint is this one, with gaps in three columns."""
    table = data.bundled("houses")
    assert data.fingerprint(table.features, table.labels)[:16] == "9a0c0cebcfef85e4"
    gaps = table.features.columns[table.features.isna().any()]
    assert [*gaps] == ["built", "income", "place"]
    assert "made up" in table.notes[0]


def test_a_number_that_is_rounded_to_0_has_no_sign():
    """A bias of -0.0005 beside errors of 22 is printed as 0.00, and not as -0.00 or +0.00."""
    lines = [
        ResidualReport(lowest=0.0, highest=9.0, rows=9, bias=bias, mae=22.0) for bias in (-5e-4, 5e-4, -3)
    ]
    errors = Errors(target="y", rows=27, mae=22.0, rmse=30.0, r2=None, residuals=tuple(lines))
    _, _, _, *rows = REGRESSION.report(Training(pipeline=(), errors=(errors,)), "here")
    assert [row.split()[3] for row in rows] == ["0.00", "0.00", "-3.00"]


@pytest.mark.parametrize("size", [1e-12, 0.02, 41.5, 5e9, 1e20])
def test_residuals_are_written_with_the_decimals_that_the_error_is_worth(size):
    """Errors of any size are shown with four digits or more, and columns stand under their names."""
    table = data.bundled("diabetes")
    grown = dataclasses.replace(table, labels=table.labels * size)
    training = train(grown, "standard", "linear").training
    first, _, head, *rows = REGRESSION.report(training, "here")
    mae = float(first.split()[1].replace(",", ""))
    assert mae == pytest.approx(training.errors[0].mae, rel=1e-3)
    assert len({len(line) for line in [head, *rows]}) == 1
