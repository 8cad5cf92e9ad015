"""Tables as Arrow streams, in and out: the same answers as in JSON, and no body that does harm."""

import datetime
import io
import random
import struct
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import requests
from conftest import FLOWERS, PERSON, generated, serving
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import ipc, parquet
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unpickled.export import export_pipeline
from unpickled.server import Config, create_app

ARROW = "application/vnd.apache.arrow.stream"
PEOPLE = "/models/people/predict"
CITY = pa.dictionary(pa.int8(), pa.string())
DAY = datetime.date(2026, 11, 28)


def stream(table, rows=None, **options):
    """A table of pyarrow as a stream, with so many rows in each batch."""
    buffer = io.BytesIO()
    with ipc.new_stream(buffer, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=rows)
    return buffer.getvalue()


def person(**columns):
    """One person as a table of pyarrow, some of its columns replaced or added."""
    return pa.table({name: [value] for name, value in PERSON.items()} | columns)


def ask(client, body, path=PEOPLE, accept=None, kind=ARROW):
    return client.post(path, data=body, content_type=kind, headers={"Accept": accept} if accept else {})


def table(answer):
    """The answer as a table of pyarrow, after all of it was checked."""
    assert answer.status_code == 200, answer.text
    assert answer.content_type == ARROW
    answers = ipc.open_stream(answer.data).read_all()
    answers.validate(full=True)
    return answers


def refused(client, body, **how):
    answer = ask(client, body, **how)
    assert answer.status_code == 400, answer.text
    return answer.json


@pytest.mark.parametrize("name", ["iris", "forest"])
def test_a_frame_in_a_frame_out(client, models, name):
    """A frame that polars writes is answered with one that polars reads: the digits are those of JSON."""
    rows = models.rows[name]
    body = pl.DataFrame(rows, schema=FLOWERS).write_ipc_stream(None).getvalue()
    answers = pl.read_ipc_stream(ask(client, body, f"/models/{name}/predict").data)
    expected = client.post(f"/models/{name}/predict", json={"features": rows.tolist()}).json
    assert answers.columns[:2] == ["prediction", "predicted_class"]
    assert answers["prediction"].to_list() == expected["prediction"]
    assert answers["predicted_class"].to_list() == expected["predicted_class"]
    assert answers[:, 2:].rows() == [tuple(scores) for scores in expected["probabilities"]]


@pytest.mark.parametrize("city", [pa.string(), pa.large_string(), pa.string_view(), CITY], ids=str)
@pytest.mark.parametrize("rows", [None, 7])
def test_every_encoding_of_a_text(client, models, city, rows):
    """Texts of every encoding are read, in one batch and in many, whose dictionaries may grow."""
    frame = models.rows["people"].assign(city=lambda frame: frame.city + " " + "am Rhein" * 2)
    expected = table(ask(client, stream(pa.Table.from_pandas(frame))))
    columns = pa.Table.from_pandas(frame).to_pydict() | {"city": pa.array(frame.city.tolist(), city)}
    parts = pa.concat_tables([pa.table(columns).slice(start, 50) for start in range(0, 200, 50)])
    answers = table(ask(client, stream(parts, rows, emit_dictionary_deltas=True)))
    assert answers.equals(expected)
    assert answers.column_names == ["prediction", "predicted_class", *expected.column_names[2:]]
    np.testing.assert_allclose(
        np.stack(answers.columns[2:], axis=1), models.pipelines["people"].predict_proba(frame), atol=1e-7
    )


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["Trier", "Köln", "Bonn"])], ids=str)
def test_categories_of_polars(client, models, kind):
    """Columns of categories are read as their texts, and a null as a missing value."""
    frame = pl.from_pandas(models.rows["people"])
    expected = table(ask(client, frame.write_ipc_stream(None).getvalue()))
    encoded = frame.with_columns(pl.col("city").cast(kind), pl.col("age").fill_nan(None))
    assert encoded["age"].null_count() > 0
    assert table(ask(client, encoded.write_ipc_stream(None).getvalue())).equals(expected)


