"""The fast path and the Flask view answer every request with the same bytes, by the same rules."""

import json
import re
from collections.abc import Iterable
from functools import partial
from io import BytesIO
from typing import Any

import pytest
from conftest import FLOWER, FLOWERS, PERSON, generated
from hypothesis import example, given
from hypothesis import strategies as st
from test_errors import INVALID, MALFORMED, TWICE, WRONG_NUMBERS

from unpickled.server import Config, create_app
from unpickled.server.config import Limits, Traffic
from unpickled.server.errors import RequestError
from unpickled.server.inference.predictor import Predictor
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader
from unpickled.server.service import Service

RECORD = dict(zip(FLOWERS, FLOWER, strict=True))
TOKEN = re.compile(r"[a-z2-7]{8}(?=-\d+-\d+)")
PATHS = ["/predict", "/models/iris/predict", "/models/people/predict", "/models/forest/versions/1/predict"]
BODIES = [
    *(
        json.dumps({"features": row}).encode()
        for row in (FLOWER, [FLOWER], [FLOWER] * 7, list(PERSON.values()))
    ),
    *(json.dumps(row).encode() for row in (RECORD, PERSON, {"instances": [RECORD, FLOWER, PERSON]})),
    *(f'{{"features": [{number}, 3.5, 1.4, 0.2]}}'.encode() for number in WRONG_NUMBERS),
    *(f'{{"features": [[{number}, 3.5, 1.4, 0.2]]}}'.encode() for number in WRONG_NUMBERS),
    *(body for body, _, _ in INVALID),
    *MALFORMED.values(),
]

# Every spelling of a number in JSON, and many that are not JSON.
digits = st.text("0123456789", min_size=1, max_size=25)
spelled = st.builds(
    "".join, st.tuples(*map(st.sampled_from, [["", "-", "+"], ["0", "1", "42", "00", ""]]), digits)
)
fractions = st.builds(
    "{}.{}e{}{}".format, st.sampled_from(["0", "-7", "12"]), digits, st.sampled_from(["", "-", "+"]), digits
)
doubles = st.floats().map(json.dumps)
integers = st.integers(-(2**70), 2**70).map(str)
plain = st.floats(-1e9, 1e9).map(json.dumps) | st.integers(-(2**63), 2**64).map(str)
numbers = st.one_of(plain, doubles, integers, spelled, fractions)
texts = st.text(max_size=12).map(json.dumps) | st.sampled_from(
    ['"Bonn"', '"Köln"', '"a:b"', '"\\ud800"', '"\\u0042onn"']
)
odd = st.sampled_from(
    ["null", "true", "false", "{}", "[]", "[1]", '{"age": 1}', "nul", "", "NaN", "-Infinity"]
)
cells = st.one_of(numbers, numbers, texts, odd)
names = st.sampled_from([*FLOWERS, *PERSON, "features", "instances", "sepal_\\u006cength", ""]) | st.text(
    max_size=3
)


def array(items: Iterable[str]) -> str:
    """An array of these values."""
    return f"[{', '.join(items)}]"


def members(pairs: Iterable[tuple[str, str]]) -> str:
    """An object with these pairs of name and value."""
    return "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"


def shuffled(names: Iterable[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """(name, value) of each name, in any order."""
    return st.permutations([*names]).flatmap(
        lambda order: st.tuples(*(st.tuples(st.just(name), values) for name in order))
    )


# Rows of about the right length and records of about the right names.
rows = st.one_of(
    st.lists(plain, min_size=4, max_size=4),
    st.lists(numbers, min_size=4, max_size=4),
    st.lists(cells, min_size=3, max_size=5),
).map(array)
people = st.tuples(plain | st.just("null"), numbers, texts, texts).map(array)
records = st.one_of(
    shuffled(FLOWERS, cells), shuffled(PERSON, cells), st.lists(st.tuples(names, cells), max_size=6)
).map(members)
flowers = shuffled(FLOWERS, plain)
batches = st.lists(rows | people | records | flowers.map(members) | cells, max_size=4).map(array)
documents = st.one_of(
    rows.map('{{"features": {}}}'.format),
    people.map('{{"features": {}}}'.format),
    st.lists(rows | people, min_size=1, max_size=4).map(array).map('{{"features": {}}}'.format),
    batches.map('{{"instances": {}}}'.format),
    batches.map('{{"features": {}}}'.format),
    st.builds('{{"features": {}, "{}": {}}}'.format, rows, names, cells),
    records,
    flowers.map(members),
    cells,
).map(partial(str.encode, errors="surrogatepass"))


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """A body of the corpus with a few bytes changed, dropped or doubled."""
    body = bytearray(
        draw(st.sampled_from(BODIES[:7]) | st.sampled_from([b for b in BODIES if 0 < len(b) < 1000]))
    )
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(body)))
        patch = (
            st.binary(max_size=2)
            | st.sampled_from([b"1", b"0", b" ", b",", b'"', b"-"])
            | st.just(body[place:][:9])
        )
        body[place : place + draw(st.integers(0, 2))] = draw(patch)
    return bytes(body)


@pytest.fixture(scope="module")
def ways(models):
    """The application with the fast path, and the one without."""
    config = {
        "models": str(models.path),
        "default_model": "iris",
        "limits": Limits(max_rows=5, max_body_bytes=300_000),
    }
    return both(config)


