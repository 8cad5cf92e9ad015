"""CatBoost: its trees, read from the fitted estimator, and the graphs of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoost, CatBoostClassifier, CatBoostRanker, CatBoostRegressor
from conftest import serving
from leaves import reached
from scipy import sparse
from sessions import opened
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.export import ExportError, export_pipeline
from unpickled.export.boosters import catboost as reader
from unpickled.export.convert import convert
from unpickled.export.converters import catboost_columns

SMALL = {
    "iterations": 20,
    "depth": 4,
    "thread_count": 1,
    "random_seed": 0,
    "allow_writing_files": False,
    "verbose": False,
}
RANDOM = np.random.default_rng(0)
COUNT = 600
NUMBERS = pd.DataFrame(RANDOM.normal(size=(COUNT, 3)) * [1.0, 1e4, 1e-30], columns=["a", "b", "c"])
NUMBERS.loc[::9, "b"] = np.nan
TABLE = NUMBERS.assign(
    city=RANDOM.choice(["Bonn", "Köln", "Ulm", "", "1"], COUNT), plan=RANDOM.choice(list("stuvwxyz"), COUNT)
)
SCORE = NUMBERS["a"] + NUMBERS["b"].isna() + (NUMBERS["c"] > 0) + TABLE["plan"].isin(list("sx"))
YES = np.where(SCORE + (TABLE["city"] == "Ulm") > 1.2, "yes", "no")
KINDS = np.digitize(SCORE, [0.0, 1.0, 2.0])
TWO = np.column_stack([SCORE, NUMBERS["c"] * 1e30])
CROSSED = (TABLE["city"] == "Ulm") ^ TABLE["plan"].isin(list("sux")) ^ (TABLE["a"] > 0)
TEXTS = ["city", "plan"]
ONE_HOT = {"cat_features": TEXTS, "one_hot_max_size": 255, **SMALL}
COUNTED = {"cat_features": TEXTS, "max_ctr_complexity": 1, **SMALL}


def beside(model, table):
    """Rows beside every border, each the nearest float64 and float32 on both sides, and odd numbers."""
    rows, odd = [table], [np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4028235e38, 3.4028236e38, -1e300]
    for place, borders in sorted(model.get_borders().items()):
        border = np.array(borders, np.float32)
        with np.errstate(over="ignore"):
            singles = [border, np.nextafter(border, np.inf), np.nextafter(border, -np.inf)]
            ends = [
                np.nextafter(number.astype(float), way) for number in singles for way in (np.inf, -np.inf)
            ]
            halves = [(singles[0].astype(float) + singles[side].astype(float)) / 2 for side in (1, 2)]
        numbers = np.concatenate([*singles, *ends, *halves, odd])
        moved = table.iloc[RANDOM.integers(0, len(table), len(numbers))]
        rows.append(moved.assign(**{table.columns[place]: numbers}))
    return pd.concat(rows, ignore_index=True)


def summed(model, rows):
    """The sums of the leaves that the trees have for these rows, in order, and the bias last."""
    boosted, seen = reader.boosted(model), reader.Sight.of(model).columns(rows)
    sums = np.zeros((len(rows), len(boosted.base)))
    for tree in boosted.trees:
        sums += tree.value[reached(tree, seen)]
    return sums + boosted.base


COMBINED = CatBoostClassifier(**COUNTED | {"max_ctr_complexity": 4, "iterations": 60})
NUMERIC = {
    "binary": (CatBoostClassifier(**SMALL), YES),
    "classes": (CatBoostClassifier(**SMALL), KINDS),
    "each class": (CatBoostClassifier(loss_function="MultiClassOneVsAll", **SMALL), KINDS),
    "missing above": (CatBoostRegressor(nan_mode="Max", **SMALL), SCORE),
    "level by level": (CatBoostRegressor(grow_policy="Depthwise", **SMALL), SCORE),
    "leaf by leaf": (CatBoostClassifier(grow_policy="Lossguide", **SMALL), KINDS),
    "weights": (CatBoostClassifier(auto_class_weights="Balanced", **SMALL), YES),
    "targets": (CatBoostRegressor(loss_function="MultiRMSE", **SMALL), TWO),
}
TEXTUAL = {
    "one-hot": (CatBoostClassifier(**ONE_HOT), YES),
    "one-hot by level": (CatBoostRegressor(grow_policy="Depthwise", **ONE_HOT), SCORE),
    "counted": (CatBoostClassifier(**COUNTED), YES),
    "counted classes": (CatBoostClassifier(simple_ctr=["Borders", "Counter"], **COUNTED), KINDS),
    "counted by bucket": (CatBoostClassifier(simple_ctr=["Buckets"], **COUNTED), KINDS),
    "combined": (COMBINED, CROSSED),
    "combined above": (COMBINED.copy().set_params(nan_mode="Max", one_hot_max_size=5), CROSSED),
    "counted by mean": (CatBoostRegressor(simple_ctr=["BinarizedTargetMeanValue"], **COUNTED), SCORE),
}


@pytest.mark.parametrize("name", sorted(NUMERIC))
def test_every_row_gets_the_sum_of_catboost(name):
    """To the last bit: beside borders, for missing and infinite numbers, in every kind of tree."""
    estimator, target = NUMERIC[name]
    model = estimator.copy().fit(NUMBERS, target)
    rows = beside(model, NUMBERS)
    expected = model.predict(rows, prediction_type="RawFormulaVal").reshape(len(rows), -1)
    np.testing.assert_array_equal(summed(model, rows), expected)


@pytest.mark.parametrize("name", sorted(TEXTUAL))
def test_every_category_goes_where_catboost_sends_it(name):
    """One-hot or counted, and a category that training has not seen too."""
    estimator, target = TEXTUAL[name]
    model = estimator.copy().fit(TABLE, target)
    rows = beside(model, TABLE)
    rows.loc[::5, "plan"], rows.loc[::7, "city"] = "never seen", "0"
    expected = model.predict(rows, prediction_type="RawFormulaVal").reshape(len(rows), -1)
    np.testing.assert_array_equal(summed(model, rows), expected)


def test_a_missing_number_that_training_had_none_of_goes_left():
    """CatBoost answers it all the same."""
    model = CatBoostRegressor(nan_mode="Forbidden", **SMALL).fit(NUMBERS.fillna(0.5), SCORE)
    assert not any(tree.missing_left[tree.splits].min() == 0 for tree in reader.boosted(model).trees)
    np.testing.assert_array_equal(
        summed(model, NUMBERS)[:, 0], model.predict(NUMBERS, prediction_type="RawFormulaVal")
    )


@pytest.mark.parametrize("best", [False, True])
def test_a_fit_that_stops_early_ends_at_the_best_iteration(best):
    """Unless use_best_model is off: then predict takes all of its trees, and so do the trees here."""
    model = CatBoostClassifier(**SMALL | {"iterations": 300, "learning_rate": 0.9}, use_best_model=best)
    model.fit(NUMBERS[:300], YES[:300], eval_set=(NUMBERS[300:], YES[300:]), early_stopping_rounds=5)
    trees = reader.boosted(model).trees
    assert len(trees) == model.best_iteration_ + (1 if best else 6)
    expected = model.predict(NUMBERS, prediction_type="RawFormulaVal")
    np.testing.assert_array_equal(summed(model, NUMBERS)[:, 0], expected)


REGRESSIONS = {
    "expectile": ("Expectile:alpha=0.3", SCORE),
    "huber": ("Huber:delta=1", SCORE),
    "logarithms": ("LogLinQuantile:alpha=0.6", KINDS + 1),
    "logcosh": ("LogCosh", SCORE),
    "mean": ("MAE", SCORE),
    "powers": ("Lq:q=3", SCORE),
    "poisson": ("Poisson", KINDS),
    "quantile": ("Quantile:alpha=0.2", SCORE),
    "quantiles": ("MultiQuantile:alpha=0.2,0.5,0.8", SCORE),
    "shares": ("MAPE", KINDS + 1),
    "squares": ("RMSE", SCORE),
    "squares of shares": ("RMSPE", KINDS + 1),
    "targets": ("MultiRMSE", TWO),
    "tweedie": ("Tweedie:variance_power=1.5", KINDS),
}


def answers(pipeline, rows):
    """The outputs of the pipeline's graph for these rows."""
    conversion = convert(pipeline, rows)
    session = opened(conversion.model)
    return session.run(None, conversion.layout.feeds(conversion.layout.frame(rows), conversion.inputs))


