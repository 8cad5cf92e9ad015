"""XGBoost: its trees, read from the fitted estimator, and the graphs of them."""

import json

import joblib
import numpy as np
import pandas as pd
import pytest
import xgboost
from conftest import serving
from leaves import reached
from scipy.sparse import csr_matrix
from sessions import opened
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.ensemble import AdaBoostRegressor, BaggingClassifier, VotingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from xgboost import DMatrix, XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor, train

from unpickled.__main__ import main
from unpickled.export import ConversionError, export_pipeline
from unpickled.export.boosters import xgboost as reader
from unpickled.export.convert import convert
from unpickled.export.errors import NoGraph

KEEPS = tuple(map(int, xgboost.__version__.split(".")[:2])) >= (3, 1)
SMALL = {"n_estimators": 20, "max_depth": 4, "n_jobs": 1, "random_state": 0}
RANDOM = np.random.default_rng(0)
ROWS = np.column_stack(
    [RANDOM.normal(size=(600, 3)), RANDOM.integers(0, 12, 600), RANDOM.integers(0, 3, 600)]
)
ROWS[RANDOM.random(ROWS.shape) < 0.05] = np.nan
FILLED = np.nan_to_num(ROWS)
YES = (FILLED[:, 0] + np.isin(FILLED[:, 3], [1, 4, 7, 9]) > 0.4).astype(int)
KINDS = np.digitize(FILLED[:, 0] + FILLED[:, 1], [-1, 0, 1])
POSITIVE = np.exp(FILLED[:, 0]) + FILLED[:, 4]


def squares(truth, answers):
    """An objective of the user's own."""
    return answers - truth, np.ones(len(truth))


def run(conversion, feeds):
    """The outputs of the graph, in one thread as a server runs it."""
    return opened(conversion.model).run(None, feeds)


def beside(model, rows):
    """Rows beside splits: for each split the nearest float64 and float32 on both sides of it."""
    cells = []
    for tree in reader.boosted(model).trees:
        for split in set(tree.splits.tolist()) - set(tree.sets):
            limit = tree.threshold[split]
            near = np.float32(limit) + np.spacing(np.float32(limit)) * np.arange(-1, 3, dtype=np.float32)
            ends = [limit, np.nextafter(limit, np.inf), *near]
            cells += [(tree.feature[split], number) for number in ends]
    chosen = np.random.default_rng(1).permutation(len(cells))[:1500]
    moved = rows[np.arange(len(chosen)) % len(rows)].copy()
    for row, index in enumerate(chosen):
        moved[row, cells[index][0]] = cells[index][1]
    return np.vstack([rows, moved, np.where(rows == 0.0, -0.0, rows)])


def assert_exact(model, rows):
    """Each row reaches the leaves that XGBoost finds, and added in float32 they are its raw scores."""
    model_read, seen = reader.boosted(model), reader.Sight.of(model).columns(rows)
    places = [reached(tree, seen) for tree in model_read.trees]
    np.testing.assert_array_equal(np.stack(places, axis=1), model.apply(rows).reshape(len(rows), -1))
    sums = np.tile(model_read.base.astype(np.float32), (len(rows), 1))
    for tree, place in zip(model_read.trees, places, strict=True):
        sums += tree.value[place].astype(np.float32)
    scores = model.predict(rows, output_margin=True).reshape(sums.shape)
    np.testing.assert_allclose(sums, scores, rtol=1e-6, atol=1e-6)
    assert np.mean(sums == scores) > 0.99  # all, but where logf rounds the base score's last digit otherwise


