"""LightGBM: its own leaf for every row, its own links, and a refusal for what no graph computes."""

import json
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from conftest import Serving, serving
from leaves import reached
from lightgbm import Dataset, LGBMClassifier, LGBMRanker, LGBMRegressor, train
from sessions import opened
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import HistGradientBoostingRegressor as HGB
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from unpickled.export import ConversionError, export_pipeline
from unpickled.export.boosters import lightgbm
from unpickled.export.boosters.lightgbm import ZERO, Sight
from unpickled.export.convert import Conversion, convert
from unpickled.export.data.columns import Choices
from unpickled.export.data.fitted import known
from unpickled.export.gate.parity import check
from unpickled.export.gate.thresholds import near
from unpickled.export.trees import Tree

Array = npt.NDArray[Any]

SMALL: dict[str, Any] = {"n_estimators": 12, "num_leaves": 12, "n_jobs": 1, "verbose": -1}
# Few rows suffice for splits by sets of categories.
CATEGORIES = {**SMALL, "min_child_samples": 5, "min_data_per_group": 5, "cat_smooth": 1.0}
# Ways to train: which numbers are missing, how trees are weighed, and what the scores mean.
WAYS: dict[str, dict[str, Any]] = {
    "dart": {"boosting_type": "dart"},
    "forest": {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1},
    "gaps": {},
    "no gaps": {"use_missing": False},
    "one against all": {"objective": "multiclassova", "num_class": 3, "sigmoid": 1.5},
    "zeros": {"zero_as_missing": True},
}
# Numbers around 0, which LightGBM takes for 0 or not, beside those that are no category.
STRANGE = [np.nan, 0.0, -0.0, 1e-36, ZERO, -ZERO, np.nextafter(ZERO, 1), np.nextafter(-ZERO, -1), -0.5, 2.7]


def flowers() -> tuple[Array, Array]:
    """The irises, with a number in ten missing and many zeros."""
    X, y = load_iris(return_X_y=True)
    random = np.random.default_rng(0)
    X = X - np.median(X, axis=0)
    X[random.random(X.shape) < 0.1] = np.nan
    return X, y


def beside(trees: list[Tree], X: Array, count: int = 1500) -> Array:
    """Rows in which half of the numbers lie at a threshold, right beside it, or around 0."""
    random = np.random.default_rng(1)
    rows = X[random.integers(0, len(X), count)].astype(np.float64)
    splits = [(tree.feature[node], tree.threshold[node]) for tree in trees for node in tree.splits]
    for row in rows:
        for place in random.integers(0, len(splits), X.shape[1] // 2 + 1):
            feature, limit = splits[place]
            near_by = [limit, np.nextafter(limit, np.inf), np.nextafter(limit, -np.inf), *STRANGE]
            row[feature] = random.choice(near_by)
    return rows


def leaves(trees: list[Tree], rows: Array) -> Array:
    """(rows, trees): LightGBM's number of the leaf that each row reaches."""
    # The splits of a tree come before its leaves.
    return np.stack([reached(tree, rows) - len(tree.splits) for tree in trees], axis=1)


def answers(conversion: Conversion, rows: Any) -> list[Array]:
    """The outputs of the graph."""
    session = opened(conversion.model)
    frame = conversion.layout.frame(rows)
    outputs: list[Array] = session.run(None, conversion.layout.feeds(frame, conversion.inputs))
    return outputs


def runner(conversion: Conversion) -> Callable[[dict[str, Array]], tuple[Array, Array]]:
    """A function that runs the graph."""
    session = opened(conversion.model)
    return lambda feeds: tuple(session.run(None, feeds))


@pytest.mark.parametrize("way", sorted(WAYS))
def test_every_row_takes_the_librarys_leaf(way: str) -> None:
    """At each threshold, right beside it, around 0 and without a value, a row reaches LightGBM's own leaf."""
    X, y = flowers()
    model = LGBMClassifier(**SMALL, **WAYS[way]).fit(X, y)
    boosted = lightgbm.boosted(model)
    rows = beside(boosted.trees, X, 300)
    seen = Sight.of(model).columns(rows)
    assert (leaves(boosted.trees, seen) == model.predict(rows, pred_leaf=True)).all()


@pytest.mark.parametrize("way", sorted(WAYS))
def test_probabilities_beside_splits_are_the_librarys(way: str) -> None:
    """The graph differs by the rounding of an exponential at most, and the label is the library's."""
    X, y = flowers()
    model = LGBMClassifier(**SMALL, **WAYS[way]).fit(X, np.array(["a", "b", "c"])[y])
    rows = beside(lightgbm.boosted(model).trees, X)
    labels, scores = answers(convert(model, X), rows)
    assert np.abs(scores - model.predict_proba(rows)).max() < 1e-14
    assert (labels == model.predict(rows)).all()


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits, load_iris, load_wine])
def test_the_gate_passes_behind_a_scaler(load: Any) -> None:
    """The scaler is folded into the thresholds, and every row beside them falls to the same side."""
    X, y = load(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LGBMClassifier(**SMALL | {"n_estimators": 5})).fit(X, y)
    conversion = convert(pipeline, X)
    assert "Sub" not in [node.op_type for node in conversion.model.graph.node]
    parity, _ = check(pipeline, conversion, runner(conversion), X)
    assert parity.max_difference < 1e-12
    assert parity.rows["near_threshold"] > 100


