"""Copies of the served files: a worker that starts while the models folder is away, or changes, has them."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from conftest import eventually, serving, shelve
from test_server import BODY, DEFAULT, is_answered
from test_supervisor import kill

from unpickled.server.config import Config
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import history
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.process.keep import SIZE as KEPT
from unpickled.server.process.keep import Keep, Keeper, digest, is_served, restored


def test_the_models_folder_goes_away(models, tmp_path, monkeypatch):
    """A worker that starts while the models folder is away serves as the others did, and follows it later."""
    home = shelve(models, tmp_path / "models" / "iris", "iris", "forest")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    (home / "serving.toml").write_text('load = "all"\n[labels]\nstable = 1\n')
    with serving(tmp_path, models=tmp_path / "models") as server:
        right = server.ask("/predict", BODY)
        eventually(lambda: kept(server) > sum(file.stat().st_size for file in home.rglob("model.onnx")))
        (tmp_path / "models").rename(tmp_path / "aside")
        (tmp_path / "models").mkdir()
        kill(server)
        eventually(lambda: is_answered(server))
        assert server.ask("/predict", BODY) == right
        assert server.ask("/models/iris/versions/2/predict", BODY)[0] == 200
        assert "begins with the copies in memory" in server.printed()
        (tmp_path / "models").rmdir()
        (tmp_path / "aside").rename(tmp_path / "models")
        (home / "serving.toml").write_text("[labels]\nstable = 2\n")
        eventually(lambda: server.ask("/models/iris")[1]["labels"] == {"stable": 2})


@pytest.mark.parametrize("damage", ["junk", "version", "model"])
def test_a_model_is_damaged(models, tmp_path, monkeypatch, damage):
    """A worker that starts after a file was damaged or removed serves what others do, and follows repairs."""
    home = shelve(models, tmp_path / "models" / "iris", "iris")
    shelve(models, tmp_path / "models" / "people", "people")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with serving(tmp_path, *DEFAULT, models=tmp_path / "models") as server:
        right = server.ask("/predict", BODY)
        eventually(lambda: kept(server) > sum(f.stat().st_size for f in home.parent.rglob("model.onnx")))
        if damage == "junk":
            (home / "1" / "model.onnx").write_bytes(b"junk")
        else:
            shutil.rmtree(home / "1" if damage == "version" else home)
        kill(server)
        eventually(lambda: is_answered(server))
        assert server.ask("/predict", BODY) == right
        shelve(models, home, "forest", first=2)
        eventually(lambda: server.ask("/models/iris")[1]["versions"] == [2])


def test_copies_without_a_place(tmp_path, monkeypatch):
    """Where no temporary folder takes the copies, the reason names the remedy, and nothing is left there."""
    keep, home = Keep(size=2000), tmp_path / "temporary"
    home.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(home))
    # A path that no system takes fails as a full disk does, in the middle.
    keep.update({}, {"a/1/model.onnx": b"a", "b" * 300 + "/1/model.onnx": b"b"})
    for _ in range(2):
        with pytest.raises(ConfigError, match="make room there, or set TMPDIR"), restored(keep, "models"):
            pass
        assert [*home.iterdir()] == []


def kept(server) -> int:
    """Bytes of memory that the files take which the server keeps."""
    files = [file.stat() for file in Path(f"/proc/{server.process.pid}/fd").iterdir() if file.exists()]
    return sum(512 * file.st_blocks for file in files if file.st_size == KEPT)


def test_what_is_kept(tmp_path):
    """Files are kept once, released when they are wanted no more, and none where there is no room for all."""
    keep = Keep(size=2000)
    contents = {"a/1/model.onnx": b"a" * 500, "a/serving.toml": b"", "b/2/model.onnx": b"b" * 900}
    digests = {path: digest(content) for path, content in contents.items()}
    assert (keep.update({}, contents), keep.digests()) == (True, digests)
    assert (keep.update(digests, {"c/1/model.onnx": bytes(500)}), keep.digests()) == (False, {})
    assert keep.update({}, contents)
    assert keep.update({**digests, "a/1/model.onnx": ""}, {"c/1/model.onnx": bytes(500)})
    with restored(keep, str(tmp_path / "models")) as folder:
        kept_files = {str(file.relative_to(folder)) for file in Path(folder).rglob("*") if file.is_file()}
        assert kept_files == {"a/serving.toml", "b/2/model.onnx", "c/1/model.onnx"}
        assert (Path(folder) / "b/2/model.onnx").read_bytes() == b"b" * 900
    assert os.readlink(folder) == str(tmp_path / "models")
    shutil.rmtree(Path(folder).parent)


def test_a_worker_that_starts_right_after_a_change(models, tmp_path):
    """It follows the folder, whatever the copies are: they follow a change within seconds."""
    home = shelve(models, tmp_path / "models" / "iris", "iris")
    (home / "serving.toml").write_text("[labels]\nstable = 1\n")
    with serving(tmp_path, models=tmp_path / "models") as server:
        eventually(lambda: kept(server) > (home / "1" / "model.onnx").stat().st_size)
        shelve(models, home, "forest", first=2)
        (home / "serving.toml").write_text("[labels]\nstable = 2\n")
        kill(server)
        eventually(lambda: is_answered(server))
        assert server.ask("/models/iris")[1]["labels"] == {"stable": 2}
        assert "copies" not in server.printed()


def test_a_keeper_that_has_started_has_kept(models, tmp_path):
    """The models at the start are kept before a server announces itself: they may be deleted right then."""
    home = shelve(models, tmp_path / "iris", "iris")
    keep = Keep()
    Keeper(keep, Repository(Config(models=str(tmp_path)))).start()
    content = (home / "1" / "model.onnx").read_bytes()
    assert keep.digests() == {"iris/1/model.onnx": digest(content)}


def test_a_mistake_from_the_start(models, tmp_path):
    """Copies without settings replace no model that its history describes, but one that lacks a version."""
    home = shelve(models, tmp_path / "iris", "iris", "forest")
    config, keep = Config(models=str(tmp_path)), Keep()
    (home / "serving.toml").write_text('load = "all"\ntraffic = {1 = 0.9, 2 = 0.1}\n')
    history.append(home, Repository(config).deployments["iris"].record(by="test"))
    (home / "serving.toml").write_text("junk = 1\n")
    first = Repository(config)
    Keeper(keep, first).look()
    assert keep.digests().keys() == {"iris/1/model.onnx", "iris/2/model.onnx"}
    assert first.deployments["iris"].mistake
    assert is_served(keep, first.deployments)
    shutil.rmtree(home / "2")
    assert not is_served(keep, Repository(config).deployments)


def test_models_that_are_too_large(models, tmp_path, caplog):
    """Models for which there is no room are not even read; a warning says that none is kept."""
    home = shelve(models, tmp_path / "iris", "iris")
    keep, repository = Keep(size=100), Repository(Config(models=str(tmp_path)))
    (home / "1" / "model.onnx").unlink()
    os.mkfifo(home / "1" / "model.onnx")
    Keeper(keep, repository).start()
    assert keep.digests() == {}
    assert caplog.text.count("the models are too large for a copy in memory") == 1


def test_copies_belong_together(models, tmp_path):
    """A process that is behind leaves the settings and versions of others together."""
    home = shelve(models, tmp_path / "iris", "iris")
    (home / "serving.toml").write_text("[labels]\nstable = 1\n")
    keep, behind = Keep(), Repository(Config(models=str(tmp_path)))
    Keeper(keep, behind).look()
    assert keep.digests().keys() == {"iris/1/model.onnx", "iris/serving.toml"}
    shelve(models, home, "forest", first=2)
    (home / "serving.toml").write_text("[labels]\nstable = 2\n")
    Keeper(keep, Repository(Config(models=str(tmp_path)))).look()
    digests = keep.digests()
    assert digests.keys() == {"iris/2/model.onnx", "iris/serving.toml"}
    Keeper(keep, behind).look()
    assert keep.digests() == digests
