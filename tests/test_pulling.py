"""Models from elsewhere: fetched beside, verified, and given a number at once."""

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import Authority
from conftest import BIN, PATIENCE, environment, eventually, serving, shelve, started
from pulls import digest, pulled, refused, versions
from sites import Page, Site, site

from unpickled.__main__ import main
from unpickled.export.store import add_version
from unpickled.server.commands import arrival
from unpickled.server.errors import RemoteError
from unpickled.server.lifecycle import history
from unpickled.server.remotes import client, place, registry
from unpickled.server.remotes.sink import Sink


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory, whose models/ the command fills; and no pauses between attempts."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(client, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture
def remote(models, tmp_path) -> Path:
    """A folder elsewhere with iris/1 and iris/2."""
    shelve(models, tmp_path / "remote" / "iris", "iris", "forest")
    return tmp_path / "remote"


@pytest.fixture(scope="module")
def content(models) -> bytes:
    return (models.path / "iris" / "1" / "model.onnx").read_bytes()


@pytest.fixture
def secure(tmp_path, monkeypatch) -> Iterator[Site]:
    """A site over TLS, by an authority that this process trusts."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with site(authority.issue("site")) as made:
        yield made


@pytest.fixture
def plain() -> Iterator[Site]:
    with site() as made:
        yield made


def test_a_folder(remote, capsys):
    """The newest version comes with the number that it has there, and only once."""
    line = pulled(capsys, remote.joinpath("iris").as_uri())
    assert line.startswith(f"iris: version 2 has come from {remote.as_uri()}/iris/2/model.onnx (")
    assert line.endswith("; version 2 answers /models/iris/predict")
    assert "version 2 is" in pulled(capsys, remote.joinpath("iris").as_uri())
    assert "version 1 has come" in pulled(capsys, remote.joinpath("iris").as_uri(), "--version", 1)
    assert "version 1 is" in pulled(capsys, remote.joinpath("iris", "1").as_uri())
    assert versions() == ["1", "2"]


def test_a_number_that_is_taken(remote, models, capsys):
    """Another content with the same number here is never replaced: the version gets the next number."""
    shelve(models, Path("models/iris"), "people", first=2)
    assert "version 3 has come" in pulled(capsys, remote.joinpath("iris").as_uri())
    uri = remote.joinpath("iris", "1", "model.onnx").as_uri()
    assert "is there already: choose another number" in refused(capsys, uri, "--version", 2)
    assert versions() == ["2", "3"]


def test_the_highest_number(remote, models, capsys):
    """No version gets a number of more digits than servers read: it would be there and never be served."""
    highest = 10**18 - 1
    shelve(models, Path("models/iris"), "people", first=highest)
    shelve(models, remote / "iris", "forest", first=highest)
    uri = remote.joinpath("iris").as_uri()
    assert "leaves no higher number to the next version" in refused(capsys, uri)
    assert versions() == [str(highest)]
    assert f"version {highest} has come" in pulled(capsys, uri, "--name", "other")


def test_a_first_version_that_fails_leaves_no_folder(remote, capsys, monkeypatch):
    """A disk that is full when the version has its number leaves nothing that a server takes for a model."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "models/iris/history.jsonl")

    with monkeypatch.context() as patched:
        patched.setattr(arrival, "_labelled", full)
        assert "history.jsonl cannot be written: No space left" in refused(
            capsys, remote.joinpath("iris").as_uri()
        )
    assert list(Path("models").iterdir()) == []
    assert "version 2 has come" in pulled(capsys, remote.joinpath("iris").as_uri())


def test_a_folder_that_is_not_there(remote, capsys):
    """A folder that is looked for in vain is not made."""
    refused(capsys, remote.joinpath("irsi").as_uri())
    assert not (remote / "irsi").exists()


def test_a_version_without_its_file(remote, capsys):
    """A version that is being put there is passed over; a folder without versions is none."""
    (remote / "iris" / "3").mkdir()
    assert "version 2 has come" in pulled(capsys, remote.joinpath("iris").as_uri())
    (remote / "empty" / "x").mkdir(parents=True)
    assert "holds no version" in refused(capsys, remote.joinpath("empty").as_uri())