def customers(rows: int = 1200) -> tuple[pd.DataFrame, Array]:
    """Columns of dtype category with text, numbers, truth values and an order; numbers with gaps; classes."""
    random = np.random.default_rng(0)
    tiers = pd.CategoricalDtype(["low", "high", "middle"], ordered=True)
    table = pd.DataFrame(
        {
            "monthly income": np.where(random.random(rows) < 0.2, np.nan, random.normal(size=rows)),
            "city": pd.Categorical(random.choice(["Bonn", "Köln", "Trier", "", None], rows)),
            "floor": pd.Categorical(random.integers(3, 15, rows)),
            "tier": pd.Categorical(random.choice(["low", "middle", "high"], rows), dtype=tiers),
            "member": pd.Categorical(random.random(rows) < 0.5),
        }
    )
    points = (
        table["city"].isin(["Bonn", ""]) * 1 + table["floor"].isin([4, 9, 12]) + (table["tier"] == "high")
    )
    points += (table["monthly income"] > 0) * 1 + table["member"].astype(bool)
    return table, np.where(points > 2, "stays", "leaves")


@pytest.mark.parametrize("way", ["gaps", "no gaps", "zeros"])
def test_native_categories_go_where_the_library_sends_them(way: str) -> None:
    """Known, unknown and missing categories of text, numbers, truth values and orders; and numbers."""
    table, y = customers()
    pipeline = Pipeline([("model", LGBMClassifier(**CATEGORIES, **WAYS[way]))]).fit(table, y)
    assert any(tree.sets for tree in lightgbm.boosted(pipeline[-1]).trees)
    conversion = convert(pipeline, table)
    parity, features = check(pipeline, conversion, runner(conversion), table)
    assert parity.max_difference < 1e-12
    assert parity.rows["unknown_category"] > 0
    assert [(feature.missing, feature.closed) for feature in features] == [(True, False)] * 5


def test_unknown_categories_are_answered_like_missing_ones() -> None:
    """Rows of their own with other categories in another order get the library's answers."""
    table, y = customers()
    model = LGBMClassifier(**CATEGORIES).fit(table, y)
    conversion = convert(model, table)
    strange = table.assign(
        city=pd.Categorical(["Rom", "Trier", "Bonn"] * 400), floor=pd.Categorical([99, 4.5, 9] * 400)
    )
    _, scores = answers(conversion, strange)
    assert np.abs(scores - model.predict_proba(strange)).max() < 1e-14


def test_categories_reach_the_model_behind_a_column_transformer() -> None:
    """Columns that pass a transformer with pandas output keep their categories, whatever their order."""
    table, y = customers()
    chosen = [("s", StandardScaler(), ["monthly income"]), ("p", "passthrough", ["floor", "city", "tier"])]
    pipeline = make_pipeline(
        ColumnTransformer(chosen).set_output(transform="pandas"), LGBMClassifier(**CATEGORIES)
    ).fit(table, y)
    conversion = convert(pipeline, table)
    parity, _ = check(pipeline, conversion, runner(conversion), table)
    assert parity.max_difference < 1e-12


