"""A parity failure names the step at which the pipeline and its graph part."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sessions import opened
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

from unpickled.export.convert import _TRANSFORMERS, convert
from unpickled.export.converters import classifiers
from unpickled.export.errors import ParityError
from unpickled.export.gate.parity import check

RANDOM = np.random.default_rng(0)
X = pd.DataFrame(RANDOM.normal(size=(100, 2)), columns=["a", "b"]).assign(port=["x", "y"] * 50)
Y = (X["a"] > X["b"]).to_numpy()


def complaint(pipeline: Any, rows: Any = X) -> str:
    """The error of the gate for the pipeline's graph."""
    conversion = convert(pipeline.fit(rows, Y), rows)
    session = opened(conversion.model)

    def run(feeds: Any) -> Any:
        return tuple(session.run(None, feeds))

    with pytest.raises(ParityError) as caught:
        check(pipeline, conversion, run, rows)
    return str(caught.value)


@pytest.fixture
def wrong_scaler(monkeypatch):
    """A graph in which a MinMaxScaler adds half of what it should."""
    right = _TRANSFORMERS[MinMaxScaler]

    def wrong(graph: Any, scaler: MinMaxScaler, columns: Any) -> Any:
        halved = MinMaxScaler()
        halved.__dict__.update(scaler.__dict__, min_=scaler.min_ / 2)
        return right(graph, halved, columns)

    monkeypatch.setitem(_TRANSFORMERS, MinMaxScaler, wrong)


def branches(numbers: Any) -> ColumnTransformer:
    """Two branches for numbers, of which the second is given, and one for text."""
    encoder = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer(
        [("robust", RobustScaler(), ["b"]), ("numbers", numbers, ["a", "b"]), ("text", encoder, ["port"])]
    )


def test_the_branch_of_a_column_transformer_is_named(wrong_scaler):
    """The innermost step is named, with its column, both numbers and a row."""
    pipeline = Pipeline([("columns", branches(MinMaxScaler())), ("model", LogisticRegression())])
    text = complaint(pipeline)
    assert "They part at step 'columns/numbers' (MinMaxScaler): its output 'a' is " in text
    assert " in the graph for row a=" in text
    assert text.endswith(
        "Replace 'columns/numbers' (MinMaxScaler) with another transformer; nothing was written."
    )


@pytest.mark.parametrize(
    ("step", "path"),
    [
        (MinMaxScaler(), "step"),
        (make_pipeline(SimpleImputer(), MinMaxScaler()), "step/minmaxscaler"),
        (FeatureUnion([("one", StandardScaler()), ("two", MinMaxScaler())]), "step/two"),
        (FeatureUnion([("one", make_pipeline(MinMaxScaler(), StandardScaler()))]), "step/one/minmaxscaler"),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("searched", [False, True])
def test_the_first_step_that_differs_is_named(wrong_scaler, step, path, searched):
    """Steps before it agree, and what follows it is not blamed, inside a search too."""
    pipeline = Pipeline([("first", StandardScaler()), ("step", step), ("model", LogisticRegression(C=100.0))])
    numbers = X[["a", "b"]].to_numpy()
    text = complaint(GridSearchCV(pipeline, {}, cv=2) if searched else pipeline, numbers)
    assert f"They part at step '{path}' (MinMaxScaler)" in text


def test_texts_that_differ_are_named(monkeypatch):
    """A step that makes text is compared as text."""

    def wrong(graph: Any, imputer: SimpleImputer, columns: Any) -> Any:
        return tuple(columns[::-1])

    monkeypatch.setitem(_TRANSFORMERS, SimpleImputer, wrong)
    table = X.assign(other=["y", "x", "x", "y"] * 25)
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder())
    columns = ColumnTransformer(
        [("texts", texts, ["port", "other"]), ("numbers", StandardScaler(), ["a", "b"])]
    )
    text = complaint(make_pipeline(columns, LogisticRegression(C=100.0)), table)
    assert "They part at step 'columntransformer/texts/simpleimputer' (SimpleImputer): its output" in text
    assert "is 'x' in the pipeline, 'y' in the graph" in text or "is 'y' in the pipeline, 'x' in" in text


def test_a_last_step_that_differs_is_named(monkeypatch):
    """Where all transformers agree the classifier is at fault."""
    right = classifiers.CONVERTERS[LogisticRegression]

    def wrong(graph: Any, model: LogisticRegression, columns: Any) -> Any:
        doubled = LogisticRegression()
        doubled.__dict__.update(model.__dict__, coef_=model.coef_ * 2.0)
        return right(graph, doubled, columns)

    monkeypatch.setitem(classifiers.CONVERTERS, LogisticRegression, wrong)
    monkeypatch.setattr("unpickled.export.convert._CLASSIFIERS", classifiers.CONVERTERS)
    pipeline = Pipeline([("columns", branches(StandardScaler())), ("model", LogisticRegression())])
    text = complaint(pipeline)
    assert "The steps before agree: they part at the last one, 'model' (LogisticRegression)." in text
    assert text.endswith("Try another last step; nothing was written.")
