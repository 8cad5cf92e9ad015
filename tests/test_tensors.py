"""Tensors in and out of requests, the check of whole arrays, and bodies that contradict themselves."""

import gzip
import json
import math
import zlib
from itertools import product

import numpy as np
import pytest
from conftest import FLOWER, FLOWERS, PERSON, generated
from handmade import embed, graph, store
from hypothesis import given
from hypothesis import strategies as st

from unpickled.server import Config, create_app
from unpickled.server.artifact.manifest import Feature, Input
from unpickled.server.config import Limits
from unpickled.server.errors import InvalidInput, RequestError
from unpickled.server.model.feeds import Rows
from unpickled.server.model.session import load
from unpickled.server.protocols.oip import request as requests
from unpickled.server.protocols.oip import tensors
from unpickled.server.protocols.oip.tensors import DTYPES, Tensor

LENGTH = "Inference-Header-Content-Length"
# Sizes, the largest of which would take hours if the server believed it.
HUGE = [0, 1, 2, 3, 4, 15, 16, 17, 2**31, 2**32, 2**53, 2**63, 2**64, 10**30]


@pytest.fixture(scope="module")
def signatures(models):
    """The signatures of iris (no gaps), forest (gaps) and people (categories)."""
    paths = {name: models.path / name / "1" / "model.onnx" for name in ("iris", "forest", "people")}
    return {name: load(path.read_bytes()).signature for name, path in paths.items()}


def described(name="numbers", shape=(1, 4), datatype="FP64", **more):
    """A description of an input."""
    return {"name": name, "shape": list(shape), "datatype": datatype, **more}


def follows(values, **more):
    """A description of an array whose bytes come after the JSON."""
    datatype = next(name for name, dtype in DTYPES.items() if dtype == values.dtype and name != "BOOL")
    return described(
        shape=values.shape, datatype=datatype, parameters={"binary_data_size": values.nbytes}, **more
    )


