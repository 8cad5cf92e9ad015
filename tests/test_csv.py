"""Tables as CSV, in and out: the same answers as in JSON, and a place for every error."""

import csv
import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest
from conftest import FLOWER, FLOWERS, PERSON, SPECIES, generated
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from unpickled.export import export_pipeline
from unpickled.export.data import dataset
from unpickled.export.train import train
from unpickled.server import Config, create_app
from unpickled.server.config import Limits

HEADER = ",".join(FLOWERS)
TABLE = f"{HEADER}\r\n5.1,3.5,1.4,0.2\r\n6.7,3.0,5.2,2.3\r\n"
SPELLINGS = ["+5.1", " 5.1 ", "5.1e0", "0.51E1", '"5.1"', "05.1"]


def ask(client, table, path="/predict", kind="text/csv", accept=None):
    headers = {"Content-Type": kind} | ({"Accept": accept} if accept else {})
    return client.post(path, data=table, headers=headers)


def table(answer):
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "text/csv; charset=utf-8; header=present"
    return pd.read_csv(io.BytesIO(answer.data), keep_default_na=False)


def refused(client, text, **how):
    answer = ask(client, text, **how)
    assert answer.status_code == 400, answer.text
    return answer.json


@pytest.mark.parametrize("name", ["iris", "forest"])
def test_a_table_in_a_table_out(client, models, name):
    """A table that pandas writes is answered with one that pandas reads, equal to scikit-learn's answer."""
    rows, pipeline = models.rows[name], models.pipelines[name]
    text = pd.DataFrame(rows, columns=FLOWERS).to_csv(index=False)
    predictions = table(ask(client, text, f"/models/{name}/predict"))
    assert predictions["prediction"].tolist() == pipeline.predict(rows).tolist()
    assert list(predictions)[:2] == ["prediction", "predicted_class"]
    np.testing.assert_allclose(predictions.iloc[:, 2:], pipeline.predict_proba(rows), rtol=0, atol=1e-7)


def test_digits_are_those_of_json(client):
    """Scores have every digit: they are the doubles of the answer in JSON."""
    answer = ask(client, TABLE)
    expected = client.post("/predict", json={"features": [FLOWER, [6.7, 3.0, 5.2, 2.3]]}).json
    lines = list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))
    assert lines[0] == ["prediction", "predicted_class", *(f"probabilities_{name}" for name in SPECIES)]
    assert [line[:2] for line in lines[1:]] == [["0", "setosa"], ["2", "virginica"]]
    assert [list(map(float, line[2:])) for line in lines[1:]] == expected["probabilities"]
    assert answer.data.count(b"\r\n") == answer.data.count(b"\n") == 3


def test_categories_and_gaps(client, models):
    """Text is read unchanged, an empty cell is a missing value, and columns may have any order."""
    rows = models.rows["people"][["plan", "income", "city", "age"]]
    assert rows["age"].isna().any()
    predictions = table(ask(client, rows.to_csv(index=False), "/models/people/predict"))
    pipeline = models.pipelines["people"]
    assert predictions["prediction"].tolist() == pipeline.predict(models.rows["people"]).tolist()
    np.testing.assert_allclose(predictions.iloc[:, 2:], pipeline.predict_proba(rows), rtol=0, atol=1e-7)


@pytest.mark.parametrize("gap", ["", "  ", "NaN", "nan", '""'])
def test_spellings_of_a_missing_number(client, gap):
    """An empty cell, blanks and NaN mean the same as null in JSON."""
    text = f"city,plan,age,income\nBonn,pro,{gap},2100.5\n"
    answer = ask(client, text, "/models/people/predict", accept="application/json")
    expected = client.post("/models/people/predict", json={"instances": [PERSON | {"age": None}]})
    assert answer.json["prediction"] == [expected.json["predictions"][0]["prediction"]]
    scores = expected.json["predictions"][0]["probabilities"]
    assert answer.json["probabilities"] == [list(scores.values())]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_a_number(client, spelling):
    """Signs, blanks, exponents and quotes are read."""
    answer = ask(client, f"{HEADER}\n{spelling},3.5,1.4,0.2")
    assert answer.data == ask(client, f"{HEADER}\n5.1,3.5,1.4,0.2\n").data


@pytest.mark.parametrize(
    "text", ["5,1", "1_000", "٣", "abc", "0x10", "5.1 cm", "1e999", "-inf", "true", "\0"]
)
def test_what_is_no_number(client, text):
    """An ambiguous number is refused, with line, row and feature."""
    error = refused(client, f'{HEADER}\n5.1,3.5,1.4,0.2\n5.1,"{text}",1.4,0.2\n')
    assert error["error"].startswith("line 3: feature 'sepal_width' of row 1 is ")
    assert (error["line"], error["row"], error["feature"]) == (3, 1, "sepal_width")