@pytest.mark.parametrize(
    "kind",
    [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)] + ["halffloat", "float", "double"],
)
def test_numbers_of_every_width(client, kind):
    """Integers and floats are read as the doubles of the same value, in a dictionary too."""
    numbers = [[5, 6], [3, 2], [1, 4], [0, 2]]
    expected = client.post("/predict", json={"features": np.transpose(numbers).tolist()}).json
    columns = {name: pa.array(values).cast(kind) for name, values in zip(FLOWERS, numbers, strict=True)}
    plain = table(ask(client, stream(pa.table(columns)), "/predict"))
    encoded = {name: column.dictionary_encode() for name, column in columns.items()}
    for answers in (plain, table(ask(client, stream(pa.table(encoded)), "/predict"))):
        assert np.stack(answers.columns[2:], axis=1).tolist() == expected["probabilities"]


@pytest.mark.parametrize("bits", [5.1, 0.1 + 0.2, 5e-324, -0.0, 1e-310, 2.0**53 - 1])
def test_doubles_are_unchanged(client, bits):
    """A double reaches the model with all its bits."""
    columns = {name: [bits if name == "sepal_width" else 1.0] for name in FLOWERS}
    answers = table(ask(client, stream(pa.table(columns)), "/predict"))
    expected = client.post("/predict", json={"features": [1.0, bits, 1.0, 1.0]}).json
    assert [column[0].as_py() for column in answers.columns[2:]] == expected["probabilities"][0]


@pytest.mark.parametrize("number", [2**53 + 1, -(2**60) - 3, 2**63 - 1])
def test_large_integers_are_rounded_as_in_json(client, number):
    """An integer that no double has becomes the nearest one, as the same digits in JSON do."""
    columns = {name: pa.array([number if name == "sepal_width" else 1]) for name in FLOWERS}
    answers = table(ask(client, stream(pa.table(columns)), "/predict"))
    expected = client.post("/predict", json={"features": [1, number, 1, 1]}).json
    assert [column[0].as_py() for column in answers.columns[2:]] == expected["probabilities"][0]


@pytest.mark.parametrize("gap", [pa.array([None], pa.float64()), pa.array([float("nan")]), pa.nulls(1)])
def test_what_is_missing(client, gap):
    """A null, a NaN and a column of nothing but nulls mean the same as null in JSON."""
    answers = table(ask(client, stream(person(age=gap))))
    expected = client.post(PEOPLE, json=PERSON | {"age": None}).json
    assert answers["prediction"].to_pylist() == [expected["prediction"]]
    assert [column[0].as_py() for column in answers.columns[2:]] == list(expected["probabilities"].values())


@pytest.mark.parametrize(
    "change",
    [
        {"age": "41"},
        {"age": True},
        {"age": float("inf")},
        {"city": 5},
        {"city": True},
        {"plan": "\ufdd0"},
    ],
    ids=str,
)
def test_refusals_are_those_of_json(client, change):
    """A value that JSON may not have is refused in the same words, with row and feature."""
    columns = {name: [value, (PERSON | change)[name]] for name, value in PERSON.items() if name not in change}
    columns |= {name: [value, value] for name, value in change.items()}
    expected = client.post(PEOPLE, json={"instances": [PERSON | change] * 2})
    answer = ask(client, stream(pa.table(columns)))
    assert (answer.status_code, answer.json) == (expected.status_code, expected.json)


@pytest.mark.parametrize("value", [None, float("nan"), 1e301, "3.5", False], ids=str)
def test_refusals_name_row_and_feature(client, value):
    """A number that the model cannot do with is refused as in JSON, wherever in the batches it stands."""
    columns = {name: [5.0, 5.0, 5.0] for name in FLOWERS} | {"sepal_width": [5.0, 5.0, value]}
    if not isinstance(value, float | None):
        columns["sepal_width"] = [value] * 3
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    expected = client.post("/predict", json={"features": rows}).json
    error = refused(client, stream(pa.table(columns), 2), path="/predict")
    assert error == expected
    assert (error["row"], error["feature"]) == (2 if isinstance(value, float | None) else 0, "sepal_width")


def test_errors_about_names(client):
    """Names that lack, that nobody knows or that stand twice are told, and an index with its remedy."""
    assert "'age' is not given: send null" in refused(client, stream(person().drop_columns("age")))["error"]
    assert "did you mean 'city'?" in refused(client, stream(person(citi=["Bonn"])))["error"]
    twice = person().append_column("age", pa.array([1.0]))
    assert "column 'age' stands twice" in refused(client, stream(twice))["error"]
    frame = pd.DataFrame([PERSON, PERSON], index=["a", "b"])
    error = refused(client, stream(pa.Table.from_pandas(frame)))["error"]
    assert error.startswith("column '__index_level_0__' is the index of a frame: leave it out")
    assert refused(client, stream(person().slice(0, 0)))["error"] == "there are zero rows: send at least one"


