"""Dates: read the same in training and in requests, and taken apart in the graph as in NumPy."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from conftest import eventually
from routes import answers
from sessions import opened
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.__main__ import main
from unpickled.export import ConversionError, DataError, export_pipeline
from unpickled.export.__main__ import export as commands
from unpickled.export.converters.dates import CONVERTERS
from unpickled.export.data import dataset, dates
from unpickled.export.data.columns import Choices
from unpickled.export.dates import DateParts
from unpickled.export.graph import Graph, Tensor
from unpickled.export.train import train
from unpickled.server import Config, create_app
from unpickled.server.artifact.manifest import Notation
from unpickled.server.model.dates import DAY, FIRST, LAST, example, seconds, written

ARROW = "application/vnd.apache.arrow.stream"
JSON = {"Accept": "application/json"}
ROWS = 160
BORDERS = [
    *("0001-01-01T00:00:00", "0001-03-01T00:00:00", "1600-02-29T23:59:59", "1900-02-28T23:59:59"),
    *("1900-03-01T00:00:00", "1969-12-31T23:59:59", "1970-01-01T00:00:00", "1999-12-31T23:00:00"),
    *("2000-02-29T12:59:59", "2023-02-28T23:59:59", "2024-02-29T00:00:00", "2024-03-01T00:00:00"),
    *("2100-02-28T23:59:59", "2100-03-01T00:00:00", "9999-02-28T00:00:00", "9999-12-31T23:59:59"),
]
# How people write a date with a time, and the format that reads it back.
SPELLINGS = {
    "date": "%Y-%m-%d",
    "T": "%Y-%m-%dT%H:%M:%S",
    "space": "%Y-%m-%d %H:%M",
    "fraction": "%Y-%m-%d %H:%M:%S.%f",
    "slashes": "%Y/%m/%d %H:%M:%S",
    "dots": "%Y.%m.%d %H:%M",
    "day first": "%d.%m.%Y",
    "day first, time": "%d/%m/%Y %H:%M",
    "month first": "%m/%d/%Y",
    "month first, half days": "%m/%d/%Y %I:%M %p",
    "UTC": "%Y-%m-%dT%H:%M:%SZ",
}


def moments(count: int, seed: int = 0) -> list[datetime]:
    """Seconds of two years, the last days of months among them."""
    random = np.random.default_rng(seed)
    ends = [datetime(2022, month, 28, 23, 59, 59) for month in range(1, 13)]
    first = datetime(2022, 1, 1).replace(tzinfo=UTC).timestamp()
    drawn = (first + random.integers(0, 730 * DAY, count - len(ends))).tolist()
    return [*ends, *(datetime.fromtimestamp(second, UTC).replace(tzinfo=None) for second in drawn)]


def written_table(path: Path, columns: dict[str, list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *zip(*columns.values(), strict=True)])
    path.write_text(text.getvalue(), encoding="utf-8")
    return text.getvalue().encode()


def trained(path: Path, models: Path, classifier: str = "decision_tree") -> tuple[Any, dataset.Dataset]:
    """A model of a table with dates, exported; the fitted pipeline and the table as it was read."""
    table = dataset.read(path, "late", Choices(expand=True))
    fitted = train(table, "standard", classifier)
    export_pipeline(
        fitted.pipeline,
        fitted.train,
        name="orders",
        models=models,
        held_out=fitted.held_out,
        training=fitted.training,
        readings=table.readings,
    )
    return fitted.pipeline, table


def client_of(models: Path) -> Any:
    config = Config.of(models=str(models), reload_seconds=0, predict_route="/vertex")
    return create_app(config).test_client()


def in_graph(numbers: np.ndarray) -> np.ndarray:
    """The parts of dates as the nodes of a graph make them."""
    graph = Graph()
    columns = graph.input("x", "float64", 1).columns()
    parts = CONVERTERS[DateParts](graph, DateParts(hour=True), columns)
    model = graph.traced([Tensor(graph.matrix(parts, "float64"), "float64", len(parts))])
    session = opened(model)
    return session.run(None, {"x": numbers[:, None]})[0]


@pytest.fixture(scope="module")
def orders(tmp_path_factory) -> tuple[Any, Any]:
    """A client of a model of dates in three notations, one with gaps, and the folder of its models."""
    folder = tmp_path_factory.mktemp("orders")
    ordered = moments(ROWS)
    joined = [when.strftime("%d.%m.%Y") for when in moments(ROWS, 1)]
    columns = {
        "ordered": [str(when) for when in ordered],
        "joined": ["" if row % 9 == 0 else text for row, text in enumerate(joined)],
        "paid": [f"{when.isoformat()}+02:00" for when in moments(ROWS, 2)],
        "weight": [str(row % 7 / 2) for row in range(ROWS)],
        "late": ["yes" if when.hour > 15 or when.weekday() > 4 else "no" for when in ordered],
    }
    written_table(folder / "orders.csv", columns)
    trained(folder / "orders.csv", folder / "models", "forest")
    return client_of(folder / "models"), folder / "models"


ROW = {"ordered": "2023-10-17 10:29:13", "joined": "19.12.2022", "paid": "2023-10-17T10:29Z", "weight": 0.5}


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_typed_dates_of_arrow_are_those_of_text(orders, unit):
    """Dates and timestamps of data frames, with gaps, answer as their text; a zone is told from none."""
    client, _ = orders
    zoned = pa.array(
        [datetime(2023, 10, 17, 10, 29, 13, tzinfo=UTC)] * 2, pa.timestamp(unit, "Europe/Berlin")
    )
    ordered = pa.array([datetime(2023, 10, 17, 23, 59, 59), datetime(1969, 12, 31)], pa.timestamp(unit))
    joined = pa.array([datetime(2022, 12, 19), None], pa.date32() if unit == "s" else pa.date64())
    columns = {"ordered": ordered, "joined": joined, "paid": zoned, "weight": pa.array([0.5, 1.0])}
    rows = [
        ["2023-10-17T23:59:59", "2022-12-19", "2023-10-17T10:29:13Z", 0.5],
        ["1969-12-31", None, "2023-10-17T10:29:13Z", 1.0],
    ]
    answer = client.post("/predict", data=stream(columns), content_type=ARROW, headers=JSON)
    expected = client.post("/predict", json={"features": rows}).json
    assert answer.json["probabilities"] == expected["probabilities"]
    error = client.post("/predict", data=stream(columns | {"ordered": zoned}), content_type=ARROW).json
    assert "which has an offset from UTC, unlike in training" in error["error"]


def stream(columns: dict[str, Any]) -> bytes:
    """A table as an Arrow stream."""
    table, sink = pa.table(columns), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.long
@pytest.mark.parametrize(
    "offset", [DAY - 1.0, *(pytest.param(offset, marks=pytest.mark.long) for offset in (0.0, 39_600.0, 0.25))]
)
def test_every_day_of_ten_thousand_years_is_taken_apart_alike(offset):
    """NumPy, the graph and the calendar of NumPy's own dates agree on every day from year 1 to 9999."""
    days = np.arange(FIRST // DAY, LAST // DAY + 1)
    numbers = days * DAY + offset
    calendar = days.astype(np.int64).astype("datetime64[D]")
    years = calendar.astype("datetime64[Y]").astype(np.int64) + 1970
    months = calendar.astype("datetime64[M]").astype(np.int64) % 12 + 1
    expected = np.stack([years, months, (days + 3) % 7, np.full(len(days), offset // 3600), days], axis=1)
    assert np.array_equal(DateParts(hour=True).fit_transform(numbers[:, None]), expected)
    assert np.array_equal(in_graph(numbers), expected)


def test_numbers_beside_midnight_missing_and_beyond_the_years_are_taken_apart_alike():
    """The graph and NumPy agree to the last bit beside each border, on NaN, and beyond the years."""
    borders = np.array([seconds(text, Notation(date="year first", times=True)) for text in BORDERS])
    beside = [np.nextafter(borders, end) for end in (-np.inf, np.inf)]
    extremes = np.array([np.nan, -0.0, 5e-324, -5e-324, 1e12, -1e12, 1e300, -1e300])
    numbers = np.concatenate([borders, *beside, extremes])
    parts = DateParts(hour=True).fit_transform(numbers[:, None])
    assert np.array_equal(in_graph(numbers), parts, equal_nan=True)
    assert np.isnan(parts).sum() == 5
    for text, (year, month, weekday, hour, _) in zip(BORDERS, parts.tolist(), strict=False):
        when = datetime.fromisoformat(text)
        assert (when.year, when.month, when.weekday(), when.hour) == (year, month, weekday, hour), text


@pytest.mark.parametrize(
    ("text", "order", "iso"),
    [
        ("2024-02-29", "year first", "2024-02-29T00:00:00"),
        (" 2024-2-9 ", "year first", "2024-02-09T00:00:00"),
        ("2024-02-29t23:59:59.999999999", "year first", "2024-02-29T23:59:59"),
        ("31/12/1969 23:59", "day first", "1969-12-31T23:59:00"),
        ("12-31-1969 12:00 AM", "month first", "1969-12-31T00:00:00"),
        ("12/31/1969 12:30:05 pm", "month first", "1969-12-31T12:30:05"),
        ("1969-12-31", "day first", "1969-12-31T00:00:00"),
    ],
)
def test_a_date_is_whole_seconds(text, order, iso):
    """Each spelling is read as Python reads ISO 8601, but for fractions of a second; ISO always is."""
    expected = datetime.fromisoformat(f"{iso}+00:00").timestamp()
    notation = Notation(date=order, times=True)
    assert seconds(text, notation) == expected
    assert written(expected, notation) == iso


@pytest.mark.parametrize(
    "text", ["2024-02-30", "2023-02-29", "0000-01-01", "2024-01-01T24:00", "2024-01-01T00:60", "2024-1/1"]
)
def test_no_date_is_made_of_what_no_calendar_has(text):
    """Days and times that do not exist, and other texts, are no dates."""
    with pytest.raises(ValueError, match=text):
        seconds(text, Notation(date="year first", times=True))


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2024-01-01T00:30:00+02:00", "2023-12-31T22:30:00"),
        ("2024-01-01 00:30:00 -0530", "2024-01-01T06:00:00"),
        ("1891-01-01T00:00:00+00:09:21", "1890-12-31T23:50:39"),
    ],
)
def test_an_offset_leads_to_the_instant_in_utc(text, utc):
    """A date with an offset from UTC is the instant."""
    notation = Notation(date="year first", times=True, offset=True)
    assert written(seconds(text, notation), notation) == f"{utc}Z"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["01/02/2024", "12/12/2024"], "the day and the month of its dates, such as 01/02/2024, look alike"),
        (
            ["31/12/2024", "12/31/2024"],
            "not all of its cells are dates that are written alike, such as '12/31",
        ),
        (["2024-01-31", "2024-02-30"], "such as '2024-02-30': write them with the year first"),
        (["2024-01-01T00:00Z", "2024-01-01T00:00"], "and others have none, such as '2024-01-01T00:00'"),
    ],
)
def test_dates_that_mean_two_things_are_left_out_with_the_reason(texts, reason, tmp_path):
    """A column whose dates can be read in two ways, or in none, is left out; the sentence has a remedy."""
    assert dates.notation_of(texts)[0] is None
    days = {"when": texts * 20, "weight": [str(n) for n in range(0, 120, 3)], "late": ["yes", "no"] * 20}
    written_table(tmp_path / "orders.csv", days)
    table = dataset.read(tmp_path / "orders.csv", "late", Choices(expand=True))
    assert list(table.features) == ["weight"]
    assert reason in table.readings[0].reason


