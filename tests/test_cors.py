"""Pages of other origins: the headers that let a browser hand out answers to them."""

import pytest
from conftest import serving
from test_server import BODY, DEFAULT, exchange, head

from unpickled.server import Config, create_app

HERE, THERE = "https://app.example", "https://other.example"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("/predict", BODY, 200), ("/predict", b"{", 400), ("/nowhere", b"", 404), ("/models", b"", 405)],
)
def test_answers_to_an_origin(models, tmp_path, path, body, status):
    """Each answer, errors included, names the origin that asks if it is allowed, and varies with it."""
    with serving(
        tmp_path, *DEFAULT, "--cors-origins", HERE, "http://b.example", models=models.path
    ) as server:
        for origin, allowed in ((HERE, HERE), (THERE, None)):
            answer = exchange(server, head(len(body), f"Origin: {origin}", path=path) + body)
            assert (answer[0], answer[1].get("access-control-allow-origin")) == (status, allowed)
            assert answer[1]["vary"] == "Origin"
            assert ("access-control-expose-headers" in answer[1]) == (allowed is not None)


@pytest.mark.parametrize("origins", [(HERE,), ("*",)])
def test_preflight(models, origins):
    """A preflight request is answered with the methods and the headers that it asks for."""
    client = create_app(Config.of(models=str(models.path), cors_origins=origins)).test_client()
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-key"}
    answer = client.options("/models/iris/predict", headers={"Origin": HERE, **asked})
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == origins[0]
    assert answer.headers["Access-Control-Allow-Headers"] == "content-type,x-key"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    if origins != ("*",):
        assert client.options("/predict", headers={"Origin": THERE, **asked}).status_code == 405


def test_no_origins(client):
    """Without the setting no answer has such a header."""
    answer = client.get("/livez", headers={"Origin": HERE})
    assert not [name for name in dict(answer.headers) if name.startswith("Access-Control")]


def test_browsers_with_keys(models, tmp_path):
    """A preflight request needs no key; the refusal of a key, a name or a path may be read by the page."""
    keys = tmp_path / "keys.toml"
    keys.write_text("")
    flags = ("--cors-origins", HERE, "--api-keys", str(keys), "--trusted-hosts", "localhost")
    with serving(tmp_path, *DEFAULT, *flags, models=models.path) as server:
        asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
        request = head(None, f"Origin: {HERE}", *asked, path="/v2/models/iris/infer")
        status, headers, _ = exchange(server, request.replace(b"POST", b"OPTIONS", 1))
        assert (status, headers["access-control-allow-headers"]) == (204, "authorization")
        for old, new, expected in (
            (b"", b"", 401),
            (b"/predict", b"/livez", 405),
            (b"localhost", b"a,b", 401),
        ):
            refused = exchange(server, head(2, f"Origin: {HERE}").replace(old, new) + b"{}")
            assert (refused[0], refused[1].get("access-control-allow-origin")) == (expected, HERE)
        probe = head(None, f"Origin: {HERE}", path="/livez").replace(b"POST", b"GET", 1)
        wrong = exchange(server, probe.replace(b"localhost", b"a b"))
        assert (wrong[0], wrong[1]["access-control-allow-origin"]) == (400, HERE)