@pytest.fixture(scope="module")
def numbers(regressors):
    """The service of the regressors, and its application with the fast path and without."""
    config = {"models": str(regressors.path), "limits": Limits(max_rows=5, max_body_bytes=300_000)}
    return Service(Config(**config)), both(config)


def both(config):
    """The applications with these settings, which have seen the name of their host before."""
    apps = create_app(Config(**config)), create_app(Config(**config, traffic=Traffic(fast_path=False)))
    for app in apps:
        call(app, "/", b"", "GET")
    return apps


def call(app, path, body, method="POST", **environ):
    """Status, headers and body of a bare WSGI call."""
    heads = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": "http",
        **environ,
    }
    content = b"".join(app(environ, lambda status, headers, exc_info=None: heads.append((status, headers))))
    ((status, headers),) = heads
    # Each application has a token of its own in the ids of predictions; their numbers are the same.
    headers = sorted((name.title(), TOKEN.sub("token", value)) for name, value in headers)
    return status, headers, TOKEN.sub("token", content.decode("latin-1")).encode("latin-1")


def same_answer(ways, path, body, method="POST", **environ):
    """The answer of both applications, which is the same."""
    fast, flask = (call(app, path, body, method, **environ) for app in ways)
    assert fast == flask
    return fast


@pytest.mark.parametrize("path", PATHS)
def test_the_corpus(ways, path):
    """Every body of the other tests, good or bad, is answered alike at every kind of path."""
    statuses = [same_answer(ways, path, body)[0][:3] for body in BODIES]
    assert {"200", "400"} <= set(statuses)


@pytest.mark.parametrize("name", ["area", "areas", "spending"])
def test_the_corpus_of_regressors(numbers, name):
    """Models that answer numbers answer every body alike by both ways, and by decoders and strict reading."""
    service, ways = numbers
    statuses = [same_answer(ways, f"/models/{name}/predict", body)[0][:3] for body in BODIES]
    assert {"200", "400"} <= set(statuses)
    for body in BODIES:
        fast, strict = answers(service, name, body)
        assert fast == strict


@pytest.mark.parametrize(
    "path", [*PATHS, "/models/iris/versions/9/predict", "/models/x/predict", "/", "/nope", "//predict"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "POST", "post", "TRACE"])
def test_paths_and_methods(ways, path, method):
    """The fast path takes the paths and methods that it knows, and leaves the others to Flask."""
    same_answer(ways, path, BODIES[0], method)


@pytest.mark.parametrize(
    "length", ["", "0", "5", "29", "1000", "300001", "99999999999", "-1", "1e3", "1_0", "x", " 30 "]
)
@pytest.mark.parametrize("terminated", [{}, {"wsgi.input_terminated": True}])
def test_announced_lengths(ways, length, terminated):
    """A wrong or missing length is answered alike, and never with a prediction by accident."""
    status, _, content = same_answer(ways, "/predict", BODIES[0], CONTENT_LENGTH=length, **terminated)
    accepted = length.strip() == str(len(BODIES[0])) or (not length and terminated)
    assert status.startswith("200") if accepted else status[0] == "4", content


@pytest.mark.long
@generated(400)
@given(body=documents)
def test_generated_documents(ways, body):
    """Generated rows and records, most of them nearly right, are answered alike."""
    for path in PATHS[:3]:
        status, _, _ = same_answer(ways, path, body)
        assert status[0] in "24"


@pytest.mark.long
@generated(400)
@given(body=mutations() | st.binary(max_size=40))
def test_mutations_and_noise(ways, body):
    """Damaged bodies and random bytes are answered alike, never with 500."""
    for path in PATHS[:3]:
        status, _, _ = same_answer(ways, path, body)
        assert status[0] in "24"


def answers(service, name, body):
    """The answers to a body by the compiled decoders and by the strict reading."""
    predictor = Predictor(service.repository.find(name).model, max_rows=5)
    native = Native(predictor, Reader(predictor))
    for read in (native.predict, native.predict_strictly):
        try:
            yield read(body).content
        except RequestError as error:
            yield error.status, error.code, str(error), error.details


@pytest.mark.parametrize("name", ["iris", "people", "forest"])
def test_decoders_and_reference_on_the_corpus(service, name):
    """The compiled decoders accept, answer and refuse exactly as the rules in Python do."""
    for body in [*BODIES, (TWICE % "features").encode()]:
        fast, strict = answers(service, name, body)
        assert fast == strict


@generated(400)
@given(body=documents | mutations())
@example(body=b'{"features": [-0, 1, 1, 1]}')
@example(body=b'{"features": [123456789012345678901234567890, 1, 1, 1]}')
@example(body=b'{"features": [1.00000000000000011102230246251565404, 1, 1, 1]}')
@example(body=b'{"features": [2.4703282292062327e-324, 1, 1, 1]}')
@example(body='{"features": [1, 1, "\ufdd0", "pro"]}'.encode())
def test_decoders_and_reference(service, body):
    """The compiled decoders agree with the rules in Python on generated bodies too."""
    for name in ("iris", "people"):
        fast, strict = answers(service, name, body)
        assert fast == strict