def test_a_text_among_dates_is_named_with_what_to_say(tmp_path):
    """A column of dates with a few other texts is no text: it is left out, and read once they are missing."""
    when = [f"2024-01-{day:02}" for day in range(1, 30)] + ["soon"]
    orders = {"when": when, "weight": [str(n % 7) for n in range(30)], "late": ["yes", "no"] * 15}
    written_table(tmp_path / "orders.csv", orders)
    pd.DataFrame(orders).to_parquet(tmp_path / "orders.parquet")
    for file in ("orders.csv", "orders.parquet"):
        refused, taken = (
            dataset.read(tmp_path / file, "late", Choices(missing=missing, expand=True)).readings[0]
            for missing in (frozenset(), frozenset({"soon"}))
        )
        assert (refused.role, taken.role) == ("date", "feature")
        assert refused.reason.endswith("such as 'soon': say --missing 'soon' if that is what it means")


@pytest.mark.parametrize("classifier", ["decision_tree", pytest.param("logistic", marks=pytest.mark.long)])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_dates_are_answered_by_every_route_as_the_pipeline_answers_them(tmp_path, spelling, classifier):
    """A table of dates in each spelling, with gaps: no row of any route is off."""
    when = moments(ROWS)
    texts = [each.strftime(SPELLINGS[spelling]) for each in when]
    cells = ["" if row % 11 == 0 else text for row, text in enumerate(texts)]
    late = ["yes" if each.month % 5 == 0 or each.weekday() > 4 or each.hour > 18 else "no" for each in when]
    weight = [str(row % 13 / 2) for row in range(ROWS)]
    table = written_table(tmp_path / "orders.csv", {"when": cells, "weight": weight, "late": late})
    pipeline, read = trained(tmp_path / "orders.csv", tmp_path / "models", classifier)
    expected = pipeline.predict_proba(read.features)
    values = {"when": [cell or None for cell in cells], "weight": [float(cell) for cell in weight]}
    for route, probabilities in answers(client_of(tmp_path / "models"), "orders", values, table):
        assert np.abs(probabilities - expected).max() < 1e-9, route


