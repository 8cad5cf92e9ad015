"""No skew between training and serving: a table's rows are answered as the pipeline answers its own frame."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import generated
from hypothesis import given
from hypothesis import strategies as st
from routes import answers
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from unpickled.export import DataError, export_pipeline
from unpickled.export.data import dataset, files
from unpickled.export.data.columns import Choices
from unpickled.export.data.fitted import Sample
from unpickled.export.train import train
from unpickled.server import Config, create_app

WORDS = ["NA", "N/A", "NaN", "null", "None", "?", "-", "n/a", "nan", "NULL", "missing", "#N/A", "nil", " na "]
TEXTS = ["DE", "FR", "Köln", 'a "b", c', "x;y", "0", "12", "true", "no", " padded"]
DATES = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%m/%d/%Y %H:%M", "%Y-%m-%dT%H:%M:%S+02:00"]
ROWS = 80


def numbers(random: np.random.Generator) -> np.ndarray:
    """Numbers of very different sizes, some of them beside each other."""
    scale = 10.0 ** random.integers(-3, 7)
    return np.round(random.normal(0, scale, ROWS), int(random.integers(0, 9)))


def written(value: float, notation: str) -> str:
    """A number as people write it in a table."""
    if notation == "plain":
        return repr(value)
    whole, _, fraction = f"{abs(value):,.4f}".partition(".")
    sign = "-" if value < 0 else ""
    if notation == "comma":
        return f"{sign}{whole.replace(',', '.')},{fraction}"
    return f"{sign}${whole}.{fraction}" if notation == "dollar" else f"{sign}{whole}.{fraction}%"


def moments(random: np.random.Generator, spelling: str) -> list[str]:
    """Dates of some years, as people write them in a table."""
    start = np.datetime64(str(random.integers(1950, 2040)), "s")
    drawn = start + random.integers(0, 10.0 ** random.integers(6, 10), ROWS)
    return [moment.strftime(spelling) for moment in drawn.astype("datetime64[s]").tolist()]


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A table as cells of text, its separator, and the words that are declared to be missing."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns: dict[str, list[str]] = {"id": [str(row) for row in range(1000, 1000 + ROWS)]}
    for place in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["number", "text", "truth", "code", "date"]))
        columns[f"{kind} {place}"] = _cells(draw, kind, random)
    columns["constant"] = ["same"] * ROWS
    declared = draw(st.sampled_from([(), (), ("None",), ("DE", "null")]))
    classes = ["yes", "no" if "None" in declared else "None"]
    columns["late"] = [classes[label] for label in random.integers(0, 2, ROWS)]
    return {"columns": columns, "separator": draw(st.sampled_from(",;\t")), "missing": declared}


def _cells(draw: st.DrawFn, kind: str, random: np.random.Generator) -> list[str]:
    if kind == "text":
        choices = draw(st.lists(st.sampled_from(TEXTS + WORDS + [""]), min_size=3, max_size=8, unique=True))
        return [str(text) for text in random.choice(np.array([*choices, "DE", "FR"], dtype=object), ROWS)]
    if kind == "code":
        return [f"{code:05}" for code in random.choice([1067, 10115, 50667, 80331], ROWS)]
    if kind == "truth":
        spelling = draw(st.sampled_from([("True", "False"), ("true", "false"), ("TRUE", "FALSE")]))
        cells = [spelling[place] for place in random.integers(0, 2, ROWS)]
    elif kind == "date":
        cells = moments(random, draw(st.sampled_from(DATES)))
    else:
        notation = draw(st.sampled_from(["plain", "plain", "comma", "dollar", "percent"]))
        cells = [written(value, notation) for value in numbers(random).tolist()]
    word = draw(st.sampled_from([None, None, "", *WORDS]))
    gaps = random.random(ROWS) < 0.2
    return [cell if word is None or not gap else word for cell, gap in zip(cells, gaps, strict=True)]


def values(features: pd.DataFrame, name: str, cells: list[str]) -> list[Any]:
    """A column as a client of JSON sends it: numbers, null for a gap, texts as the file has them."""
    column = features[name]
    if column.dtype == object:
        return cells
    if name.startswith("date"):
        return [None if gap else cell for cell, gap in zip(cells, column.isna(), strict=True)]
    truth = all(
        cell.lower() in ("true", "false") for cell, gap in zip(cells, column.isna(), strict=True) if not gap
    )
    return [None if np.isnan(value) else bool(value) if truth else value for value in column.tolist()]


def check(table: dict[str, Any], folder: Path, classifier: str) -> None:
    """Train on a table, and ask for its rows by every route."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=table["separator"], lineterminator="\n")
    writer.writerows([table["columns"], *zip(*table["columns"].values(), strict=True)])
    content = text.getvalue().encode()
    (folder / "table.csv").write_bytes(content)
    choices = Choices(missing=frozenset(table["missing"]), expand=True)
    try:
        read = dataset.read(folder / "table.csv", "late", choices)
    except DataError as error:
        if "There is nothing to learn" not in str(error):
            raise
        return
    if read.features.empty or len(read.labels) < ROWS:
        return
    fitted = train(read, "standard", classifier)
    export_pipeline(
        fitted.pipeline,
        fitted.train,
        name="table",
        models=folder / "models",
        held_out=fitted.held_out,
        training=fitted.training,
        readings=read.readings,
        class_names=read.class_names,
    )
    expected = fitted.pipeline.predict_proba(read.features)
    cells = {name: values(read.features, name, table["columns"][name]) for name in read.features}
    client = create_app(
        Config.of(models=str(folder / "models"), reload_seconds=0, predict_route="/vertex")
    ).test_client()
    for route, probabilities in answers(client, "table", cells, content):
        assert np.abs(probabilities - expected).max() < 1e-6, (route, read.readings)


