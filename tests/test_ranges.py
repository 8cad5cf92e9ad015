"""Values outside the training range are flagged, accepted, clipped or refused, alike over every protocol."""

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pandas as pd
import pytest
from conftest import FLOWER, FLOWERS, PERSON, generated, mixed_columns, shelve
from flask.testing import FlaskClient
from handmade import MANIFEST
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from routes import exchanges
from sklearn.compose import make_column_transformer
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.export.data.layout import Layout
from unpickled.server import Config
from unpickled.server.app import flask_app
from unpickled.server.artifact.manifest import MISSING_CATEGORY, Feature, Input
from unpickled.server.config import Traffic
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.policy import FeaturePolicy, Policy
from unpickled.server.model.range import ranges_of
from unpickled.server.model.ranges import Ranges
from unpickled.server.model.signature import Signature
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader
from unpickled.server.service import Service

FLOATS = np.finfo(np.float32)
ACTIONS = ["flag", "accept", "clip", "refuse"]
# The routes whose answers have room for a list of the values.
ROOMY = {"records", "Vertex", "V1 rows", "V1 columns", "Azure inputs"}
# A flower with a sepal of 2 m, and the same with the longest sepal of the training rows.
GIANT, LONGEST = [2000.0, *FLOWER[1:]], [7.9, *FLOWER[1:]]
FOUND = {"row": 0, "feature": "sepal_length", "value": 2000.0, "trained": [4.3, 7.9]}


def served(home: Path, settings: str = "") -> FlaskClient:
    """A client of a server of the models in a folder, each with these settings."""
    for folder in home.iterdir():
        (folder / "serving.toml").write_text(settings or "# nothing")
    return flask_app(Service(config(home))).test_client()


def config(home: Path) -> Config:
    """The settings of a server, which serves every protocol."""
    return Config(models=str(home), traffic=Traffic(predict_route="/vertex"))


@pytest.fixture(scope="module")
def spenders(tmp_path_factory) -> tuple[Path, Any, pd.DataFrame]:
    """A model whose amounts reach from 0 to 1000, its pipeline, and its training rows."""
    home = tmp_path_factory.mktemp("spenders")
    rng = np.random.default_rng(5)
    table = pd.DataFrame(
        {"age": rng.integers(18, 80, 200).astype(float), "income": rng.uniform(0, 1000, 200)}
    )
    table.loc[:1, "income"] = [0.0, 1000.0]
    table["city"] = rng.choice(["Bonn", "Köln"], 200)
    table["plan"] = rng.choice(["free", "pro"], 200)
    table.loc[5:9, "age"] = np.nan
    pipeline = make_pipeline(mixed_columns(), LogisticRegression()).fit(table, table["income"] > 400)
    export_pipeline(pipeline, table, name="spenders", models=home)
    return home, pipeline, table


@pytest.mark.parametrize("action", ACTIONS)
def test_every_route(spenders, tmp_path, action):
    """A training maximum of 1000, and 2000 asked: each policy, over every route."""
    home, pipeline, _ = spenders
    client = served(shelve_all(home, tmp_path), f'[inputs]\noutside = "{action}"')
    asked = pd.DataFrame({"age": [41.0, 30.0], "income": [900.0, 2000.0], "city": "Bonn", "plan": "pro"})
    used = asked.assign(income=[900.0, 1000.0]) if action == "clip" else asked
    expected = pipeline.predict_proba(used)
    finding = {"row": 1, "feature": "income", "value": 2000.0, "trained": [0.0, 1000.0]}
    finding |= {"used": 1000.0} if action == "clip" else {}
    cells = {name: column.tolist() for name, column in asked.items()}
    for route, answer, read in exchanges(client, "spenders", cells, asked.to_csv(index=False).encode()):
        if action == "refuse":
            check_refusal(route, answer)
            continue
        assert np.allclose(np.array(read(answer.data), float).reshape(2, 2), expected), route
        named = route != "lines" and action != "accept"
        assert answer.headers.get("Outside-Training") == ("income" if named else None), route
        if route in ROOMY:
            assert answer.json.get("outside") == ([finding] if named else None), route
        if route == "lines":
            last = json.loads(answer.data.splitlines()[1])
            assert last.get("outside") == (None if action == "accept" else [finding | {"row": 0}])