def test_without_a_header(client):
    """With header=absent, columns are in the order of the features, and the answer has no header."""
    answer = ask(client, "5.1,3.5,1.4,0.2\n", kind="text/csv; header=absent")
    assert answer.content_type == "text/csv; charset=utf-8; header=absent"
    assert answer.text.startswith("0,setosa,0.98")
    assert "header=absent" in refused(client, "5.1,3.5,1.4,0.2\n")["error"]


def test_bom_and_line_ends(client):
    """A byte order mark is skipped; lines end as on any system, the last one also without an end."""
    expected = ask(client, TABLE).data
    lines = TABLE.split("\r\n")[:3]
    for text in (f"\ufeff{TABLE}", "\n".join(lines), "\r".join(lines), TABLE + "\r\n\r\n"):
        assert ask(client, text.encode()).data == expected


def test_json_where_accept_prefers_it(client):
    """Accept decides between CSV and JSON arrays; without a preference the answer is CSV."""
    arrays = client.post("/predict", json={"features": [FLOWER]}).data
    text = f"{HEADER}\n5.1,3.5,1.4,0.2\n"
    json_wins = ["application/json", "text/csv;q=0.5, application/*", "application/json, text/csv;q=x"]
    for accept in (*json_wins, "text/csv;q=nan, application/json;q=0.1"):
        assert ask(client, text, accept=accept).data == arrays
    csv_wins = ["*/*", "text/*, application/json;q=0.9", "image/png", "text/csv, application/json", ""]
    for accept in (*csv_wins, "text/csv, application/json;q=1e3"):
        assert ask(client, text, accept=accept).content_type.startswith("text/csv")


FAULTS = {
    "": "the body is empty",
    "\n": "the body is blank in its first line",
    HEADER: "there are zero rows",
    f"{HEADER}\n1,2,3\n": "line 2: row 0 has 3 cells, but 4 belong there",
    f"{HEADER}\n1\n": "line 2: row 0 has 1 cell, but 4 belong there: quote cells that hold the separator",
    f"{HEADER}\n1,2,3,4\n\n1,2,3,4\n": "line 3: row 1 is blank: leave that line out",
    f"{HEADER}\n,2,3,4\n": "line 2: feature 'sepal_length' of row 0 is missing",
    f",{HEADER}\n0,1,2,3,4\n": "column 1 of the header has no name",
    "," * 9_000_000 + "\n": "column 1 of the header has no name",
    TABLE.replace("\r\n", ""): "the whole table is one line, as long as a header: keep the line ends",
    '{"features": [5.1, 3.5, 1.4, 0.2], "id": 7}': "; JSON is sent as Content-Type: application/json",
    f"{HEADER},{FLOWERS[0]}\n1,2,3,4,1\n": "feature 'sepal_length' stands twice in the header",
    "sepal_length,sepal_width,petal_length\n1,2,3\n": "line 1: feature 'petal_width' is not given",
    HEADER.replace(",", "/") + "\n1/2/3/4\n": "cells are separated by commas or semicolons",
    f'{HEADER}\n"1"x,2,3,4\n': "line 2: the body is not CSV",
    f'{HEADER}\n"1,2,3,4\n': "the body is not CSV: unexpected end of data",
    f'{HEADER}\n"{"1" * 200_000}",2,3,4\n': "field larger than field limit",
    HEADER.encode() + b"\n\xff,2,3,4\n": "is not UTF-8: send UTF-8, or name the charset",
    gzip.compress(TABLE.encode()): "the body is compressed: say Content-Encoding: gzip",
}


@pytest.mark.parametrize("text", FAULTS, ids=range(len(FAULTS)))
def test_faults_of_a_table(client, text):
    """The error names what is wrong with a table, and the place."""
    error = refused(client, text)
    assert FAULTS[text] in error["error"]
    assert error["code"] == "invalid_input"


def test_lines_inside_cells(client):
    """A quoted cell may hold line ends, and lines are counted as in an editor."""
    text = 'age,income,city,plan\n41,2100.5,"Bo\nnn",pro\n41,x,Bonn,pro\n'
    error = refused(client, text, path="/models/people/predict")
    assert (error["line"], error["row"], error["feature"]) == (4, 1, "income")


def test_other_charsets(client):
    """Tables are UTF-8, or in the charset that the request names; an unknown one is refused, not guessed."""
    assert ask(client, TABLE, kind='text/csv; charset="UTF-8"').status_code == 200
    for charset in ("utf-16", "iso-8859-1", "windows-1252"):
        assert ask(client, TABLE.encode(charset), kind=f"text/csv; charset={charset}").status_code == 200
    answer = ask(client, TABLE.encode("utf-7"), kind="text/csv; charset=utf-7")
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")