@pytest.mark.parametrize("way", ["gaps", "zeros"])
def test_codes_are_cut_as_the_library_cuts_them(way: str) -> None:
    """2.7 counts as category 2 and -0.5 as 0; negative, huge and missing numbers are in no set."""
    random = np.random.default_rng(0)
    X = np.column_stack([random.choice([0, 1, 2, 3, 40, 300], 800), random.normal(size=800)])
    y = np.isin(X[:, 0], [0, 2, 300]) ^ (X[:, 1] > 0)
    model = LGBMClassifier(**CATEGORIES, **WAYS[way]).fit(X, y, categorical_feature=[0])
    codes = [-3, -1, -0.5, -0.0, 0.3, 1, 2, 2.7, 3, 40.9, 41, 300.5, 2.0**31 + 2, 2.0**32 + 2, 1e300, np.nan]
    rows = np.array([[code, x] for code in codes for x in (-1.0, 0.0, 1.0, np.nan)])
    conversion = convert(model, X)
    _, scores = answers(conversion, rows)
    assert np.abs(scores - model.predict_proba(rows)).max() < 1e-14
    edges = near(model, conversion.layout, conversion.layout.frame(X), 2000).iloc[:, 0]
    assert {1.0, 3.0, np.nextafter(3, 0), np.nextafter(301, 0)} <= set(edges)


def test_a_mixed_table_has_no_row_off_beside_splits() -> None:
    """Text behind encoders, gaps, and 1,200 rows beside splits."""
    table, y = customers()
    table = table.assign(**{name: table[name].astype(object) for name in ("city", "floor")})
    encoder = ColumnTransformer(
        [
            ("hot", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("codes", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["tier"]),
        ],
        remainder="passthrough",
    )
    pipeline = make_pipeline(encoder, LGBMClassifier(**SMALL)).fit(table, y)
    conversion = convert(pipeline, table)
    rows = near(pipeline, conversion.layout, conversion.layout.frame(table), 1200)
    labels, scores = runner(conversion)(conversion.layout.feeds(rows, conversion.inputs))
    expected = pipeline.predict_proba(conversion.layout.rows(rows))
    assert len(rows) > 100
    assert np.abs(scores - expected).max() < 1e-14
    assert (labels == pipeline.classes_[expected.argmax(axis=1)]).all()


# Objectives with their links, and whether the square root of the target may be learnt.
OBJECTIVES = [
    *(
        (name, sqrt)
        for name in ("fair", "mape", "quantile", "regression", "regression_l1")
        for sqrt in (False, True)
    ),
    *((name, False) for name in ("gamma", "huber", "poisson", "tweedie")),
    *((name, False) for name in ("binary", "cross_entropy", "cross_entropy_lambda")),
]


@pytest.mark.parametrize(("objective", "sqrt"), OBJECTIVES)
@pytest.mark.parametrize("way", ["forest", "gaps"])
def test_every_objective_has_its_link(objective: str, sqrt: bool, way: str) -> None:
    """The raw scores become LightGBM's own answers, far from 0 too."""
    X, y = flowers()
    share = objective in ("binary", "cross_entropy", "cross_entropy_lambda")
    target = (y == 1) * 1.0 if share else y * 40.0 + np.nan_to_num(X[:, 0]) - (60.0 if sqrt else -20.0)
    model = LGBMRegressor(objective=objective, reg_sqrt=sqrt, **SMALL, **WAYS[way]).fit(X, target)
    rows = beside(lightgbm.boosted(model).trees, X)
    expected = model.predict(rows)
    [predictions] = answers(convert(model, X), rows)
    assert predictions.shape == (len(rows), 1)
    assert (np.abs(predictions[:, 0] - expected) <= 1e-14 * np.abs(expected)).all()


def test_the_best_iteration_is_exported() -> None:
    """After early stopping predict() leaves the last trees out, and so does the graph."""
    X, y = load_breast_cancer(return_X_y=True)
    model = LGBMClassifier(**SMALL | {"n_estimators": 200}, learning_rate=0.5, early_stopping_round=3)
    others = {"eval_X": X[1::2], "eval_y": y[1::2]}  # their names since 4.7
    if "eval_X" not in signature(model.fit).parameters:
        others = {"eval_set": [(X[1::2], y[1::2])]}
    model.fit(X[::2], y[::2], **others)
    assert len(lightgbm.boosted(model).trees) == model.best_iteration_ < 200
    _, scores = answers(convert(model, X), X)
    assert np.abs(scores - model.predict_proba(X)).max() < 1e-14


def test_trees_without_splits_are_exported() -> None:
    """Rows too few for a split get the share of their class, for every class."""
    X, y = load_iris(return_X_y=True)
    model = LGBMClassifier(**SMALL, min_child_weight=1e9).fit(X, y)
    labels, scores = answers(convert(model, X), X)
    assert np.abs(scores - model.predict_proba(X)).max() < 1e-14
    assert (labels == model.predict(X)).all()


def own_loss(y: Array, scores: Array) -> tuple[Array, Array]:
    """Squared errors, as a function of the user's."""
    return scores - y, np.ones_like(scores)


def test_a_loss_of_the_users_own_is_exported_for_numbers() -> None:
    """The predictions are then the raw scores."""
    X, y = flowers()
    model = LGBMRegressor(objective=own_loss, **SMALL).fit(X, y * 1.0)
    [predictions] = answers(convert(model, X), X)
    assert np.abs(predictions[:, 0] - model.predict(X)).max() < 1e-14


REFUSED = [
    (LGBMClassifier(objective=own_loss, **SMALL), "an objective of your own .* use one of LightGBM's"),
    (LGBMClassifier(pred_early_stop=True, **SMALL), "pred_early_stop=True leaves out trees .* leave it out"),
    (LGBMClassifier(sigmoid=1.23456789, **SMALL), "keeps sigmoid=1.23456789 as 1.23457 .* sigmoid=1.23457"),
    (LGBMRanker(**SMALL), "only order the rows of one query; use LGBMClassifier or LGBMRegressor"),
    (LGBMRegressor(linear_tree=True, **SMALL), "linear_tree=True has no graph; leave it out"),
    (
        LGBMRegressor(objective="multiclass", num_class=2, **SMALL),
        "a number for each class; use LGBMClassifier",
    ),
]


@pytest.mark.parametrize(("model", "sentence"), REFUSED)
def test_other_models_are_refused_by_name(model: Any, sentence: str) -> None:
    """The error says why no graph computes as the model does, and what to use instead."""
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), model)
    groups = {"lgbmranker__group": [len(X)]} if isinstance(model, LGBMRanker) else {}
    pipeline.fit(X, y, **groups)
    with pytest.raises(ConversionError, match=f"(?s){type(model).__name__}.*{sentence}"):
        convert(pipeline, X)


