"""Signatures of model files: made by ``sign``, verified by openssl, required by servers."""

import base64
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from certificates import Authority
from conftest import ROOT, eventually, free_port, run, serving, shelve

from unpickled.__main__ import main
from unpickled.server import Config, create_app
from unpickled.server.artifact import detached
from unpickled.server.commands import publication
from unpickled.server.config import Runtime
from unpickled.server.errors import ConfigError, ServingError
from unpickled.server.lifecycle.shelf import Shelf


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    """A folder with the private keys ours.pem and theirs.pem, and their public ones."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        assert main(["sign", "--new-key", str(folder / f"{name}.pem")]) == 0
    return folder


@pytest.fixture
def home(models, tmp_path) -> Path:
    """models/iris/ with one version, which nobody has signed."""
    return shelve(models, tmp_path / "models" / "iris", "iris")


def sign(version: Path, key: Path, *words: str) -> None:
    assert main(["sign", str(version), "--key", str(key), *words]) == 0


def refusal(home: Path, keys: Path) -> str:
    """Why version 1 is not served where signatures are required; empty where it is."""
    shelf = Shelf(home, Runtime(), recording=False, keys=str(keys))
    shelf.refresh()
    return shelf.deployment.refused.get(1, "")


def error(capsys, *words: str) -> str:
    """The sentence by which a command refuses."""
    assert main([*map(str, words)]) in (1, 2)
    return capsys.readouterr().err.splitlines()[-1]


def test_keys_are_made_for_their_owner_alone(keys, capsys):
    """A private key has the mode 600, and a file that is there is never replaced."""
    assert stat.S_IMODE((keys / "ours.pem").stat().st_mode) == 0o600
    before = (keys / "ours.pem").read_bytes()
    assert "is there already" in error(capsys, "sign", "--new-key", keys / "ours.pem")
    assert (keys / "ours.pem").read_bytes() == before


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
def test_openssl_verifies_a_signature(home, keys, tmp_path):
    """The signature is plain ed25519 over three lines, which openssl verifies."""
    sign(home / "1", keys / "ours.pem")
    content = (home / "1" / "model.onnx").read_bytes()
    (tmp_path / "raw").write_bytes(base64.b64decode((home / "1" / "model.onnx.sig").read_text().split()[2]))
    message = f"unpickled model v1\nname iris\nsha256 {hashlib.sha256(content).hexdigest()}\n"
    (tmp_path / "message").write_text(message)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-in", "message"]
    command += ["-sigfile", "raw", "-inkey"]
    assert run([*command, str(keys / "ours.pub")], cwd=tmp_path).returncode == 0
    assert run([*command, str(keys / "theirs.pub")], cwd=tmp_path).returncode != 0


def test_a_signed_version_is_served(home, keys, tmp_path):
    """A signature by any of the required keys will do, be they in a file or in a folder."""
    sign(home / "1", keys / "ours.pem")
    both = tmp_path / "both.pub"
    both.write_bytes((keys / "theirs.pub").read_bytes() + (keys / "ours.pub").read_bytes())
    assert [refusal(home, each) for each in (keys / "ours.pub", both, keys)] == ["", "", ""]


def test_lines_of_several_keys(home, keys):
    """Several people may sign: one line that is right is enough, beside others."""
    sign(home / "1", keys / "theirs.pem")
    path = home / "1" / "model.onnx.sig"
    first = path.read_bytes()
    sign(home / "1", keys / "ours.pem")
    path.write_bytes(b"a comment\n" + first + path.read_bytes())
    assert refusal(home, keys / "ours.pub") == ""


def test_no_signature_for_it(home, keys, models):
    """Refused: no signature, one of an unknown key, of another model, of another file, and none in a file."""
    ours = keys / "ours.pub"
    assert "it has no signature" in refusal(home, ours)
    sign(home / "1", keys / "theirs.pem")
    assert "signed by a key that is not among those required" in refusal(home, ours)
    sign(home / "1", keys / "ours.pem", "--name", "people")
    assert "does not fit the file" in refusal(home, ours)
    sign(home / "1", keys / "ours.pem")
    shutil.copy(models.path / "forest" / "1" / "model.onnx", home / "1")
    assert "does not fit the file" in refusal(home, ours)
    (home / "1" / "model.onnx.sig").write_bytes(os.urandom(5000))
    assert "holds no signature" in refusal(home, ours)


def test_the_number_of_a_version_is_not_signed(home, keys):
    """A signature fits the same file under another number: an older version can be put in front again."""
    sign(home / "1", keys / "ours.pem")
    shutil.copytree(home / "1", home / "9")
    shelf = Shelf(home, Runtime(), recording=False, keys=str(keys))
    shelf.refresh()
    assert list(shelf.deployment.versions) == [9]


def test_a_server_serves_signed_versions_only(models, home, keys, tmp_path):
    """A version without a signature is refused, and the one in service stays; signed, it takes over."""
    sign(home / "1", keys / "ours.pem")
    with serving(tmp_path, "--require-signature", str(keys / "ours.pub"), models=home.parent) as server:
        shelve(models, home, "forest", first=2)
        eventually(lambda: "2" in server.ask("/models/iris")[1]["refused"])
        document = server.ask("/models/iris")[1]
        assert "it has no signature" in document["refused"]["2"]
        assert document["versions"] == [1]
        sign(home / "2", keys / "ours.pem")
        eventually(lambda: server.ask("/models/iris")[1]["versions"] == [2])
        assert server.ask("/models/iris")[1]["refused"] == {}


def test_a_model_out_of_memory_has_to_be_signed(models, home, keys):
    """Where requests load models, those for a model that nobody trusted has signed learn why."""
    shelve(models, home.parent / "forest", "forest")
    sign(home.parent / "forest" / "1", keys / "theirs.pem")
    settings = {"load": "on demand", "require_signature": str(keys / "ours.pub")}
    client = create_app(Config.of(models=str(home.parent), **settings)).test_client()
    for name in ("iris", "forest", "iris"):
        answer = client.post(f"/models/{name}/predict", json={"features": [5.1, 3.5, 1.4, 0.2]})
        assert (answer.status_code, "sign" in answer.json["error"]) == (503, True)
    assert client.get("/readyz").json["refused"].keys() == {"iris", "forest"}


def test_a_key_that_is_taken_away(home, keys, tmp_path):
    """Without its key a loaded version stays and is reported; with the key, all is well again."""
    known = tmp_path / "known.pub"
    shutil.copy(keys / "ours.pub", known)
    sign(home / "1", keys / "ours.pem")
    shelf = Shelf(home, Runtime(), recording=False, keys=str(known))
    shelf.refresh()
    shutil.copy(keys / "theirs.pub", known)
    shelf.refresh()
    assert list(shelf.deployment.versions) == [1]
    assert "not among those required" in shelf.deployment.refused[1]
    shutil.copy(keys / "ours.pub", known)
    shelf.refresh()
    assert shelf.deployment.refused == {}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.pub", None, "none.pub cannot be read: No such file"),
        ("empty.pub", b"", "holds no public key"),
        ("junk.pub", b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n", "is damaged"),
        ("long.pub", b"x" * 70_000, "it is no file of keys"),
        ("key.pem", b"-----BEGIN PRIVATE KEY-----", "holds a private key"),
    ],
)
def test_keys_that_cannot_be_used(home, tmp_path, name, content, sentence):
    """A server whose keys cannot be read does not start."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="require_signature is ") as caught:
        create_app(Config(models=str(home.parent), require_signature=str(tmp_path / name)))
    assert sentence in str(caught.value)