@pytest.mark.parametrize("name", sorted(REGRESSIONS))
def test_a_regression_answers_as_its_loss_says(name):
    """Counts are exponentials of the sum; several quantiles or targets are columns."""
    loss, target = REGRESSIONS[name]
    model = CatBoostRegressor(loss_function=loss, **SMALL).fit(NUMBERS, target)
    expected = model.predict(NUMBERS).reshape(len(NUMBERS), -1)
    np.testing.assert_allclose(answers(model, NUMBERS)[0], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris, load_wine])
def test_a_classifier_behind_a_scaler_is_proven(load, tmp_path):
    """The gate finds thousands of rows beside its splits, and no difference that counts."""
    X, y = load(return_X_y=True)
    model = CatBoostClassifier(**SMALL | {"iterations": 40})
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    parity = export_pipeline(pipeline, X, y, name="model", models=tmp_path).manifest.parity
    assert parity.rows["near_threshold"] > 1200
    assert parity.ties == 0
    assert parity.max_difference < 1e-14


CLASSIFIERS = {
    "combined": (COMBINED, CROSSED),
    "one-hot": (CatBoostClassifier(**ONE_HOT), YES),
    "counted": (CatBoostClassifier(**COUNTED), YES),
    "each class": (CatBoostClassifier(loss_function="MultiClassOneVsAll", **ONE_HOT), KINDS),
    "true": (CatBoostClassifier(**ONE_HOT), YES == "yes"),
}


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_a_classifier_takes_categories_as_they_are(name, tmp_path):
    """Unknown ones too; a missing one is refused, as CatBoost refuses it."""
    estimator, target = CLASSIFIERS[name]
    model = estimator.copy().fit(TABLE, target)
    manifest = export_pipeline(model, TABLE, target, name="model", models=tmp_path).manifest
    assert manifest.parity.rows["near_threshold"] > 500
    assert manifest.parity.max_difference < 1e-14
    assert [feature.missing for feature in manifest.features] == [True, True, True, False, False]
    assert not any(feature.closed for feature in manifest.features)