def check_refusal(route: str, answer: Any) -> None:
    """The answer is a refusal of the income in row 1; the first of several lines is answered."""
    lines = answer.data.splitlines() if route == "lines" else [answer.data]
    assert answer.status_code == (200 if route == "lines" else 400), route
    error = json.loads(lines[-1])
    assert (error["code"], error["feature"]) == ("outside_training", "income"), route
    assert (error["value"], error["trained"]) == (2000.0, [0.0, 1000.0])
    assert "2000, outside the training range (0 to 1000)" in error["error"]
    assert error["row"] == (0 if route == "lines" else 1)


def shelve_all(home: Path, target: Path) -> Path:
    """A copy of a folder of models."""
    for folder in home.iterdir():
        (target / folder.name).mkdir()
        (target / folder.name / "1").symlink_to(folder / "1")
    return target


def forms(row: Sequence[float]) -> list[tuple[str, Any]]:
    """Path and document of every request with one row of numbers."""
    record = dict(zip(FLOWERS, row, strict=True))
    tensor = {"name": "numbers", "shape": [1, 4], "datatype": "FP64", "data": row}
    return [
        ("/predict", {"features": row}),
        ("/predict", {"features": [row]}),
        ("/predict", record),
        ("/predict", {"instances": [row]}),
        ("/predict", {"instances": [record]}),
        ("/v1/models/iris:predict", {"instances": [row]}),
        ("/v1/models/iris:predict", {"inputs": [row]}),
        ("/score", {"Inputs": {"data": [row]}}),
        ("/vertex", {"instances": [record]}),
        ("/v2/models/iris/infer", {"inputs": [tensor]}),
        ("/v2/models/iris/infer", {"inputs": [tensor], "id": "a"}),
        ("/invocations", {"dataframe_split": {"columns": FLOWERS, "data": [row]}}),
    ]


@pytest.fixture(scope="module")
def clients(models, tmp_path_factory) -> dict[str, FlaskClient]:
    """A client for iris under each policy."""
    folders = {action: tmp_path_factory.mktemp(action) for action in ACTIONS}
    for folder in folders.values():
        shelve(models, folder / "iris", "iris")
    return {action: served(folder, f'inputs.outside = "{action}"') for action, folder in folders.items()}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("place", range(len(forms(FLOWER))))
def test_one_row(clients, place, action):
    """One row of numbers, which has ways of its own: the member and the header are all that differs."""
    (path, giant), (_, longest) = forms(GIANT)[place], forms(LONGEST)[place]
    answer = clients[action].post(path, json=giant)
    if action == "refuse":
        assert (answer.status_code, answer.json["code"]) == (400, "outside_training")
        return
    expected = clients["accept"].post(path, json=longest if action == "clip" else giant)
    assert without(answer) == expected.json
    assert expected.headers.get("Outside-Training") is None
    flagged, roomy = action != "accept", not path.startswith(("/v2", "/invocations"))
    finding = FOUND | ({"used": 7.9} if action == "clip" else {})
    assert answer.json.get("outside") == ([finding] if flagged and roomy else None)
    assert answer.headers.get("Outside-Training") == ("sepal_length" if flagged else None)


@pytest.mark.parametrize("place", range(len(forms(FLOWER))))
def test_one_row_inside(clients, place):
    """A row at both borders is inside: every policy answers it alike, byte for byte."""
    path, document = forms([7.9, 2.0, 1.0, 2.5])[place]
    answers = [client.post(path, json=document) for client in clients.values()]
    assert {answer.data for answer in answers} == {answers[0].data}
    assert all("Outside-Training" not in answer.headers for answer in answers)