def test_other_columns_are_ignored(models):
    """With extra_columns, columns of any flat type are ignored, and a header of the answer names them."""
    client = create_app(Config.of(models=str(models.path), extra_columns="ignore")).test_client()
    extra = {
        "day": [DAY],
        "raw": [b"\xff"],
        "cost": [Decimal("1.5")],
        "note": pa.array(["x" * 20], "string_view"),
    }
    answer = ask(client, stream(pa.table(extra | person().to_pydict())))
    assert answer.headers["Ignored-Columns"] == "day, raw, cost, note"
    assert table(answer).equals(table(ask(client, stream(person()))))
    assert "list, which is not read: leave it out" in refused(client, stream(person(day=[[1]])))["error"]


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ([DAY], "type date32[day], which is not read: send it as text"),
        ([datetime.datetime(2026, 1, 1)], "type timestamp[us], which is not read: send it as text"),
        ([Decimal("41.5")], "type decimal, which is not read: cast it to float64"),
        ([b"41"], "type binary, which is not read: cast it to text"),
        ([[41.0]], "type list, which is not read: give a number or a text per row"),
        (pc.run_end_encode([41.0]), "type run-end encoded, which is not read: decode it (pyarrow."),
        (pa.array([DAY]).dictionary_encode(), "type date32[day], which is not read: send it as text"),
    ],
)
def test_types_that_are_not_read(client, column, sentence):
    """A type that may be read in several ways is refused, with what to do instead."""
    error = refused(client, stream(person(age=column)))
    assert sentence in error["error"]
    assert error["feature"] == "age"


def test_files_are_told_from_streams(client):
    """Parquet, Feather and compressed streams are named, with what to write instead."""
    for compression in ("lz4", "zstd"):
        error = refused(client, stream(person(), compression=compression))["error"]
        assert error.startswith("the buffers of the Arrow stream are compressed")
    buffer = io.BytesIO()
    parquet.write_table(person(), buffer)
    assert refused(client, buffer.getvalue())["error"].startswith(
        "the body is a Parquet file: write an Arrow"
    )
    answer = ask(client, buffer.getvalue(), kind="application/vnd.apache.parquet")
    assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type")
    assert f"send {ARROW} (polars: write_ipc_stream" in answer.json["error"]


def test_accept_chooses_the_answer(client):
    """Arrow and CSV are each answered in the type that Accept prefers, with the same columns."""
    sent = {ARROW: stream(person()), "text/csv": person().to_pandas().to_csv(index=False)}
    answers = {(kind, accept): ask(client, sent[kind], kind=kind, accept=accept)
               for kind in sent for accept in (ARROW, "text/csv", "application/json", "*/*")}  # fmt: skip
    for accept in (ARROW, "text/csv", "application/json"):
        assert answers[ARROW, accept].data == answers["text/csv", accept].data
        assert answers[ARROW, accept].content_type.startswith(accept)
    assert answers[ARROW, "*/*"].data == answers[ARROW, ARROW].data
    lines = pd.read_csv(io.StringIO(answers[ARROW, "text/csv"].text))
    assert list(lines) == table(answers[ARROW, ARROW]).column_names


def test_other_protocols_read_it(models):
    """SageMaker's path and that of Vertex read it too; the first one answers JSON with it if asked."""
    settings = Config.of(models=str(models.path), default_model="people", predict_route="/vertex")
    client = create_app(settings).test_client()
    expected = ask(client, stream(person()))
    assert ask(client, stream(person()), "/vertex").data == expected.data
    assert ask(client, stream(person()), "/invocations").data == expected.data
    answer = client.post("/invocations", json={"instances": [PERSON]}, headers={"Accept": ARROW})
    assert table(answer).equals(table(expected))
    assert ask(client, stream(person()), "/invocations", "application/json").json["prediction"]


def test_truth_values(tmp_path):
    """A feature that was boolean takes a column of truth values, with nulls where it may be missing."""
    frame = pd.DataFrame({"paid": [True, False, True, False] * 20, "days": range(80)})
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, frame.days % 3 == 0)
    export_pipeline(pipeline, frame, name="paid", models=tmp_path)
    client = create_app(Config(models=str(tmp_path))).test_client()
    answers = table(ask(client, stream(pa.Table.from_pandas(frame)), "/predict"))
    np.testing.assert_allclose(
        np.stack(answers.columns[2:], axis=1), pipeline.predict_proba(frame), atol=1e-9
    )
    body = stream(
        pa.table({"paid": [None], "days": [1]}, schema=pa.schema({"paid": "bool", "days": "int64"}))
    )
    assert "is missing (null or NaN)" in refused(client, body, path="/predict")["error"]