@pytest.mark.parametrize("loss", ["MultiQuantile:alpha=0.2,0.8", "Poisson", "RMSE"])
def test_a_regressor_takes_categories_as_they_are(loss, tmp_path):
    """The gate finds no difference that counts beside its splits and for unknown categories."""
    model = CatBoostRegressor(loss_function=loss, **COUNTED).fit(TABLE, KINDS)
    parity = export_pipeline(model, TABLE, name="model", models=tmp_path).manifest.parity
    assert parity.rows["near_threshold"] > 200
    assert parity.rows["unknown_category"] > 0
    assert parity.max_difference < 1e-14


def test_a_step_in_front_may_fill_in_a_category(tmp_path):
    """The text that stands for a missing one need not be in the rows."""
    table = TABLE.astype({"city": object})
    table.loc[::8, "city"] = np.nan
    fill = SimpleImputer(strategy="constant", fill_value="nowhere")
    columns = make_column_transformer((StandardScaler(), ["a", "b", "c"]), (fill, TEXTS))
    model = CatBoostClassifier(**ONE_HOT | {"cat_features": [3, 4]})
    pipeline = make_pipeline(columns, model).fit(table, YES)
    features = export_pipeline(pipeline, table, YES, name="model", models=tmp_path).manifest.features
    assert all(feature.missing for feature in features)


