"""The native protocol: every form of a request is answered as scikit-learn does."""

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from conftest import FLOWER, FLOWERS, PERSON, SPECIES, alike
from handmade import NODES, embed, graph, store
from msgspec.structs import replace
from onnx import helper
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from unpickled.export import export_pipeline
from unpickled.server import Config, create_app
from unpickled.server.artifact.manifest import Feature, Golden, Input
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message.answer import OPTIONS, dumps
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader


def post(client, document, path="/predict"):
    answer = client.post(path, data=document if isinstance(document, bytes) else json.dumps(document))
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/json"
    return answer.json


def test_one_row_in_one_row_out(client, models):
    """An array of features is answered with arrays of length one."""
    answer = post(client, {"features": FLOWER})
    expected = models.pipelines["iris"].predict_proba([FLOWER])
    assert answer["prediction"] == [0]
    assert answer["predicted_class"] == ["setosa"]
    assert list(answer) == ["prediction", "predicted_class", "probabilities"]
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["iris", "forest"])
def test_rows_in_rows_out(client, models, name):
    """Every training row in one request is answered as scikit-learn answers it."""
    rows, pipeline = models.rows[name], models.pipelines[name]
    answer = post(client, {"features": rows.tolist()}, f"/models/{name}/predict")
    assert answer["prediction"] == pipeline.predict(rows).tolist()
    np.testing.assert_allclose(answer["probabilities"], pipeline.predict_proba(rows), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["iris", "forest"])
def test_row_by_row_is_the_same_as_in_one_batch(client, models, name):
    """A row alone takes another way through ONNX Runtime, and is answered as in a batch."""
    path, rows = f"/models/{name}/predict", models.rows[name][::5].tolist()
    together = post(client, {"features": rows}, path)
    alone = [post(client, {"features": row}, path) for row in rows]
    assert [answer["prediction"][0] for answer in alone] == together["prediction"]
    scores = [answer["probabilities"][0] for answer in alone]
    np.testing.assert_allclose(scores, together["probabilities"], rtol=1e-12, atol=0)


def test_record_in_record_out(client):
    """A record is answered with scalars, and with probabilities by class name."""
    answer = post(client, dict(zip(FLOWERS, FLOWER, strict=True)))
    arrays = post(client, {"features": FLOWER})
    assert answer == {
        "prediction": 0,
        "predicted_class": "setosa",
        "probabilities": dict(zip(SPECIES, arrays["probabilities"][0], strict=True)),
    }


def test_names_in_any_order(client):
    """All 24 orders of a record's names mean the same record."""
    record = dict(zip(FLOWERS, FLOWER, strict=True))
    bodies = [json.dumps({name: record[name] for name in names}) for names in itertools.permutations(FLOWERS)]
    assert len({client.post("/predict", data=body).data for body in bodies}) == 1


def test_instances_mix_rows_and_records(client, models):
    """Each instance, array or object, is answered with a record, in the order of the request."""
    record = dict(zip(FLOWERS, [6.7, 3.0, 5.2, 2.3], strict=True))
    answer = post(client, {"instances": [FLOWER, record, FLOWER]})
    alone = [post(client, dict(zip(FLOWERS, FLOWER, strict=True))), post(client, record)]
    assert alike(json.dumps(answer["predictions"]), json.dumps([alone[0], alone[1], alone[0]]))
    assert post(client, {"instances": [record]}) == {"predictions": [alone[1]]}


@pytest.mark.parametrize("path", ["/predict", "/models/iris/predict", "/models/iris/versions/1/predict"])
@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "what is this"])
def test_routes_and_content_types(client, path, kind):
    """Three paths lead to a model, take any content type, and name model and version."""
    answer = client.post(path, data=json.dumps({"features": FLOWER}), content_type=kind)
    assert answer.status_code == 200
    assert answer.headers["Model-Name"] == "iris"
    assert answer.headers["Model-Version"] == "1"
    assert answer.json["predicted_class"] == ["setosa"]


