"""The served versions follow the files of a model: versions, labels, mistakes and deletions."""

import gc
import json
import os
import shutil
import sys
import threading
import weakref
from collections import Counter
from pathlib import Path

import pytest
from conftest import FLOWER, eventually, shelve

from unpickled.server import Config
from unpickled.server.app import flask_app
from unpickled.server.config import Traffic
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle import history, serving
from unpickled.server.service import Service

BODY = {"features": FLOWER}


class Application:
    """An application on a models folder that it scans when told to."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.test_client = flask_app(service).test_client


def serve(folder: Path, **settings) -> Application:
    return Application(Service(Config(models=str(folder), reload_seconds=0, **settings)))


def look(app) -> None:
    """Scan twice: a file that has just changed may still be being written."""
    for _ in range(2):
        app.service.reloader.refresh()


def answered_by(app, path: str = "/predict", **headers: str) -> str:
    """The version that answers a request."""
    answer = app.test_client().post(path, json=BODY, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers["Model-Version"]


@pytest.fixture(params=["classes", "numbers"])
def either(request, tmp_path) -> Path:
    """models/iris/ with two versions that answer classes, or two that answer numbers."""
    name = {"classes": "models", "numbers": "regressors"}[request.param]
    names = {"classes": ("iris", "forest"), "numbers": ("area", "areas")}[request.param]
    return shelve(request.getfixturevalue(name), tmp_path / "models" / "iris", *names)


def card(app) -> dict:
    """The document of the model."""
    return app.test_client().get("/models/iris").json


def write(home: Path, text: str) -> None:
    (home / "serving.toml").write_text(text, "utf-8")


@pytest.fixture
def home(models, tmp_path) -> Path:
    """models/iris/ with two versions that answer differently."""
    return shelve(models, tmp_path / "models" / "iris", "iris", "forest")


def test_new_version(models, home):
    """A new version is served, and the one before it is freed."""
    shutil.move(home / "2", home.parent / ".aside")
    app = serve(home.parent)
    before = weakref.ref(app.service.repository.find("iris").model)
    assert answered_by(app) == "1"
    shutil.move(home.parent / ".aside", home / "2")
    look(app)
    assert answered_by(app) == "2"
    assert app.test_client().post("/models/iris/versions/1/predict", json=BODY).status_code == 404
    # Its last answers may still wait for drift and truth.
    app.service.consumers.intake.drain()
    assert before() is None


@pytest.mark.parametrize("path", ["/readyz", "/openapi.json", "/models", "/metrics"])
def test_an_answer_keeps_no_version_in_memory(home, path):
    """A version that is replaced is freed at once, whatever was asked before and is not asked again."""
    shutil.move(home / "2", home.parent / ".aside")
    app = serve(home.parent)
    client, before = app.test_client(), weakref.ref(app.service.repository.find("iris").model)
    assert client.get(path).status_code == 200
    shutil.move(home.parent / ".aside", home / "2")
    look(app)
    assert app.service.repository.find("iris").version == 2
    assert before() is None
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("load", ["at start", "on demand"])
def test_a_released_application_ends_its_threads(home, tmp_path, load):
    """No thread keeps an application that nobody holds: neither that of a shadow nor those of the log."""
    write(home, "[labels]\nstable = 1\n[shadow]\nversion = 2")
    before = {*threading.enumerate()}
    log = {"log_share": 1.0, "log_folder": str(tmp_path / "log")}
    app = Application(Service(Config.of(models=str(home.parent), load=load, **log)))
    app.service.start()
    assert answered_by(app) == "1"
    threads = {*threading.enumerate()} - before
    assert {thread.name for thread in threads} >= {"shadow of iris", "reloader", "intake", "trimmer"}
    del app
    eventually(lambda: gc.collect() >= 0 and not any(thread.is_alive() for thread in threads))


def test_a_new_version_waits_for_serving_toml(home):
    """A version that appears while serving.toml changes waits, as the new text may not let it answer."""
    shutil.move(home / "2", home.parent / ".aside")
    app = serve(home.parent)
    write(home, "[labels]\nstable = 1")
    shutil.move(home.parent / ".aside", home / "2")
    app.service.reloader.refresh()
    write(home, "[labels]\nstable = 1\nchallenger = 2")
    for _ in range(4):
        app.service.reloader.refresh()
        assert answered_by(app) == "1"
    assert card(app)["labels"] == {"stable": 1, "challenger": 2}


def test_a_second_model_arrives(models, home):
    """A model whose folder appears is served, and /predict stays with the first model."""
    app = serve(home.parent)
    shelve(models, home.parent / "people", "people")
    look(app)
    assert answered_by(app) == "2"
    assert app.test_client().get("/models").json["models"][1]["name"] == "people"


@pytest.mark.parametrize(
    ("load", "loaded"),
    [
        ('"newest"', [3]),
        ("1", [3]),
        ("2", [2, 3]),
        ("9", [1, 2, 3]),
        ('"all"', [1, 2, 3]),
        ("[1, 3]", [1, 3]),
    ],
)
def test_which_versions_are_loaded(models, home, load, loaded):
    """`load` names the versions in memory: the newest, a number of them, all, or a list."""
    shelve(models, home, "iris", first=3)
    write(home, f"load = {load}")
    app = serve(home.parent)
    assert card(app)["versions"] == loaded
    assert [answered_by(app, f"/models/iris/versions/{number}/predict") for number in loaded] == list(
        map(str, loaded)
    )
    assert answered_by(app) == "3"


def test_labels(either):
    """A label answers as its version does; `stable` is the version of plain requests."""
    write(either, "[labels]\nstable = 1\ncandidate = 2")
    app = serve(either.parent)
    assert [
        answered_by(app, f"/models/iris/labels/{label}/predict") for label in ("stable", "candidate")
    ] == [
        "1",
        "2",
    ]
    assert (answered_by(app), answered_by(app, "/models/iris/predict")) == ("1", "1")
    assert app.test_client().get("/models/iris/labels/candidate").json["version"] == 2
    answer = app.test_client().post("/models/iris/labels/nobody/predict", json=BODY)
    assert (answer.status_code, answer.json["code"]) == (404, "unknown_model")
    assert "stable, candidate" in answer.json["error"]


MISTAKES = {
    "load = ": "TOML",
    'laod = "all"': "load",
    "load = 0": "load",
    "[labels]\nstable = 7": "version 7",
    "[labels]\nstable = 3": "version 3 (stable)",
    "[traffic]\n1 = 0.9\n2 = 0.2": "1.1",
    "[traffic]\nnobody = 1.0": "nobody",
    "[traffic]\n1 = 0.5\n4 = 0.5": "versions 1 and 4",
    "[labels]\nstable = 1\n[shadow]\nversion = 4": "plan",
    "[labels]\nstable = 1\n[traffic]\nstable = nan\n2 = 1": "traffic",
    "retired = [1, 2, 3, 4]": "retired",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_change_nothing(models, home, caplog, text):
    """A mistake in serving.toml changes no answer; log, card, readiness and metrics name it."""
    write(home, "[labels]\nstable = 1")
    app = serve(home.parent)
    (home / "3").mkdir()
    (home / "3" / "model.onnx").write_bytes(b"no model")
    shelve(models, home, "people", first=4)
    write(home, text)
    look(app)
    mistake = card(app)["mistake"]
    assert MISTAKES[text] in mistake
    assert mistake in caplog.text
    assert app.test_client().get("/readyz").json["mistakes"] == {"iris": mistake}
    assert 'unpickled_model_mistake{model="iris"' in app.test_client().get("/metrics").text
    assert (answered_by(app), card(app)["labels"]) == ("1", {"stable": 1})
    write(home, "[labels]\nstable = 2")
    look(app)
    assert (answered_by(app), card(app)["mistake"]) == ("2", None)


def test_start_with_a_mistake(home):
    """A process that starts with a mistake in serving.toml serves what the history says was served last."""
    write(home, "[labels]\nstable = 1")
    serve(home.parent)
    write(home, "[labels]\nstable = one")
    app = serve(home.parent)
    assert answered_by(app) == "1"
    assert "one" in card(app)["mistake"] or "line 2" in card(app)["mistake"]
    (home / "history.jsonl").unlink()
    answer = serve(home.parent).test_client().post("/predict", json=BODY)
    assert (answer.status_code, answer.json["code"]) == (503, "not_ready")


def spoilt(path: Path) -> list[bytes]:
    """A cut model file, one with wrong golden rows, and an empty one."""
    whole = path.read_bytes()
    place = whole.index(b'"labels":[') + len(b'"labels":[')
    mislabelled = whole[:place] + (b"1" if whole[place : place + 1] == b"0" else b"0") + whole[place + 1 :]
    return [whole[: len(whole) // 2], mislabelled, b""]


@pytest.mark.parametrize("kind", range(3), ids=["cut off", "golden rows", "empty"])
def test_a_bad_version_arrives(models, home, kind):
    """A bad version is refused with its reason and loaded once; a good content is then served."""
    app = serve(home.parent)
    file = shelve(models, home, "iris", first=3) / "3" / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(spoilt(file)[kind])
    for _ in range(3):
        look(app)
    assert answered_by(app) == "2"
    assert "3" in card(app)["refused"]
    answer = app.test_client().post("/models/iris/versions/3/predict", json=BODY)
    assert (answer.status_code, answer.json["error"].count(card(app)["refused"]["3"])) == (503, 1)
    assert failures(app) == 1
    file.write_bytes(whole)
    look(app)
    assert (answered_by(app), card(app)["refused"], failures(app)) == ("3", {}, 1)


def failures(app) -> float:
    """The failed loads of version 3 in /metrics."""
    series = 'unpickled_model_load_failures_total{model="iris",version="3"} '
    return sum(
        float(line.removeprefix(series))
        for line in app.test_client().get("/metrics").text.splitlines()
        if line.startswith(series)
    )


@pytest.mark.parametrize("kind", range(3), ids=["cut off", "golden rows", "empty"])
def test_a_served_version_is_spoilt(home, kind):
    """A version whose file is overwritten with bad content is served from memory."""
    app = serve(home.parent)
    file = home / "2" / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(spoilt(file)[kind])
    look(app)
    assert (answered_by(app), list(card(app)["refused"])) == ("2", ["2"])
    file.write_bytes(whole)
    look(app)
    assert (answered_by(app), card(app)["refused"]) == ("2", {})


def test_a_served_version_changes_content(models, home):
    """Other good content under the same number is verified and served."""
    app = serve(home.parent)
    before = app.test_client().post("/predict", json=BODY).data
    shutil.copy(home / "1" / "model.onnx", home / "2" / "model.onnx")
    look(app)
    assert answered_by(app) == "2"
    assert app.test_client().post("/predict", json=BODY).data != before
    assert app.test_client().post("/predict", json=BODY).json["predicted_class"] == ["setosa"]


def test_content_counts_not_times(home, monkeypatch):
    """A change that keeps inode, size and times is noticed by the content."""
    app = serve(home.parent)
    monkeypatch.setattr("unpickled.server.lifecycle.disk.stamp_of", lambda status: (1, 1, 1, 1))
    monkeypatch.setattr("unpickled.server.lifecycle.shelf.FULL_SCAN_SECONDS", 0)
    look(app)
    shutil.copy(home / "1" / "model.onnx", home / "2" / "model.onnx")
    look(app)
    assert app.test_client().post("/predict", json=BODY).json["predicted_class"] == ["setosa"]


def test_an_idle_scan_reads_nothing(home):
    """The scan of an unchanged folder opens each file for its stamp, reads none, and calls few functions."""
    write(home, 'load = "all"\n[labels]\nstable = 1')
    app = serve(home.parent)
    look(app)
    opened, calls = min((profiled(app) for _ in range(3)), key=lambda scan: scan[1])
    assert opened == 3
    assert calls < 60


def profiled(app) -> tuple[int, int]:
    """The number of files that one scan opens, none of which it reads, and of its calls of functions."""
    calls = Counter()

    def count(frame, event, function):
        calls[event, function if event == "c_call" else None] += 1

    gc.disable()
    sys.setprofile(count)
    try:
        app.service.reloader.refresh()
    finally:
        sys.setprofile(None)
        gc.enable()
    assert not calls["c_call", os.fdopen] + calls["c_call", os.read]
    return calls["c_call", os.open], calls["call", None]


@pytest.mark.parametrize("gone", ["iris/2/model.onnx", "iris/2", "iris", "."])
def test_what_is_served_is_deleted(home, caplog, gone):
    """A version whose file or folder is deleted is served from memory, and the log says so."""
    app = serve(home.parent)
    place = home.parent / gone
    shutil.move(place, home.parent.parent / "aside")
    look(app)
    assert answered_by(app) == "2"
    assert "stays" in caplog.text
    shutil.move(home.parent.parent / "aside", place)
    look(app)
    assert (answered_by(app), card(app)["refused"], card(app)["mistake"]) == ("2", {}, None)


def test_a_link_to_the_models_folder_is_swapped(models, home, tmp_path):
    """Another folder of models takes the place of the first one at once, and its version answers."""
    link, fresh = tmp_path / "link", tmp_path / "fresh"
    link.symlink_to(home.parent)
    app = serve(link)
    shelve(models, fresh / home.name, "forest", first=3)
    (tmp_path / "next").symlink_to(fresh)
    os.replace(tmp_path / "next", link)
    shutil.rmtree(home.parent)
    look(app)
    assert answered_by(app) == "3"
    assert card(app)["mistake"] is None


def loop(path: Path) -> None:
    """Make a symbolic link to itself."""
    path.symlink_to(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, loop, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("place", ["2/model.onnx", "serving.toml"])
def test_unreadable_files(home, place, make):
    """An unreadable or endless file delays nothing and changes no answer; the card names it."""
    app = serve(home.parent)
    (home / place).unlink(missing_ok=True)
    make(home / place)
    look(app)
    assert answered_by(app) == "2"
    assert card(app)["mistake"] or card(app)["refused"]


def test_strange_neighbours(models, home):
    """Strange names and links beside versions and models disturb neither."""
    for place in (home, home.parent):
        loop(place / "7")
        (place / "dangling").symlink_to("nowhere")
        (place / "caf\udce9").mkdir()
        (place / str(10**30)).mkdir()
    app = serve(home.parent)
    assert answered_by(app, "/models/iris/predict") == "2"
    assert app.test_client().get("/models").status_code == 200


def test_deleted_and_made_anew(models, home):
    """A version that arrives after a deletion is served, even with a lower number."""
    app = serve(home.parent)
    shutil.rmtree(home)
    look(app)
    assert answered_by(app) == "2"
    shelve(models, home, "iris")
    look(app)
    assert answered_by(app) == "1"


def test_a_bad_model_arrives(models, home):
    """A bad model that arrives later leaves the server ready, which names the reason."""
    app = serve(home.parent)
    file = shelve(models, home.parent / "people", "people") / "1" / "model.onnx"
    file.write_bytes(b"no model")
    look(app)
    ready = app.test_client().get("/readyz")
    assert (ready.status_code, list(ready.json["refused"])) == (200, ["people"])
    assert serve(home.parent).test_client().get("/readyz").status_code == 503


@pytest.fixture
def broken(models, home) -> Path:
    """models/people/ with one version, cut off, beside models/iris/."""
    file = shelve(models, home.parent / "people", "people") / "1" / "model.onnx"
    file.write_bytes(spoilt(file)[0])
    return home.parent / "people"


def ready(app) -> tuple[int, list[str]]:
    """The status of /readyz, with which all other health checks agree, and the models that are not served."""
    client = app.test_client()
    answer = client.get("/readyz")
    others = {client.get(path).status_code for path in ("/ping", "/v2/health/ready")}
    assert others == {answer.status_code}
    return answer.status_code, list(answer.json["refused"])


def test_a_change_of_the_policy_is_logged(home, caplog):
    """A change of the policy for inputs alone has a line in the log, and is on the card."""
    app = serve(home.parent)
    caplog.set_level("INFO")
    policy = '[inputs]\noutside = "clip"\nslack = 0.1\nfeatures.petal_width.lowest = 0\n'
    write(home, policy)
    look(app)
    now = "outside = \"clip\", slack = 0.1, 'petal_width' = {lowest = 0}"
    assert caplog.messages == [f'model iris: inputs: {now} (before: outside = "flag")']
    assert card(app)["inputs"]["features"]["petal_width"]["lowest"] == 0.0
    write(home, f"{policy}[traffic]\n1 = 1.0\n")
    look(app)
    assert sum("inputs" in text for text in caplog.messages) == 1


@pytest.mark.parametrize("gone", ["people", "people/1"])
def test_a_model_that_was_never_served_is_forgotten(broken, caplog, gone):
    """Without its folder, or its only version, a model that was broken at the start is not waited for."""
    caplog.set_level("INFO")
    app = serve(broken.parent)
    assert ready(app) == (503, ["people"])
    assert 'unpickled_model_ready{model="people"} 0.0' in app.test_client().get("/metrics").text
    shutil.rmtree(broken.parent / gone)
    look(app)
    assert ready(app) == (200, [])
    figures = app.test_client().get("/metrics").text
    assert not [line for line in figures.splitlines() if 'model="people"' in line and "failures" not in line]
    assert app.test_client().get("/models/people").status_code == 404
    assert "is forgotten" in caplog.text or "is no model" in caplog.text


@pytest.mark.parametrize("late", [False, True], ids=["as before", "as another name"])
def test_a_renamed_model_is_another_one(broken, late):
    """A broken model under a new name is one that arrives later; under its old name it is waited for."""
    app = serve(broken.parent)
    broken.rename(broken.with_name("persons"))
    look(app)
    assert ready(app) == (200, ["persons"])
    if not late:
        broken.with_name("persons").rename(broken)
        look(app)
        assert ready(app) == (503, ["people"])


def test_a_name_that_no_path_can_have_is_not_served(models, tmp_path):
    """A folder whose name has other characters stays refused, even if a history was copied into it."""
    home = shelve(models, tmp_path / "iris", "iris")
    serve(tmp_path)
    assert (home / history.FILE).exists()
    shutil.copytree(home, tmp_path / "new\nline")
    app = serve(tmp_path)
    assert list(app.service.repository.deployments["new\nline"].versions) == []
    answer = app.test_client().post("/models/new%0Aline/predict", json=BODY)
    assert answer.status_code == 503
    assert "begins with a letter or a digit: rename the folder" in answer.json["error"]


def test_a_broken_model_is_replaced(models, broken):
    """A good version beside the broken one makes the server ready, and ends the series of the alerts."""
    app = serve(broken.parent)
    shelve(models, broken, "people", first=2)
    look(app)
    assert (ready(app), app.service.repository.deployments["people"].refused) == ((200, []), {})
    assert 'unpickled_model_ready{model="people"} 1.0' in app.test_client().get("/metrics").text
    shutil.rmtree(broken / "1")
    look(app)
    assert ready(app) == (200, [])


def test_a_broken_version_beside_a_good_one_is_deleted(home):
    """A refused version is named until its folder is deleted; the one before it is served all along."""
    (home / "3").mkdir()
    (home / "3" / "model.onnx").write_bytes(b"no model")
    app = serve(home.parent)
    assert (ready(app), list(card(app)["refused"])) == ((200, []), ["3"])
    shutil.rmtree(home / "3")
    look(app)
    assert (ready(app), card(app)["refused"], answered_by(app)) == ((200, []), {}, "2")


def test_the_models_folder_vanishes_and_comes_back(broken, caplog):
    """While the models folder is away nothing is known to be deleted; once it is back, what it lacks is."""
    app = serve(broken.parent)
    broken.parent.rename(broken.parent.with_name("away"))
    look(app)
    assert (ready(app), answered_by(app, "/models/iris/predict")) == ((503, ["people"]), "2")
    assert "what is served stays" in caplog.text
    shutil.rmtree(broken.parent.with_name("away") / "people")
    broken.parent.with_name("away").rename(broken.parent)
    look(app)
    assert (ready(app), card(app)["mistake"]) == ((200, []), None)


@pytest.mark.parametrize(
    ("rule", "default", "before", "after"),
    [
        ("all", "iris", 503, 503),
        ("default", "iris", 200, 200),
        ("default", "people", 503, 200),
        ("any", "people", 200, 200),
        ("any", None, 200, 200),
    ],
)
def test_ready_is_a_setting(models, broken, rule, default, before, after):
    """Not every server needs all of its models to be ready: the default one may do, or any."""
    app = serve(broken.parent, ready=rule, default_model=default)
    assert ready(app) == (before, ["people"])
    if default == "people":
        (broken / "1" / "model.onnx").write_bytes((models.path / "people" / "1" / "model.onnx").read_bytes())
    look(app)
    assert ready(app)[0] == after


@pytest.mark.parametrize("rule", ["all", "default", "any"])
def test_without_a_served_model_no_server_is_ready(broken, rule):
    """Every rule asks for one served model at least: the others have nothing to answer with."""
    shutil.rmtree(broken.parent / "iris")
    app = serve(broken.parent, ready=rule)
    assert ready(app) == (503, ["people"])
    shutil.rmtree(broken)
    look(app)
    assert ready(app) == (503, [])


def test_ready_by_a_default_that_is_none(models, broken, caplog):
    """A server that waits for a default model says where there is none, at the start and later."""
    with pytest.raises(ConfigError, match="none of iris, people is the default model: set default_model"):
        serve(broken.parent, ready="default")
    shutil.rmtree(broken.parent)
    broken.parent.mkdir()
    app = serve(broken.parent, ready="default")
    for name in ("forest", "iris"):
        shelve(models, broken.parent / name, name)
    look(app)
    assert (ready(app), "so the server is not ready: set default_model" in caplog.text) == ((503, []), True)


def test_the_default_model_of_the_settings_is_not_forgotten(models, broken):
    """While the model that default_model names has no folder, the server is not ready and says why."""
    app = serve(broken.parent, default_model="people")
    shutil.rmtree(broken)
    look(app)
    assert ready(app) == (503, ["people"])
    assert "cannot be read" in app.test_client().get("/readyz").json["refused"]["people"]
    shelve(models, broken, "people")
    look(app)
    assert (ready(app), app.test_client().get("/models/people").status_code) == ((200, []), 200)


def test_a_default_that_is_forgotten_makes_room(models, broken):
    """The only model of a server is its default; once it is forgotten, the next only model is."""
    shutil.rmtree(broken.parent / "iris")
    app = serve(broken.parent)
    shutil.rmtree(broken)
    look(app)
    shelve(models, broken.parent / "iris", "iris")
    look(app)
    assert (ready(app), answered_by(app)) == ((200, []), "1")


def test_one_model_cannot_hold_up_the_others(models, home, monkeypatch, caplog):
    """An unexpected error in one folder is reported for that model; the others are followed."""
    shelve(models, home.parent / "people", "people")
    app = serve(home.parent, default_model="iris")
    parse = serving.parse
    monkeypatch.setattr(serving, "parse", lambda text: {}["oops"] if "people" in text else parse(text))
    write(home.parent / "people", "# people")
    write(home, "[labels]\nstable = 1")
    look(app)
    look(app)
    assert (answered_by(app), caplog.text.count("KeyError: 'oops'")) == ("1", 1)
    assert "the log says how" in app.test_client().get("/models/people").json["mistake"]


@pytest.mark.parametrize("text", ["load = 2", "retired = [1, 2]"])
def test_a_process_that_starts_agrees(home, text):
    """A new process agrees with the running ones on loaded versions and mistakes."""
    write(home, 'load = "all"')
    serve(home.parent)
    write(home, text)
    app = serve(home.parent)
    assert card(app)["versions"] == [1, 2]
    assert (card(app)["mistake"] is None) == (text == "load = 2")


def test_history(home):
    """Each change has a line in the history; a start without a change has none."""
    app = serve(home.parent)
    write(home, "[labels]\nstable = 1\n[traffic]\nstable = 0.75\n2 = 0.25")
    look(app)
    serve(home.parent)
    records = history.read(home)
    assert [record.traffic for record in records] == [{"2": 1.0}, {"1": 0.75, "2": 0.25}]
    assert records[1].labels == {"stable": 1}


def test_history_cannot_be_written(home, caplog):
    """A history that cannot be written changes no answer, and one warning names it."""
    (home / "history.jsonl").symlink_to("/dev/full")
    app = serve(home.parent)
    write(home, "[labels]\nstable = 1")
    look(app)
    write(home, "[labels]\nstable = 2")
    look(app)
    assert answered_by(app) == "2"
    assert caplog.text.count("history.jsonl cannot be written") == 1


@pytest.mark.long
def test_split_by_weight(either):
    """Traffic is split by weight; requests with the same key are answered by the same version."""
    write(either, "[traffic]\n1 = 0.5\n2 = 0.5")
    traffic = Traffic(key_header="X-User")
    app = serve(either.parent, traffic=traffic)
    assert {answered_by(app) for _ in range(60)} == {"1", "2"}
    keyed = {user: answered_by(app, **{"X-User": user}) for user in map(str, range(40))}
    assert set(keyed.values()) == {"1", "2"}
    assert keyed == {
        user: answered_by(serve(either.parent, traffic=traffic), **{"X-User": user}) for user in keyed
    }


def test_shadow(home):
    """A shadow answers no client; /metrics compares it with the version that does."""
    write(home, "[labels]\nstable = 1\n[shadow]\nversion = 2")
    app = serve(home.parent)
    assert {answered_by(app) for _ in range(20)} == {"1"}
    labels = '{agreement="same",class="setosa",model="iris",shadow="2",version="1"}'
    eventually(lambda: f"unpickled_shadow_rows_total{labels} 20.0" in app.test_client().get("/metrics").text)


def test_server_timing(home):
    """A client that sends Server-Timing gets the time of each phase; others do not."""
    client = serve(home.parent).test_client()
    assert "Server-Timing" not in client.post("/predict", json=BODY).headers
    timing = client.post("/predict", json=BODY, headers={"Server-Timing": "1"}).headers["Server-Timing"]
    names, durations = zip(*(part.split(";dur=") for part in timing.split(", ")), strict=True)
    assert names == ("read", "queue", "decode", "run", "encode", "total")
    assert sum(map(float, durations[:-1])) == pytest.approx(float(durations[-1]), abs=0.001)


def test_errors_say_who_answered(home):
    """A refusal has the version in its header, as an answer does."""
    answer = serve(home.parent).test_client().post("/predict", data=json.dumps({"features": []}))
    assert (answer.status_code, answer.headers["Model-Version"]) == (400, "2")