def test_the_booster_of_lightgbm_train_is_refused_with_the_classes_to_fit() -> None:
    """It is fitted, but does not say whether its number is a class's."""
    X, y = load_breast_cancer(return_X_y=True)
    booster = train({"objective": "binary", "verbosity": -1}, Dataset(X, y), 2)
    with pytest.raises(ConversionError, match=r"basic\.Booster .* what it answers; fit LGBMClassifier"):
        convert(booster, X)


def test_trees_over_answers_that_round_are_refused() -> None:
    """A stack whose last classifier has trees notices the last digit of what stands before it."""
    X, y = load_iris(return_X_y=True)
    stack = StackingClassifier([("a", LogisticRegression())], LGBMClassifier(**SMALL))
    with pytest.raises(ConversionError, match="LGBMClassifier splits the answers of a LogisticRegression"):
        convert(make_pipeline(StandardScaler(), stack).fit(X, y), X)


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_right_inside_other_classifiers(classes: int) -> None:
    """A vote takes its probabilities, a calibration its decision scores."""
    X, y = load_wine(return_X_y=True)
    model = LGBMClassifier(**SMALL)
    for outer in (VotingClassifier([("a", model)], voting="soft"), CalibratedClassifierCV(model, cv=2)):
        pipeline = make_pipeline(StandardScaler(), outer).fit(X, y % classes)
        labels, scores = answers(convert(pipeline, X), X)
        assert np.abs(scores - pipeline.predict_proba(X)).max() < 1e-12
        assert (labels == pipeline.predict(X)).all()