def ask(client, document, content=b"", model="iris", length=None, **headers):
    """Status and answer of a request; ``content`` holds the bytes of its tensors."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    if content or length is not None:
        headers[LENGTH] = str(len(text) if length is None else length)
    answer = client.post(f"/v2/models/{model}/infer", data=text + content, headers=headers)
    return answer.status_code, answer.data if answer.status_code == 200 else answer.get_json()


@pytest.mark.parametrize("datatype", [name for name in DTYPES if name != "BOOL"])
@pytest.mark.parametrize("name", ["iris", "forest"])
def test_every_datatype_of_numbers(signatures, name, datatype):
    """Numbers of any datatype and address become the feeds of the same numbers in JSON."""
    rows = np.array([[5, 3, 1, 0], [7, 3, 5, 2]]).astype(DTYPES[datatype])
    content = b"?" + rows.tobytes()
    tensor = Tensor("numbers", [2, 4], datatype)
    values = tensors.from_bytes(tensor, content, 1, rows.nbytes)
    feeds = signatures[name].matrix(values)
    expected = signatures[name].feeds(rows.astype(float).tolist())
    assert feeds["numbers"].tobytes() == expected["numbers"].tobytes()
    assert feeds["numbers"].flags.aligned
    assert Rows([*values.T])[:] == [tuple(row) for row in rows.astype(float).tolist()]


def test_what_fits_is_not_copied(signatures):
    """Doubles at an aligned address go to the graph without a copy."""
    content = np.array([FLOWER] * 1000).tobytes()
    values = tensors.from_bytes(Tensor("numbers", [1000, 4], "FP64"), content, 0, len(content))
    assert np.shares_memory(signatures["iris"].matrix(values)["numbers"], values)


@pytest.mark.parametrize("name", ["iris", "forest"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e301, -1.7e308, 3.4e38, 3.5e38, 5e-324, -0.0])
def test_numbers_are_checked_as_rows_are(signatures, name, value):
    """An array is refused with the words for the same rows, or becomes the same feeds."""
    signature = signatures[name]
    rows = [FLOWER, FLOWER, [*FLOWER[:2], value, FLOWER[3]], [value] * 4]
    expected = outcome(lambda: feeds_of(signature, rows))
    for values in (np.array(rows), np.array(rows, order="F")):
        assert outcome(lambda values=values: signature.matrix(values)["numbers"].tobytes()) == expected


def feeds_of(signature, rows):
    """The bytes of the feeds for rows."""
    checked = [signature.check_row(row, index) for index, row in enumerate(rows)]
    return signature.feeds(checked)["numbers"].tobytes()


def outcome(read):
    """The result of a call, or the sentence and the place that it raises."""
    try:
        return read()
    except RequestError as error:
        return str(error), error.details


def test_columns_become_the_same_feeds_as_rows(signatures):
    """Columns become the feeds of the same rows: arrays, lists with gaps and texts, in any order."""
    rows = [[41.0, 2100.5, "Bonn", "pro"], [None, 900.0, None, "free"], [18.0, None, "x", "a:b"]]
    expected = signatures["people"].feeds(rows)
    age, income, city, plan = zip(*rows, strict=True)
    columns = {"plan": [*plan], "city": np.array(city, dtype=object), "age": [*age]}
    columns["income"] = np.array(income, dtype=float)
    feeds = signatures["people"].table(columns)
    assert feeds["numbers"].tobytes() == expected["numbers"].tobytes()
    assert feeds["categories"].tolist() == expected["categories"].tolist()
    view = Rows([columns[name] for name in PERSON])
    assert [*view] == view[0:3] == [tuple(row) for row in rows]
    assert (len(view), view[-1], view[1:2]) == (3, tuple(rows[2]), [tuple(rows[1])])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"city": None}, "feature 'city' is not given"),
        ({"street": ["x"]}, "feature 'street' is unknown to the model"),
        ({"age": [1.0, 2.0]}, "feature 'income' has 1 value where another has 2"),
        ({"age": ["41"]}, "feature 'age' of row 0 is text ('41'), but a number belongs there"),
        ({"age": np.array([np.inf])}, "feature 'age' of row 0 is inf, outside"),
        ({"city": np.array([5.0])}, "feature 'city' of row 0 is a number (5)"),
        ({"city": ["\ufdd0"]}, "feature 'city' of row 0 is U+FDD0"),
        ({"age": [True]}, "feature 'age' of row 0 is true, but a number belongs there: send 1"),
    ],
)
def test_wrong_columns(signatures, change, words):
    """The error names the feature, and the row where there is one."""
    columns = {name: [value] for name, value in PERSON.items()} | change
    with pytest.raises(InvalidInput) as caught:
        signatures["people"].table({name: column for name, column in columns.items() if column is not None})
    assert str(caught.value).startswith(words)


def test_whole_numbers(tmp_path):
    """A graph of integers takes whole numbers of any datatype, and refuses others."""
    column = Feature(name="x", kind="number", missing=False)
    model = graph()
    model.graph.input[0].type.tensor_type.elem_type = 7
    model.graph.node[0].input[0] = "double"
    cast = model.graph.node.add(op_type="Cast", input=["X"], output=["double"])
    cast.attribute.add(name="to", i=11, type=2)
    model.graph.node.insert(0, model.graph.node.pop())
    tensor = Input(name="X", dtype="int64", features=("x",))
    store(tmp_path, "whole", embed(model, features=(column,), inputs=(tensor,)))
    client = create_app(Config(models=str(tmp_path))).test_client()
    for kind in ("<i8", "u1", "<f4"):
        values = np.array([[3], [0]], kind)
        status, answer = ask(client, {"inputs": [follows(values) | {"name": "X"}]}, values.tobytes(), "whole")
        assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [1, 0])
    for value, words in ((0.5, "whole number"), (2.0**53, "outside"), (np.nan, "missing")):
        values = np.array([[value]])
        status, answer = ask(client, {"inputs": [follows(values) | {"name": "X"}]}, values.tobytes(), "whole")
        assert status == 400
        assert words in answer["error"]


def test_a_single_feature(tmp_path):
    """The only feature of a model may be sent under its own name or that of the input."""
    store(tmp_path, "sign", embed(graph()))
    client = create_app(Config(models=str(tmp_path))).test_client()
    for name, shape in (("x", [2]), ("x", [2, 1]), ("X", [2, 1]), ("input", [2, 1])):
        status, answer = ask(client, {"inputs": [described(name, shape, data=[1, -1])]}, model="sign")
        assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [1, 0])


@pytest.mark.parametrize("texts", [["a", "", "naïve 😀", "\0"], [], ["x" * 70_000]])
def test_texts_there_and_back(texts):
    """A text is four bytes of length and UTF-8."""
    content = tensors.to_bytes(texts)
    assert len(content) == sum(4 + len(text.encode()) for text in texts)
    assert tensors.from_bytes(Tensor("x", [len(texts)], "BYTES"), content, 0, len(content)) == texts


FLOWER_BYTES = np.array([FLOWER]).tobytes()
WHOLE = described(parameters={"binary_data_size": 32})
LIES = {
    "size beyond the body": ({"inputs": [described(parameters={"binary_data_size": 99})]}, FLOWER_BYTES, 400),
    "size below the shape": ({"inputs": [described(parameters={"binary_data_size": 24})]}, FLOWER_BYTES, 400),
    "size that is none": ({"inputs": [described(parameters={"binary_data_size": -32})]}, FLOWER_BYTES, 400),
    "size in text": ({"inputs": [described(parameters={"binary_data_size": "32"})]}, FLOWER_BYTES, 400),
    "size of truth": ({"inputs": [described(parameters={"binary_data_size": True})]}, FLOWER_BYTES, 400),
    "more rows than bytes": ({"inputs": [WHOLE | {"shape": [2, 4]}]}, FLOWER_BYTES, 400),
    "more rows than allowed": ({"inputs": [WHOLE | {"shape": [10**9, 4]}]}, FLOWER_BYTES, 413),
    "no rows": ({"inputs": [WHOLE | {"shape": [0, 4]}]}, FLOWER_BYTES, 400),
    "negative": ({"inputs": [WHOLE | {"shape": [-1, -4]}]}, FLOWER_BYTES, 400),
    "overflow": ({"inputs": [WHOLE | {"shape": [2**62, 2**62]}]}, FLOWER_BYTES, 400),
    "product of overflow": ({"inputs": [WHOLE | {"shape": [2**62, 4]}]}, FLOWER_BYTES, 400),
    "many dimensions": ({"inputs": [WHOLE | {"shape": [1] * 1000 + [4]}]}, FLOWER_BYTES, 400),
    "no dimensions": ({"inputs": [WHOLE | {"shape": []}]}, FLOWER_BYTES, 400),
    "trailing bytes": ({"inputs": [WHOLE]}, FLOWER_BYTES + b"\0", 400),
    "no bytes": ({"inputs": [WHOLE]}, b"", 400),
    "data and bytes": ({"inputs": [WHOLE | {"data": FLOWER}]}, FLOWER_BYTES, 400),
    "neither": ({"inputs": [described()]}, b"", 400),
    "of another type": ({"inputs": [WHOLE | {"datatype": "FP32"}]}, FLOWER_BYTES, 400),
    "of no type": ({"inputs": [WHOLE | {"datatype": "FP80"}]}, FLOWER_BYTES, 400),
    "numbers as text": ({"inputs": [WHOLE | {"datatype": "BYTES"}]}, FLOWER_BYTES, 400),
    "shared memory": ({"inputs": [described(parameters={"shared_memory_region": "x"})]}, b"", 400),
    "twice": ({"inputs": [WHOLE, WHOLE]}, FLOWER_BYTES * 2, 400),
    "nothing": ({"inputs": []}, b"", 400),
    "not JSON": (b"{", FLOWER_BYTES, 400),
    "not an object": (b"[]", FLOWER_BYTES, 400),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_bodies_that_lie(client, case):
    """A body that contradicts itself is refused with a sentence."""
    document, content, expected = LIES[case]
    status, answer = ask(client, document, content)
    assert status == expected
    assert answer["code"] in {"invalid_input", "malformed_json", "too_many_rows"}
    assert len(answer["error"].split()) > 3


@pytest.mark.parametrize("length", ["-1", "x", "1e1", "+1", " 1", "99999", "1" * 400, "\u00b2", ""])
def test_length_of_the_header(client, length):
    """Inference-Header-Content-Length is a number of bytes within the body."""
    status, answer = ask(client, {"inputs": [WHOLE]}, FLOWER_BYTES, length=length)
    assert status == 400
    assert "Inference-Header-Content-Length" in answer["error"]


@pytest.mark.parametrize("length", range(0, 130, 7))
def test_header_cut_anywhere(client, length):
    """A request whose JSON ends elsewhere than announced is refused."""
    status, answer = ask(client, {"inputs": [WHOLE]}, FLOWER_BYTES, length=length)
    assert status == 400
    assert answer["code"] in {"malformed_json", "invalid_input"}


@pytest.mark.parametrize("content", [b"\xff" * 4, b"\1\0\0", b"\5\0\0\0ab", b"\1\0\0\0\xff", b"", b"\0" * 8])
def test_texts_that_lie(client, content):
    """Texts that are cut, malformed or too many for the shape are refused."""
    inputs = [described(name, [1], "FP64", data=[1.0]) for name in ("age", "income")]
    inputs += [described("plan", [1], "BYTES", data=["pro"])]
    inputs += [described("city", [1], "BYTES", parameters={"binary_data_size": len(content)})]
    status, answer = ask(
        client, {"inputs": inputs}, content, "people", length=len(json.dumps({"inputs": inputs}))
    )
    assert status == 400
    assert "'city'" in answer["error"]


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15)])
def test_bombs(models, coding, wbits):
    """A body that expands beyond the limit is refused once it reaches that."""
    client = create_app(Config(models=str(models.path), limits=Limits(max_body_bytes=100_000))).test_client()
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits)
    bomb = b"".join(compressor.compress(bytes(2**20)) for _ in range(64)) + compressor.flush()
    assert len(bomb) < 100_000
    answer = client.post("/v2/models/iris/infer", data=bomb, headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body_too_large")
    cut = gzip.compress(b"{}")[:-3]
    answer = client.post("/v2/models/iris/infer", data=cut, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 400
    answer = client.post("/v2/models/iris/infer", data=b"{}", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.sampled_from(HUGE),
    st.sampled_from(["", "a:b", "FP32", "BYTES"]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)
shapes = st.lists(st.sampled_from([*HUGE, -1, -4]) | st.sampled_from([1, 2, 4]), max_size=3)
parameters = st.fixed_dictionaries(
    {}, optional={"binary_data_size": st.sampled_from([*HUGE, 32, 64, -1, 1.5, True]), "x": scalars}
)
inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["numbers", "input-0", *FLOWERS, "x"]) | anything,
        "shape": shapes | st.just([1, 4]) | anything,
        "datatype": st.sampled_from([*DTYPES, "BYTES"]) | anything,
        "data": st.lists(st.floats(-10, 10), max_size=8) | st.just(FLOWER) | anything,
        "parameters": parameters | anything,
    },
)
outputs = st.fixed_dictionaries(
    {"name": st.sampled_from(["label", "probabilities", "x"]) | anything},
    optional={
        "parameters": st.dictionaries(st.sampled_from(["binary_data", "classification"]), scalars) | anything
    },
)
documents = st.fixed_dictionaries(
    {"inputs": st.lists(inputs, max_size=4) | anything},
    optional={
        "outputs": st.lists(outputs, max_size=2) | anything,
        "id": st.text(max_size=5) | anything,
        "parameters": st.dictionaries(st.sampled_from(["binary_data_output", "priority"]), scalars)
        | anything,
    },
)


@pytest.mark.long
@generated(300)
@given(document=documents, content=st.binary(max_size=80), length=st.none() | st.integers(-2, 200))
def test_whatever_comes(client, document, content, length):
    """Any body is answered with 200, or refused with a sentence."""
    for text, tail in product([json.dumps(document).encode()], [b"", content, FLOWER_BYTES]):
        status, answer = ask(client, text, tail, length=length)
        assert status in {200, 400, 413}, answer
        assert status == 200 or answer["error"]


@generated(300)
@given(st.binary(max_size=64), st.sampled_from([*DTYPES, "BYTES"]), st.lists(st.sampled_from(HUGE[1:])))
def test_whatever_bytes(content, datatype, shape):
    """A tensor has as many values as its shape says, or is refused."""
    tensor = Tensor("x", shape, datatype)
    values = outcome(lambda: tensors.from_bytes(tensor, content, 0, len(content)))
    if not isinstance(values, tuple):
        assert np.size(values) == math.prod(shape)


@pytest.mark.long
@generated(300)
@given(documents)
def test_both_readers_agree(document):
    """The compiled reader and the strict one accept the same documents, and read them alike."""
    for text in (json.dumps(document).encode(), json.dumps(document, indent=1).encode()):
        strictly = outcome(lambda text=text: repr(requests.strictly(text)))
        assert outcome(lambda text=text: repr(requests.read(text))) == strictly