def test_a_pipe_among_the_keys(home, keys, tmp_path):
    """A pipe in the folder of keys holds no key, and no server waits until somebody writes to it."""
    sign(home / "1", keys / "ours.pem")
    folder = tmp_path / "required"
    folder.mkdir()
    os.mkfifo(folder / "pipe.pub")
    assert "holds no public key" in refusal(home, folder)
    assert "pipe.pub cannot be read: it is not a file" in refusal(home, folder / "pipe.pub")
    shutil.copy(keys / "ours.pub", folder)
    assert refusal(home, folder) == ""


def test_a_key_may_come_through_a_pipe(home, keys, tmp_path):
    """Whoever signs may have another program write the private key, which is waited for."""
    pipe = tmp_path / "pipe.pem"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pipe.write_bytes, (keys / "ours.pem").read_bytes())
        sign(home / "1", pipe)
    assert refusal(home, keys / "ours.pub") == ""


def test_keys_of_another_kind(home, keys, tmp_path, capsys):
    """A key that is no ed25519 key, a public key, an encrypted one and a file of anything do not sign."""
    _, other = Authority(tmp_path).issue("other")
    encrypted = tmp_path / "encrypted.pem"
    ours = ["openssl", "pkey", "-in", keys / "ours.pem", "-aes256", "-passout", "pass:x", "-out", encrypted]
    assert run([*map(str, ours)]).returncode == 0
    sentences = [
        error(capsys, "sign", home / "1", "--key", key)
        for key in (other, keys / "ours.pub", encrypted, home / "1" / "model.onnx", tmp_path / "none")
    ]
    words = ["no ed25519 key", "no private key", "openssl pkey -in", "no private key", "cannot be read"]
    assert [word for word, sentence in zip(words, sentences, strict=True) if word not in sentence] == []


def test_wrong_usage(home, keys, capsys, tmp_path):
    """The command names a missing key, a missing version, and a file whose model it cannot tell."""
    assert "--key is missing" in error(capsys, "sign", home / "1")
    assert "name a version" in error(capsys, "sign", "--key", keys / "ours.pem")
    stray = shutil.copy(home / "1" / "model.onnx", tmp_path / "stray.onnx")
    assert "name its model with --name" in error(capsys, "sign", stray, "--key", keys / "ours.pem")
    named = ["sign", stray, "--key", keys / "ours.pem", "--name"]
    assert "cannot name a model" in error(capsys, *named, "a\nsha256 x")
    assert main([*map(str, named), "iris"]) == 0
    assert (tmp_path / "stray.onnx.sig").exists()


def test_without_the_library(home):
    """Without cryptography, the command and the setting say what to install."""
    code = "import sys; sys.modules['cryptography'] = None; from unpickled.__main__ import main; "
    code += "sys.exit(main(sys.argv[1:]))"
    serve = ["serve", "--require-signature", "x.pub", "--port", str(free_port())]
    for words in (["sign", "--new-key", "x.pem"], serve):
        command = [sys.executable, "-c", code, *words]
        completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert completed.returncode == 1
        assert "pip install 'unpickled[signing]'" in completed.stderr


def test_parsed():
    """Lines that are no signatures are left out, and a file is read up to its longest length only."""
    line = b"unpickled-signature-v1 0123456789abcdef " + base64.b64encode(b"x" * 64) + b"\n"
    assert detached.parsed(b"\n# x\n" + line.replace(b"v1", b"v2") + line) == [
        ("0123456789abcdef", b"x" * 64)
    ]
    assert detached.parsed(b"\n" * detached.LONGEST + line) == []


def test_nothing_is_retrained_that_nobody_would_serve(home, keys):
    """A version that is trained again is signed by nobody, so that the command says how before it begins."""
    settings = Config(models=str(home.parent), require_signature=str(keys / "ours.pub"))
    with pytest.raises(ServingError, match="sign the new version with unpickled sign"):
        publication.standing(settings, "iris")
