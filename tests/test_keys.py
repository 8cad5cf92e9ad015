"""API keys: who may do what, how a server follows the file, and the commands that change it."""

import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest
from conftest import FLOWER, eventually, serving

from unpickled.__main__ import main
from unpickled.server import Config, create_app
from unpickled.server.access import keys, ring
from unpickled.server.access.copies import Copies
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import disk
from unpickled.server.service import Service

BODY = json.dumps({"features": FLOWER}).encode()
LIMIT = 100_000
# Name -> scopes of the keys in the file of these tests.
SCOPES = {
    "all": ["predict:*", "read", "metrics"],
    "iris": ["predict:iris"],
    "monitor": ["metrics"],
    "reader": ["read"],
    "teller": ["truth"],
}


def written(path, secrets, **more):
    """A file with one key for each name, whose scopes are in SCOPES; ``more`` are lines of all entries."""
    lines = "\n".join(f"{key} = {value}" for key, value in more.items())
    entries = [
        f'[[key]]\nname = "{name}"\nsha256 = "{keys.digest(secret)}"\n'
        f"scopes = {json.dumps(SCOPES[name])}\n{lines}"
        for name, secret in secrets.items()
    ]
    path.write_text("\n".join(entries))
    return str(path)


@pytest.fixture
def secrets():
    return {name: keys.fresh() for name in SCOPES}


@pytest.fixture
def client(models, tmp_path, secrets):
    """A client of an application with those keys, and iris behind /predict."""
    path = written(tmp_path / "keys.toml", secrets)
    app = create_app(
        Config.of(models=str(models.path), default_model="iris", api_keys=path, max_body_bytes=LIMIT)
    )
    return app.test_client()


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


REQUESTS = [
    ("POST", "/predict", {"all", "iris"}),
    ("POST", "/models/iris/predict", {"all", "iris"}),
    ("POST", "/models/iris/versions/1/predict", {"all", "iris"}),
    ("POST", "/v2/models/iris/infer", {"all", "iris"}),
    ("POST", "/v1/models/iris:predict", {"all", "iris"}),
    ("POST", "/invocations", {"all", "iris"}),
    ("POST", "/models/forest/predict", {"all"}),
    ("POST", "/models/for%65st/predict", {"all"}),
    ("POST", "/models/forest/versions/01/predict", {"all"}),
    ("POST", "/models/nothing/predict", {"all"}),
    ("post", "/predict", {"all", "iris"}),
    ("POST", "/models/iris/explain", {"all", "iris"}),
    ("post", "/models/ir%69s/versions/1/explain", {"all", "iris"}),
    ("POST", "/models/forest/labels/none/explain", {"all"}),
    ("POST", "/models/iris/truth", {"teller"}),
    ("post", "/models/ir%69s/truth", {"teller"}),
    ("POST", "/v2/repository/index", {"all", "reader"}),
    ("GET", "/models", {"all", "reader"}),
    ("GET", "/openapi.json", {"all", "reader"}),
    ("GET", "/models/iris/report", {"all", "reader"}),
    ("GET", "/", {"all", "reader"}),
    ("GET", "/nowhere", {"all", "reader"}),
    ("GET", "/predict", {"all", "reader"}),
    ("HEAD", "/v2/models/iris", {"all", "reader"}),
    ("GET", "/metrics", {"all", "monitor"}),
]


@pytest.mark.parametrize(
    ("method", "path", "allowed"), REQUESTS, ids=[f"{method} {path}" for method, path, _ in REQUESTS]
)
def test_scopes(client, secrets, method, path, allowed):
    """A request is passed on for the keys with its scope; others get 403, and 401 without a key."""
    statuses = {
        name: client.open(
            path,
            method=method.upper(),
            data=BODY,
            headers=bearer(secret),
            environ_overrides={"REQUEST_METHOD": method},
        ).status_code
        for name, secret in secrets.items()
    }
    assert {name for name, status in statuses.items() if status != 403} == allowed
    assert 401 not in statuses.values()
    assert client.open(path, method=method, data=BODY).status_code == 401