def test_the_bytes_of_a_table_overrule_its_charset(models, client):
    """A mark tells the encoding, Latin-1 has the letters of Windows-1252, and UTF-8 called so is refused."""
    text, path = "age,income,city,plan\n41,2100.5,Köln,pro\n", "/models/people/predict"
    expected = ask(client, text, path).data
    for mark in ("utf-8-sig", "utf-16"):
        assert ask(client, text.encode(mark), path, "text/csv; charset=latin-1").data == expected
    for charset in ("latin-1", "windows-1252", "iso-8859-1"):
        kind = f"text/csv; charset={charset}"
        assert ask(client, text.encode("cp1252"), path, kind).data == expected
        assert "its bytes are UTF-8: name that" in refused(client, text, path=path, kind=kind)["error"]
    euro = refused(client, "age,€\n1,2\n".encode("cp1252"), path=path, kind="text/csv; charset=latin-1")
    assert euro["feature"] == "€"


def test_spaces_after_separators_are_no_part_of_the_cells(client):
    """In the form ``a, b, c``, as in training, cells begin after the space; quotes too."""
    expected = ask(client, "age,income,city,plan\n41,2100.5,Köln,pro\n", "/models/people/predict").data
    for header in ("age, income, city, plan", '"age", "income", "city", "plan"'):
        for row in ("41, 2100.5, Köln, pro", '41, 2100.5, "Köln", "pro"', "41,2100.5,Köln,pro"):
            assert ask(client, f"{header}\n{row}\n", "/models/people/predict").data == expected
    bare = ask(client, "41, 2100.5, Köln, pro\n", "/models/people/predict", "text/csv; header=absent")
    assert bare.data == expected.partition(b"\n")[2]
    kept = ask(client, "age,income,city,plan\n41,2100.5, Köln,pro\n", "/models/people/predict").data
    assert kept != expected


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_table_is_answered_with_its_separator(client, separator):
    """Semicolons, tabs and bars part cells as commas do, with a header and without."""
    answer = ask(client, TABLE.replace(",", separator))
    assert answer.text == ask(client, TABLE).text.replace(",", separator)
    rows = TABLE.partition("\n")[2]
    bare = ask(client, rows.replace(",", separator), kind="text/csv; header=absent")
    assert bare.text == ask(client, rows, kind="text/csv; header=absent").text.replace(",", separator)


def test_the_separator_of_a_row_is_the_one_that_training_knows(tmp_path):
    """Without a header, the comma of "1,5;Bonn" is decimal; where nobody can tell, a header is asked for."""
    rows = [f"{i % 7},{i % 2};{['Bonn', 'Trier'][i % 3 % 2]};{'ab'[i % 5 % 2]}" for i in range(80)]
    (tmp_path / "x.csv").write_text("\n".join(["x;city;y", *rows]))
    table = dataset.read(tmp_path / "x.csv", "y")
    fitted = train(table, "standard", "decision_tree")
    export_pipeline(fitted.pipeline, fitted.train, name="x", models=tmp_path, readings=table.readings)
    client = create_app(Config(models=str(tmp_path))).test_client()
    bare = "\n".join(row.rpartition(";")[0] for row in rows)
    for path, kind in (("/predict", "text/csv; header=absent"), ("/invocations", "text/csv")):
        cells = ask(client, bare, path, kind).text.replace(";", ",").splitlines()
        probabilities = np.array([line.split(",")[2:] for line in cells], dtype=float)
        assert np.abs(probabilities - fitted.pipeline.predict_proba(table.features)).max() < 1e-6
        error = refused(client, "1,5;Ulm\n", path=path, kind=kind)["error"]
        assert error.startswith("line 1: its cells may be separated by ',' or by ';': send a header row")


