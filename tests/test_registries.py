"""Models in OCI registries and in MLflow: their APIs as real servers speak them, and as wrong ones do."""

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import eventually, free_port, run, started
from pulls import digest, pulled, refused, versions
from sites import Page, Site, site

from unpickled.__main__ import main
from unpickled.server.remotes import registry

TYPE = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"
OWNER = {"Authorization": f"Basic {base64.b64encode(b'me:secret').decode()}"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory, whose models/ the command fills."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def plain() -> Iterator[Site]:
    """A site without TLS, on this machine."""
    with site() as made:
        yield made


@pytest.fixture(scope="module")
def files(models, tmp_path_factory) -> Path:
    """A folder with model.onnx, its signature for iris, and key.pub."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copy(models.path / "iris" / "1" / "model.onnx", folder)
    key = str(folder / "key.pem")
    assert main(["sign", "--new-key", key]) == 0
    assert main(["sign", str(folder / "model.onnx"), "--name", "iris", "--key", key]) == 0
    return folder


def layer(content: bytes, title: str | None) -> dict[str, object]:
    """The descriptor of a file in an artifact."""
    described = {"mediaType": "application/octet-stream", "digest": f"sha256:{digest(content)}"}
    return described | {"size": len(content)} | ({"annotations": {TITLE: title}} if title else {})


def manifest(*layers: dict[str, object]) -> bytes:
    empty = layer(b"{}", None) | {"mediaType": "application/vnd.oci.empty.v1+json"}
    return json.dumps({"schemaVersion": 2, "mediaType": TYPE, "config": empty, "layers": layers}).encode()


def push(web: Site, tag: str, *contents: tuple[str | None, bytes]) -> str:
    """Put an artifact on a site, and return its digest."""
    text = manifest(*(layer(content, title) for title, content in contents))
    for _, content in contents:
        web.put(f"/v2/m/iris/blobs/sha256:{digest(content)}", content)
    for reference in (tag, f"sha256:{digest(text)}"):
        web.put(f"/v2/m/iris/manifests/{reference}", text)
    return digest(text)


def address(web: Site, reference: str) -> str:
    return f"{web.address.replace('http', 'oci')}/m/iris{reference}"


def test_an_artifact(plain, files, capsys):
    """A tag is resolved to a digest, which is said; the file has that of its layer, and its signature."""
    parts = [(name, (files / name).read_bytes()) for name in ("model.onnx", "model.onnx.sig")]
    found = push(plain, "4", *parts)
    line = pulled(capsys, address(plain, ":4"), "--require-signature", files / "key.pub")
    assert f"iris: version 4 has come from {address(plain, f'@sha256:{found}')} (" in line
    before = len(plain.asked)
    assert "version 4 is" in pulled(capsys, address(plain, f"@sha256:{found}"))
    assert len(plain.asked) == before + 1


def test_a_tag_that_moves(plain, files, models):
    """A tag that moves is another offer; a digest never changes."""
    first = push(plain, "v", ("model.onnx", (files / "model.onnx").read_bytes()))
    by_tag, by_digest = (
        registry.open_source(address(plain, reference), {}) for reference in (":v", f"@sha256:{first}")
    )
    marks = by_tag.find("").mark, by_digest.find("").mark
    push(plain, "v", ("model.onnx", (models.path / "forest" / "1" / "model.onnx").read_bytes()))
    assert marks[0] == marks[1] == by_digest.find("").mark != by_tag.find("").mark


def test_digests_that_do_not_fit(plain, files, capsys):
    """A registry that sends another manifest or another file than asked for is not believed."""
    content = (files / "model.onnx").read_bytes()
    found = push(plain, "v", ("model.onnx", content))
    plain.put(f"/v2/m/iris/blobs/sha256:{digest(content)}", content + b" ")
    assert "but the remote says it is" in refused(capsys, address(plain, ":v"))
    plain.put(f"/v2/m/iris/manifests/sha256:{found}", manifest())
    assert "has another digest" in refused(capsys, address(plain, f"@sha256:{found}"))
    assert versions() == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"<html>", "is no JSON"),
        (b'{"manifests": []}', "is no artifact with layers"),
        (manifest(), "has no single layer with a file that ends in .onnx (its files are none)"),
        (manifest(layer(b"x", "a.onnx"), layer(b"y", "b.onnx")), "has no single layer"),
        (manifest(layer(b"x", None) | {"mediaType": "application/x.tar+gzip"}), "has no single layer"),
        (manifest(layer(b"x", "a.onnx") | {"digest": "sha256:../../x"}), "a layer without a sha256"),
        (manifest(layer(b"x", "a.onnx") | {"size": 2**40}), "it has 1,099,511,627,776 bytes"),
        (manifest(layer(b"x", "x") | {"annotations": [1]}), "answers 404"),
        (b"[" * 100_000, "is no JSON"),
    ],
    ids=["page", "index", "empty", "two", "archive", "path", "huge", "notes", "deep"],
)
def test_manifests_that_are_refused(plain, text, sentence, capsys):
    """A manifest that is none, or names no single model, is refused with what it has."""
    plain.put("/v2/m/iris/manifests/v", text)
    assert sentence in refused(capsys, address(plain, ":v"))


@pytest.mark.parametrize("user", ["", "me"])
def test_tokens_of_a_registry(plain, files, user):
    """A registry that asks for a token gets one, which it gives to everybody or to the user."""
    push(plain, "v", ("model.onnx", (files / "model.onnx").read_bytes()))
    with site() as issuer:
        issuer.pages["/token"] = Page(b'{"token": "granted"}')
        challenge = f'Bearer realm="{issuer.address}/token",service="here"'
        pages = dict(plain.pages)
        for path, page in pages.items():
            plain.pages[path] = lambda _, page=page: (
                page
                if plain.asked[-1][1].get("Authorization") == "Bearer granted"
                else Page(status=401, headers={"WWW-Authenticate": challenge})
            )
        environ = {"REGISTRY_USERNAME": user, "REGISTRY_PASSWORD": "secret"}
        source = registry.open_source(address(plain, ":v"), environ)
        assert source.find("").sha256 == digest((files / "model.onnx").read_bytes())
        path, headers = issuer.asked[0]
        assert path == "/token?service=here&scope=repository%3Am%2Firis%3Apull"
        assert headers.get("Authorization") == (OWNER["Authorization"] if user else None)


def registered(web: Site, location: str, *entries: dict[str, object]) -> None:
    """Have a site answer as MLflow does for version 7 of iris."""
    api = "/api/2.0/mlflow"
    web.put(f"{api}/registered-models/alias", b'{"model_version": {"name": "iris", "version": "7"}}')
    web.put(f"{api}/model-versions/get-download-uri", json.dumps({"artifact_uri": location}).encode())
    web.put(f"{api}-artifacts/artifacts", json.dumps({"files": entries}).encode())


@pytest.mark.parametrize(
    ("location", "entries", "sentence"),
    [
        ("file:///etc", [], "which is not read from here: start mlflow server with --serve-artifacts"),
        ("/tmp/x", [], "which is not read from here"),
        ("mlflow-artifacts:/1", [], "holds no file that ends in .onnx"),
        ("mlflow-artifacts:/1", [{"path": "a.onnx"}, {"path": "b.onnx"}], "log one file model.onnx"),
        (
            "mlflow-artifacts:/1",
            [{"path": "m.onnx", "file_size": "9999999999"}],
            "it has 9,999,999,999 bytes",
        ),
        ("mlflow-artifacts:/1", [{"path": "..", "is_dir": True}], "holds no file that ends in .onnx"),
        ("mlflow-artifacts:/1", [{"path": "x/", "is_dir": True}], "holds no file that ends in .onnx"),
        ("mlflow-artifacts:/1", [{"file": 5}], "something else than its REST API does"),
    ],
)
def test_files_that_mlflow_must_not_name(plain, location, entries, sentence, capsys):
    """A registry that names files of this machine, or no single model, is refused."""
    registered(plain, location, *entries)
    assert sentence in refused(capsys, f"{plain.address.replace('http', 'mlflow')}/iris@champion")


def test_a_registered_model(plain, files, capsys):
    """The file at an alias comes through MLflow's proxy, with the signature beside it, and its number."""
    content = (files / "model.onnx").read_bytes()
    registered(plain, "mlflow-artifacts:/1/x", {"path": "model.onnx"}, {"path": "model.onnx.sig"})
    for name in ("model.onnx", "model.onnx.sig"):
        plain.put(f"/api/2.0/mlflow-artifacts/artifacts/1/x/{name}", (files / name).read_bytes())
    place = plain.address.replace("http", "mlflow")
    line = pulled(capsys, f"{place}/iris@champion", "--require-signature", files / "key.pub")
    assert line.startswith(f"iris: version 7 has come from {place}/iris, version 7 (")
    assert Path("models/iris/7/model.onnx").read_bytes() == content


def test_credentials_of_mlflow(plain):
    """MLflow is asked with the variables that its own client reads."""
    registered(plain, "mlflow-artifacts:/1", {"path": "model.onnx"})
    place = f"{plain.address.replace('http', 'mlflow')}/iris@champion"
    user = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "secret"}
    for environ in (user, {"MLFLOW_TRACKING_TOKEN": "granted"}):
        registry.open_source(place, environ).find("")
    sent = {headers["Authorization"] for _, headers in plain.asked}
    assert sent == {OWNER["Authorization"], "Bearer granted"}


@contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """The registry of Debian's package docker-registry, on loopback; its address without a scheme."""
    for command in (["apt-get", "download", "docker-registry"], ["sh", "-c", "dpkg-deb -x *.deb ."]):
        if run(command, cwd=folder).returncode:
            pytest.skip("needs the package docker-registry")
    port = free_port()
    place = f"127.0.0.1:{port}"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    settings = {"version": "0.1", "storage": storage, "http": {"addr": place}}
    (folder / "settings.yml").write_text(json.dumps(settings))
    with (
        (folder / "log").open("wb") as log,
        started(
            [folder / "usr/bin/docker-registry", "serve", folder / "settings.yml"], stdout=log, stderr=log
        ) as process,
    ):
        eventually(lambda: process.poll() is not None or b"listening on" in (folder / "log").read_bytes())
        yield place


def sent(method: str, url: str, content: bytes, kind: str = "application/octet-stream") -> str | None:
    """The place that an upload leads to."""
    headers = {"Content-Type": kind}
    request = urllib.request.Request(url, content, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.headers["Location"]


@pytest.mark.long
def test_a_real_registry(files, tmp_path, capsys):
    """An artifact in a registry comes by its tag and by its digest; an unknown tag does not."""
    parts = [(name, (files / name).read_bytes()) for name in ("model.onnx", "model.onnx.sig")]
    with docker_registry(tmp_path) as place:
        base = f"http://{place}/v2/models/iris"
        for content in (b"{}", *(content for _, content in parts)):
            upload = sent("POST", f"{base}/blobs/uploads/", b"")
            sent("PUT", f"{upload}&digest=sha256:{digest(content)}", content)
        text = manifest(*(layer(content, name) for name, content in parts))
        sent("PUT", f"{base}/manifests/3", text, TYPE)
        required = ("--require-signature", files / "key.pub")
        line = pulled(capsys, f"oci://{place}/models/iris:3", *required)
        assert f"version 3 has come from oci://{place}/models/iris@sha256:{digest(text)}" in line
        assert "version 3 is" in pulled(capsys, f"oci://{place}/models/iris@sha256:{digest(text)}", *required)
        assert "(manifest unknown)" in refused(capsys, f"oci://{place}/models/iris:4")


REGISTER = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
run = client.create_run("0")
for path in sys.argv[2:]:
    client.log_artifact(run.info.run_id, path, "model")
if not client.search_registered_models("name = 'iris'"):
    client.create_registered_model("iris")
source = f"{run.info.artifact_uri}/model"
version = client.create_model_version("iris", source, run.info.run_id).version
client.set_registered_model_alias("iris", "champion", version)
"""


@pytest.mark.long
def test_a_real_mlflow(files, models, tmp_path, capsys):
    """The version at an alias comes from an MLflow server; when the alias moves, the next one does."""
    bin = tmp_path / "mlflow" / "bin"
    subprocess.run([sys.executable, "-m", "venv", bin.parent], check=True)
    if run([bin / "pip", "install", "-q", "mlflow >=3"]).returncode:
        pytest.skip("needs mlflow, from a package index")
    environ = {
        **os.environ,
        "PATH": f"{bin}:{os.environ['PATH']}",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "no",
    }
    port, log = free_port(), tmp_path / "mlflow.log"
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/m.db", "--artifacts-destination", tmp_path / "a"]
    command = [bin / "mlflow", "server", "--workers", "1", "--port", str(port), *store]
    place = f"127.0.0.1:{port}"
    with log.open("wb") as output, started(command, env=environ, stdout=output, stderr=output) as server:
        eventually(lambda: server.poll() is not None or b"startup complete" in log.read_bytes())
        register = [bin / "python", "-c", REGISTER, f"http://{place}"]
        parts = [files / "model.onnx", files / "model.onnx.sig"]
        assert run([*register, *parts], env=environ, cwd=tmp_path).returncode == 0
        required = ("--require-signature", files / "key.pub")
        assert "version 1 has come" in pulled(capsys, f"mlflow://{place}/iris@champion", *required)
        forest = models.path / "forest" / "1" / "model.onnx"
        assert run([*register, forest], env=environ, cwd=tmp_path).returncode == 0
        assert "it has no signature" in refused(capsys, f"mlflow://{place}/iris@champion", *required)
        assert "version 2 has come" in pulled(capsys, f"mlflow://{place}/iris@champion")
        assert "version 1 is" in pulled(capsys, f"mlflow://{place}/iris", "--version", 1)
        assert "alias nobody not found" in refused(capsys, f"mlflow://{place}/iris@nobody")