def test_a_sparse_matrix_is_taken_from_the_step_in_front(tmp_path):
    """One-hot columns that scikit-learn hands on as a sparse matrix are the same numbers to CatBoost."""
    encode = make_column_transformer((OneHotEncoder(), TEXTS), remainder="passthrough", sparse_threshold=1.0)
    table = TABLE.drop(columns=["b", "c"])
    pipeline = make_pipeline(encode, CatBoostRegressor(**SMALL)).fit(table, SCORE)
    assert sparse.issparse(pipeline[0].transform(table))
    parity = export_pipeline(pipeline, table, name="model", models=tmp_path).manifest.parity
    assert parity.max_difference <= 1e-12
    assert parity.rows["near_threshold"] > 100


def test_a_moved_threshold_decides_the_label(tmp_path):
    """The probabilities stay, and the label is the second one where its probability exceeds 0.3."""
    model = CatBoostClassifier(**SMALL).fit(NUMBERS, YES)
    model.set_probability_threshold(0.3)
    labels, scores = answers(model, NUMBERS)
    assert labels.tolist() == model.predict(NUMBERS).tolist()
    assert (labels != np.where(scores[:, 1] > 0.5, "yes", "no")).any()
    np.testing.assert_allclose(scores, model.predict_proba(NUMBERS), atol=1e-15)


@pytest.mark.parametrize("class_names", [["no", "maybe", "yes"], [2, 0, 1]], ids=["texts", "numbers"])
def test_classes_stand_in_any_order(class_names, tmp_path):
    """CatBoost keeps the order of class_names, sorted or not; metrics and golden rows follow it."""
    X, y = load_iris(return_X_y=True)
    labels = np.array(class_names)[y]
    model = CatBoostClassifier(class_names=class_names, **SMALL).fit(X, labels)
    manifest = export_pipeline(model, X, labels, name="order", models=tmp_path).manifest
    assert manifest.classes == tuple(class_names)
    true = model.predict_proba(X)[np.arange(len(y)), y]
    assert manifest.training.metrics.log_loss == pytest.approx(-np.log(true).mean())
    assert manifest.training.metrics.accuracy == np.mean(model.predict(X).ravel() == labels)


def test_columns_in_another_order_are_found_by_name():
    """CatBoost puts the columns of a frame in the order of the fit, and so does the graph."""
    model = CatBoostClassifier(**ONE_HOT).fit(TABLE, YES)
    shuffled = TABLE[["plan", "c", "city", "a", "b"]]
    assert answers(model, shuffled)[0].tolist() == model.predict(TABLE).tolist()


INTEGERS = TABLE.assign(plan=RANDOM.integers(0, 5, COUNT))
WORDS = NUMBERS.assign(words=RANDOM.choice(["a red car", "a blue car", "the red house"], COUNT))


class Own:
    """A loss of the user's own: that of squares."""

    def calc_ders_range(self, approxes, targets, weights):
        """The first and second derivative of each row."""
        return [(truth - answer, -1.0) for answer, truth in zip(approxes, targets, strict=True)]


REFUSED = {
    "own": (CatBoostRegressor(loss_function=Own(), eval_metric="RMSE", **SMALL), NUMBERS, "use one of"),
    "integers": (CatBoostClassifier(**ONE_HOT), INTEGERS, r"as X\[column\]\.astype\(str\)"),
    "embedding": (
        CatBoostClassifier(embedding_features=["vector"], **SMALL),
        NUMBERS.assign(vector=[[size, size + 1.0] for size in SCORE]),
        "Column 'vector' holds a value of type list, .* make columns of numbers",
    ),
    "several labels": (CatBoostClassifier(loss_function="MultiLogloss", **SMALL), NUMBERS, "use one of"),
    "divisions": (
        CatBoostRegressor(
            **COUNTED, simple_ctr=["Borders:TargetBorderCount=1", "Borders:TargetBorderCount=3"]
        ),
        TABLE,
        "one TargetBorderCount",
    ),
    "several targets": (
        CatBoostRegressor(loss_function="MultiRMSE", **COUNTED | {"iterations": 60}),
        TABLE,
        "a model for each target",
    ),
    "text": (CatBoostClassifier(text_features=["words"], **SMALL), WORDS, "count them before the pipeline"),
    "uncertainty": (CatBoostRegressor(loss_function="RMSEWithUncertainty", **SMALL), NUMBERS, "use one of"),
}