def test_a_number_with_another_decimal_sign_is_refused_with_an_example(tmp_path):
    """With decimal commas in training, "1.234" may be either number: the refusal says how to write it."""
    rows = [f"{i},{i % 9};{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(["x;y", *rows]))
    table = dataset.read(tmp_path / "x.csv", "y")
    fitted = train(table, "standard", "decision_tree")
    export_pipeline(fitted.pipeline, fitted.train, name="x", models=tmp_path, readings=table.readings)
    client = create_app(Config(models=str(tmp_path))).test_client()
    remedy = "but a number belongs there: CSV has it as in training, such as 1234,5, and JSON as 1234.5"
    assert refused(client, "x\n1.234\n")["error"].endswith(f"is text ('1.234'), {remedy}")
    assert client.post("/predict", json={"features": ["1,5"]}).json["error"].endswith(f"('1,5'), {remedy}")
    assert ask(client, 'x\n"1234,5"\n').status_code == 200


def test_too_many_rows(models):
    """The limit of rows holds for tables, whatever their number of lines."""
    app = create_app(Config(models=str(models.path), default_model="iris", limits=Limits(max_rows=3)))
    lines = [HEADER, *["5.1,3.5,1.4,0.2"] * 9_000]
    assert ask(app.test_client(), "\n".join(lines[:4])).status_code == 200
    answer = ask(app.test_client(), "\n".join(lines))
    assert (answer.status_code, answer.json["code"], answer.json["limit"]) == (413, "too_many_rows", 3)


numbers = st.floats(0.01, 9.0) | st.integers(1, 9)


@generated(60)
@given(rows=st.lists(st.tuples(*[numbers] * 4), min_size=1, max_size=5), order=st.permutations(FLOWERS))
def test_any_table_is_answered_as_json(client, rows, order):
    """Rows written by Python's csv module are answered as in JSON, whatever the order of the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, order)
    writer.writeheader()
    writer.writerows(dict(zip(FLOWERS, row, strict=True)) for row in rows)
    answer = ask(client, text.getvalue(), accept="application/json")
    assert answer.data == client.post("/predict", data=json.dumps({"features": rows})).data


@generated(150)
@given(
    body=st.binary(max_size=60) | st.text('",\r\n;é\0 1.x', max_size=60).map(str.encode),
    with_header=st.booleans(),
)
def test_any_bytes_are_answered(client, body, with_header):
    """Any bytes sent as a table get an answer or a sentence, never an error of the server."""
    answer = ask(client, HEADER.encode() + b"\n" + body if with_header else body)
    assert answer.status_code in (200, 400)
    assert answer.status_code == 200 or answer.json["error"]


def test_classes_with_line_ends_are_quoted(tmp_path):
    """A class whose name has a line end, a quote or a comma is one cell of the answer."""
    rows, names = np.arange(40.0)[:, None], ["a\nb", 'c"d,e', "f\rg"]
    labels = np.array(names)[np.arange(40) * 3 // 40]
    pipeline = make_pipeline(LogisticRegression()).fit(rows, labels)
    export_pipeline(pipeline, rows, labels, name="lines", models=tmp_path, feature_names=["x"])
    client = create_app(Config(models=str(tmp_path))).test_client()
    answer = ask(client, "x\n1\n39\n")
    cells = list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))
    assert cells[0][2:] == [f"probabilities_{name}" for name in pipeline.classes_]
    assert [row[1] for row in cells[1:]] == pipeline.predict([[1.0], [39.0]]).tolist()


def test_an_empty_text_that_is_a_category(tmp_path):
    """If the pipeline knows the empty text as a category, an empty cell is that category."""
    table = pd.DataFrame({"city": ["", "Bonn", "Trier"] * 40, "age": [float(age) for age in range(120)]})
    answers = (table["city"] == "").astype(int) ^ (table["age"] > 60).astype(int)
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough"
    )
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=2000)).fit(table, answers)
    export_pipeline(pipeline, table, answers, name="towns", models=tmp_path)
    client = create_app(Config(models=str(tmp_path))).test_client()
    answer = ask(client, 'city,age\n"",30\n', accept="application/json").get_json()
    expected = pipeline.predict_proba(pd.DataFrame({"city": [""], "age": [30.0]}))
    assert answer["probabilities"][0] == pytest.approx(expected[0].tolist(), abs=1e-9)


def test_an_empty_cell_that_may_be_a_text_or_missing_is_refused(tmp_path):
    """Where training had the empty text and missing ones, CSV cannot tell them apart, and JSON does."""
    table = pd.DataFrame({"city": ["", "Bonn", None] * 40, "": [float(age) for age in range(120)]})
    answers = [0, 1, 1] * 40
    encoder = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=2000)).fit(table, answers)
    export_pipeline(pipeline, table, answers, name="towns", models=tmp_path)
    client = create_app(Config(models=str(tmp_path))).test_client()
    error = refused(client, table.to_csv(index=False))
    assert error["error"].startswith("line 2: feature 'city' of row 0 is empty: send JSON")
    records = client.post("/predict", json={"instances": table.to_dict("records")}).json["predictions"]
    probabilities = [list(record["probabilities"].values()) for record in records]
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(table), rtol=0, atol=1e-7)
    filled = table[table["city"] == "Bonn"]
    assert len(ask(client, filled.to_csv(index=False)).text.splitlines()) == 41