def without(answer: Any) -> dict[str, Any]:
    """The document of an answer without what is outside."""
    return {name: value for name, value in answer.json.items() if name != "outside"}


def test_slack_and_borders(models, tmp_path):
    """Slack widens the range, and a border of its own replaces an end: answers have it beside training's."""
    shelve(models, tmp_path / "iris", "iris")
    settings = "[inputs]\nslack = 0.5\nfeatures.sepal_width = {highest = 10}\n"
    client = served(tmp_path, f"{settings}features.petal_width.outside = 'clip'")
    outside = client.post("/predict", json={"features": [9.8, 10.1, 1.4, 9.0]}).json["outside"]
    assert outside == [
        {"row": 0, "feature": "sepal_length", "value": 9.8, "trained": [4.3, 7.9], "range": [2.5, 9.7]},
        {"row": 0, "feature": "sepal_width", "value": 10.1, "trained": [2.0, 4.4], "range": [0.8, 10.0]},
        {
            "row": 0, "feature": "petal_width", "value": 9.0, "trained": [0.1, 2.5], "range": [-1.1, 3.7],
            "used": 3.7,
        },
    ]  # fmt: skip
    rows = [[9.6, 10.0, 1.4, 3.6], [2.6, 0.9, 9.6, -1.0]]
    for row in rows:
        assert "outside" not in client.post("/predict", json={"features": row}).json
    assert "outside" not in client.post("/predict", json={"features": rows * 500}).json


@pytest.mark.parametrize(
    ("settings", "words", "enforced"),
    [
        ("slack = 0.5", "20, outside the allowed range (2.5 to 9.7)", [2.5, 9.7]),
        ("features.sepal_length.highest = 8", "20, outside the allowed range (4.3 to 8)", [4.3, 8.0]),
        ("features.sepal_length.highest = 7.9", "20, outside the training range (4.3 to 7.9)", None),
        ("features.sepal_width.highest = 8", "20, outside the training range (4.3 to 7.9)", None),
    ],
)
def test_a_refusal_names_the_range_in_force(models, tmp_path, settings, words, enforced):
    """The sentence and the members have one range: that of training, or the one that the settings allow."""
    shelve(models, tmp_path / "iris", "iris")
    client = served(tmp_path, f"[inputs]\noutside = 'refuse'\n{settings}")
    for body in ({"features": [20.0, *FLOWER[1:]]}, {"features": [[20.0, *FLOWER[1:]], FLOWER]}):
        error = client.post("/predict", json=body).json
        assert (error["code"], words in error["error"]) == ("outside_training", True), error
        assert (error["trained"], error.get("range")) == ([4.3, 7.9], enforced)


def test_slack_of_any_size():
    """The range is wider by its slack in numbers of every size; an end is told to a billionth of it."""
    scales = {1e-300: 0.5, 1e-9: 0.1, 3.6: 0.5, 1e6: 1e-9, 1e15: 1e-15, 1e300: 0.1, 1.7e308: 0.001}
    for length, slack in scales.items():
        feature = Feature(name="x", kind="number", missing=False, minimum=0.0, maximum=length)
        tensor = Input(name="X", dtype="float64", features=("x",))
        [each] = ranges_of(replace(MANIFEST, features=(feature,), inputs=(tensor,)), Policy(slack=slack))
        assert each.least == pytest.approx(-slack * length, rel=1e-8, abs=0)
        assert each.most >= length


def test_an_empty_range_changes_nothing(models, tmp_path):
    """A border beyond the other end of the training range is a mistake: answers stay as they were."""
    shelve(models, tmp_path / "iris", "iris")
    service = Service(config(tmp_path))
    client = flask_app(service).test_client()
    before = client.post("/predict", json={"features": GIANT}).json
    (tmp_path / "iris" / "serving.toml").write_text("[inputs.features]\nsepal_length = {lowest = 9}")
    for _ in range(3):
        service.reloader.refresh()
    assert client.post("/predict", json={"features": GIANT}).json == before
    mistake = client.get("/models/iris").json["mistake"]
    assert mistake.startswith("inputs.features.sepal_length in serving.toml has lowest 9, above the highest")
    assert mistake.endswith("version 1, which is that of training (7.9): give highest, too, or lower it")


