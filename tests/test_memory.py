"""Tables in memory: frames of pandas, of polars and of Arrow, and lists of records, are taken alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.export import DataError, export_pipeline

FORMS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "nullable": lambda frame: frame.convert_dtypes(),
    "arrow-backed": lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
    "arrow text": lambda frame: frame.astype({"carrier": pd.ArrowDtype(pyarrow.string())}),
    "category": lambda frame: frame.astype({"carrier": "category"}),
    "polars": polars.from_pandas,
    "pyarrow": pyarrow.table,
    "records": lambda frame: frame.to_dict("records"),
    "columns": lambda frame: frame.to_dict("list"),
}


def parcels(gaps: bool) -> tuple[pd.DataFrame, np.ndarray]:
    """200 parcels, some of them without a weight and a carrier, and whether each came late."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "weight": random.gamma(2, 5, 200),
            "pieces": random.integers(1, 9, 200),
            "carrier": random.choice(["dhl", "ups"], 200),
            "express": random.random(200) < 0.4,
        }
    )
    late = np.where(frame["express"] ^ (frame["carrier"] == "dhl"), "late", "on time")
    if gaps:
        frame["weight"] = frame["weight"].mask(random.random(200) < 0.1)
        frame["carrier"] = frame["carrier"].astype(object).where(random.random(200) > 0.1, None)
    return frame, late


def pipeline() -> Pipeline:
    """A pipeline for parcels."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["weight", "pieces"]),
        (OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        ("passthrough", ["express"]),
    )
    return make_pipeline(columns, LogisticRegression())


@pytest.mark.parametrize("gaps", [pytest.param(False, marks=pytest.mark.long), True])
@pytest.mark.parametrize("form", FORMS)
def test_tables_of_every_kind_make_the_same_model(tmp_path, form, gaps):
    """A fitted pipeline is exported with its rows in any kind of table; boolean columns stay boolean."""
    frame, late = parcels(gaps)
    fitted = pipeline().fit(frame, late)
    export = export_pipeline(fitted, FORMS[form](frame), late, name="parcels", models=tmp_path)
    assert [(feature.name, feature.kind, feature.boolean) for feature in export.manifest.features] == [
        ("weight", "number", False),
        ("pieces", "number", False),
        ("carrier", "category", False),
        ("express", "number", True),
    ]
    assert export.manifest.training.metrics.accuracy == fitted.score(frame, late)


@pytest.mark.parametrize("form", ["polars", "nullable", "arrow-backed"])
def test_pipelines_fitted_on_other_frames_are_exported(tmp_path, form):
    """A pipeline may be fitted on the frame of another library too."""
    frame, late = parcels(gaps=False)
    rows = FORMS[form](frame)
    export = export_pipeline(pipeline().fit(rows, late), rows, late, name="parcels", models=tmp_path)
    assert export.manifest.features[2].categories == ("dhl", "ups")


def test_columns_of_different_lengths_are_no_table(tmp_path):
    """Columns that do not fit together are refused in a sentence."""
    frame, late = parcels(gaps=False)
    with pytest.raises(DataError, match="cannot be read as a table"):
        export_pipeline(
            pipeline().fit(frame, late), {"weight": [1.0], "pieces": [1, 2]}, name="x", models=tmp_path
        )