def test_every_digit_arrives(service, client, models):
    """A probability in JSON reads back as the double that the graph gave."""
    rows = models.rows["iris"].tolist()
    model = service.repository.find("iris").model
    _, scores = model.run(model.signature.feeds(rows))
    assert post(client, {"features": rows})["probabilities"] == scores.tolist()
    for row in rows[::10]:
        _, expected = model.run_row(row)
        assert post(client, {"features": row})["probabilities"] == [list(expected)]
        record = post(client, dict(zip(FLOWERS, row, strict=True)))
        assert tuple(record["probabilities"].values()) == expected


def test_text_labels_and_gaps(client, models):
    """Rows with categories and missing numbers get scikit-learn's labels, which are text."""
    table, pipeline = models.rows["people"], models.pipelines["people"]
    rows = [[None if cell != cell else cell for cell in row] for row in table.itertuples(index=False)]
    answer = post(client, {"features": rows}, "/models/people/predict")
    assert sum(row[0] is None for row in rows) > 5
    assert answer["prediction"] == answer["predicted_class"] == pipeline.predict(table).tolist()
    np.testing.assert_allclose(answer["probabilities"], pipeline.predict_proba(table), rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", [{"age": None}, {"age": math.nan}, {"city": "Nowhere"}, {"city": ""}])
def test_gaps_and_unknown_categories(client, models, change):
    """null, NaN and an unknown category are answered as the pipeline answers them."""
    person = PERSON | change
    answer = post(client, person, "/models/people/predict")
    table = models.rows["people"].head(1).assign(**{key: [value] for key, value in person.items()})
    expected = models.pipelines["people"].predict_proba(table.astype({"age": float}))[0]
    assert list(answer["probabilities"]) == ["leaves", "stays"]
    np.testing.assert_allclose(list(answer["probabilities"].values()), expected, rtol=0, atol=1e-5)
    outside = {"outside": answer.pop("outside")} if change.get("city") is not None else {}
    whole = {"predictions": [answer], **outside}
    assert post(client, {"instances": [person]}, "/models/people/predict") == whole


@pytest.mark.parametrize(
    "text", ["a:b", '"features"', '{"city":', "\\", "naïve 😀", "\0", "null", "x" * 100_000]
)
def test_any_text_is_a_category(client, text):
    """No text in a category is taken for structure, however it is escaped."""
    plain = post(client, PERSON | {"city": "Nowhere"}, "/models/people/predict")
    [finding] = plain.pop("outside")
    value = text if len(text) < 100 else f"{text[:200]}..."
    for body in (
        json.dumps(PERSON | {"city": text}),
        json.dumps(PERSON | {"city": text}, ensure_ascii=False),
    ):
        answer = post(client, body.encode(), "/models/people/predict")
        assert answer == plain | {"outside": [finding | {"value": value}]}


@pytest.mark.parametrize(
    "spelling",
    [
        "5",
        "5.0",
        "5e0",
        "0.5E+1",
        "50e-1",
        "5.000000000000000000000000000001",
        " 5 ",
        "5" + "0" * 20 + "e-20",
    ],
)
def test_every_spelling_of_a_number(client, spelling):
    """Every spelling of a number is read as the nearest double."""
    expected = post(client, {"features": [5.0, 3.5, 1.4, 0.2]})
    assert post(client, f'{{"features": [{spelling}, 3.5, 1.4, 0.2]}}'.encode()) == expected


@pytest.mark.parametrize(
    "number", [-0.0, 5e-324, -5e-324, 2.2e-308, 2**53 + 1, 2**63, -(2**63), 2**64, 10**25]
)
def test_numbers_at_the_edges(client, models, number):
    """Signed zero, denormals and integers beyond 64 bits are answered as scikit-learn does."""
    row = [number, 3.5, 1.4, 0.2]
    answer = post(client, {"features": row})
    expected = models.pipelines["iris"].predict_proba(np.array([row], dtype=float))
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["features", "instances", 'a"b', "a\\b", "a:b", "naïve 😀", "", "x y", "class", "\0"]
)
def test_any_name_is_a_feature(tmp_path, name):
    """A record names its feature exactly as the training table did."""
    column = replace(Feature(name="x", kind="number", missing=False), name=name)
    content = embed(graph(), features=(column,), inputs=(Input(name="X", dtype="float64", features=(name,)),))
    store(tmp_path, "odd", content)
    client = create_app(Config(models=str(tmp_path))).test_client()
    record = {
        "prediction": 1,
        "predicted_class": "positive",
        "probabilities": {"negative": 0.25, "positive": 0.75},
    }
    assert post(client, {name: 3.0}) == record
    assert post(client, {"instances": [{name: 3.0}]}) == {"predictions": [record]}
    assert post(client, {"features": [3.0]})["prediction"] == [1]