MODELS = {
    "binary": (XGBClassifier(**SMALL), YES),
    "classes": (XGBClassifier(**SMALL), KINDS),
    "softmax": (XGBClassifier(objective="multi:softmax", **SMALL), KINDS),
    "base_score": (XGBClassifier(base_score=0.3, **SMALL), YES),
    "scale_pos_weight": (XGBClassifier(scale_pos_weight=3, **SMALL), YES),
    "hinge": (XGBClassifier(objective="binary:hinge", **SMALL), YES),
    "exact": (XGBClassifier(tree_method="exact", **SMALL), YES),
    "lossguide": (XGBClassifier(grow_policy="lossguide", max_leaves=9, **SMALL), KINDS),
    "parallel trees": (XGBClassifier(num_parallel_tree=3, **SMALL), KINDS),
    "forest": (XGBRFClassifier(**SMALL), KINDS),
    "forest of numbers": (XGBRFRegressor(**SMALL), POSITIVE),
    "dart": (XGBClassifier(booster="dart", rate_drop=0.5, **SMALL), KINDS),
    "dart of numbers": (XGBRegressor(booster="dart", rate_drop=0.5, **SMALL), POSITIVE),
    "squares": (XGBRegressor(**SMALL), 1e6 * POSITIVE),
    "gamma": (XGBRegressor(objective="reg:gamma", base_score=2, **SMALL), POSITIVE),
    "counts": (XGBRegressor(objective="count:poisson", **SMALL), np.round(POSITIVE)),
    "tweedie": (XGBRegressor(objective="reg:tweedie", **SMALL), POSITIVE),
    "logarithms": (XGBRegressor(objective="reg:squaredlogerror", **SMALL), POSITIVE),
    "absolute": (XGBRegressor(objective="reg:absoluteerror", **SMALL), POSITIVE),
    "pseudo-huber": (XGBRegressor(objective="reg:pseudohubererror", **SMALL), POSITIVE),
    "probability": (XGBRegressor(objective="reg:logistic", **SMALL), YES),
    "quantiles": (XGBRegressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.9], **SMALL), POSITIVE),
    "targets": (XGBRegressor(**SMALL), np.column_stack([POSITIVE, FILLED[:, 0]])),
    "missing": (XGBClassifier(missing=0, **SMALL), YES),
    "missing fraction": (XGBClassifier(missing=2.1, **SMALL), YES),
    "codes": (XGBClassifier(enable_categorical=True, feature_types=list("qqqcc"), **SMALL), YES),
    "sets": (
        XGBClassifier(enable_categorical=True, feature_types=list("qqqcc"), max_cat_to_onehot=1, **SMALL),
        YES,
    ),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_row_reaches_the_leaves_of_xgboost(name):
    """Beside splits, for missing numbers and codes that no split knows, in every kind of model."""
    estimator, target = MODELS[name]
    model = clone(estimator).fit(ROWS, target)
    rows = beside(model, ROWS)
    rows[::7, 3] = np.resize([12.0, 3.7, -0.5, -1.0, 2.99999999999, 1e9, 31.0, 64.0, 2.1], len(rows[::7]))
    assert_exact(model, rows)


@pytest.mark.parametrize("booster", ["dart", "gbtree"])
@pytest.mark.parametrize("target", [YES, KINDS], ids=["binary", "classes"])
def test_a_fit_that_stops_early_ends_at_the_best_iteration(booster, target):
    """The trees after the best one are those that predict leaves out, too."""
    model = XGBClassifier(
        booster=booster, n_estimators=200, learning_rate=0.9, early_stopping_rounds=2, n_jobs=1
    )
    model.fit(ROWS[:300], target[:300], eval_set=[(ROWS[300:], target[300:])], verbose=False)
    trees = reader.boosted(model).trees
    assert len(trees) == (model.best_iteration + 1) * (1 if target is YES else 4)
    assert len(trees) < len(model.get_booster().get_dump())
    assert_exact(model, ROWS)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_graph_answers_as_xgboost(name):
    """Beside splits the labels are equal, and the answers as close as float32 numbers can be."""
    estimator, target = MODELS[name]
    model = clone(estimator).fit(ROWS, target)
    rows = beside(model, ROWS)
    *labels, answers = run(convert(model, ROWS), {"numbers": rows})
    if labels:
        np.testing.assert_array_equal(labels[0], model.predict(rows))
        np.testing.assert_allclose(answers, model.predict_proba(rows), rtol=0, atol=3e-7)
    else:
        predicted = model.predict(rows)
        np.testing.assert_allclose(answers.reshape(predicted.shape), predicted, rtol=2e-7)


