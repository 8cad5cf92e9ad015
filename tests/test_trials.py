"""Contents that would fill, hold or end a process are found out in another one."""

import os
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import FLOWER, eventually, serving
from handmade import NODES, embed, graph, store
from onnx import helper

from unpickled.server.app import flask_app
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError
from unpickled.server.lifecycle.trial import Trial
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.service import Service


def doubled() -> bytes:
    """A graph whose constants become 64 GiB: a column beside itself, 30 times."""
    names = ["high", *(f"wide_{count}" for count in range(32))]
    wide = [helper.make_node("Concat", [one, one], [two], axis=0) for one, two in pairwise(names)]
    return embed(graph([*NODES, *wide, helper.make_node("ReduceSum", [names[-1]], ["total"], keepdims=0)]))


def divided() -> bytes:
    """A graph that divides the least whole number by -1, which ends the process on most processors."""
    label = helper.make_node("Div", ["least", "minus"], ["label"])
    return embed(graph([*NODES[:2], label], least=np.array([-(2**63)] * 2), minus=np.array([-1])))


WORSE = {"a tensor doubled": (doubled(), "alloc|memory|SIG"), "a quotient too large": (divided(), "SIG")}


@pytest.fixture
def trial():
    """A process that tries contents."""
    trial = Trial()
    yield trial
    trial.close()


def content(models) -> bytes:
    return (models.path / "iris" / "1" / "model.onnx").read_bytes()


@pytest.mark.parametrize(("worse", "reason"), WORSE.values(), ids=WORSE)
def test_a_content_that_ends_its_process_is_refused(trial, models, worse, reason):
    """It ends the process that tries it, and the next content is tried in another."""
    with pytest.raises(ArtifactError, match=reason):
        trial.check(worse)
    trial.check(content(models))


def test_a_process_that_ends_between_two_contents_is_replaced(trial, models):
    """The system may end it for want of memory while it waits, which says nothing of the next content."""
    assert trial.check(content(models))
    trial._process.kill()
    trial._process.wait()
    assert trial.check(content(models))


def test_a_content_that_holds_its_process_is_refused(models):
    """A content has a bounded time to load."""
    trial = Trial(seconds=1e-6 - len(content(models)) / 250_000)
    with pytest.raises(ArtifactError, match="could not be loaded within 0 seconds"):
        trial.check(content(models))


def test_a_trial_finds_what_a_load_finds(trial):
    """The reason of a refusal is that of the loader."""
    with pytest.raises(ArtifactError, match="answers golden row 0"):
        trial.check(embed(graph(low=[[0.74, 0.26]])))


def test_without_another_process_there_is_no_trial(models, monkeypatch, caplog):
    """Where no interpreter can be started, contents are loaded as they were, and the log says so once."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    trial = Trial()
    trial.check(content(models))
    trial.check(content(models))
    assert caplog.text.count("without a trial") == 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_a_process_has_ended_contents_are_tried():
    """Others see that one has ended at a load, until it has been loaded."""
    trials = Trials()
    assert not trials.cautious
    process = os.fork()
    if not process:
        with trials.loading("ab" * 32):
            os._exit(1)
    os.waitpid(process, 0)
    assert trials.cautious
    with trials.loading("ab" * 32):
        assert not trials.cautious
    assert not trials.cautious
    trials.begin()
    assert trials.cautious


@pytest.mark.parametrize("worse", [worse for worse, _ in WORSE.values()], ids=WORSE)
def test_a_content_that_arrives_harms_nobody(models, tmp_path, worse):
    """While requests are answered, a content that would end the process is refused; others are served."""
    store(tmp_path, "iris", content(models))
    service = Service(Config(models=str(tmp_path), default_model="iris"))
    client = flask_app(service).test_client()
    store(tmp_path, "worse", worse)
    store(tmp_path, "iris", content(models), version=2)
    for _ in range(2):
        service.reloader.refresh()
    assert client.post("/predict", json={"features": FLOWER}).headers["Model-Version"] == "2"
    assert "worse" in client.get("/readyz").json["refused"]


def test_a_content_that_ends_a_worker_at_the_start_does_so_once(models, tmp_path: Path):
    """The worker that replaces it tries the content elsewhere, refuses it, and serves the other models."""
    folder = tmp_path / "models"
    store(folder, "iris", content(models))
    store(folder, "worse", divided())
    # Another content, with a version of its own.
    later = embed(onnx.load_model_from_string(divided()), created="2027-01-01T00:00:00+00:00")
    store(folder, "worst", later)
    flags = ("--default-model", "iris", "--reload-seconds", "0")
    with serving(tmp_path, *flags, models=folder) as server:
        eventually(lambda: server.ended() or server.ask("/livez")[0] == 200)
        status, document = server.ask("/readyz")
    assert (status, document["served"]) == (503, ["iris"])
    assert all(
        "ended the process that tried to load it" in document["refused"][name] for name in ("worse", "worst")
    )


def test_a_content_that_was_refused_ends_no_worker_later(models, tmp_path: Path):
    """A worker that replaces another one tries what it finds, unless the others have loaded it."""
    folder = tmp_path / "models"
    store(folder, "iris", content(models))
    with serving(tmp_path, "--default-model", "iris", "--ready", "default", models=folder) as server:
        store(folder, "worse", divided())
        eventually(lambda: "worse" in server.ask("/readyz")[1]["refused"])
        (before,) = server.workers()
        os.kill(before, signal.SIGKILL)
        eventually(lambda: server.workers() not in ([], [before]))
        eventually(server.answers)
        assert "worse" in server.ask("/readyz")[1]["refused"]
        assert "SIGFPE): it is replaced" not in server.printed()