def test_the_borders_of_the_calendar_are_answered_as_the_pipeline_answers_them(tmp_path):
    """Leap days, midnights and the first and last years, in a model that has seen them all, are exact."""
    texts = [text for text in BORDERS for _ in range(10)]
    late = ["yes" if datetime.fromisoformat(text).weekday() > 2 else "no" for text in texts]
    when = {"when": texts, "weight": [str(row % 7) for row in range(160)], "late": late}
    table = written_table(tmp_path / "orders.csv", when)
    pipeline, read = trained(tmp_path / "orders.csv", tmp_path / "models", "forest")
    expected = pipeline.predict_proba(read.features)
    cells = {"when": texts, "weight": [float(weight) for weight in when["weight"]]}
    for route, probabilities in answers(client_of(tmp_path / "models"), "orders", cells, table):
        assert np.abs(probabilities - expected).max() < 1e-6, route


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ordered": 5}, "is a number (5), but a date belongs there, as text, such as 2024-01-31T12:30:00"),
        ({"ordered": "soon"}, "is text ('soon'), but a date belongs there, such as 2024-01-31T12:30:00"),
        (
            {"ordered": "2023-10-17T10:29Z"},
            "has an offset from UTC, unlike in training: write it like 2024-01",
        ),
        (
            {"paid": "2023-10-17T10:29"},
            "has no offset from UTC, unlike in training: write it like 2024-01-31T",
        ),
        ({"joined": "12/19/2022"}, "such as 2024-01-31 or, day first, 31/01/2024"),
        ({"joined": True}, "is true, but a date belongs there, as text"),
    ],
)
def test_a_wrong_date_is_refused_with_an_example(orders, change, sentence):
    """JSON and CSV name the row, the feature and what belongs there."""
    client, _ = orders
    answer = client.post("/predict", json={"instances": [ROW, {**ROW, **change}]})
    [name] = change
    assert answer.status_code == 400
    assert answer.json["error"].startswith(f"feature '{name}' of row 1 ")
    assert sentence in answer.json["error"]
    cells = [",".join(map(str, row.values())) for row in (ROW, {**ROW, **change})]
    table = client.post("/predict", data="\n".join([",".join(ROW), *cells]), content_type="text/csv")
    assert table.status_code == 400
    assert table.json["error"].startswith(f"line 3: feature '{name}' of row 1 is ")