@pytest.mark.parametrize("target", [YES, KINDS], ids=["binary", "classes"])
def test_others_compute_with_the_very_probabilities_of_xgboost(target):
    """In a vote of one, hardly a number differs, and none by more than its last digit."""
    vote = VotingClassifier([("model", XGBClassifier(**SMALL))], voting="soft").fit(ROWS, target)
    labels, answers = run(convert(vote, ROWS), {"numbers": ROWS})
    probabilities = vote.predict_proba(ROWS)
    np.testing.assert_array_equal(labels, vote.predict(ROWS))
    np.testing.assert_allclose(answers, probabilities, rtol=2e-7, atol=0)
    assert np.mean(answers == probabilities) > 0.99


def test_a_score_that_xgboost_rounds_to_one_half_is_no_second_class():
    """In float32, the logistic function takes scores up to 8.9e-8 to 0.5, and predict asks for more."""
    model = XGBClassifier(n_estimators=1, learning_rate=4e-8, base_score=0.5, n_jobs=1).fit(ROWS, YES)
    scores = model.predict(ROWS, output_margin=True)
    assert scores.max() > 0
    labels, _ = run(convert(model, ROWS), {"numbers": ROWS})
    np.testing.assert_array_equal(labels, model.predict(ROWS))
    assert not labels.any()


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits, load_iris, load_wine])
def test_a_scaled_table_passes_the_gate(load, tmp_path):
    """No row beside a split is answered otherwise than by the pipeline."""
    X, y = load(return_X_y=True)
    model = XGBClassifier(n_estimators=10, n_jobs=1)
    exported = export_pipeline(
        make_pipeline(StandardScaler(), model).fit(X, y), X, y, name="m", models=tmp_path
    )
    assert exported.manifest.parity.rows["near_threshold"] >= 200
    assert exported.manifest.parity.max_difference <= 1e-6


def customers(rows):
    """Customers with numbers, texts of several alphabets and codes as pandas' categories, all with gaps."""
    random = np.random.default_rng(3)
    table = pd.DataFrame({"age": random.integers(18, 80, rows).astype(float)})
    table["city"] = pd.Categorical(random.choice(["Bonn", "Köln", "Trier", "Łódź", ""], rows))
    table["zone"] = pd.Categorical(random.integers(0, 40, rows) * 5)
    known = table["city"].isin(["Köln", "Trier"]) ^ (table["zone"].astype(int) % 3 == 0)
    stays = (table["age"] + 20 * known + random.normal(0, 5, rows) > 55).astype(int)
    for name in table:
        table.loc[random.random(rows) < 0.05, name] = np.nan
    return table, stays


@pytest.mark.skipif(not KEEPS, reason="XGBoost before 3.1 does not keep categories")
def test_categories_are_answered_and_unseen_ones_refused(tmp_path):
    """A server knows the categories of the fit; for any other, XGBoost has no answer, and neither has it."""
    table, stays = customers(600)
    model = XGBClassifier(enable_categorical=True, max_cat_to_onehot=1, **SMALL).fit(table, stays)
    exported = export_pipeline(model, table, stays, name="stays", models=tmp_path / "models")
    features = {feature.name: feature for feature in exported.manifest.features}
    assert all(features[name].closed and features[name].missing for name in ("city", "zone"))
    row = {"age": 50.0, "city": "Łódź", "zone": 115}
    typed = pd.DataFrame([row]).astype(table.dtypes)
    with serving(tmp_path, "--default-model", "stays", models=tmp_path / "models") as server:
        status, answer = server.ask("/predict", json.dumps(row).encode())
        unseen = [server.ask("/predict", json.dumps(row | other).encode()) for other in OTHERS]
    assert answer["probabilities"]["1"] == pytest.approx(model.predict_proba(typed)[0, 1], abs=2e-7)
    assert (status, [refused for refused, _ in unseen]) == (200, [400, 400])
    assert "it knows '', 'Bonn', " in unseen[0][1]["error"]