@pytest.mark.filterwarnings("ignore:Failed to import numba")  # which would make a loss of one's own faster
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_model_without_a_graph_is_refused_with_a_remedy(name):
    """Its columns or its loss are named, and what to use."""
    estimator, table, remedy = REFUSED[name]
    target = np.column_stack([KINDS > 1, CROSSED]) if "several" in name else KINDS > 1
    model = estimator.copy().fit(table, target.astype(int))
    with pytest.raises(ExportError, match=remedy):
        convert(model, table)


def test_a_border_at_infinity_is_refused():
    """CatBoost rounds -1e300 to infinity and splits there, for which its JSON has no number."""
    table = NUMBERS[["a"]].where(NUMBERS["a"] > 0, -1e300)
    model = CatBoostRegressor(**SMALL).fit(table, NUMBERS["a"] > 0)
    with pytest.raises(ExportError, match="scale such columns in front of it"):
        convert(model, table)


def test_a_table_of_too_many_combinations_is_refused(monkeypatch):
    """Every combination of the categories that a counter counts has a number of its own in the graph."""
    monkeypatch.setattr(catboost_columns, "CELLS", 100)
    with pytest.raises(ExportError, match="fit it with max_ctr_complexity=1"):
        convert(COMBINED.copy().fit(TABLE, CROSSED), TABLE)


def test_categories_that_the_rows_lack_are_refused():
    """CatBoost keeps hashes, not texts: the graph would take a category of the fit for an unknown one."""
    model = CatBoostClassifier(**ONE_HOT).fit(TABLE, YES)
    with pytest.raises(
        ExportError, match=r"column 'plan' that the rows given lack.*give all of the training"
    ):
        convert(model, TABLE[TABLE["plan"] != "s"])


def test_integers_as_categories_are_taken_as_text():
    """The remedy for categories that are numbers needs no new fit: 1 and "1" are one category."""
    model = CatBoostClassifier(**ONE_HOT).fit(INTEGERS, YES)
    table = INTEGERS.assign(plan=INTEGERS["plan"].astype(str))
    assert answers(model, table)[0].tolist() == model.predict(INTEGERS).tolist()


@pytest.mark.parametrize("kind", [CatBoost, CatBoostRanker])
def test_other_estimators_are_refused_by_name(kind):
    """A remedy is named."""
    model = kind({**SMALL, "loss_function": "RMSE"}) if kind is CatBoost else kind(**SMALL)
    model.fit(NUMBERS, SCORE, **({} if kind is CatBoost else {"group_id": np.arange(COUNT) // 10}))
    with pytest.raises(ExportError, match="use CatBoostClassifier or CatBoostRegressor"):
        convert(model, NUMBERS)


def test_a_server_answers_as_catboost(tmp_path: Path):
    """A category that is unknown is a category."""
    model = CatBoostClassifier(**ONE_HOT).fit(TABLE, YES)
    export_pipeline(model, TABLE, YES, name="model", models=tmp_path)
    row = {"a": 0.3, "b": None, "c": 1e-31, "city": "Ulm", "plan": "never seen"}
    with serving(tmp_path, models=tmp_path) as server:
        status, answer = server.ask("/models/model/predict", json.dumps(row).encode())
    assert status == 200
    frame = pd.DataFrame([row]).astype({"b": float})
    assert answer["prediction"] == model.predict(frame)[0]
    expected = model.predict_proba(frame)[0]
    np.testing.assert_allclose(list(answer["probabilities"].values()), expected, rtol=1e-12)