def test_a_tensor_of_numbers_holds_seconds(orders):
    """V2 takes dates as text, and in a tensor of numbers as seconds since 1970 of the years 1 to 9999."""
    client, _ = orders
    numbers = [1_697_538_553.0, 1_671_408_000.0, 1_697_538_540.0, 0.5]
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": numbers}
    path = "/v2/models/orders/infer"
    asked = [tensor, {**tensor, "datatype": "BYTES", "data": list(ROW.values())}]
    first, second = (client.post(path, json={"inputs": [each]}) for each in asked)
    assert first.status_code == 200
    assert first.json["outputs"] == second.json["outputs"]
    probabilities = client.post("/predict", json=ROW).json["probabilities"]
    assert first.json["outputs"][1]["data"] == list(probabilities.values())
    late = client.post(path, json={"inputs": [{**tensor, "data": [1e15, *numbers[1:]]}]})
    assert "outside what the model can compute with (0001-01-01T00:00:00 to 9999-12-31" in late.json["error"]


def test_dates_are_described_as_text_with_an_example(orders):
    """OpenAPI, the protocols' metadata and the examples of the page show dates as text."""
    client, _ = orders
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    ordered, joined, paid, _ = next(s for n, s in schemas.items() if n.endswith("Row"))["prefixItems"]
    assert ordered["anyOf"][0]["type"] == "string"
    assert "date, such as 2024-01-31T12:30:00; in training: 2022-0" in ordered["description"]
    assert {"type": "string", "format": "date"} in joined["anyOf"]
    assert paid["anyOf"][0]["format"] == "date-time"
    tensors = client.get("/v2/models/orders").json["inputs"]
    assert (tensors[0]["datatype"], tensors[0]["parameters"]["content_type"]) == ("BYTES", "datetime")
    rows = client.get("/models/orders").json["manifest"]["golden"]["rows"]
    assert len(rows[0][0]) == len("2024-01-31T12:30:00")
    assert client.post("/predict", json={"features": [list(row) for row in rows]}).status_code == 200