@pytest.mark.parametrize("library", ["polars", "pyarrow", "categories"])
@given(st.integers(0, 2**32))
@generated(100)
def test_damaged_bodies(client, library, seed):
    """A body with bits turned, numbers replaced or its end missing is answered or refused, never an error."""
    body = bytearray(_whole(library))
    chance = random.Random(seed)
    for _ in range(chance.choice([1, 1, 2, 4])):
        place = chance.randrange(len(body) - 8)
        if chance.random() < 0.5:
            body[place] ^= 1 << chance.randrange(8)
        else:
            number = chance.choice([0, 1, -1, 2**31 - 1, -(2**31), chance.randrange(-99, 99)])
            struct.pack_into("<i", body, place & ~3, number)
    cut = chance.randrange(len(body)) if chance.random() < 0.2 else len(body)
    answer = ask(client, bytes(body[:cut]))
    assert answer.status_code in (200, 400, 413), answer.text
    assert answer.status_code == 200 or answer.json["code"] in (
        "invalid_input",
        "too_many_rows",
        "body_too_large",
    )


def _whole(library):
    frame = pd.DataFrame([PERSON, PERSON | {"age": None, "city": "a city with a long name"}] * 3)
    if library == "polars":
        return pl.from_pandas(frame).write_ipc_stream(None).getvalue()
    frame = frame.astype({"city": "category"} if library == "categories" else {})
    return stream(pa.Table.from_pandas(frame), 4)


def test_parts_of_a_stream(client):
    """A stream of nothing, of two schemas, of too many batches, or with bytes behind it is refused."""
    whole, end = stream(person()), struct.pack("<II", 0xFFFFFFFF, 0)
    schema = stream(person().slice(0, 0)).removesuffix(end)
    rows = whole.removeprefix(schema).removesuffix(end)
    assert table(ask(client, schema + rows * 3)).num_rows == 3
    for body, sentence in {
        b"": "it is empty",
        end: "it is empty",
        schema * 2 + end: "its first message, and no other, has to be a schema",
        rows + end: "its first message, and no other, has to be a schema",
        whole + b"more": "4 bytes follow its end",
        schema + rows * 4200: "it has more than 4096 batches",
    }.items():
        assert f"the body is not an Arrow stream: {sentence}" in refused(client, body)["error"]


def test_few_bytes_cannot_stand_for_many(client):
    """Many rows, texts or values that a small body claims to hold are refused before memory is taken."""
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int8)), ["x" * 100_000])
    columns = {name: pa.array(np.zeros(100_000)) for name in ("age", "income")}
    answer = ask(client, stream(pa.table(columns | {"city": texts, "plan": texts})))
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")
    rows = pa.table({name: pa.nulls(100_001) for name in PERSON})
    assert ask(client, stream(rows)).json["code"] == "too_many_rows"


def test_few_bytes_cannot_stand_for_many_values(tmp_path):
    """Columns of nulls take no bytes: a table of more values than bytes is refused."""
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 50)), columns=[f"f{n}" for n in range(50)])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, frame.f0 > 0)
    export_pipeline(pipeline, frame, name="wide", models=tmp_path)
    client = create_app(Config(models=str(tmp_path))).test_client()
    answer = ask(client, stream(pa.table({name: pa.nulls(90_000) for name in frame})), "/predict")
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")
    assert "90000 rows of 50 features are more than 4194304 values" in answer.json["error"]


def test_over_a_socket(models, tmp_path):
    """Clients of a running server send frames and get frames; gzip around the stream is read."""
    with serving(tmp_path, "--default-model", "people", models=models.path) as server:
        frame = pl.from_pandas(models.rows["people"])
        headers = {"Content-Type": ARROW}
        body = frame.write_ipc_stream(None).getvalue()
        answer = requests.post(f"{server.url}/predict", data=body, headers=headers, timeout=60)
        assert pl.read_ipc_stream(answer.content)["predicted_class"].n_unique() == 2
        packed = pa.compress(body, "gzip", asbytes=True)
        headers["Content-Encoding"] = "gzip"
        again = requests.post(f"{server.url}/predict", data=packed, headers=headers, timeout=60)
        assert again.content == answer.content