def test_the_card_has_the_ranges_in_force(models, tmp_path):
    """A model's card has its policy, and per feature the borders or the number of categories in force."""
    shutil.copytree(models.path / "people", tmp_path / "people")
    settings = "[inputs]\noutside = 'clip'\nfeatures.age = {outside = 'refuse', lowest = 0, highest = 130}"
    inputs = served(tmp_path, settings).get("/models/people").json["inputs"]
    assert (inputs["outside"], inputs["slack"]) == ("clip", 0.0)
    assert inputs["features"]["age"] == {"outside": "refuse", "lowest": 0.0, "highest": 130.0}
    assert inputs["features"]["city"] == {"outside": "clip", "known": 3}
    inputs = served(tmp_path, "inputs.outside = 'accept'").get("/models/people").json["inputs"]
    assert {each["outside"] for each in inputs["features"].values()} == {"accept"}
    assert all(each.keys() == {"outside"} for each in inputs["features"].values())


def test_gaps_and_categories(models, tmp_path):
    """A missing value is inside; an unknown category is flagged where numbers are clipped."""
    shutil.copytree(models.path / "people", tmp_path / "people")
    client = served(tmp_path, "inputs.outside = 'clip'")
    gap = client.post("/predict", json=PERSON | {"age": None})
    assert "outside" not in gap.json
    answer = client.post("/predict", json={"instances": [PERSON | {"age": 900, "city": "Rom"}, PERSON]})
    ages = models.rows["people"]["age"]
    assert answer.json["outside"] == [
        {"row": 0, "feature": "age", "value": 900.0, "trained": [ages.min(), ages.max()], "used": ages.max()},
        {"row": 0, "feature": "city", "value": "Rom", "trained": ["Bonn", "Köln", "Trier"]},
    ]
    assert answer.headers["Outside-Training"] == "age, city"
    (tmp_path / "people" / "serving.toml").write_text("inputs.outside = 'refuse'")
    refusing = flask_app(Service(config(tmp_path))).test_client()
    table = "city,age,income,plan\nBonn,30,2000,pro\nRom,30,2000,pro\n"
    error = refusing.post("/predict", data=table, content_type="text/csv").json
    assert error["error"].startswith("line 3: feature 'city' of row 1 is 'Rom', which training did not have")
    assert (error["code"], error["line"], error["value"]) == ("outside_training", 3, "Rom")


@pytest.mark.parametrize("rows", [150, 3000])
def test_many_rows(clients, rows):
    """An answer has the first hundred values and the number of all; rows are clipped wherever they lie."""
    body = {"features": [FLOWER, GIANT, [3.0, 9.9, *FLOWER[2:]]] * rows}
    answer, plain = (clients[action].post("/predict", json=body).json for action in ("clip", "accept"))
    assert (len(answer["outside"]), answer["outside_count"]) == (100, 3 * rows)
    assert answer["outside"][:2] == [
        FOUND | {"row": 1, "used": 7.9},
        FOUND | {"row": 2, "value": 3.0, "used": 4.3},
    ]
    used = {"features": [FLOWER, LONGEST, [4.3, 4.4, *FLOWER[2:]]] * rows}
    expected = clients["accept"].post("/predict", json=used).json
    assert answer["probabilities"] == expected["probabilities"] != plain["probabilities"]


@pytest.mark.parametrize("key", ["inputs.outside", "inputs.features.'sepal_length'.outside"])
def test_a_refusal_names_the_key_that_admits_the_value(models, tmp_path, key):
    """The line of serving.toml that a refusal tells to write has the value answered."""
    shelve(models, tmp_path / "iris", "iris")
    refused = served(tmp_path, f'{key} = "refuse"').post("/predict", json={"features": GIANT})
    told = re.search(r"\(([^()]*)\)$", refused.json["error"])[1]
    assert (refused.status_code, told) == (400, f'{key} = "flag"')
    assert served(tmp_path, told).post("/predict", json={"features": GIANT}).status_code == 200


