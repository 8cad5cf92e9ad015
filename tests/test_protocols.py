"""Every protocol of the registry is served, listed and described."""

import json
from codecs import BOM_UTF8

import pytest
from conftest import FLOWER, FLOWERS

from unpickled.server import Config, create_app
from unpickled.server.config import Traffic
from unpickled.server.message import media
from unpickled.server.protocols import registry
from unpickled.server.protocols.registry import PROTOCOLS

SETTINGS = {"default_model": "iris", "traffic": Traffic(predict_route="/predict-here")}
NAMES = [protocol.name for protocol in PROTOCOLS]


@pytest.fixture(scope="module")
def config(models):
    """Settings under which every protocol is served."""
    return Config(models=str(models.path), **SETTINGS)


@pytest.fixture(scope="module")
def client(config):
    """A client of a server of all three models."""
    return create_app(config).test_client()


@pytest.fixture(scope="module")
def document(client):
    """The OpenAPI document of that server."""
    return client.get("/openapi.json").json


def test_names_are_unique():
    """A protocol has a name and a summary of its own."""
    assert len(set(NAMES)) == len({protocol.summary for protocol in PROTOCOLS}) == len(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
def test_every_route_is_listed(client, config, protocol):
    """GET / has a line for each path of a protocol."""
    routes = client.get("/").json["routes"]
    for rule in protocol.paths(config).rules:
        assert routes[f"POST {rule}"].startswith(protocol.summary)


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=NAMES)
def test_every_body_is_described(document, config, protocol):
    """OpenAPI has an operation for each path, which describes JSON and every other media type."""
    kinds = {media.JSON, *protocol.by_type, *([media.NDJSON] if protocol.lines else [])}
    kinds -= {*media.TABLE_FILES}  # They are refused in words of their own.
    for rule in protocol.paths(config).rules:
        if "<label>" not in rule:
            path = rule.replace("<name>", "iris").replace("<version>", "1")
            operation = document["paths"][path]["post"]
            assert operation["summary"] == protocol.summary
            assert kinds <= {*operation["requestBody"]["content"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"features": FLOWER}),
        ("/predict", {"features": [FLOWER, FLOWER]}),
        ("/predict", dict(zip(FLOWERS, FLOWER, strict=True))),
        ("/predict", {"instances": [FLOWER]}),
        ("/invocations", {"inputs": [FLOWER]}),
        ("/score", {"data": [FLOWER]}),
        ("/predict-here", {"instances": [FLOWER]}),
        ("/v1/models/iris:predict", {"instances": [FLOWER]}),
        (
            "/v2/models/iris/infer",
            {"inputs": [{"name": "numbers", "shape": [1, 4], "datatype": "FP64", "data": FLOWER}]},
        ),
    ],
)
def test_byte_order_mark(client, path, body):
    """A JSON body that begins with a byte order mark is answered as the same body without one."""
    document = json.dumps(body).encode()
    plain, marked = (client.post(path, data=data) for data in (document, BOM_UTF8 + document))
    assert (plain.status_code, plain.data) == (200, marked.data)
    assert client.post(path, data=BOM_UTF8 * 2 + document).status_code == 400


@pytest.mark.parametrize("kind", media.JSON_LINES)
@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_json_lines_have_one_list_of_media_types(client, path, kind):
    """Every media type of JSON lines is read wherever one of them is."""
    line = b'{"features": [5.1, 3.5, 1.4, 0.2]}\n'
    answer = client.post(path, data=2 * line, content_type=kind)
    assert (answer.status_code, answer.data.count(b"\n")) == (200, 2)


def test_protocols_follow_the_settings(models):
    """A protocol whose path is not set is neither served nor described."""
    config = Config(models=str(models.path), default_model="iris")
    names = [protocol.name for protocol, _ in registry.routes(config)]
    assert names == [name for name in NAMES if name != "vertex"]