def test_a_bucket(remote, capsys, monkeypatch):
    """An S3 bucket is listed and read, with credentials and endpoint from the environment."""
    with site(bucket=remote.parent) as store:
        for name, value in {
            "AWS_ENDPOINT_URL": store.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        content = (remote / "iris" / "2" / "model.onnx").read_bytes()
        (remote / "iris" / "2" / "model.onnx.sha256").write_text(f"{digest(content)}  model.onnx\n")
        line = pulled(capsys, "s3://bucket/remote/iris")
        assert "version 2 has come from s3://bucket/remote/iris/2/model.onnx" in line
        assert refused(capsys, "s3://bucket/remote/iris/7").startswith("there is no file s3://")
        monkeypatch.setattr("unpickled.server.remotes.objects._PART", 1000)
        assert "version 2 has come" in pulled(capsys, "s3://bucket/remote/iris", "--name", "parts")
        (remote / "iris" / "1" / "model.onnx.sha256").write_text("0" * 64)
        assert "the remote says it is 0000" in refused(capsys, "s3://bucket/remote/iris/1")


def test_a_web_server(secure, content, capsys):
    """A file comes over TLS, with the digest and the signature beside it."""
    assert main(["sign", "--new-key", "key.pem"]) == 0
    Path("iris.onnx").write_bytes(content)
    assert main(["sign", "iris.onnx", "--name", "iris", "--key", "key.pem"]) == 0
    secure.put("/m/iris.onnx", content)
    secure.put("/m/iris.onnx.sha256", f"{digest(content)}  iris.onnx\n".encode())
    signature = Path("iris.onnx.sig").read_bytes()
    secure.put("/m/iris.onnx.sig", signature)
    line = pulled(capsys, f"{secure.address}/m/iris.onnx", "--require-signature", "key.pub")
    assert f"version 1 has come from {secure.address}/m/iris.onnx" in line
    assert ", signed)" in line
    assert Path("models/iris/1/model.onnx.sig").read_bytes() == signature


def test_a_file_that_has_not_changed(secure, content):
    """The server is asked whether the file has changed, and sends it only then."""
    secure.put("/iris.onnx", content)
    source = registry.open_source(f"{secure.address}/iris.onnx", {})
    offer = source.find("")
    assert source.find(offer.mark).mark == offer.mark
    assert secure.asked[-1][1]["If-None-Match"] == offer.mark
    secure.put("/iris.onnx", content + b" ")
    assert source.find(offer.mark).mark != offer.mark


@pytest.mark.long
def test_a_server_that_does_not_tell_changes(secure, content):
    """Without an ETag and a date, a file with the same content is no news."""
    secure.pages["/iris.onnx"] = Page(content)
    command = [BIN / "unpickled", "pull", f"{secure.address}/iris.onnx", "--follow", "--every", "0.1"]
    with Path("out").open("wb") as out, started(command, stdout=out):
        eventually(lambda: [path for path, _ in secure.asked].count("/iris.onnx") > 6)
    assert len(Path("out").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (Page(status=404), "answers 404: there is nothing"),
        (Page(status=500), "answers 500: it fails"),
        (Page(b'{"message": "no\\nway"}', 403), "not for everybody, or not for these credentials (no?way)"),
        (Page(b"x" * 50, length=100), "is cut off: 50 bytes have come of 100"),
        (Page(b"x", length=5_000_000_000), "it has 5,000,000,000 bytes"),
        (Page(b"x", headers={"Content-Encoding": "gzip"}), "it is encoded ('gzip')"),
        (Page(b"x" * 100), "is refused: it is not a complete ONNX file"),
        (Page(status=302, headers={"Location": "/iris.onnx"}), "redirects, in a circle"),
        (
            Page(status=302, headers={"Location": "http://example.com/x"}),
            "'http://example.com/x' is not https",
        ),
        (Page(status=302, headers={"Location": "file:///etc/passwd"}), "answers 302: it redirects"),
    ],
    ids=lambda part: part[:20] if isinstance(part, str) else "",
)
def test_answers_that_are_refused(secure, page, sentence, capsys):
    """Whatever a server answers, a sentence says what is wrong, and nothing is left."""
    secure.pages["/iris.onnx"] = page
    assert sentence in refused(capsys, f"{secure.address}/iris.onnx")
    assert versions() == []


