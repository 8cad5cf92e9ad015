"""unpickled models: what is shown, what a change does to the files, and what is refused."""

import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from conftest import BIN, PATIENCE, ROOT, run, started

from unpickled.__main__ import main
from unpickled.server.commands import revision
from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.serving import Serving, Shadowing

# A file of somebody who thinks while writing.
WRITTEN = """\
# what iris serves
load = "newest"  # and nothing else

[labels]
# Ann agrees
stable = 2  # since spring
zero = 1
"""
FLAGS = ["--models", "."]


@pytest.fixture
def iris(models, tmp_path, monkeypatch) -> Path:
    """Three versions of iris, and people beside it, in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(models.path / "people", tmp_path / "people")
    for version in ("1", "2", "3"):
        shutil.copytree(models.path / "iris" / "1", tmp_path / "iris" / version)
    return tmp_path / "iris"


@pytest.fixture
def tell(iris, capsys):
    """Runs a command: its exit status, and what it printed."""

    def tell(line: str) -> tuple[int, str]:
        status = main(["models", *line.split(), *FLAGS])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return tell


def written(folder: Path) -> Serving:
    return serving.parse((folder / "serving.toml").read_text("utf-8"))


def records(folder: Path) -> list[tuple[str, dict[str, float]]]:
    return [(record.by, record.traffic) for record in history.read(folder)]


def files(folder: Path) -> dict[str, bytes]:
    """All but the lock, which is empty."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert found.pop(history.LOCK, b"") == b""
    return found


def spoil(iris: Path, version: int) -> None:
    (iris / str(version) / "model.onnx").write_bytes(b"hello")


def other_features(iris: Path, version: int) -> None:
    shutil.copytree(iris.parent / "people" / "1", iris / str(version), dirs_exist_ok=True)