@pytest.mark.parametrize(
    "path", ["/livez", "/ping", "/probe", "/readyz", "/v2/health/live", "/v2/health/ready"]
)
def test_probes_need_no_key(models, tmp_path, secrets, path):
    """Probes are answered without a key, those of health_route too."""
    path_of_keys = written(tmp_path / "keys.toml", secrets)
    app = create_app(Config.of(models=str(models.path), api_keys=path_of_keys, health_route="/probe"))
    assert app.test_client().get(path).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer unp_wrong"},
        {"Authorization": "Bearer " + "x" * 5000},
        {"Authorization": "Bearer a.b.c"},
        {"X-API-Key": "unp_wrong"},
        {"X-API-Key": "\xff\xfe"},
    ],
    ids=str,
)
def test_unauthorized(client, headers):
    """A request without a key that is known is answered with 401, and how to send one."""
    answer = client.post("/predict", data=BODY, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert answer.headers["Content-Type"] == "application/json"


def test_ways_to_send_a_key(client, secrets):
    """A key is read from Authorization, in any case of its scheme, or from X-API-Key, beside Basic too."""
    secret = secrets["iris"]
    basic = {"Authorization": "Basic dXNlcjpwYXNz"}
    for headers in (
        bearer(secret),
        {"Authorization": f"bearer  {secret}"},
        {"X-API-Key": secret},
        {"X-API-Key": secret} | basic,
    ):
        for _ in range(2):
            assert client.post("/predict", data=BODY, headers=headers).status_code == 200


def test_forbidden_names_the_scope(client, secrets):
    """A 403 names the key and the scope that it lacks."""
    answer = client.post("/models/forest/predict", data=BODY, headers=bearer(secrets["iris"]))
    assert (answer.json["code"], answer.json["scope"]) == ("forbidden", "predict:forest")
    assert "'iris'" in answer.json["error"]
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


def test_expiry(models, tmp_path, secrets):
    """A key works until it expires, on the very request, and is refused with the reason from then on."""
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    path = written(tmp_path / "keys.toml", secrets, expires=soon)
    client = create_app(Config.of(models=str(models.path), default_model="iris", api_keys=path)).test_client()
    first = client.post("/predict", data=BODY, headers=bearer(secrets["iris"]))
    assert first.status_code in (200, 401)
    eventually(lambda: client.post("/predict", data=BODY, headers=bearer(secrets["iris"])).status_code == 401)
    assert "expired" in client.post("/predict", data=BODY, headers=bearer(secrets["iris"])).json["error"]


def test_a_changed_file_is_followed(client, secrets, tmp_path):
    """A key that is taken out is refused, a new one is taken, without a restart."""
    assert client.post("/predict", data=BODY, headers=bearer(secrets["iris"])).status_code == 200
    old, secrets["iris"] = secrets["iris"], keys.fresh()
    written(tmp_path / "keys.toml", secrets)
    eventually(lambda: client.post("/predict", data=BODY, headers=bearer(old)).status_code == 401)
    assert client.post("/predict", data=BODY, headers=bearer(secrets["iris"])).status_code == 200


@pytest.mark.parametrize("broken", ["[[key", '[[key]]\nname = "x"', None], ids=str)
def test_a_broken_file_changes_nothing(client, secrets, tmp_path, caplog, broken):
    """While the file is wrong, or gone, the keys stay as they were, and the log says so once."""
    path = tmp_path / "keys.toml"
    path.write_text(broken) if broken else path.unlink()
    eventually(lambda: "the API keys stay as they were" in caplog.text)
    assert client.post("/predict", data=BODY, headers=bearer(secrets["iris"])).status_code == 200
    assert caplog.text.count("the API keys stay as they were") == 1
    del secrets["iris"]
    written(path, secrets)
    eventually(lambda: client.get("/models", headers=bearer(secrets["reader"])).status_code == 200)


def test_a_file_that_is_being_written(tmp_path, secrets, monkeypatch):
    """While somebody writes the file, in parts, no key is taken for one that was revoked."""
    # Far longer than a busy machine keeps the thread below from going on.
    monkeypatch.setattr(ring, "_SETTLING", 1.5)
    path, done = tmp_path / "keys.toml", threading.Event()
    followed = ring.Ring(written(path, secrets), Copies())
    whole, before = path.read_bytes(), disk.stamp(path)

    def write():
        while not done.is_set():
            path.write_bytes(b"")
            path.write_bytes(whole)

    writer = threading.Thread(target=write)
    writer.start()
    eventually(lambda: disk.stamp(path) != before, 60)
    for _ in range(2):
        followed.refresh()
        assert followed.find(secrets["iris"]) is not None
    done.set()
    writer.join()


@pytest.mark.parametrize("broken", ["[[key", None], ids=str)
def test_a_worker_that_starts_meanwhile(models, tmp_path, secrets, broken):
    """A worker that replaces another one while the file is wrong, or gone, knows the keys, and follows it."""
    path = tmp_path / "keys.toml"
    with serving(tmp_path, "--api-keys", written(path, secrets), models=models.path) as server:
        path.write_text(broken) if broken else path.unlink()
        (before,) = server.workers()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([], [before]) and server.listens())
        assert asked(server, secrets["iris"]) == 200
        assert asked(server, "unp_wrong") == 401
        assert "the API keys stay as they were" in server.printed()
        old, secrets["iris"] = secrets["iris"], keys.fresh()
        written(path, secrets)
        eventually(lambda: asked(server, old) == 401)
        assert asked(server, secrets["iris"]) == 200