def test_a_remote_does_not_write_to_the_terminal(capsys):
    """Controls in an answer that is no HTTP are shown as question marks."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def answer():
            for _ in range(4):
                with server.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(b"\x1b[31mred\x07\r\n\r\n")

        pool.submit(answer)
        port = server.getsockname()[1]
        assert refused(capsys, f"http://127.0.0.1:{port}/iris.onnx").endswith("fetched: ?[31mred?")


def test_a_head_that_drips(capsys, monkeypatch):
    """A server that sends the head of its answer byte by byte, and never ends it, is waited for no longer."""
    monkeypatch.setattr("unpickled.server.remotes.patient._PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def drip():
            with server.accept()[0] as connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.01)

        pool.submit(drip)
        port = server.getsockname()[1]
        assert "comes too slowly" in refused(capsys, f"http://127.0.0.1:{port}/iris.onnx")


def test_a_server_that_is_busy(secure, content, capsys):
    """A server that is busy is asked again, a few times."""
    secure.pages["/iris.onnx"] = lambda path: Page(content) if len(secure.asked) > 2 else Page(status=503)
    assert "version 1 has come" in pulled(capsys, f"{secure.address}/iris.onnx")


def test_a_redirect_takes_no_credentials_along(secure, plain):
    """Credentials go to the server that they are for, not to one to which it redirects."""
    with site() as other:
        other.put("/x", b"{}")
        plain.pages["/x"] = Page(status=302, headers={"Location": f"{other.address}/x"})
        plain.pages["/y"] = Page(status=302, headers={"Location": "/z"})
        plain.put("/z", b"{}")
        asking = client.Client(lambda url: "Bearer secret")
        assert (asking.document(f"{plain.address}/x"), asking.document(f"{plain.address}/y")) == ({}, {})
        assert "Authorization" not in other.asked[0][1]
        assert [headers["Authorization"] for _, headers in plain.asked] == ["Bearer secret"] * 3


def test_a_certificate_that_nobody_knows(secure, monkeypatch, capsys):
    """A server whose certificate is not trusted is asked nothing, and not again."""
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "CERTIFICATE_VERIFY_FAILED" in refused(capsys, f"{secure.address}/iris.onnx")
    assert secure.asked == []


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("iris", "'iris' is no address of a model"),
        ("s4://bucket/iris", "'s4://bucket/iris' is no address of a model"),
        ("s4://me:secret@bucket/iris?key=secret", "'s4://bucket/iris' is no address of a model"),
        ("http://example.com/iris.onnx", "'http://example.com/iris.onnx' is not https"),
        ("https://me:secret@example.com/iris.onnx", "leave them out"),
        ("https://example.com/iris", "names no file"),
        ("https://[::1/iris.onnx", "is no address"),
        ("s3:///iris", "names no bucket"),
        ("s3://bucket/iris?secret=1", "s3://bucket/iris goes without ? and #"),
        ("file://host/iris", "write file:///folder"),
        ("mlflow://example.com/iris", "names no model at an alias"),
        ("mlflow+http://example.com/iris@x", "is not https"),
        ("oci://example.com/iris", "names no artifact"),
        ("oci://example.com/iris@sha256:12", "names no artifact"),
        ("oci://example.com/../iris:1", "names no artifact"),
        ("https://example.com/%2e%2e.onnx", "does not tell the name of the model"),
        ("s3://bucket", "does not tell the name of the model"),
    ],
)
def test_addresses_that_are_wrong(address, sentence, capsys):
    """A wrong address is refused before anybody is asked, and no secret in it is printed."""
    line = refused(capsys, address)
    assert sentence in line
    assert "secret" not in line


@pytest.mark.parametrize("name", ["../iris", "", ".hidden", "a/b", "x" * 129])
def test_names_that_are_wrong(remote, name, capsys):
    """A name that leads out of the models folder is none."""
    line = refused(capsys, remote.joinpath("iris").as_uri(), "--name", name)
    assert "cannot name a model" in line or "give it" in line
    assert not Path("models").exists()


def test_the_digest_that_it_has_to_have(remote, content, capsys):
    """A file with another digest than --sha256 is refused; with that one, it comes."""
    uri = remote.joinpath("iris", "1").as_uri()
    assert f"has the sha256 {digest(content)}, but it was to be {'0' * 64}" in refused(
        capsys, uri, "--sha256", "0" * 64
    )
    assert "write the 64 digits" in refused(capsys, uri, "--sha256", "12")
    assert "version 1 has come" in pulled(capsys, uri, "--sha256", f"sha256:{digest(content).upper()}")


def test_a_signature_that_is_required(remote, capsys):
    """Without the right signature nothing comes; one that is made later is put beside what is here."""
    assert main(["sign", "--new-key", "key.pem"]) == 0
    version = remote / "iris" / "2"
    uri, keys = version.as_uri(), ("--require-signature", "key.pub")
    assert "is refused: it has no signature" in refused(capsys, uri, *keys)
    assert main(["sign", str(version), "--key", "key.pem", "--name", "people"]) == 0
    assert "does not fit the file" in refused(capsys, uri, *keys)
    assert "version 2 has come" in pulled(capsys, uri, "--name", "people", *keys)
    pulled(capsys, uri)
    assert main(["sign", str(version), "--key", "key.pem"]) == 0
    capsys.readouterr()
    assert "version 2 is" in pulled(capsys, uri, *keys)
    assert Path("models/iris/2/model.onnx.sig").read_bytes() == (version / "model.onnx.sig").read_bytes()


def test_keys_of_the_settings(remote, capsys):
    """The setting require_signature holds for pulls, too."""
    assert main(["sign", "--new-key", "key.pem"]) == 0
    Path("unpickled.toml").write_text('require_signature = "key.pub"\n')
    assert "it has no signature" in refused(capsys, remote.joinpath("iris").as_uri())


def test_damage(remote, capsys):
    """A file that was cut or changed on its way is refused, and what is here stays."""
    pulled(capsys, remote.joinpath("iris", "1").as_uri())
    path = remote / "iris" / "2" / "model.onnx"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "is refused: " in refused(capsys, remote.joinpath("iris").as_uri())
    path.write_bytes(whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:])
    assert "is refused: " in refused(capsys, remote.joinpath("iris").as_uri())
    assert versions() == ["1"]


def test_a_disk_that_is_full(remote):
    """Where the disk takes no more, a sentence says so, and nothing is left."""
    uri = remote.joinpath("iris").as_uri()
    command = ["prlimit", "--fsize=5000", str(BIN / "unpickled"), "pull", uri]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 1
    assert "/model.onnx cannot be written: File too large" in completed.stderr
    assert [*Path("models").iterdir()] == []


def test_labels(remote, capsys):
    """A label moves to what comes; a challenger shadows, and does not answer; stable answers."""
    uri = remote.joinpath("iris").as_uri()
    pulled(capsys, uri, "--version", 1)
    line = pulled(capsys, uri, "--label", "challenger")
    assert "version 2 is challenger and shadows; version 1 answers /models/iris/predict" in line
    assert "version 2 answers /models/iris/predict" in pulled(capsys, uri, "--label", "stable")
    assert "version 1 is stable" in pulled(capsys, uri, "--version", 1, "--label", "stable", "--label", "old")
    record = history.read(Path("models/iris"))[-1]
    assert record.labels == {"stable": 1, "challenger": 2, "old": 1}
    assert "starts with a letter" in refused(capsys, uri, "--label", "1x")


def test_a_label_that_cannot_be_given(remote, models, capsys):
    """A version that cannot share the traffic does not come at all."""
    uri = remote.joinpath("iris", "1").as_uri()
    pulled(capsys, uri)
    shelve(models, remote / "other", "people", first=2)
    line = refused(capsys, remote.joinpath("other", "2").as_uri(), "--name", "iris", "--label", "challenger")
    assert "cannot take the same requests" in line
    assert versions() == ["1"]


def test_the_origin(remote, capsys):
    """The version's folder, its page and the history say where it came from."""
    pulled(capsys, remote.joinpath("iris").as_uri())
    document = json.loads(Path("models/iris/2/origin.json").read_bytes())
    assert document["from"] == f"{remote.as_uri()}/iris/2/model.onnx"
    assert document["sha256"] == digest(Path("models/iris/2/model.onnx").read_bytes())
    assert [each.by for each in history.read(Path("models/iris"))] == [f"pull {document['from']}"]
    assert main(["models", "show", "iris"]) == 0
    assert f"2: {document['from']}, at {document['at']}" in capsys.readouterr().out


