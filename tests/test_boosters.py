"""LightGBM, XGBoost and CatBoost over HTTP: the answers of the pipeline, beside splits too."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from estimators import asked
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from unpickled.__main__ import main
from unpickled.export import ConversionError, export_pipeline
from unpickled.export.boosters.reading import once, read_once
from unpickled.export.boosters.registry import LIBRARIES
from unpickled.export.convert import convert
from unpickled.export.data import dataset
from unpickled.export.gate.parity import check
from unpickled.export.gate.thresholds import near
from unpickled.export.publish import runner
from unpickled.export.train import versions
from unpickled.server import Config, create_app
from unpickled.server.model.session import load

Array = npt.NDArray[Any]

QUIET: dict[str, dict[str, Any]] = {
    "catboost": {"thread_count": 1, "verbose": False, "allow_writing_files": False},
    "lightgbm": {"n_jobs": 1, "verbosity": -1},
    "xgboost": {"n_jobs": 1},
}
CLASSIFIERS = {"catboost": CatBoostClassifier, "lightgbm": LGBMClassifier, "xgboost": XGBClassifier}
REGRESSORS = {"catboost": CatBoostRegressor, "lightgbm": LGBMRegressor, "xgboost": XGBRegressor}
# How each library is told which columns are native categories.
NATIVE: dict[str, dict[str, Any]] = {
    "catboost": {"cat_features": ["city", "zone"]},
    "lightgbm": {},
    "xgboost": {"enable_categorical": True},
}
# Trees part these classes with few splits, so fewer rows lie beside them, all of which are asked for.
FEWER = {"breast_cancer": 1000, "iris": 200, "wine": 200}
# Rows beside splits that are asked for.
ROWS = 1200


def boosting(library: str, of_numbers: bool, trees: int = 30, **parameters: Any) -> Any:
    """An unfitted model of a library."""
    kind = (REGRESSORS if of_numbers else CLASSIFIERS)[library]
    return kind(n_estimators=trees, random_state=0, **QUIET[library], **parameters)


def customers(rows: int, native: bool, texts: bool) -> tuple[pd.DataFrame, Array]:
    """Customers with gaps among their numbers, two columns of categories, and what each spends."""
    random = np.random.default_rng(5)
    table = pd.DataFrame({"age": random.integers(18, 90, rows) * 1.0, "income": random.lognormal(8, 1, rows)})
    table["city"] = random.choice(["Bonn", "Köln", "Trier", "Łódź", "Ulm"], rows)
    table["zone"] = [f"zone {number}" for number in random.integers(0, 30, rows)]
    chosen = table["zone"].isin(["zone 1", "zone 4", "zone 9", "zone 16"]) ^ (table["city"] == "Köln")
    spent = table["income"] * (1.0 + chosen) + 40.0 * table["age"] + random.normal(0.0, 200.0, rows)
    table.loc[random.random(rows) < 0.1, "age"] = np.nan
    if not texts:
        table.loc[random.random(rows) < 0.1, ["city", "zone"]] = None
    kind = "category" if native and not texts else object
    return table.astype({"city": kind, "zone": kind}), spent.to_numpy()


def served(pipeline: Any, X: Any, y: Array, models: Path, count: int = ROWS) -> tuple[int, int]:
    """The number of rows beside splits that are asked for, and how many are answered otherwise."""
    export = export_pipeline(pipeline, X, y, name="model", models=models)
    layout = convert(pipeline, X).layout
    rows = near(pipeline, layout, layout.frame(X), 5 * count)[:count]
    cells = rows.astype(object).where(rows.notna(), None)[[f.name for f in export.manifest.features]]
    client = create_app(Config(models=str(models))).test_client()
    batches = [cells.to_numpy().tolist()[start : start + 400] for start in range(0, len(cells), 400)]
    answers = [asked(client, batch) for batch in batches]
    taken = layout.rows(rows)
    predicted = np.asarray(pipeline.predict(taken)).reshape(len(rows), -1)
    of_classes = bool(export.manifest.classes)
    expected = np.asarray(pipeline.predict_proba(taken)) if of_classes else predicted
    scores = np.concatenate([answer.scores for answer in answers])
    off = (np.abs(scores - expected) > 1e-6 * np.maximum(1.0, np.abs(expected))).any(axis=1)
    if of_classes:
        labels = [label for answer in answers for label in answer.predictions]
        off |= np.array(labels) != predicted[:, 0]
    return len(rows), int(off.sum())


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(dataset.BUNDLED))
@pytest.mark.parametrize("library", sorted(QUIET))
def test_bundled_sets_have_no_row_off(library: str, name: str, tmp_path: Path) -> None:
    """Each of 1,200 rows beside splits gets its answer, or each of all there are: see FEWER."""
    table = dataset.bundled(name)
    model = boosting(library, of_numbers=table.task == "regression", trees=60)
    numbers = table.features.select_dtypes("number").columns
    encoded = make_column_transformer((StandardScaler(), numbers), remainder=OneHotEncoder())
    pipeline = make_pipeline(encoded, model).fit(table.features, table.labels)
    count, off = served(pipeline, table.features, table.labels, tmp_path)
    assert count >= FEWER.get(name, ROWS)
    assert off == 0


@pytest.mark.long
@pytest.mark.parametrize("of_numbers", [False, True], ids=["classes", "numbers"])
@pytest.mark.parametrize("native", [False, True], ids=["encoded", "native"])
@pytest.mark.parametrize("library", sorted(QUIET))
def test_a_table_of_everything_has_no_row_off(
    library: str, native: bool, of_numbers: bool, tmp_path: Path
) -> None:
    """Each of 1,200 rows beside splits, with text, gaps and native categories, gets its answer."""
    table, spent = customers(3000, native, texts=native and library == "catboost")
    truth = spent if of_numbers else np.digitize(spent, np.quantile(spent, [0.3, 0.7]))
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = make_column_transformer(
        (numbers, ["age", "income"]), (OneHotEncoder(handle_unknown="ignore"), ["city", "zone"])
    )
    model = boosting(library, of_numbers, trees=60, **(NATIVE[library] if native else {}))
    pipeline = model if native else make_pipeline(columns, model)
    assert served(pipeline.fit(table, truth), table, truth, tmp_path) == (ROWS, 0)


@pytest.mark.parametrize(
    ("categories", "sentence"),
    [([None], "has no category: fit"), ([2**53, 2**53 + 1], "one number in float64.*as text")],
    ids=["empty", "large"],
)
def test_categories_without_a_meaning_are_refused_by_column(categories: list[Any], sentence: str) -> None:
    """There has to be a category, and two of them have to be two numbers in a request."""
    zones = pd.Categorical(categories * (100 // len(categories)))
    table = pd.DataFrame({"age": np.arange(100.0), "zone": zones})
    model = boosting("lightgbm", True, trees=3).fit(table, table["age"])
    with pytest.raises(ConversionError, match=f"Column 'zone' .*{sentence}"):
        convert(model, table)


@pytest.mark.parametrize(
    "of_numbers", [False, pytest.param(True, marks=pytest.mark.long)], ids=["classes", "numbers"]
)
@pytest.mark.parametrize("library", sorted(QUIET))
def test_unseen_and_missing_categories_over_http(library: str, of_numbers: bool, tmp_path: Path) -> None:
    """They are answered as the library answers them, and refused where it refuses them."""
    texts = library == "catboost"
    table, spent = customers(200, native=True, texts=texts)
    truth = spent if of_numbers else (spent > np.median(spent)).astype(int)
    model = boosting(library, of_numbers, trees=3, **NATIVE[library]).fit(table, truth)
    features = export_pipeline(model, table, truth, name="m", models=tmp_path).manifest.features
    assert [feature.closed for feature in features] == [False, False] + 2 * [library == "xgboost"]
    assert [feature.missing for feature in features] == [True, True] + 2 * [not texts]
    client = create_app(Config(models=str(tmp_path))).test_client()
    row = {"age": None, "income": 3000.0, "city": None, "zone": "zone 99"}
    row |= {"city": "Ulm"} if texts else {}
    row |= {"zone": "zone 4"} if library == "xgboost" else {}
    typed = pd.DataFrame([row]).astype({"age": float})
    for name in () if texts else ("city", "zone"):
        known = sorted({*table[name].dropna(), row[name]} - {None})
        typed[name] = typed[name].astype(pd.CategoricalDtype(known))
    expected = model.predict(typed) if of_numbers else model.predict_proba(typed)
    answer = asked(client, [list(row.values())])
    np.testing.assert_allclose(answer.scores.ravel(), np.ravel(expected), rtol=1e-6)
    other = json.dumps({"features": [40.0, 3000.0, None if texts else "Rom", "zone 4"]})
    refused = client.post("/predict", data=other, content_type="application/json")
    assert refused.status_code == (200 if library == "lightgbm" else 400)


def test_a_model_is_read_once_in_an_export() -> None:
    """A reading of a model is kept to the end of the outermost export; then the model is read again."""
    models: list[Any] = [object(), object()]
    readings: list[Any] = []
    count = once(lambda model: readings.append(model) or len(readings))
    with read_once():
        assert [count(models[0]), count(models[1]), count(models[0])] == [1, 2, 1]
        with read_once():
            assert count(models[1]) == 2
        assert count(models[1]) == 2
    assert [count(models[0]), count(models[0])] == [3, 4]


@pytest.mark.parametrize("library", sorted(QUIET))
def test_a_model_that_is_fitted_again_is_read_again(library: str) -> None:
    """Its second graph is that of its second fit."""
    X, y = load_iris(return_X_y=True)
    model = boosting(library, False, trees=3).fit(X, y)
    first = convert(model, X).model
    assert convert(model, X).model == first
    second = convert(model.fit(X, 2 - y), X)
    assert second.model != first
    assert second.model == convert(boosting(library, False, trees=3).fit(X, 2 - y), X).model


@pytest.mark.parametrize("way", [pytest.param("copied", marks=pytest.mark.long), "dumped"])
@pytest.mark.parametrize("library", sorted(QUIET))
def test_a_model_from_a_file_converts(library: str, way: str, tmp_path: Path) -> None:
    """A pickled or copied model has the graph of the one that was fitted."""
    X, y = load_iris(return_X_y=True)
    model = boosting(library, False, trees=3).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib") if way == "dumped" else copy.deepcopy(model)
    pipeline = make_pipeline(StandardScaler().fit(X), again)
    export_pipeline(pipeline, X, y, name="m", models=tmp_path)
    answer = asked(create_app(Config(models=str(tmp_path))).test_client(), X.tolist())
    scaled = pipeline[0].transform(X)
    assert answer.predictions == model.predict(scaled).ravel().tolist()
    np.testing.assert_allclose(answer.scores, model.predict_proba(scaled), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "library", ["catboost", *(pytest.param(name, marks=pytest.mark.long) for name in ("lightgbm", "xgboost"))]
)
def test_the_command_converts_a_pickled_model(library: str, tmp_path: Path) -> None:
    """``convert`` reads it from its file, proves it and stores it; the server answers as the model."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), boosting(library, False, trees=3)).fit(X, y)
    joblib.dump(pipeline, tmp_path / "m.joblib")
    X.assign(kind=y).to_csv(tmp_path / "rows.csv", index=False)
    words = [
        "convert",
        str(tmp_path / "m.joblib"),
        "--sample",
        str(tmp_path / "rows.csv"),
        "--target",
        "kind",
    ]
    assert main([*words, "--models", str(tmp_path / "models")]) == 0
    client = create_app(Config(models=str(tmp_path / "models"))).test_client()
    answer = asked(client, X.to_numpy().tolist())
    np.testing.assert_allclose(answer.scores, pipeline.predict_proba(X), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("task", "library"),
    [
        ("classifier", "xgboost"),
        *(
            pytest.param(*pair, marks=pytest.mark.long)
            for pair in (("classifier", "catboost"), ("regressor", "catboost"), ("regressor", "lightgbm"))
        ),
    ],
)
def test_the_command_trains_a_model_of_each_library(task: str, library: str, tmp_path: Path) -> None:
    """``train`` with the name of a library fits its model, and the server answers with it."""
    name = "iris" if task == "classifier" else "diabetes"
    assert main(["train", name, f"--{task}", library, "--models", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*/*/model.onnx")
    assert CLASSIFIERS[library].__name__[:3] in str(load(path.read_bytes()).manifest.training.pipeline)
    rows = dataset.bundled(name).features.to_numpy().tolist()[:3]
    assert len(asked(create_app(Config(models=str(tmp_path))).test_client(), rows).predictions) == 3


AROUND: dict[str, Callable[[Any], Any]] = {
    "bagging": lambda model: BaggingRegressor(model, 2, random_state=0),
    "stacking": lambda model: StackingRegressor([("a", model), ("b", Ridge())], cv=2),
    "target": lambda model: TransformedTargetRegressor(model, func=np.log1p, inverse_func=np.expm1),
    "voting": lambda model: VotingRegressor([("a", model), ("b", Ridge())]),
}


@pytest.mark.parametrize("around", sorted(AROUND))
@pytest.mark.parametrize("library", sorted(QUIET))
def test_a_regressor_inside_others_is_right(library: str, around: str) -> None:
    """Beside its splits the graph answers as the pipeline."""
    X, y = load_diabetes(return_X_y=True)
    model = AROUND[around](boosting(library, True, trees=4)).fit(X[:200], y[:200])
    conversion = convert(model, X[:200])
    rows = near(model, conversion.layout, conversion.layout.frame(X[:200]), 500).to_numpy()
    assert len(rows) > 100
    _, numbers = runner(conversion)(conversion.layout.feeds(conversion.layout.frame(rows), conversion.inputs))
    np.testing.assert_allclose(np.ravel(numbers), model.predict(rows), rtol=1e-6)


@pytest.mark.parametrize(
    "of_numbers", [False, pytest.param(True, marks=pytest.mark.long)], ids=["classes", "numbers"]
)
@pytest.mark.parametrize(
    "library", ["catboost", *(pytest.param(name, marks=pytest.mark.long) for name in ("lightgbm", "xgboost"))]
)
def test_standard_operators_answer_the_same(library: str, of_numbers: bool) -> None:
    """Sets of categories and CatBoost's counters included, beside splits and for unknown categories."""
    table, spent = customers(300, native=True, texts=library == "catboost")
    truth = spent if of_numbers else (spent > np.median(spent)).astype(int)
    sets = {"xgboost": {"max_cat_to_onehot": 1}, "lightgbm": {"min_data_per_group": 5}, "catboost": {}}
    model = boosting(library, of_numbers, trees=3, **NATIVE[library], **sets[library]).fit(table, truth)
    conversion = convert(model, table, operators="standard")
    assert {node.domain for node in conversion.model.graph.node} == {""}
    parity, _ = check(model, conversion, runner(conversion), table)
    assert parity.rows["near_threshold"] > 50
    assert parity.ties == 0
    assert parity.max_difference < 1e-6


def test_every_library_is_tested_here() -> None:
    """One that is added to the registry belongs into these tables."""
    assert {library.name for library in LIBRARIES} == QUIET.keys()


@pytest.mark.parametrize("library", sorted(QUIET))
def test_the_version_of_each_library_is_kept_wherever_it_stands(library: str) -> None:
    """A library inside an ensemble in a search is named too, and one that took no part is not."""
    table = dataset.bundled("diabetes")
    vote = VotingRegressor([("ridge", Ridge()), ("trees", boosting(library, of_numbers=True, trees=2))])
    search = GridSearchCV(vote, {"ridge__alpha": [1.0]}, cv=2)
    pipeline = make_pipeline(StandardScaler(), search).fit(table.features.to_numpy(), table.labels)
    kept = versions(pipeline)
    assert kept.keys() & QUIET.keys() == {library}
    assert kept[library].split(".")[0].isdigit()