@pytest.mark.skipif(KEEPS, reason="XGBoost keeps categories since 3.1")
def test_categories_that_the_model_does_not_keep_are_refused(tmp_path):
    """Before XGBoost 3.1 nothing tells the category of a code: numbers would be taken for codes."""
    table, stays = customers(200)
    table = table.drop(columns="city")
    model = XGBClassifier(enable_categorical=True, **SMALL).fit(table, stays)
    for rows in (table, table.astype({"zone": float})):
        with pytest.raises(ConversionError, match=r"before XGBoost 3\.1 .* fit it with a newer XGBoost"):
            export_pipeline(model, rows, stays, name="stays", models=tmp_path)


# Categories that no customer has.
OTHERS: list[dict[str, object]] = [{"city": "Ulm"}, {"zone": 116}]


REFUSED = {
    "linear": (XGBRegressor(booster="gblinear", n_jobs=1), "use LogisticRegression or Ridge"),
    "leaves of several": (XGBRegressor(multi_strategy="multi_output_tree", **SMALL), "leave it out"),
    "logits": (XGBClassifier(objective="binary:logitraw", **SMALL), "use 'binary:logistic'"),
    "survival": (XGBRegressor(objective="survival:cox", **SMALL), "use 'reg:squarederror'"),
    "own": (XGBRegressor(objective=squares, **SMALL), "use one of XGBoost's"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_model_without_a_graph_is_refused_with_a_remedy(name):
    """Its objective, its booster or the shape of its leaves is named, and what to use."""
    estimator, remedy = REFUSED[name]
    target = np.column_stack([POSITIVE, FILLED[:, 0]]) if name == "leaves of several" else YES
    with pytest.raises(NoGraph) as caught:
        reader.boosted(clone(estimator).fit(ROWS, target))
    assert remedy in caught.value.remedy


def test_the_booster_of_xgboost_train_is_refused_with_the_classes_to_fit():
    """It is fitted, but does not say whether its number is a class's."""
    booster = train({}, DMatrix(ROWS, YES), 2)
    with pytest.raises(ConversionError, match=r"core\.Booster .* what it answers; .* XGBClassifier or"):
        convert(booster, ROWS)


def test_a_category_that_counts_as_missing_is_refused():
    """With missing=0, XGBoost would take the first category for a missing one."""
    model = XGBClassifier(missing=0, enable_categorical=True, feature_types=list("qqqcc"), **SMALL)
    with pytest.raises(NoGraph, match="counts a category as missing"):
        reader.Sight.of(model.fit(ROWS, YES))


def test_zeros_that_a_sparse_matrix_leaves_out_are_missing():
    """So XGBoost takes them, and so do its trees here; a zero that the matrix holds is a number."""
    rows = csr_matrix(np.where(FILLED > 1, 0.0, FILLED))
    rows.data[:50] = 0.0
    model = XGBClassifier(**SMALL).fit(rows, YES)
    seen = reader.Sight.of(model).columns(rows)
    assert np.isnan(seen).any()
    assert (seen == 0.0).sum() == 50
    np.testing.assert_array_equal(model.predict_proba(rows), model.predict_proba(seen))


AROUND = {
    "alone": XGBClassifier(**SMALL),
    "bagging": BaggingClassifier(XGBClassifier(**SMALL), 2, random_state=0),
    "isotonic": CalibratedClassifierCV(XGBClassifier(**SMALL), method="isotonic", cv=2),
}


@pytest.mark.parametrize(
    "name", ["alone", *(pytest.param(name, marks=pytest.mark.long) for name in ("bagging", "isotonic"))]
)
def test_a_table_that_becomes_sparse_passes_the_gate(name, tmp_path):
    """Zeros of a scaled number or of a category are missing to XGBoost if few numbers are none."""
    table, stays = customers(400)
    table = table.drop(columns="zone").assign(city=table["city"].astype(object), size=np.arange(400.0) % 5)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city", "size"]), (StandardScaler(), ["age"])
    )
    pipeline = make_pipeline(columns, AROUND[name]).fit(table, stays)
    assert columns.sparse_output_
    exported = export_pipeline(pipeline, table, stays, name="stays", models=tmp_path)
    assert exported.manifest.parity.max_difference <= 1e-6


def test_the_median_of_boosted_trees_passes_the_gate(tmp_path):
    """AdaBoost answers with a member's number, which XGBoost adds up in float32."""
    members = AdaBoostRegressor(XGBRegressor(**SMALL), n_estimators=3, random_state=0)
    pipeline = make_pipeline(StandardScaler(), members).fit(FILLED, 20 * POSITIVE)
    parity = export_pipeline(pipeline, FILLED, name="model", models=tmp_path).manifest.parity
    assert parity.max_difference <= parity.tolerance == 1e-6


def test_standard_operators_add_in_the_order_of_xgboost():
    """Float32 sums depend on their order: those of many trees are XGBoost's to the last bit."""
    model = XGBRegressor(**SMALL | {"n_estimators": 200}).fit(ROWS, 20 * POSITIVE)
    conversion = convert(model, ROWS, operators="standard")
    answers = run(conversion, conversion.layout.feeds(conversion.layout.frame(ROWS), conversion.inputs))
    np.testing.assert_array_equal(answers[-1].ravel(), model.predict(ROWS))


TURNS = {
    "curve": PowerTransformer(),
    "fractions": RobustScaler(),
    "quantiles": QuantileTransformer(n_quantiles=50, output_distribution="normal"),
    "steps": make_pipeline(MinMaxScaler(), StandardScaler(), MaxAbsScaler()),
}


@pytest.mark.parametrize("name", sorted(TURNS))
def test_targets_are_turned_back_in_float32(name):
    """scikit-learn computes with XGBoost's float32 predictions in float32, and so does the graph."""
    targets = np.column_stack([np.exp(-3 * FILLED[:, 0]), FILLED[:, 1]])
    model = TransformedTargetRegressor(XGBRegressor(**SMALL), transformer=TURNS[name]).fit(ROWS, targets)
    conversion = convert(model, ROWS)
    answers = run(conversion, conversion.layout.feeds(conversion.layout.frame(ROWS), conversion.inputs))
    np.testing.assert_array_equal(answers[-1], model.predict(ROWS))


def test_a_ranker_is_refused_by_name():
    """Its scores have no meaning but in one query; the remedy names the estimators that do have one."""
    ranker = XGBRanker(n_estimators=2, n_jobs=1).fit(ROWS, YES, qid=np.arange(len(ROWS)) // 20)
    with pytest.raises(ConversionError, match="use XGBClassifier or XGBRegressor"):
        convert(ranker, ROWS)


@pytest.mark.skipif(not KEEPS, reason="XGBoost before 3.1 does not keep categories")
def test_convert_takes_categories_of_parquet(tmp_path, capsys):
    """XGBoost does not tell its categories beyond ASCII: the error says which table to give."""
    table, stays = customers(200)
    table = table[["age", "city"]]
    joblib.dump(XGBClassifier(enable_categorical=True, **SMALL).fit(table, stays), tmp_path / "fitted")
    table.to_csv(tmp_path / "rows.csv", index=False)
    table.to_parquet(tmp_path / "rows.parquet")
    command = ["convert", str(tmp_path / "fitted"), "--models", str(tmp_path / "models"), "--sample"]
    assert main([*command, str(tmp_path / "rows.csv")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "to export_pipeline in Python; if all of their categories are text, it may be saved as Pa" in error
    assert main([*command, str(tmp_path / "rows.parquet")]) == 0