def asked(server, secret):
    """The status of a prediction with a key."""
    request = urllib.request.Request(f"{server.url}/models/iris/predict", BODY, bearer(secret))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


ENTRY = '[[key]]\nname = "a"\nsha256 = "' + "0" * 64 + '"\nscopes = ["read"]\n'
WRONG = {
    "no TOML": ("key = ", "is not TOML: Invalid value (at "),
    "no file": (None, "unpickled keys add NAME"),
    "the key itself": (ENTRY.replace("0" * 64, "unp_secret"), "key 1 ('a').sha256"),
    "unknown scope": (ENTRY.replace("read", "reed"), "key 1 (a) in"),
    "no scope": (ENTRY.replace('["read"]', "[]"), "key 1 ('a').scopes"),
    "another field": (ENTRY + "scope = 1", "key 1 ('a')"),
    "no zone": (ENTRY + "expires = 2027-01-01T00:00:00", "without a zone: write 2027-01-01T00:00:00Z"),
    "a text for a date": (ENTRY + 'expires = "2027-01-01"', "without quotes"),
    "two of a name": (ENTRY + ENTRY.replace("0" * 64, "1" * 64), "key 2 (a) in"),
    "two of a key": (ENTRY + ENTRY.replace('"a"', '"b"'), "has the same sha256 as a"),
    "no rate": (ENTRY + "rate_limit = 0", "key 1 ('a').rate_limit"),
    "an endless rate": (ENTRY + "rate_limit = inf", "key 1 ('a').rate_limit"),
    "an endless burst": (ENTRY + f"rate_burst = 1{'0' * 400}", "key 1 ('a').rate_burst"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_wrong_file_at_the_start(models, tmp_path, case):
    """A server does not start with a wrong file of keys: the reason names the entry and the remedy."""
    text, reason = WRONG[case]
    path = tmp_path / "keys.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        create_app(Config.of(models=str(models.path), api_keys=str(path)))
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_refusals_are_counted(client, secrets):
    """Refusals count as requests of their route; those of a key that is known count by its name too."""
    client.post("/predict", data=BODY)
    client.post("/predict", data=BODY, headers=bearer(secrets["iris"]))
    client.post("/predict", data=b"{", headers=bearer(secrets["iris"]))
    client.post("/models/forest/predict", data=BODY, headers=bearer(secrets["iris"]))
    text = client.get("/metrics", headers=bearer(secrets["monitor"])).text
    assert 'unpickled_requests_total{model="",route="/predict",status="401",version=""} 1.0' in text
    assert (
        'unpickled_requests_total{model="",route="/models/<name>/predict",status="403",version=""} 1.0'
        in text
    )
    assert 'unpickled_key_requests_total{key="iris",status="2xx"} 1.0' in text
    assert 'unpickled_key_requests_total{key="iris",status="4xx"} 2.0' in text


def test_a_large_upload_gets_its_refusal(models, tmp_path, secrets):
    """A client that sends a long body without a key gets the whole answer, not a broken pipe."""
    path = written(tmp_path / "keys.toml", secrets)
    with serving(tmp_path, "--api-keys", path, models=models.path) as server:
        for _ in range(5):
            request = urllib.request.Request(f"{server.url}/predict", b"x" * 8_000_000)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=60)
            with caught.value as answer:
                assert (answer.code, json.load(answer)["code"]) == (401, "unauthorized")


def test_without_settings_there_is_no_guard(models):
    """Without keys, tokens and limits, the application has no layer that recognizes callers."""
    app = create_app(Config.of(models=str(models.path), default_model="iris"))
    assert app.test_client().post("/predict", data=BODY).status_code == 200
    assert Service(Config.of(models=str(models.path))).callers is None


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    """Runs ``unpickled keys`` on a file of keys; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)

    def command(line):
        status = main(["keys", *line.split(), "--api-keys", "keys.toml"])
        return status, *capsys.readouterr()

    return command


def test_keys_are_made_listed_and_revoked(shell, tmp_path):
    """The key is printed once and stands hashed in the file; revoking one leaves other lines as they are."""
    status, secret, _ = shell("add shop --scopes predict:iris,read --expires 90d --rate-limit 5")
    assert status == 0
    text = (tmp_path / "keys.toml").read_text()
    assert keys.digest(secret.strip()) in text
    assert secret.strip() not in text
    shell("add other --scopes metrics")
    (tmp_path / "keys.toml").write_text("# mine\n" + (tmp_path / "keys.toml").read_text())
    assert [line.split()[0] for line in shell("list")[1].splitlines()] == ["name", "shop", "other"]
    assert shell("revoke shop")[0] == 0
    assert [row["name"] for row in json.loads(shell("list --json")[1])] == ["other"]
    assert (tmp_path / "keys.toml").read_text().startswith("# mine\n")


REFUSED = {
    "add shop": (2, "Missing option '--scopes'"),
    "add shop --scopes all": (1, "has the scope 'all', which there is not"),
    "add shop --scopes read": (1, "has the name of another one"),
    "add sh/op --scopes read": (1, "name"),
    "add b --scopes read --expires soon": (1, "write 90d, 12h, 30m or 2027-12-31"),
    "add b --scopes read --expires 2020-01-01": (1, "which is past"),
    "add b --scopes read --expires 0d": (1, "which is past"),
    "add b/c --scopes read": (1, "letters, digits and signs out of"),
    "add b --scopes read --rate-limit 0": (1, "rate_limit"),
    "revoke shpo": (1, "did you mean 'shop'?"),
}


@pytest.mark.parametrize("line", sorted(REFUSED))
def test_refused_commands(shell, tmp_path, line):
    """A command that is refused says why, and leaves the file as it was."""
    shell("add shop --scopes read")
    before = (tmp_path / "keys.toml").read_bytes()
    status, _, errors = shell(line)
    assert status == REFUSED[line][0]
    assert REFUSED[line][1] in errors
    assert (tmp_path / "keys.toml").read_bytes() == before


def test_a_key_of_another_layout_is_not_revoked(shell, tmp_path):
    """A file that was written by hand in another layout is left alone, with a hint to edit it."""
    fields = f'name = "a", sha256 = "{"0" * 64}", scopes = ["read"]'
    (tmp_path / "keys.toml").write_text(f"key = [{{{fields}}}]\n")
    status, _, errors = shell("revoke a")
    assert (status, "edit it by hand" in errors) == (1, True)


def test_permissions_stay(shell, tmp_path):
    """A changed file keeps its permissions."""
    shell("add a --scopes read")
    os.chmod(tmp_path / "keys.toml", 0o640)
    shell("add b --scopes read")
    assert (tmp_path / "keys.toml").stat().st_mode & 0o777 == 0o640


def test_pages_of_other_origins(models, tmp_path, secrets):
    """A preflight request needs no key, and a refusal can be read by the page that gets it."""
    path = written(tmp_path / "keys.toml", secrets)
    app = create_app(Config.of(models=str(models.path), api_keys=path, cors_origins=("https://a.example",)))
    origin = {"Origin": "https://a.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = app.test_client().options("/models/iris/predict", headers=origin | asked)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Headers"]) == (204, "authorization")
    refused = app.test_client().post("/models/iris/predict", data=BODY, headers=origin)
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, origin["Origin"])


def test_gunicorn(models, tmp_path, secrets):
    """Another WSGI server guards its requests in the same way."""
    path = written(tmp_path / "keys.toml", secrets)
    program = (sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:{port}", "unpickled.server:create_app()")
    (tmp_path / "unpickled.toml").write_text(f'api_keys = "{path}"\n')
    with serving(tmp_path, models=models.path, program=program, python_path="") as server:
        assert server.ask("/models/iris/predict", BODY)[0] == 401
        request = urllib.request.Request(
            f"{server.url}/models/iris/predict", BODY, {"X-API-Key": secrets["iris"]}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["prediction"] == [0]


def test_openapi_describes_keys(client, secrets):
    """The OpenAPI document says how a key is sent, and how a request without one is answered."""
    described = client.get("/openapi.json", headers=bearer(secrets["reader"])).json
    assert described["security"] == [{"bearer": []}, {"header": []}]
    assert described["components"]["securitySchemes"]["header"]["name"] == "X-API-Key"
    predict = described["paths"]["/predict"]["post"]
    assert {"200", "401", "403", "429"} <= predict["responses"].keys()
    assert described["paths"]["/livez"]["get"]["security"] == []