def start(command: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A command as a process, in the models folder."""
    words = [sys.executable, "-m", "unpickled", "models", *command.split(), *FLAGS]
    return started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_promote(iris, tell):
    """The label moves, what was served before is in the history, and one line says it."""
    status, told = tell("promote iris 2")
    assert (status, told.count("\n")) == (0, 1)
    assert "iris: version 2 is stable; version 2 answers /predict. Running servers follow within 2 s" in told
    assert written(iris) == Serving(labels={"stable": 2})
    assert records(iris) == [("as found", {"3": 1.0}), ("promote 2 --label stable", {"2": 1.0})]


def test_comments_stay(iris, tell):
    """A file keeps its comments, its order, and what it says without need."""
    (iris / "serving.toml").write_text(WRITTEN)
    assert [tell(line)[0] for line in ("promote iris 3", "retire iris 2")] == [0, 0]
    expected = WRITTEN.replace("stable = 2", "stable = 3").replace("else\n", "else\nretired = [2]\n", 1)
    assert (iris / "serving.toml").read_text().split() == expected.split()
    assert sorted(files(iris)) == ["history.jsonl", "serving.toml"]


def test_other_labels(iris, tell):
    """Another label leaves traffic as it is, and can be named instead of its version."""
    tell("canary iris 2 --weight 0.25")
    status, told = tell("promote iris 1 --label old")
    assert (status, written(iris).traffic) == (0, {"stable": 0.75, "2": 0.25})
    assert "version 1 is old" in told
    assert tell("canary iris old --weight 0.25")[0] == 0
    assert written(iris).traffic == {"stable": 0.75, "old": 0.25}
    assert records(iris)[-1] == ("canary old --weight 0.25", {"1": 0.25, "3": 0.75})


def test_canary(iris, tell):
    """What answers now is stable from then on; the weight changes, ends, or is all by promotion."""
    told = tell("canary iris 2 --weight 0.07")[1]
    assert "version 2 is the canary; version 2 7% and version 3 93% of /predict" in told
    assert written(iris) == Serving(labels={"stable": 3}, traffic={"stable": 0.93, "2": 0.07})
    tell("canary iris 2 --weight 0.5")
    assert written(iris).traffic == {"stable": 0.5, "2": 0.5}
    assert "version 2 is no longer the canary" in tell("canary iris 2 --weight 0")[1]
    assert written(iris) == Serving(labels={"stable": 3})
    tell("canary iris 2 --weight 0.5")
    tell("promote iris 2")
    assert written(iris) == Serving(labels={"stable": 2})


def test_canary_beside_a_split(iris, tell):
    """The stable version has the rest, whoever was the canary before; else the only other one."""
    (iris / "serving.toml").write_text("[labels]\nstable = 3\n[traffic]\nstable = 0.5\n2 = 0.5")
    tell("canary iris 1 --weight 0.5")
    assert written(iris).traffic == {"stable": 0.5, "1": 0.5}
    (iris / "serving.toml").write_text("[labels]\nstable = 3\n[traffic]\n2 = 1")
    tell("canary iris 1 --weight 0.5")
    assert written(iris).traffic == {"2": 0.5, "1": 0.5}
    tell("canary iris 1 --weight 0")
    assert written(iris).traffic == {"2": 1.0}


def test_shadow(iris, tell):
    """A version shadows a share, under its label or number, until --share 0."""
    assert "version 2 shadows; version 3 answers /predict" in tell("shadow iris 2")[1]
    assert written(iris) == Serving(shadow=Shadowing(version=2))
    tell("promote iris 1 --label next")
    assert "version 1 shadows 50%" in tell("shadow iris next --share 0.5")[1]
    assert written(iris).shadow == Shadowing(version="next", share=0.5)
    assert "no version shadows" in tell("shadow iris next --share 0")[1]
    assert written(iris) == Serving(labels={"next": 1})


def test_a_shadow_is_promoted(iris, tell):
    """It shadows no longer, whatever it is called by; one that is not promoted goes on."""
    tell("promote iris 1 --label next")
    tell("shadow iris next")
    assert "version 1 shadows 100%" in tell("promote iris 2")[1]
    told = tell("promote iris next")[1]
    assert "iris: version 1 is stable and no longer the shadow; version 1 answers /predict. " in told
    assert written(iris) == Serving(labels={"next": 1, "stable": 1})
    tell("shadow iris 2")
    tell("shadow iris 2 --share 0")
    tell("promote iris 3 --label next")
    tell("shadow iris next")
    assert "version 1 is next and no longer the shadow" in tell("promote iris 1 --label next")[1]


def test_nothing_asked_for(iris, tell):
    """A file that has nothing left to ask for is not empty, which would be a mistake."""
    tell("shadow iris 2")
    tell("shadow iris 2 --share 0")
    assert (iris / "serving.toml").read_text() == 'load = "newest"\n'


def test_rollback(iris, tell):
    """Back to what was served before, whatever has been exported since, and no further than that."""
    tell("promote iris 2")
    shutil.copytree(iris / "3", iris / "4")
    status, told = tell("rollback iris")
    assert (status, written(iris)) == (0, Serving(traffic={"3": 1.0}))
    assert "iris: back as it was from" in told
    assert "(as found); version 3 answers /predict" in told
    status, told = tell("rollback iris")
    assert (status, "nothing to go back to" in told) == (1, True)
    assert records(iris)[-1] == ("rollback", {"3": 1.0})


def test_rollback_of_a_canary(iris, tell):
    """Its weights are taken back one by one, until it is gone."""
    for weight in ("0.05", "0.5"):
        tell(f"canary iris 2 --weight {weight}")
    assert "version 2 5% and version 3 95% of /predict" in tell("rollback iris")[1]
    assert "version 3 answers /predict" in tell("rollback iris")[1]
    assert written(iris) == Serving()


def test_rollback_is_about_who_answers(iris, tell):
    """A label that was moved since keeps nobody from going back."""
    tell("promote iris 2")
    tell("promote iris 1 --label candidate")
    assert "version 3 answers /predict" in tell("rollback iris")[1]
    assert written(iris) == Serving()


def test_rollback_restores_everything(iris, tell):
    """Labels, shadow, retired and load, also where the file was edited and no server ran."""
    (iris / "serving.toml").write_text("load = 2\n[labels]\na = 1\n[shadow]\nversion = 'a'\nshare = 0.5")
    tell("promote iris 2")
    (iris / "serving.toml").write_text("retired = [3]\n[labels]\nstable = 2")
    shadow = Shadowing(version=1, share=0.5)
    assert tell("rollback iris")[0] == 0
    assert written(iris) == Serving(load=2, labels={"a": 1, "stable": 2}, shadow=shadow)
    tell("rollback iris")
    assert written(iris) == Serving(load=2, labels={"a": 1}, shadow=shadow)


def test_rollback_of_a_mistake(iris, tell):
    """What is served is asked for again, and what cannot be read is kept as a comment."""
    tell("promote iris 2")
    (iris / "serving.toml").write_text("# mine\n[labels\nstable = 3")
    status, told = tell("promote iris 3")
    assert status == 1
    assert "serving.toml is not TOML" in told
    assert "rollback iris" in told
    assert tell("rollback iris")[0] == 0
    assert (iris / "serving.toml").read_text().startswith("# # mine\n# [labels\n# stable = 3\n")
    assert written(iris) == Serving(labels={"stable": 2})


@pytest.mark.parametrize(
    "text", ["", f"load = 0x{'F' * 4000}", f"labels{'.a' * 250} = 1", "a = " + "[" * 9000]
)
def test_rollback_of_a_strange_file(iris, tell, text):
    """Whatever it holds."""
    tell("promote iris 2")
    (iris / "serving.toml").write_text(text)
    assert tell("rollback iris")[0] == 0
    assert written(iris) == Serving(labels={"stable": 2})


def test_a_mistake_where_nothing_is_served(iris, tell):
    """Says so, and that the file has to be repaired or deleted."""
    (iris / "serving.toml").write_text("[labels")
    assert "; it is not served" in tell("list")[1]
    assert "Repair that, or delete serving.toml" in tell("promote iris 2")[1]
    status, told = tell("rollback iris")
    assert (status, list(files(iris))) == (1, ["serving.toml"])
    assert "iris has nothing to go back to: serving.toml is not TOML" in told
    assert "Repair that, or delete serving.toml" in told


def test_retire(iris, tell):
    """The newest is passed over; what a list loads is the rest of it."""
    assert "version 3 is retired; version 2 answers /predict" in tell("retire iris 3")[1]
    assert written(iris) == Serving(retired=(3,))
    (iris / "serving.toml").write_text("load = [1, 2]")
    assert tell("retire iris 2")[0] == 0
    assert written(iris) == Serving(load=(1,), retired=(2,))
    assert records(iris)[-1] == ("retire 2", {"1": 1.0})


def test_nothing_to_change(iris, tell):
    """The same once more writes nothing."""
    tell("promote iris 2")
    before = files(iris)
    assert [tell(line)[0] for line in ("promote iris 2", "shadow iris 2 --share 0")] == [0, 0]
    assert "version 3 was no canary" in tell("canary iris 3 --weight 0")[1]
    assert files(iris) == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "promote irsi 2",
            ["there is no model 'irsi'", "did you mean 'iris'?", "The models are iris, people"],
        ),
        ("promote ../x 2", ["there is no model"]),
        ("promote iris 9", ["iris has no version 9: it has 3, 2, 1"]),
        ("promote iris best", ["there is no label 'best': the labels are stable"]),
        ("promote iris 007", ["there is no label '007', and it is no version number: the labels are stable"]),
        ("promote iris v4", ["there is no label 'v4', and it is no version number"]),
        ("promote iris 2 --label a/b", ["--label is 'a/b': a label starts with a letter"]),
        ("promote iris 2 --label 2", ["--label is '2'", "starts with a letter"]),
        ("promote iris 1", ["version 1 is retired", "take it out of retired"]),
        ("canary iris 2 --weight 1", ["--weight is 1", "below 1"]),
        ("canary iris 2 --weight nan", ["--weight is nan"]),
        ("canary iris 2 --weight -0.1", ["--weight is -0.1"]),
        ("canary iris 3 --weight 0.1", ["version 3 answers all of /predict already"]),
        ("shadow iris 3", ["version 3 answers /predict itself"]),
        ("shadow iris 2 --share 1.5", ["--share is 1.5"]),
        ("retire iris 3", ["serving.toml has version 3 as labels.stable"]),
        ("retire people 1", ["people has no other version to serve than 1"]),
        ("rollback iris", ["iris has nothing to go back to"]),
        ("show nobody", ["there is no model 'nobody'"]),
        ("list --config none.toml", ["none.toml cannot be read"]),
    ],
)
def test_refusals(iris, tell, line, words):
    """A sentence on stderr, status 1, and every file as it was."""
    (iris / "serving.toml").write_text("retired = [1]\n[labels]\nstable = 3")
    status, told = tell(line)
    assert status == 1
    assert told.startswith("error: ")
    assert all(word in told for word in words), told
    assert list(files(iris)) == ["serving.toml"]


@pytest.mark.parametrize("line", ["promote iris 2", "canary iris 2 --weight 0.5", "shadow iris 2"])
def test_a_version_that_fails(iris, tell, line):
    """What does not load is not asked for."""
    spoil(iris, 2)
    status, told = tell(line)
    assert (status, files(iris)) == (1, {})
    assert "version 2 of iris cannot be served: it is not a complete ONNX file" in told


@pytest.mark.parametrize("line", ["canary iris 2 --weight 0.5", "shadow iris 2"])
def test_other_features(iris, tell, line):
    """Versions of other features share no requests; promoting one says that callers have to change."""
    other_features(iris, 2)
    status, told = tell(line)
    assert (status, files(iris)) == (1, {})
    assert "version 3 lacks 'age', 'income', 'city', 'plan' and adds" in told
    assert "takes other features than version 3" in tell("promote iris 2")[1]


def test_rollback_to_what_is_gone(iris, tell):
    """A version that was spoilt, deleted or retired since is not gone back to."""
    tell("promote iris 1")
    tell("promote iris 2")
    before = files(iris)
    spoil(iris, 1)
    assert "not a complete ONNX file" in tell("rollback iris")[1]
    shutil.rmtree(iris / "1")
    status, told = tell("rollback iris")
    assert (status, files(iris)) == (1, before)
    assert "there is no version 1" in told
    (iris / "serving.toml").unlink()
    tell("retire iris 3")
    assert "version 3 is retired: take it out" in tell("rollback iris")[1]


def test_the_last_one_that_loads(iris, tell):
    """A version is not retired where all others are refused."""
    spoil(iris, 1)
    spoil(iris, 2)
    status, told = tell("retire iris 3")
    assert (status, files(iris)) == (1, {})
    assert "no version" in told


@contextlib.contextmanager
def full(size: int):
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("padding", [0, 500])
def test_a_full_disk(iris, tell, padding):
    """Neither the history nor the file changes where one of them cannot be written."""
    (iris / "serving.toml").write_text("# " + padding * "x")
    tell("promote iris 1")
    before = files(iris)
    # Room for the file and for half a line of history, or not for the file.
    with full(len(before["history.jsonl"]) + 20 if not padding else 100):
        status, told = tell("promote iris 2")
    assert (status, files(iris)) == (1, before)
    assert "error: nothing has changed, as" in told
    assert "File too large" in told


def test_a_file_that_cannot_be_replaced(iris, tell):
    """A folder in the way of serving.toml: what was added to the history is taken back."""
    tell("promote iris 1")
    now = history.read(iris)
    os.rename(iris / "serving.toml", iris / "kept")
    (iris / "serving.toml").mkdir()
    (iris / "serving.toml" / "x").touch()
    status, told = tell("promote iris 2")
    assert (status, "serving.toml cannot be read: it is a directory" in told) == (1, True)
    with pytest.raises(IsADirectoryError):
        revision.write(iris, "", revision.Deployment(name="iris"), now[0])
    assert history.read(iris) == now


def test_a_history_that_cannot_be_written(iris, tell):
    """serving.toml stays without it."""
    (iris / "history.jsonl").mkdir()
    status, told = tell("promote iris 2")
    assert (status, files(iris)) == (1, {})
    assert "history.jsonl cannot be written: Is a directory" in told


def test_a_history_that_somebody_locks(iris, tell):
    """Nothing changes, and nobody waits."""
    tell("promote iris 1")
    before = files(iris)
    with (iris / "history.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, told = tell("promote iris 2")
    assert (status, files(iris)) == (1, before)
    assert "history.jsonl cannot be written: another program has locked it" in told


def test_waiting_for_another_change(iris):
    """It is said, and Ctrl-C ends it without a traceback and without a change."""
    with history.alone(iris), start("promote iris 2") as waiting:
        assert waiting.stderr.readline() == "another change of iris is under way; waiting (Ctrl-C ends it)\n"
        waiting.send_signal(signal.SIGINT)
        assert (*waiting.communicate(timeout=PATIENCE), waiting.returncode) == ("", "", 130)
    assert files(iris) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_the_owner_stays(iris, tell):
    """What root changes still belongs to whom it belonged to, or to whom the folder belongs to."""
    os.chown(iris, 1234, 1234)
    tell("promote iris 1")
    assert {(iris / name).stat().st_uid for name in files(iris)} == {1234}
    os.chown(iris / "serving.toml", 4321, 4321)
    tell("promote iris 2")
    assert ((iris / "serving.toml").stat().st_uid, (iris / "history.jsonl").stat().st_uid) == (4321, 1234)


def test_permissions_and_links_stay(iris, tell):
    """A file shared by a link stays one, and as readable as it was."""
    shared = iris.parent / "shared.toml"
    shared.write_text("[labels]\nstable = 3\n")
    shared.chmod(0o640)
    (iris / "serving.toml").symlink_to(shared)
    tell("promote iris 2")
    assert (iris / "serving.toml").is_symlink()
    assert (shared.read_text(), shared.stat().st_mode & 0o777) == ("[labels]\nstable = 2\n", 0o640)


def test_a_provider_that_only_servers_have(iris, tell, monkeypatch):
    """Commands work where the servers' strict settings cannot be met."""
    monkeypatch.setenv("UNPICKLED_STRICT", "1")
    monkeypatch.setenv("UNPICKLED_PROVIDER", "DmlExecutionProvider")
    assert [tell(line)[0] for line in ("list", "show iris", "promote iris 2")] == [0, 0, 0]


def test_two_at_once(iris):
    """Of two commands none is lost, though both read, change and write the same file."""
    commands = ["promote iris 1 --label a", "promote iris 2 --label b", "shadow iris 1 --share 0.5"]
    with ExitStack() as stack:
        running = [stack.enter_context(start(command)) for command in commands]
        told = [process.communicate(timeout=PATIENCE)[0] for process in running]
    assert ["Running servers follow" in line for line in told] == [True] * 3
    assert written(iris) == Serving(labels={"a": 1, "b": 2}, shadow=Shadowing(version=1, share=0.5))
    assert len(history.read(iris)) == 4


def test_list(iris, tell):
    """All versions in one table, what each does, and the sentence for what is refused."""
    (iris / "serving.toml").write_text("retired = [1]\n[labels]\nstable = 2\n[shadow]\nversion = 3")
    spoil(iris.parent / "people", 1)
    shutil.copytree(iris / "1", iris / "4")
    table = tell("list")[1].splitlines()
    assert table[0].split()[:5] == ["model", "version", "labels", "traffic", "accuracy"]
    assert [row.split()[:4] for row in table[1:]] == [
        ["iris", "4", "-", "0%"],
        ["iris", "3", "-", "0%,"],
        ["iris", "2", "stable", "100%"],
        ["iris", "1", "-", "retired"],
        ["people", "1", "-", "refused"],
        ["people:", "version", "1", "is"],
    ]
    assert "0.9733" in table[1]
    assert max(map(len, table)) <= 100


def test_list_of_what_is_no_file(iris, tell):
    """A pipe in the place of a model is refused, and not waited for; one of a history has no records."""
    (iris / "3" / "model.onnx").unlink()
    os.mkfifo(iris / "3" / "model.onnx")
    os.mkfifo(iris / "history.jsonl")
    listed = tell("list")[1]
    assert "version 3 is refused" in listed
    assert "it is not a file" in listed
    assert "iris: version 2 answers /predict" in tell("show iris")[1]
    assert "history.jsonl cannot be read: it is not a file" in tell("rollback iris")[1]


def test_show(iris, tell):
    """Versions, what is asked for, features and history of one model, and all that is refused."""
    tell("canary iris 1 --weight 0.1")
    (iris / "serving.toml").write_text("load = 7\nload = 8")
    spoil(iris, 2)
    page = tell("show iris")[1]
    assert page.startswith("iris: version 1 10% and version 3 90% of /predict\n")
    assert "version 2 is refused: it is not a complete ONNX file" in page
    assert "serving.toml is not TOML" in page
    assert "traffic: 1 = 0.1, 3 = 0.9" in page
    assert "sepal_length  number  refused  4.3 to 7.9" in page
    assert "1: 10%, 3: 90%  -       stable = 3  canary 1 --weight 0.1" in page


def test_looking_leaves_no_trace(iris, tell):
    """list and show write nothing, not even a history."""
    assert [tell(line)[0] for line in ("list", "show iris", "list --json", "show iris --json")] == [0] * 4
    assert files(iris) == {}


def test_json(iris, tell):
    """The same as JSON."""
    tell("canary iris 1 --weight 0.25")
    iris_listed, people = json.loads(tell("list --json")[1])
    shown = json.loads(tell("show iris --json")[1])
    assert (iris_listed["traffic"], people["model"]) == ({"1": 0.25, "3": 0.75}, "people")
    assert iris_listed.items() <= shown.items()
    known = {"version": 3, "labels": ["stable"], "traffic": 0.75, "loaded": True, "refused": None}
    assert known.items() <= shown["versions"][0].items()
    assert shown["serving"] == {"labels": {"stable": 3}, "traffic": {"stable": 0.75, "1": 0.25}}
    assert shown["features"][0]["name"] == "sepal_length"
    assert [record["by"] for record in shown["history"]] == ["canary 1 --weight 0.25", "as found"]


def test_an_empty_folder(iris, tell):
    """Says how to get a model."""
    shutil.rmtree(iris)
    shutil.rmtree(iris.parent / "people")
    assert "there are no models in .: export one" in tell("list")[1]


def test_settings_are_the_servers(iris, monkeypatch, capsys):
    """The models folder comes from the environment or the server's file, where no flag names it."""
    monkeypatch.setenv("UNPICKLED_MODELS", "nowhere")
    assert main(["models", "list"]) == 1
    assert "nowhere" in capsys.readouterr().err
    Path("unpickled.toml").write_text("models = '.'\nreload_seconds = 0")
    monkeypatch.delenv("UNPICKLED_MODELS")
    assert main(["models", "promote", "iris", "2"]) == 0
    assert "Running servers follow at SIGHUP." in capsys.readouterr().out


def test_help_teaches(capsys):
    """Without a command, the way of a new version is shown, in lines of at most 100 characters."""
    assert main(["models"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Usage: unpickled models")
    assert "unpickled models rollback iris" in shown
    assert max(map(len, shown.splitlines())) <= 100


@pytest.mark.parametrize(
    ("words", "usage", "sentence"),
    [
        (
            ["modles"],
            "Usage: unpickled ",
            "No such command 'modles': did you mean 'models'? (help: unpickled --help)",
        ),
        (["models", "promot", "iris"], "Usage: unpickled models ", "'promot': did you mean 'promote'?"),
        (["models", "7"], "Usage: unpickled models ", "No such command '7'. (help: unpickled models --help)"),
        (["models", "list", "--jsn"], "Usage: unpickled models list ", "'--jsn': did you mean '--json'?"),
        (["models", "canary", "iris", "2"], "Usage: unpickled models canary ", "Missing option '--weight'"),
        (["--port", "1"], "Usage: unpickled ", "No such option '--port'"),
    ],
)
def test_wrong_usage(capsys, words, usage, sentence):
    """Status 2, two lines on stderr: the usage, and an error with a suggestion or the command for help."""
    assert main(words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(usage)
    assert lines[1].startswith("error: ")
    assert sentence in lines[1]
    assert len(lines) == 2


@pytest.mark.parametrize(
    "program", [[BIN / "unpickled"], [sys.executable, "-m", "unpickled"], [sys.executable, "-m", "server"]]
)
def test_as_people_type_it(models, program):
    """The command, the package as a module, and in a checkout the folder as a module."""
    command = [*program, "models", "list", "--models", str(models.path)]
    done = run(command, cwd=ROOT)
    assert done.stdout.startswith("model   version  labels")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no /dev/full")
def test_an_answer_that_cannot_be_printed(models):
    """One line on stderr, no traceback."""
    command = [BIN / "unpickled", "models", "list", "--models", str(models.path)]
    with open("/dev/full", "w") as full_disk:
        done = run(command, cwd=ROOT, stdout=full_disk)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot be printed: No space left on device" in done.stderr


def test_a_serving_process_does_without():
    """It never loads what only commands need."""
    code = (
        "import sys, unpickled.server.app, unpickled.server.process.workers\n"
        "sys.exit('tomlkit' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