def test_rows_are_counted_by_feature(models, tmp_path):
    """The metric counts rows of answers, lines and refusals; accepted ones count nowhere."""
    shelve(models, tmp_path / "iris", "iris")
    client = served(tmp_path, 'inputs.features.petal_width.outside = "refuse"')
    client.post("/predict", json={"features": [GIANT, GIANT, FLOWER]})
    client.post("/predict", json={"features": GIANT})
    client.post("/predict", data=json.dumps({"features": GIANT}), content_type="application/x-ndjson")
    client.post("/predict", json={"features": [*GIANT[:3], 90]})
    text = client.get("/metrics").text
    counts = re.findall(r'outside_training_total\{feature="(\w+)",model="iris",version="1"\} (\S+)', text)
    assert counts == [("petal_width", "1.0"), ("sepal_length", "5.0")]


def test_a_change_is_followed_without_a_load(models, tmp_path):
    """Another policy takes effect with the next scan; the model stays, and so do other models."""
    for name in ("iris", "forest"):
        shelve(models, tmp_path / name, name)
    service = Service(config(tmp_path))
    client, before = flask_app(service).test_client(), service.repository.find("iris")
    endpoint = service.routes.targets["/models/forest/predict"]._predict
    for action in ("refuse", "clip", "accept", "flag"):
        (tmp_path / "iris" / "serving.toml").write_text(f'inputs.outside = "{action}"')
        for _ in range(3):
            service.reloader.refresh()
        answer = client.post("/models/iris/predict", json={"features": GIANT})
        assert answer.status_code == (400 if action == "refuse" else 200)
        assert ("used" in answer.text, "outside" in answer.text) == (action == "clip", action != "accept")
        assert service.repository.find("iris") is before
        assert service.routes.targets["/models/forest/predict"]._predict is endpoint


def test_a_shadow_sees_the_rows_that_were_sent(models, tmp_path):
    """Observers get the values of the request, clipped or not."""
    shelve(models, tmp_path / "iris", "iris")
    service = Service(config(tmp_path))
    model = service.repository.find("iris").model
    ranges = Ranges(model.manifest, Policy(outside="clip"))
    predictor = Predictor(model, max_rows=10, ranges=ranges)
    native = Native(predictor, Reader(predictor))
    for rows in ([GIANT], [GIANT, FLOWER]):
        body = json.dumps({"features": rows}).encode()
        prediction = native.predict(body)
        assert [list(row) for row in prediction.rows] == rows
        assert prediction.outside.features == ("sepal_length",)
        strictly = native.predict_strictly(body)
        assert (strictly.content, strictly.headers) == (prediction.content, prediction.headers)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_each_dtype(dtype):
    """Tensors of every dtype are compared and clipped in their own, with a border between two numbers too."""
    features = (Feature(name="x", kind="number", missing=False, minimum=-1.0, maximum=7.0),)
    manifest = replace(MANIFEST, features=features, inputs=(Input(name="X", dtype=dtype, features=("x",)),))
    policy = Policy(outside="clip", features={"x": FeaturePolicy(highest=5.5)})
    values = np.array([[-1], [-2], [5], [6], [7]], dtype)
    feeds, outside = Ranges(manifest, policy).admit({"X": values}, values.tolist(), no_pause)
    top = 5 if dtype == "int64" else 5.5
    assert feeds["X"].dtype == dtype
    assert feeds["X"].ravel().tolist() == [-1, -1, 5, top, top]
    assert values.ravel().tolist() == [-1, -2, 5, 6, 7]
    findings = orjson.loads(outside.findings)
    assert [(each["row"], each["value"]) for each in findings] == [(1, -2), (3, 6), (4, 7)]


