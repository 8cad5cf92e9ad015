"""Graphs of standard operators alone, for any execution provider."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from unpickled.__main__ import main
from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ConversionError
from unpickled.export.gate.parity import check
from unpickled.export.publish import runner
from unpickled.server.model.session import load

MODELS = [
    DecisionTreeClassifier(max_depth=1, random_state=0),
    RandomForestClassifier(5, random_state=0),
    RandomForestClassifier(5, max_depth=2, random_state=0),
    GradientBoostingClassifier(n_estimators=3, random_state=0),
    AdaBoostClassifier(n_estimators=3, random_state=0),
    RandomForestRegressor(5, max_depth=4, random_state=0),
    make_pipeline(QuantileTransformer(n_quantiles=20), LogisticRegression()),
]


def standard(pipeline: Any, X: Any) -> Conversion:
    """The graph of ``ai.onnx`` operators alone, which passes the gate."""
    conversion = convert(pipeline, X, operators="standard")
    assert {node.domain for node in conversion.model.graph.node} == {""}
    check(pipeline, conversion, runner(conversion), X)
    return conversion


@pytest.mark.parametrize("model", MODELS, ids=lambda model: " ".join(repr(model).split())[:60])
def test_trees_are_right_in_standard_operators(model: Any) -> None:
    """Rows beside every split go the way that they go in scikit-learn."""
    X, y = load_iris(return_X_y=True)
    standard(make_pipeline(StandardScaler(), model).fit(X, y), X)


@pytest.mark.parametrize(
    "kind",
    [HistGradientBoostingClassifier, pytest.param(HistGradientBoostingRegressor, marks=pytest.mark.long)],
)
def test_categories_and_gaps_are_right_in_standard_operators(kind: Any) -> None:
    """Known, unknown and missing texts, native categories among them, and missing numbers."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "job": random.choice(np.array(["cook", "clerk", "pilot", None], object), 300),
            "age": np.where(random.random(300) < 0.2, np.nan, random.normal(40, 9, 300)),
            "port": pd.Categorical(random.choice(["a", "b", "c", "d"], 300)),
        }
    )
    answers = (table["job"].eq("cook") | table["port"].isin(["a", "d"])).astype(int)
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["job"]), remainder="passthrough"
    ).set_output(transform="pandas")
    standard(make_pipeline(encoded, kind(max_iter=4)).fit(table, answers), table)
    standard(kind(max_iter=4, categorical_features="from_dtype").fit(table[["age", "port"]], answers), table)


def test_what_needs_other_operators_says_so() -> None:
    """The option changes nothing about a linear model, and a model that cannot do without is refused."""
    X, y = load_iris(return_X_y=True)
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(X, y)
    assert standard(linear, X).model.graph == convert(linear, X).model.graph
    with pytest.raises(ConversionError, match="leave out --operators standard"):
        convert(QuadraticDiscriminantAnalysis().fit(X, y), X, operators="standard")


def test_the_command_line_asks_for_standard_operators(tmp_path: Path) -> None:
    """The file holds such a graph, and the server's loader takes it."""
    arguments = ["train", "wine", "--classifier", "decision_tree", "--operators", "standard"]
    assert main([*arguments, "--models", str(tmp_path)]) == 0
    data = (tmp_path / "wine" / "1" / "model.onnx").read_bytes()
    graph = onnx.load_model_from_string(data).graph
    assert {node.domain for node in graph.node} == {""}
    assert load(data).manifest.classes == (0, 1, 2)