@generated(8)
@given(table=tables(), classifier=st.sampled_from(["logistic", "decision_tree"]))
def test_tables_are_answered_as_the_pipeline_answers_them(tmp_path_factory, table, classifier):
    """Whatever a table holds, every route gives the pipeline's answers to the frame it was fitted on."""
    check(table, tmp_path_factory.mktemp("table"), classifier)


@pytest.mark.long
@generated(120)
@given(
    table=tables(),
    classifier=st.sampled_from(["logistic", "decision_tree", "forest", "hist_gradient_boosting"]),
)
def test_many_tables_are_answered_as_the_pipeline_answers_them(tmp_path_factory, table, classifier):
    """The same for many tables, and for trees, which notice the last digit."""
    check(table, tmp_path_factory.mktemp("table"), classifier)


@pytest.mark.parametrize("texts", [["DE", "", "FR"], ["DE", " ", ""], ["DE", " DE", " NA ", "NA"]])
@pytest.mark.parametrize("kept", [False, True])
def test_blank_texts_that_a_pipeline_knows_are_categories(tmp_path, texts, kept):
    """A sample, and requests, have the blanks and words that the fitted pipeline has as categories."""
    rows = [f"{row},{texts[row * 7 % len(texts)]}" for row in range(80)]
    content = "\n".join(["Unnamed: 0,city", *rows]) + "\n"
    (tmp_path / "rows.csv").write_text(content.replace("Unnamed: 0", ""))
    frame = pd.read_csv(io.StringIO(content), keep_default_na=not kept)
    encoding = (OneHotEncoder(handle_unknown="ignore"), ["city"])
    encoder = make_column_transformer(encoding, remainder="passthrough")
    pipeline = make_pipeline(encoder, DecisionTreeClassifier(random_state=0))
    pipeline.fit(frame, np.random.default_rng(0).integers(0, 2, 80))
    sample = Sample.of(pipeline, files.load(tmp_path / "rows.csv"), Choices(), None)
    export_pipeline(pipeline, sample.rows()[0], name="m", models=tmp_path, readings=sample.readings)
    client = create_app(Config(models=str(tmp_path))).test_client()
    answer = client.post("/predict", data=(tmp_path / "rows.csv").read_bytes(), content_type="text/csv")
    probabilities = pd.read_csv(io.BytesIO(answer.data)).iloc[:, 2:]
    assert np.abs(probabilities - pipeline.predict_proba(frame)).to_numpy().max() < 1e-6