def test_numbers_that_float32_rounds_to_the_border():
    """Digits of a float32 beside the border are inside, in a decoder as in an array; the next are not."""
    border = float(np.float32(0.1))
    features = (Feature(name="x", kind="number", missing=False, minimum=border, maximum=border),)
    for dtype in ("float32", "float64"):
        tensor = Input(name="X", dtype=dtype, features=("x",))
        ranges = Ranges(replace(MANIFEST, features=features, inputs=(tensor,)), Policy())
        for value, inside in ((0.1, True), (0.10000001, False), (border, True), (0.0999999, False)):
            assert (ranges.admit_row([value])[1] is None) is inside
            feeds = {"X": np.array([[value]], dtype)}
            assert (ranges.admit(feeds, [[value]], no_pause)[1] is None) is inside
    largest = Feature(name="x", kind="number", missing=False, minimum=0.0, maximum=float(FLOATS.max))
    ranges = Ranges(replace(MANIFEST, features=(largest,)), Policy())
    assert ranges.admit_row([float(str(FLOATS.max))])[1] is None
    assert ranges.admit_row([3.41e38])[1] is not None


def test_dates(tmp_path):
    """Dates are compared as seconds, and shown as text, in JSON, CSV and lines."""
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(90) * 4, unit="D")
    table = pd.DataFrame({"ordered": days.strftime("%d.%m.%Y"), "weight": np.arange(90) % 7})
    table["late"] = np.where(days.month > 6, "yes", "no")
    table.to_csv(tmp_path / "orders.csv", index=False)
    home = tmp_path / "models"
    words = ["--target", "late", "--dates", "expand", "--classifier", "decision_tree", "--models", str(home)]
    assert main(["train", "--data", str(tmp_path / "orders.csv"), *words]) == 0
    client = served(home, "inputs.outside = 'clip'")
    feature = client.get("/models/orders").json["manifest"]["features"][0]
    ends = [str(pd.Timestamp(feature[end], unit="s").date()) for end in ("minimum", "maximum")]
    found = {"row": 0, "feature": "ordered", "value": "2031-02-01", "trained": ends, "used": ends[1]}
    answer = client.post("/predict", json={"ordered": "1.2.2031", "weight": 3})
    assert answer.json["outside"] == [found]
    plain = client.post("/predict", json={"ordered": ends[1], "weight": 3})
    assert "outside" not in plain.json
    assert plain.json["probabilities"] == answer.json["probabilities"]
    csv = client.post("/predict", data="weight,ordered\n3,01.02.2031\n", content_type="text/csv")
    assert csv.headers["Outside-Training"] == "ordered"
    tensors = [
        {"name": "ordered", "shape": [1], "datatype": "BYTES", "data": ["2031-02-01"]},
        {"name": "weight", "shape": [1], "datatype": "FP64", "data": [3]},
    ]
    infer = client.post("/v2/models/orders/infer", json={"inputs": tensors})
    assert infer.headers["Outside-Training"] == "ordered"


@pytest.mark.parametrize("name", ["area", "areas", "spending"])
def test_regressors(regressors, tmp_path, name):
    """Numbers are answered for clipped rows as for the rows at the border."""
    shutil.copytree(regressors.path / name, tmp_path / name)
    client = served(tmp_path, "inputs.outside = 'clip'")
    table = pd.DataFrame(regressors.rows[name])
    row = [value.item() if hasattr(value, "item") else value for value in table.iloc[0]]
    number = 1 if name == "spending" else 0
    far, near = [*row], [*row]
    far[number], near[number] = 1e5, float(table.iloc[:, number].max())
    answer, expected = (client.post("/predict", json={"features": [each]}).json for each in (far, near))
    assert answer["prediction"] == expected["prediction"]
    assert answer["outside"][0]["used"] == near[number]