def test_a_model_is_described_with_its_dates(orders, capsys):
    """The command shows the kind and the range of a date as a date."""
    assert main(["models", "show", "orders", "--models", str(orders[1])]) == 0
    output = capsys.readouterr().out
    line = next(line for line in output.splitlines() if "ordered" in line)
    assert line.split()[:2] == ["ordered", "date"]
    assert line.split()[-3:] == ["2022-01-04", "to", "2023-12-29"]


def test_a_shadow_takes_the_dates_that_were_read(orders, tmp_path):
    """A shadow answers rows with dates, whichever form they came in."""
    home = tmp_path / "models" / "orders"
    for number in ("1", "2"):
        (home / number).mkdir(parents=True)
        (home / number / "model.onnx").write_bytes((orders[1] / "orders/1/model.onnx").read_bytes())
    (home / "serving.toml").write_text("[traffic]\n1 = 1.0\n[shadow]\nversion = 2\nshare = 1.0\n")
    client = client_of(tmp_path / "models")
    tensors = [{"name": n, "shape": [1], "datatype": "BYTES", "data": [v]} for n, v in ROW.items()]
    tensors[-1] |= {"datatype": "FP64"}
    client.post("/v2/models/orders/infer", json={"inputs": tensors})
    client.post("/predict", json={"instances": [ROW, ROW]})
    same = 'unpickled_shadow_rows_total{agreement="same"'
    eventually(lambda: sum(_values(client, same)) == 3)
    assert sum(_values(client, "unpickled_shadow_refused_rows_total")) == 0


def _values(client: Any, series: str) -> list[float]:
    lines = client.get("/metrics").text.splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith(series)]


def test_dates_of_the_files_own_type_are_read(tmp_path):
    """Parquet's timestamps, with a zone too, and its dates become features; times of day do not."""
    when = pd.Series(moments(ROWS))
    frame = pd.DataFrame({"when": when, "zoned": when.dt.tz_localize("Europe/Oslo", ambiguous="NaT")})
    frame["day"], frame["text"], frame["clock"] = when.dt.date, when.astype(str), when.dt.time
    frame["late"] = np.where(when.dt.hour > 15, "yes", "no")
    frame.to_parquet(tmp_path / "orders.parquet")
    table = dataset.read(tmp_path / "orders.parquet", "late", Choices(expand=True))
    assert table.dates == {"when": True, "zoned": True, "day": False, "text": True}
    assert table.features["when"].tolist() == [each.replace(tzinfo=UTC).timestamp() for each in when]
    zoned = table.features["zoned"].to_numpy() - table.features["when"].to_numpy()
    assert set(zoned[~np.isnan(zoned)]) <= {-3600.0, -7200.0}
    assert "times of day" in table.readings[4].reason


def test_the_default_leaves_dates_out_and_names_the_remedy(tmp_path):
    """Without --dates expand, a column of dates is left out, and the reason names that option."""
    days = [when.strftime("%Y-%m-%d") for when in moments(40)]
    written_table(tmp_path / "orders.csv", {"when": days, "n": ["1", "3"] * 20, "late": ["yes", "no"] * 20})
    command = ["train", "--data", str(tmp_path / "orders.csv"), "--target", "late"]
    models = ["--models", str(tmp_path / "models")]
    left = CliRunner().invoke(commands, [*command, *models], catch_exceptions=False)
    assert "left out: it holds dates; --dates expand makes year, month, weekday, hour and days" in left.output
    expanded = CliRunner().invoke(commands, [*command, *models, "--dates", "expand"], catch_exceptions=False)
    assert "written like 2022-01-28; year, month, weekday and days since 1970" in expanded.output
    assert "orders.csv: 40 rows, 2 features" in expanded.output


