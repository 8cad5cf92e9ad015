"""None and NaN among text, in front of an imputer: what the pipeline does with them is what null gets."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.export import Export, ParityError, export_pipeline
from unpickled.export.convert import convert

FREQUENT = {"strategy": "most_frequent"}
CONSTANT = {"strategy": "constant", "fill_value": "none"}
STRATEGIES = pytest.mark.parametrize(
    "strategy",
    [FREQUENT, pytest.param(CONSTANT, marks=pytest.mark.long)],
    ids=["most_frequent", "constant"],
)


def customers(*gaps: object) -> tuple[pd.DataFrame, Any]:
    """100 customers with a city, some of which are these gaps, in a column of Python objects."""
    random = np.random.default_rng(0)
    age = random.integers(18, 80, 100).astype(float)
    city = random.choice(["Bonn", "Köln", "Trier"], 100).astype(object)
    for number, gap in enumerate(gaps):
        city[number :: 10 * len(gaps)] = gap
    frame = pd.DataFrame({"age": age, "city": pd.Series(city, dtype=object)})
    return frame, (age + 20 * (frame["city"] == "Bonn") > 55).astype(int)


def fitted(X: Any, y: Any, **options: Any) -> Pipeline:
    """A pipeline that imputes and encodes the second column, by position."""
    texts = make_pipeline(SimpleImputer(**options), OneHotEncoder(handle_unknown="ignore"))
    table = make_column_transformer((StandardScaler(), [0]), (texts, [1]))
    return make_pipeline(table, LogisticRegression()).fit(X, y)


def exported(pipeline: Pipeline, X: Any, folder: Any) -> Export:
    return export_pipeline(pipeline, X, name="m", models=folder)


def refused(pipeline: Pipeline, X: Any, folder: Any) -> str:
    """The remedy in the refusal of these rows."""
    with pytest.raises(ParityError) as caught:
        exported(pipeline, X, folder)
    assert "'columntransformer/pipeline/simpleimputer' (SimpleImputer) does not replace" in str(caught.value)
    assert re.search(r"Columns? '?(city|1)'? hold", str(caught.value))
    return re.search("again after `(.*)`", str(caught.value))[1]


@STRATEGIES
@pytest.mark.parametrize("gaps", [(None,), (None, np.nan)], ids=["None", "both"])
def test_none_that_an_imputer_of_nan_leaves_is_refused(tmp_path, strategy, gaps):
    """The refusal names column and step, and its line makes the same pipeline pass."""
    X, y = customers(*gaps)
    remedy = refused(fitted(X, y, **strategy), X, tmp_path)
    exec(remedy, {"X": X})
    export = exported(fitted(X, y, **strategy), X, tmp_path)
    assert export.manifest.features[1].missing
    assert export.manifest.features[1].categories == ("Bonn", "Köln", "Trier")


def test_none_in_an_array_is_refused_with_a_line_for_arrays(tmp_path):
    """An array of objects has no columns to name in the line that replaces None."""
    frame, y = customers(None)
    X = frame.to_numpy(dtype=object)
    exec(refused(fitted(X, y, **FREQUENT), X, tmp_path), {"X": X, "pd": pd})
    assert exported(fitted(X, y, **FREQUENT), X, tmp_path).manifest.features[1].missing


@STRATEGIES
@pytest.mark.parametrize(("gap", "missing"), [(np.nan, np.nan), (None, None), (None, pd.NA), (np.nan, pd.NA)])
def test_gaps_that_the_imputer_replaces_are_taken(tmp_path, strategy, gap, missing):
    """Where the imputer takes the column's gaps for missing, null gets what they get."""
    X, y = customers(gap)
    pipeline = fitted(X, y, missing_values=missing, **strategy)
    export = exported(pipeline, X, tmp_path)
    assert export.manifest.features[1].missing
    layout = convert(pipeline, X).layout
    gaps = layout.rows(layout.frame(X))["city"]
    assert {type(value) for value in gaps[gaps.isna()]} == {type(gap)}


def test_rows_without_gaps_take_those_of_the_imputer(tmp_path):
    """Rows without a gap say nothing of null: it stands for what an imputer of None replaces."""
    X, y = customers(None)
    pipeline = fitted(X, y, missing_values=None, **FREQUENT)
    assert exported(pipeline, X[X["city"].notna()], tmp_path).manifest.features[1].missing


def test_other_rows_than_those_of_the_fit_may_not_hold_none(tmp_path):
    """None in rows for a pipeline that was fitted on NaN meets no imputer, and is refused by name."""
    X, y = customers(np.nan)
    pipeline = fitted(X, y, **FREQUENT)
    other, _ = customers(None)
    exec(refused(pipeline, other, tmp_path), {"X": other})
    assert exported(pipeline, other, tmp_path).manifest.features[1].missing