def test_features_and_instances_as_names(tmp_path):
    """A name that is also a word of the protocol is the feature where its value is a number."""
    names = ("features", "instances")
    columns = tuple(Feature(name=name, kind="number", missing=False) for name in names)
    golden = Golden(rows=((-1.0, -1.0), (1.0, 1.0)), labels=(0, 1), scores=((0.75, 0.25), (0.25, 0.75)))
    tensor = Input(name="X", dtype="float64", features=names)
    store(tmp_path, "odd", embed(two_columns(), features=columns, inputs=(tensor,), golden=golden))
    client = create_app(Config(models=str(tmp_path))).test_client()
    assert post(client, {"features": 1, "instances": 2})["prediction"] == 1
    assert post(client, {"features": [1, 2]})["prediction"] == [1]
    assert (
        post(client, {"instances": [[1, 2], {"instances": 1, "features": 2}]})["predictions"][1]["prediction"]
        == 1
    )


def test_a_list_of_fractions_takes_no_text(tmp_path):
    """Where only certain fractions are known, every text is refused in every form, U+FDD0 among them."""
    rows = pd.DataFrame({"dose": [0.5, 1.5, 2.5] * 20, "age": np.arange(60.0)})
    columns = make_column_transformer((OneHotEncoder(), ["dose"]), remainder="passthrough")
    pipeline = make_pipeline(columns, DecisionTreeClassifier(max_depth=3)).fit(rows, rows["dose"] < 1)
    export_pipeline(pipeline, rows, name="doses", models=tmp_path)
    client = create_app(Config.of(models=str(tmp_path), reload_seconds=0)).test_client()
    for text, number in itertools.product(["\ufdd0", "x"], [1, 0.5]):
        row, record = [text, number], {"dose": text, "age": number}
        for document in ({"features": row}, {"features": [row, row]}, record, {"instances": [row, record]}):
            answer = client.post("/predict", json=document)
            assert (answer.status_code, answer.json["feature"]) == (400, "dose")
    assert post(client, {"dose": 0.5, "age": 1})["prediction"] == 1


def two_columns():
    """The handmade graph for the sum of two numbers."""
    total = helper.make_node("ReduceSum", ["X", "axis"], ["total"], keepdims=1)
    greater = helper.make_node("Greater", ["total", "zero"], ["positive"])
    return graph([total, greater, *NODES[1:]], axis=[1])


@pytest.mark.parametrize("place", range(4))
def test_one_row_of_a_forest_with_a_gap(client, models, place):
    """Trees send null to the branch of missing values, in a row alone and between others."""
    row = [*FLOWER[:place], None, *FLOWER[place + 1 :]]
    gap = np.array([[np.nan if value is None else value for value in row]])
    alone = client.post("/models/forest/predict", json={"features": row}).get_json()
    after = client.post("/models/forest/predict", json={"features": FLOWER}).get_json()
    pipeline = models.pipelines["forest"]
    assert np.allclose(alone["probabilities"], pipeline.predict_proba(gap), atol=1e-6)
    assert np.allclose(after["probabilities"], pipeline.predict_proba([FLOWER]), atol=1e-6)


@pytest.mark.parametrize("name", ["iris", "forest", "people"])
def test_lists_of_one_row(service, models, name):
    """A list of one row is answered as longer lists are, byte for byte, though it runs on its own."""
    predictor = Predictor(service.repository.find(name).model, max_rows=100)
    native = Native(predictor, Reader(predictor))
    for row in np.asarray(models.rows[name], dtype=object)[:150].tolist():
        values = [None if value != value else value for value in row]
        run = predictor.run([values])
        arrays = dumps(predictor.outputs.arrays(run.labels, run.scores), option=OPTIONS)
        assert native.predict(dumps({"features": [values]})).content == arrays
        records = dumps({"predictions": predictor.outputs.records(run.labels, run.scores)})
        assert native.predict(dumps({"instances": [values]})).content == records