def test_rows_without_dtypes_get_the_categories_of_the_fit() -> None:
    """A table from a file has text where the fit had categories: the model tells which columns they are."""
    table, y = customers()
    table = table.drop(columns=["tier", "member"])
    model = LGBMClassifier(**CATEGORIES).fit(table, y)
    conversion = convert(model, table.astype(object))
    rows = conversion.layout.rows(conversion.layout.frame(table))
    assert [str(dtype) for dtype in rows.dtypes] == ["float64", "category", "category"]
    kinds = known(model, list(table), Choices()).kinds
    assert kinds == {"monthly income": "number", "city": "category", "floor": "number"}
    with pytest.raises(ConversionError, match="2 columns of dtype category, and the rows have 1"):
        convert(model, table.assign(floor=table["floor"].astype(int)))


@pytest.mark.parametrize("steps", [(), (VarianceThreshold(),)], ids=["alone", "behind a step"])
@pytest.mark.parametrize("dtype", ["float64", "int32", "int64"])
def test_integers_that_the_library_rounds_are_refused(steps: tuple[Any, ...], dtype: str) -> None:
    """An array of integers is rounded to float32 by LightGBM, where the numbers of a request are not."""
    X = np.random.default_rng(0).integers(1_600_000_000, 1_600_200_000, (300, 2)).astype(dtype)
    pipeline = make_pipeline(*steps, LGBMRegressor(**SMALL)).fit(X, X[:, 0] % 1000)
    if dtype == "float64":
        assert convert(pipeline, X).classes == ()
        return
    with pytest.raises(ConversionError, match=r"gets an array of integers.*fit the pipeline on X.astype"):
        convert(pipeline, X)


@pytest.mark.parametrize("model", [LGBMRegressor(**CATEGORIES), HGB(categorical_features="from_dtype")])
def test_categories_of_float32_are_rounded_before_they_are_known(model: Any) -> None:
    """A request has 0.1 for a category that is the float32 nearest to it."""
    random = np.random.default_rng(0)
    dtype = pd.CategoricalDtype(np.array([0.1, 0.2, 0.3], np.float32))
    codes = random.integers(0, 3, 300)
    X = pd.DataFrame(
        {"size": random.normal(size=300), "grade": pd.Categorical.from_codes(codes, dtype=dtype)}
    )
    model.fit(X, X["size"] + np.array([5.0, -5.0, 0.0])[codes])
    conversion = convert(model, X)
    session = opened(conversion.model)
    (served,) = session.run(None, {"numbers": np.array([[0.0, 0.1], [0.0, 0.2]])})
    asked = pd.DataFrame({"size": [0.0, 0.0], "grade": pd.Categorical.from_codes([0, 1], dtype=dtype)})
    assert np.abs(np.ravel(served) - model.predict(asked)).max() <= 1e-12


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Any, Any]]:
    """A server of a classifier and a regressor of native categories, and the two models."""
    folder = tmp_path_factory.mktemp("served")
    table, y = customers()
    stays = Pipeline([("model", LGBMClassifier(**CATEGORIES))]).fit(table, y)
    spends = LGBMRegressor(**CATEGORIES, objective="poisson").fit(table, 1.0 * (y == "stays"))
    export_pipeline(stays, table, y, name="stays", models=folder / "models")
    export_pipeline(spends, table, 1.0 * (y == "stays"), name="spends", models=folder / "models")
    with serving(folder, models=folder / "models") as server:
        yield server, stays, spends


@pytest.mark.parametrize("city", ["Bonn", "Rom", None])
def test_served_requests_are_answered_as_the_models_answer(answering: Any, city: str | None) -> None:
    """Known and unknown categories, gaps and names with spaces arrive over HTTP."""
    server, stays, spends = answering
    row = {"monthly income": None, "city": city, "floor": 9, "tier": "high", "member": True}
    typed = pd.DataFrame({name: pd.Categorical([value]) for name, value in row.items()})
    typed["monthly income"] = np.nan
    status, answer = server.ask("/models/stays/predict", json.dumps(row).encode())
    assert status == 200
    assert list(answer["probabilities"].values()) == pytest.approx(stays.predict_proba(typed)[0], abs=1e-14)
    status, answer = server.ask("/models/spends/predict", json.dumps(row).encode())
    assert status == 200
    assert answer["prediction"] == pytest.approx(spends.predict(typed)[0], rel=1e-14)