def test_an_outlier_detector(tmp_path):
    """A detector answers what is outside as its pipeline does, and says so."""
    rows = np.random.default_rng(0).normal(size=(80, 2))
    detector = IsolationForest(n_estimators=10, random_state=0).fit(rows)
    export_pipeline(detector, rows, name="strange", models=tmp_path)
    answer = served(tmp_path).post("/predict", json={"features": [9.0, 0.0]}).json
    assert answer["prediction"] == detector.predict([[9.0, 0.0]]).tolist()
    assert [each["feature"] for each in answer["outside"]] == ["feature_0"]


def test_known_values_are_never_outside(tmp_path):
    """Truth values, numbers of a list and closed categories have no range: others are invalid input."""
    table = pd.DataFrame({"rooms": [1, 2, 5] * 20, "express": [True] * 60, "size": ["s", "l"] * 30})
    columns = make_column_transformer((OneHotEncoder(), ["rooms", "size"]), ("passthrough", ["express"]))
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, table["rooms"] > 1)
    export_pipeline(pipeline, table, name="flats", models=tmp_path)
    client = served(tmp_path, "inputs.outside = 'refuse'")
    flat = {"rooms": 5, "express": False, "size": "l"}
    assert client.post("/predict", json=flat).status_code == 200
    assert client.post("/predict", json=flat | {"rooms": 4}).json["code"] == "invalid_input"
    assert client.post("/predict", json=flat | {"size": "xl"}).json["code"] == "invalid_input"


COLUMNS = st.sampled_from(["float64", "float32", "int64", "bool", "text"])


@st.composite
def tables(draw) -> pd.DataFrame:
    """A table of columns of any types, some of them with gaps."""
    rows = draw(st.integers(1, 8))
    numbers = st.floats(-1e300, 1e300, allow_subnormal=True)
    values = {
        "float64": numbers,
        "float32": st.floats(-(2.0**126), 2.0**126, width=32),
        "int64": st.integers(-(2**53) + 1, 2**53 - 1),
        "bool": st.booleans(),
        "text": st.text(max_size=3).filter(lambda text: MISSING_CATEGORY not in text and text.isprintable()),
    }
    frame = {}
    for number, kind in enumerate(draw(st.lists(COLUMNS, min_size=1, max_size=4))):
        column = draw(st.lists(values[kind], min_size=rows, max_size=rows))
        frame[f"{kind}_{number}"] = pd.Series(column, dtype=object if kind == "text" else kind)
        if kind in ("float64", "text") and draw(st.booleans()):
            frame[f"{kind}_{number}"][draw(st.integers(0, rows - 1))] = None
    return pd.DataFrame(frame)


@generated(80)
@given(tables())
def test_no_training_row_is_outside(table):
    """No row that a range was taken from lies outside, as a tensor or as clients write it in JSON."""
    layout = Layout.of(FunctionTransformer(), table)
    frame = layout.frame(table)
    features = tuple(replace(feature, missing=True) for feature in layout.features(frame))
    dtypes = {"number": layout.dtype, "category": "string"}
    inputs = tuple(
        Input(name=kind, dtype=dtype, features=names)
        for kind, dtype in dtypes.items()
        if (names := tuple(each.name for each in features if each.kind == kind))
    )
    manifest = replace(MANIFEST, features=features, inputs=inputs)
    signature, ranges = Signature(manifest), Ranges(manifest, Policy())
    # orjson writes a float32 with as few digits as polars and Arrow do.
    columns = (table[name].to_numpy() for name in table)
    rows = [[plain(value) for value in row] for row in zip(*columns, strict=True)]
    body = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)
    read = msgspec.json.decode(body, type=list[signature.row])
    assert ranges.admit(layout.feeds(frame, inputs), read, no_pause)[1] is None
    assert ranges.admit(signature.feeds(read), read, no_pause)[1] is None
    assert msgspec.json.decode(body, type=list[signature.within(ranges)[0]]) == read


def plain(value: Any) -> Any:
    """A cell as clients write it in JSON."""
    return None if value is None or value != value else value


def no_pause() -> None:
    """Let nobody else go first."""