@pytest.mark.long
def test_many_at_once(remote, models):
    """Pulls and exports at the same time lose no version and no number."""
    shelve(models, remote / "iris", "people", first=3)
    uri = [remote.joinpath("iris", str(number), "model.onnx").as_uri() for number in (1, 2, 3)]
    commands = [[BIN / "unpickled", "pull", each, "--name", "mixed"] for each in (*uri, *uri)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    for number in range(5):
        add_version(Path("models/mixed").absolute(), b"%d" % number)
    lines = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6
    files = [path.read_bytes() for path in Path("models/mixed").glob("*/model.onnx")]
    assert {*files} == {b"%d" % number for number in range(5)} | {
        path.read_bytes() for path in remote.glob("iris/*/model.onnx")
    }
    assert all(line.startswith("mixed: version ") for line in lines)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_end_in_the_middle(plain, content, capsys, number):
    """A pull that is killed on the way leaves no model, and the next one removes what is left."""
    stopped = threading.Event()

    def stall(path: str) -> Page:
        stopped.wait(PATIENCE) if len(plain.asked) > 1 else None
        return Page(content)

    plain.pages["/iris.onnx"] = stall
    address = f"{plain.address}/iris.onnx"
    with started([BIN / "unpickled", "pull", address], stderr=subprocess.DEVNULL) as process:
        eventually(lambda: len(plain.asked) > 1 and [*Path("models").glob(".pull-*/model.onnx")])
        process.send_signal(number)
        assert process.wait(PATIENCE) == -number
    stopped.set()
    assert [path.name[:6] for path in Path("models").iterdir()] == [".pull-"]
    pulled(capsys, address)
    assert [path.name for path in Path("models").iterdir()] == ["iris"]


def test_following(remote):
    """A new version there comes here, with a line; a failure is told once; SIGTERM ends it at once."""
    uri = remote.joinpath("iris").as_uri()
    shutil.move(remote / "iris" / "2", remote / "later")
    command = [BIN / "unpickled", "pull", uri, "--follow", "--every", "0.1"]
    with (
        Path("out").open("wb") as out,
        Path("err").open("wb") as err,
        started(command, stdout=out, stderr=err) as process,
    ):
        eventually(lambda: "version 1 has come" in Path("out").read_text())
        shutil.move(remote / "iris", remote / "away")
        eventually(lambda: "error: " in Path("err").read_text())
        shutil.move(remote / "later", remote / "away" / "2")
        shutil.move(remote / "away", remote / "iris")
        eventually(lambda: "version 2 has come" in Path("out").read_text())
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM
    assert len(Path("out").read_text().splitlines()) == 2
    assert len({*Path("err").read_text().splitlines()}) == len(Path("err").read_text().splitlines())


@pytest.mark.long
def test_a_running_server_follows(models, remote, tmp_path, capsys):
    """A server serves what has come, and knows nothing of where it came from."""
    pulled(capsys, remote.joinpath("iris").as_uri(), "--version", 1)
    with serving(tmp_path, models=Path("models").absolute()) as server:
        pulled(capsys, remote.joinpath("iris").as_uri())
        eventually(lambda: server.ask("/models/iris")[1]["versions"] == [2])
    assert [each.by[:5] for each in history.read(Path("models/iris"))] == ["pull "] * 2


def test_signals_wait_for_the_rename():
    """A signal that comes while a version gets its number ends the process afterwards."""
    code = """
import os, signal
from unpickled.server.commands import arrival
with arrival._uninterrupted():
    os.kill(os.getpid(), signal.SIGTERM)
    print("renamed", flush=True)
print("more", flush=True)
"""
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout) == (-signal.SIGTERM, "renamed\n")