def test_a_saved_pipeline_with_date_parts_converts_with_a_sample_of_dates(tmp_path):
    """DateParts is a transformer like scikit-learn's: in a pipeline of one's own, saved with joblib."""
    when = moments(ROWS)
    late = np.array([each.hour > 15 for each in when])
    rows = pd.DataFrame({"when": [each.replace(tzinfo=UTC).timestamp() for each in when]})
    pipeline = make_pipeline(DateParts(hour=True), StandardScaler(), LogisticRegression()).fit(rows, late)
    joblib.dump(pipeline, tmp_path / "orders.joblib")
    assert pipeline[0].get_feature_names_out().tolist()[3] == "when_hour"
    written_table(tmp_path / "rows.csv", {"when": [each.strftime("%d/%m/%Y %H:%M:%S") for each in when]})
    options = ["--sample", str(tmp_path / "rows.csv"), "--models", str(tmp_path / "models")]
    command = ["convert", str(tmp_path / "orders.joblib"), *options]
    CliRunner().invoke(commands, command, catch_exceptions=False)
    answer = client_of(tmp_path / "models").post("/predict", json={"when": when[0].isoformat()})
    assert list(answer.json["probabilities"].values()) == pytest.approx(pipeline.predict_proba(rows[:1])[0])


@pytest.mark.parametrize(
    "dated",
    [
        pd.Series,
        lambda when: pd.Series(when).dt.tz_localize("UTC"),
        lambda when: pd.Series(when, dtype=object),
    ],
)
def test_a_frame_with_dates_is_refused_with_a_remedy_that_works(tmp_path, dated):
    """Columns of dates are refused with an expression of their seconds, and DateParts, which convert."""
    when = moments(ROWS)
    dates, late = dated(when), np.array([each.hour > 15 for each in when])
    frame = pd.DataFrame({"when": dates})
    coded = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(frame, late)
    with pytest.raises(
        ConversionError, match=r"'when'.* a date: .*seconds since 1970, with .*DateParts"
    ) as caught:
        export_pipeline(coded, frame, name="coded", models=tmp_path)
    expression = str(caught.value).partition("they are ")[2].removesuffix(".")
    seconds = pd.DataFrame({"when": eval(expression, {"pd": pd, "dates": dates})})
    pipeline = make_pipeline(DateParts(hour=True), StandardScaler(), LogisticRegression()).fit(seconds, late)
    export_pipeline(pipeline, seconds, name="parts", models=tmp_path)
    answer = client_of(tmp_path).post("/predict", json={"when": seconds["when"][0]})
    assert list(answer.json["probabilities"].values()) == pytest.approx(
        pipeline.predict_proba(seconds[:1])[0]
    )


def test_a_sample_without_dates_is_refused_where_the_pipeline_takes_them(tmp_path):
    """Text that is no date, in a column of which a pipeline made DateParts, is told with the column."""
    rows = np.arange(200.0).reshape(-1, 1) * DAY
    pipeline = make_pipeline(DateParts(), RandomForestClassifier(3)).fit(rows, rows[:, 0] > 99 * DAY)
    joblib.dump(pipeline, tmp_path / "orders.joblib")
    written_table(tmp_path / "rows.csv", {"when": ["2024-01-01", "later"]})
    command = ["convert", str(tmp_path / "orders.joblib"), "--sample", str(tmp_path / "rows.csv")]
    with pytest.raises(
        DataError, match="fitted on dates in column 'when', but not all of its cells are dates"
    ):
        CliRunner().invoke(commands, [*command, "--models", str(tmp_path)], catch_exceptions=False)


def test_an_example_is_a_date_of_its_own_notation():
    """The example of each notation is read as that very date."""
    for times in (False, True):
        for offset in (False, True):
            notation = Notation(date="day first", times=times, offset=offset)
            assert written(seconds(example(notation), notation), notation) == example(notation)
            assert json.dumps(example(notation)).startswith('"2024-01-31')