def test_without_the_library(remote):
    """Without obstore, the command says what to install."""
    code = "import sys; sys.modules['obstore'] = None; from unpickled.__main__ import main; "
    command = [sys.executable, "-c", f"{code}sys.exit(main(sys.argv[1:]))", "pull", "s3://bucket/iris"]
    completed = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert "pip install 'unpickled[objects]'" in completed.stderr


def test_a_sink_has_an_end(tmp_path, monkeypatch):
    """A remote that sends without end is cut off at the size of the longest model file."""
    monkeypatch.setattr("unpickled.server.remotes.sink.LONGEST", 1000)
    with (tmp_path / "file").open("wb") as file:
        sink = Sink(file)
        sink.write(b"x" * 600)
        with pytest.raises(RemoteError, match="it has 1,200 bytes"):
            sink.write(b"x" * 600)
        sink.restart()
        sink.write(b"abc")
    assert (sink.size, sink.sha256, (tmp_path / "file").read_bytes()) == (3, digest(b"abc"), b"abc")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("models/iris", ("iris", None, None)),
        ("models/iris/3", ("iris", 3, None)),
        ("models/iris/3/model.onnx", ("iris", 3, "model.onnx")),
        ("iris.onnx", ("iris", None, "iris.onnx")),
        ("models/3", ("models", 3, None)),
        ("ir is/model.onnx", ("", None, "model.onnx")),
    ],
)
def test_places(path, expected):
    """A path tells the name, the number and the file, as far as it has them."""
    assert place.of(path.split("/"))[1:] == expected


def test_what_is_here(tmp_path):
    """The newest version with a digest is found, also among folders without a file."""
    assert arrival.find(tmp_path / "none", digest(b"x")) is None
    for _ in range(2):
        add_version(tmp_path / "m", b"x")
    os.mkdir(tmp_path / "m" / "7")
    assert arrival.find(tmp_path / "m", digest(b"x")) == 2
