"""``unpickled models``: what it prints, how it changes the files, and what it refuses."""

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
from conftest import BIN, PATIENCE, ROOT, run, shelve, started

from unpickled.__main__ import main
from unpickled.server.commands import revision, tables
from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.serving import Serving, Shadowing

# A serving.toml with comments and settings that are defaults.
COMMENTED = """\
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
    """The folder of three versions of iris; its parent, with people too, is the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(models.path / "people", tmp_path / "people")
    for version in ("1", "2", "3"):
        shutil.copytree(models.path / "iris" / "1", tmp_path / "iris" / version)
    return tmp_path / "iris"


@pytest.fixture
def invoke(iris, capsys):
    """Runs a command; returns its exit status and its output."""

    def invoke(line: str) -> tuple[int, str]:
        status = main(["models", *line.split(), *FLAGS])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return invoke


def parsed(folder: Path) -> Serving:
    """The contents of serving.toml."""
    return serving.parse((folder / "serving.toml").read_text("utf-8"))


def records(folder: Path) -> list[tuple[str, dict[str, float]]]:
    """(by, traffic) of each record in the history."""
    return [(record.by, record.traffic) for record in history.read(folder)]


def files(folder: Path) -> dict[str, bytes]:
    """Name -> content of every file but the lock, which is empty."""
    contents = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert contents.pop(history.LOCK, b"") == b""
    return contents


def spoil(iris: Path, version: int) -> None:
    """Overwrite a version with a file that is no model."""
    (iris / str(version) / "model.onnx").write_bytes(b"hello")


def other_features(iris: Path, version: int) -> None:
    shutil.copytree(iris.parent / "people" / "1", iris / str(version), dirs_exist_ok=True)


def start(command: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A command as a process, in the models folder."""
    words = [sys.executable, "-m", "unpickled", "models", *command.split(), *FLAGS]
    return started(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_promote(iris, invoke):
    """The label moves, the history keeps the state before it, and one line of output says so."""
    status, output = invoke("promote iris 2")
    assert (status, output.count("\n")) == (0, 1)
    assert "iris: version 2 is stable; version 2 answers /models/iris/predict. " in output
    assert "Running servers follow within 2 s" in output
    assert parsed(iris) == Serving(labels={"stable": 2})
    assert records(iris) == [("as found", {"3": 1.0}), ("promote 2 --label stable", {"2": 1.0})]


def test_comments_stay(iris, invoke):
    """A change keeps the comments of serving.toml, its order, and settings that are defaults."""
    (iris / "serving.toml").write_text(COMMENTED)
    assert [invoke(line)[0] for line in ("promote iris 3", "retire iris 2")] == [0, 0]
    expected = COMMENTED.replace("stable = 2", "stable = 3").replace("else\n", "else\nretired = [2]\n", 1)
    assert (iris / "serving.toml").read_text().split() == expected.split()
    assert sorted(files(iris)) == ["history.jsonl", "serving.toml"]


def test_the_policy_for_inputs_stays(iris, invoke):
    """A change and a rollback keep the policy for inputs as somebody wrote it, and the history has it."""
    policy = '# ours\n[inputs]\noutside = "flag"\n[inputs.features.petal_width]\noutside = "refuse"\n'
    (iris / "serving.toml").write_text(policy)
    for line in ("promote iris 2", "canary iris 3 --weight 0.5", "rollback iris"):
        assert invoke(line)[0] == 0
        assert policy in (iris / "serving.toml").read_text()
    refusing = parsed(iris).inputs
    assert refusing.of("petal_width").outside == "refuse"
    assert all(record.inputs == refusing for record in history.read(iris))


def test_other_labels(iris, invoke):
    """A label other than stable leaves traffic as it is, and is accepted in place of its version."""
    invoke("canary iris 2 --weight 0.25")
    status, output = invoke("promote iris 1 --label old")
    assert (status, parsed(iris).traffic) == (0, {"stable": 0.75, "2": 0.25})
    assert "version 1 is old" in output
    assert invoke("canary iris old --weight 0.25")[0] == 0
    assert parsed(iris).traffic == {"stable": 0.75, "old": 0.25}
    assert records(iris)[-1] == ("canary old --weight 0.25", {"1": 0.25, "3": 0.75})


def test_canary(iris, invoke):
    """A canary makes the version that answers now stable; its weight can change, end, or become all."""
    output = invoke("canary iris 2 --weight 0.07")[1]
    assert "version 2 is the canary; version 2 7% and version 3 93% of /models/iris/predict" in output
    assert parsed(iris) == Serving(labels={"stable": 3}, traffic={"stable": 0.93, "2": 0.07})
    invoke("canary iris 2 --weight 0.5")
    assert parsed(iris).traffic == {"stable": 0.5, "2": 0.5}
    assert "version 2 is no longer the canary" in invoke("canary iris 2 --weight 0")[1]
    assert parsed(iris) == Serving(labels={"stable": 3})
    invoke("canary iris 2 --weight 0.5")
    invoke("promote iris 2")
    assert parsed(iris) == Serving(labels={"stable": 2})


def test_canary_beside_a_split(iris, invoke):
    """A new canary shares with the stable version, or with the only other one that answers."""
    (iris / "serving.toml").write_text("[labels]\nstable = 3\n[traffic]\nstable = 0.5\n2 = 0.5")
    invoke("canary iris 1 --weight 0.5")
    assert parsed(iris).traffic == {"stable": 0.5, "1": 0.5}
    (iris / "serving.toml").write_text("[labels]\nstable = 3\n[traffic]\n2 = 1")
    invoke("canary iris 1 --weight 0.5")
    assert parsed(iris).traffic == {"2": 0.5, "1": 0.5}
    invoke("canary iris 1 --weight 0")
    assert parsed(iris).traffic == {"2": 1.0}


def test_shadow(iris, invoke):
    """A version shadows a share of the requests, under its label or number, until --share 0."""
    assert "version 2 shadows; version 3 answers /models/iris/predict" in invoke("shadow iris 2")[1]
    assert parsed(iris) == Serving(shadow=Shadowing(version=2))
    invoke("promote iris 1 --label next")
    assert "version 1 shadows 50%" in invoke("shadow iris next --share 0.5")[1]
    assert parsed(iris).shadow == Shadowing(version="next", share=0.5)
    assert "no version shadows" in invoke("shadow iris next --share 0")[1]
    assert parsed(iris) == Serving(labels={"next": 1})


def test_a_shadow_is_promoted(iris, invoke):
    """A shadow that is promoted shadows no longer; a shadow that is not goes on."""
    invoke("promote iris 1 --label next")
    invoke("shadow iris next")
    assert "version 1 shadows 100%" in invoke("promote iris 2")[1]
    output = invoke("promote iris next")[1]
    assert (
        "iris: version 1 is stable and no longer the shadow; version 1 answers /models/iris/predict. "
        in output
    )
    assert parsed(iris) == Serving(labels={"next": 1, "stable": 1})
    invoke("shadow iris 2")
    invoke("shadow iris 2 --share 0")
    invoke("promote iris 3 --label next")
    invoke("shadow iris next")
    assert "version 1 is next and no longer the shadow" in invoke("promote iris 1 --label next")[1]


def test_nothing_asked_for(iris, invoke):
    """A file without any setting left has a line of its own, because an empty file is a mistake."""
    invoke("shadow iris 2")
    invoke("shadow iris 2 --share 0")
    assert (iris / "serving.toml").read_text() == 'load = "newest"\n'


def test_rollback(iris, invoke):
    """A rollback returns to the version served before, whatever was exported since, and no further."""
    invoke("promote iris 2")
    shutil.copytree(iris / "3", iris / "4")
    status, output = invoke("rollback iris")
    assert (status, parsed(iris)) == (0, Serving(traffic={"3": 1.0}))
    assert "iris: back as it was from" in output
    assert "(as found); version 3 answers /models/iris/predict" in output
    status, output = invoke("rollback iris")
    assert (status, "nothing to go back to" in output) == (1, True)
    assert records(iris)[-1] == ("rollback", {"3": 1.0})


def test_rollback_of_a_canary(iris, invoke):
    """Each rollback takes back one weight of a canary, until it is gone."""
    for weight in ("0.05", "0.5"):
        invoke(f"canary iris 2 --weight {weight}")
    assert "version 2 5% and version 3 95% of /models/iris/predict" in invoke("rollback iris")[1]
    assert "version 3 answers /models/iris/predict" in invoke("rollback iris")[1]
    assert parsed(iris) == Serving()


def test_rollback_is_about_who_answers(iris, invoke):
    """A label that moved in the meantime does not prevent a rollback."""
    invoke("promote iris 2")
    invoke("promote iris 1 --label candidate")
    assert "version 3 answers /models/iris/predict" in invoke("rollback iris")[1]
    assert parsed(iris) == Serving()


def test_rollback_restores_everything(iris, invoke):
    """A rollback restores labels, shadow, retired and load, even of a file edited without a server."""
    (iris / "serving.toml").write_text("load = 2\n[labels]\na = 1\n[shadow]\nversion = 'a'\nshare = 0.5")
    invoke("promote iris 2")
    (iris / "serving.toml").write_text("retired = [3]\n[labels]\nstable = 2")
    shadow = Shadowing(version=1, share=0.5)
    assert invoke("rollback iris")[0] == 0
    assert parsed(iris) == Serving(load=2, labels={"a": 1, "stable": 2}, shadow=shadow)
    invoke("rollback iris")
    assert parsed(iris) == Serving(load=2, labels={"a": 1}, shadow=shadow)


def test_rollback_of_a_mistake(iris, invoke):
    """A rollback restores the versions that are served, and keeps the unreadable text as a comment."""
    invoke("promote iris 2")
    (iris / "serving.toml").write_text("# mine\n[labels\nstable = 3")
    status, output = invoke("promote iris 3")
    assert status == 1
    assert "serving.toml is not TOML" in output
    assert "rollback iris" in output
    assert invoke("rollback iris")[0] == 0
    assert (iris / "serving.toml").read_text().startswith("# # mine\n# [labels\n# stable = 3\n")
    assert parsed(iris) == Serving(labels={"stable": 2})


@pytest.mark.parametrize(
    "text", ["", f"load = 0x{'F' * 4000}", f"labels{'.a' * 250} = 1", "a = " + "[" * 9000]
)
def test_rollback_of_a_strange_file(iris, invoke, text):
    """A rollback replaces a file with any contents."""
    invoke("promote iris 2")
    (iris / "serving.toml").write_text(text)
    assert invoke("rollback iris")[0] == 0
    assert parsed(iris) == Serving(labels={"stable": 2})


def test_a_mistake_where_nothing_is_served(iris, invoke):
    """Without a version to return to, the error says to repair the file or to delete it."""
    (iris / "serving.toml").write_text("[labels")
    assert "; it is not served" in invoke("list")[1]
    assert "Repair that, or delete serving.toml" in invoke("promote iris 2")[1]
    status, output = invoke("rollback iris")
    assert (status, list(files(iris))) == (1, ["serving.toml"])
    assert "iris has nothing to go back to: serving.toml is not TOML" in output
    assert "Repair that, or delete serving.toml" in output


def test_retire(iris, invoke):
    """A retired version is not served as the newest, and is taken out of a list in load."""
    assert "version 3 is retired; version 2 answers /models/iris/predict" in invoke("retire iris 3")[1]
    assert parsed(iris) == Serving(retired=(3,))
    (iris / "serving.toml").write_text("load = [1, 2]")
    assert invoke("retire iris 2")[0] == 0
    assert parsed(iris) == Serving(load=(1,), retired=(2,))
    assert records(iris)[-1] == ("retire 2", {"1": 1.0})


def test_nothing_to_change(iris, invoke):
    """A command without effect writes nothing."""
    invoke("promote iris 2")
    before = files(iris)
    assert [invoke(line)[0] for line in ("promote iris 2", "shadow iris 2 --share 0")] == [0, 0]
    assert "version 3 was no canary" in invoke("canary iris 3 --weight 0")[1]
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
        ("canary iris 3 --weight 0.1", ["version 3 answers all plain requests already"]),
        ("shadow iris 3", ["version 3 answers plain requests itself"]),
        ("shadow iris 2 --share 1.5", ["--share is 1.5"]),
        ("retire iris 3", ["serving.toml has version 3 as labels.stable"]),
        ("retire people 1", ["people has no other version to serve than 1"]),
        ("rollback iris", ["iris has nothing to go back to"]),
        ("show nobody", ["there is no model 'nobody'"]),
        ("list --config none.toml", ["none.toml cannot be read"]),
    ],
)
def test_refusals(iris, invoke, line, words):
    """A refused command prints one sentence on stderr, ends with status 1 and changes no file."""
    (iris / "serving.toml").write_text("retired = [1]\n[labels]\nstable = 3")
    status, output = invoke(line)
    assert status == 1
    assert output.startswith("error: ")
    assert all(word in output for word in words), output
    assert list(files(iris)) == ["serving.toml"]


@pytest.mark.parametrize("line", ["promote iris 2", "canary iris 2 --weight 0.5", "shadow iris 2"])
def test_a_version_that_fails(iris, invoke, line):
    """A version that does not load is not put into serving.toml."""
    spoil(iris, 2)
    status, output = invoke(line)
    assert (status, files(iris)) == (1, {})
    assert "version 2 of iris cannot be served: it is not a complete ONNX file" in output


@pytest.mark.parametrize("line", ["canary iris 2 --weight 0.5", "shadow iris 2"])
def test_other_features(iris, invoke, line):
    """Versions with other features share no requests; promoting one warns that callers have to change."""
    other_features(iris, 2)
    status, output = invoke(line)
    assert (status, files(iris)) == (1, {})
    assert "version 3 lacks 'age', 'income', 'city', 'plan' and adds" in output
    assert "takes other features than version 3" in invoke("promote iris 2")[1]


def test_rollback_to_what_is_gone(iris, invoke):
    """A rollback refuses a version that was spoilt, deleted or retired in the meantime."""
    invoke("promote iris 1")
    invoke("promote iris 2")
    before = files(iris)
    spoil(iris, 1)
    assert "not a complete ONNX file" in invoke("rollback iris")[1]
    shutil.rmtree(iris / "1")
    status, output = invoke("rollback iris")
    assert (status, files(iris)) == (1, before)
    assert "there is no version 1" in output
    (iris / "serving.toml").unlink()
    invoke("retire iris 3")
    assert "version 3 is retired: take it out" in invoke("rollback iris")[1]


def test_the_last_one_that_loads(iris, invoke):
    """The only version that loads cannot be retired."""
    spoil(iris, 1)
    spoil(iris, 2)
    status, output = invoke("retire iris 3")
    assert (status, files(iris)) == (1, {})
    assert "no version" in output


@contextlib.contextmanager
def full(size: int):
    """For the block, no file may grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("padding", [0, 500])
def test_a_full_disk(iris, invoke, padding):
    """Neither the history nor serving.toml changes where one of them cannot be written."""
    (iris / "serving.toml").write_text("# " + padding * "x")
    invoke("promote iris 1")
    before = files(iris)
    # Half a line of history fits, or not even the file does.
    with full(len(before["history.jsonl"]) + 20 if not padding else 100):
        status, output = invoke("promote iris 2")
    assert (status, files(iris)) == (1, before)
    assert "error: nothing has changed, as" in output
    assert "File too large" in output


def test_a_file_that_cannot_be_replaced(iris, invoke):
    """If serving.toml cannot be replaced, the new record is taken out of the history."""
    invoke("promote iris 1")
    now = history.read(iris)
    os.rename(iris / "serving.toml", iris / "kept")
    (iris / "serving.toml").mkdir()
    (iris / "serving.toml" / "x").touch()
    status, output = invoke("promote iris 2")
    assert (status, "serving.toml cannot be read: it is a directory" in output) == (1, True)
    with pytest.raises(IsADirectoryError):
        revision.write(iris, "", revision.Deployment(name="iris"), now[0])
    assert history.read(iris) == now


def test_a_history_that_cannot_be_written(iris, invoke):
    """If the history cannot be written, serving.toml does not change."""
    (iris / "history.jsonl").mkdir()
    status, output = invoke("promote iris 2")
    assert (status, files(iris)) == (1, {})
    assert "history.jsonl cannot be written: Is a directory" in output


def test_a_history_that_somebody_locks(iris, invoke):
    """While another program locks the history, a command fails at once and changes nothing."""
    invoke("promote iris 1")
    before = files(iris)
    with (iris / "history.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status, output = invoke("promote iris 2")
    assert (status, files(iris)) == (1, before)
    assert "history.jsonl cannot be written: another program has locked it" in output


def test_waiting_for_another_change(iris):
    """A command says that it waits for another; Ctrl-C ends it without a traceback or a change."""
    with history.alone(iris), start("promote iris 2") as waiting:
        assert waiting.stderr.readline() == "another change of iris is under way; waiting (Ctrl-C ends it)\n"
        waiting.send_signal(signal.SIGINT)
        assert (*waiting.communicate(timeout=PATIENCE), waiting.returncode) == ("", "", 130)
    assert files(iris) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_the_owner_stays(iris, invoke):
    """A file that root changes keeps its owner; a new one belongs to the owner of the folder."""
    os.chown(iris, 1234, 1234)
    invoke("promote iris 1")
    assert {(iris / name).stat().st_uid for name in files(iris)} == {1234}
    os.chown(iris / "serving.toml", 4321, 4321)
    invoke("promote iris 2")
    assert ((iris / "serving.toml").stat().st_uid, (iris / "history.jsonl").stat().st_uid) == (4321, 1234)


def test_permissions_and_links_stay(iris, invoke):
    """A changed file keeps its permissions, and a symbolic link stays a link."""
    shared = iris.parent / "shared.toml"
    shared.write_text("[labels]\nstable = 3\n")
    shared.chmod(0o640)
    (iris / "serving.toml").symlink_to(shared)
    invoke("promote iris 2")
    assert (iris / "serving.toml").is_symlink()
    assert (shared.read_text(), shared.stat().st_mode & 0o777) == ("[labels]\nstable = 2\n", 0o640)


def test_a_provider_that_only_servers_have(iris, invoke, monkeypatch):
    """Commands work where the strict settings of a server cannot be met."""
    monkeypatch.setenv("UNPICKLED_STRICT", "1")
    monkeypatch.setenv("UNPICKLED_PROVIDER", "DmlExecutionProvider")
    assert [invoke(line)[0] for line in ("list", "show iris", "promote iris 2")] == [0, 0, 0]


def test_two_at_once(iris):
    """Commands that run at the same time all take effect, though each rewrites the same file."""
    commands = ["promote iris 1 --label a", "promote iris 2 --label b", "shadow iris 1 --share 0.5"]
    with ExitStack() as stack:
        running = [stack.enter_context(start(command)) for command in commands]
        outputs = [process.communicate(timeout=PATIENCE)[0] for process in running]
    assert ["Running servers follow" in line for line in outputs] == [True] * 3
    assert parsed(iris) == Serving(labels={"a": 1, "b": 2}, shadow=Shadowing(version=1, share=0.5))
    assert len(history.read(iris)) == 4


def test_list(iris, invoke):
    """The list has every version with its state, and a sentence for each that is refused."""
    (iris / "serving.toml").write_text("retired = [1]\n[labels]\nstable = 2\n[shadow]\nversion = 3")
    spoil(iris.parent / "people", 1)
    shutil.copytree(iris / "1", iris / "4")
    table = invoke("list")[1].splitlines()
    assert table[0].split()[:5] == ["model", "version", "labels", "traffic", "accuracy"]
    assert [row.split()[:4] for row in table[1:]] == [
        ["iris", "4", "-", "0%"],
        ["iris", "3", "-", "0%,"],
        ["iris", "2", "stable", "100%"],
        ["iris", "1", "-", "retired"],
        ["people", "1", "-", "refused"],
        ["*", "measured", "on", "rows"],
        ["people:", "version", "1", "is"],
    ]
    assert "0.9733* " in table[1]
    assert max(map(len, table)) <= 100


def test_regressors(regressors, iris, invoke):
    """A version that answers numbers is a canary, promoted, rolled back, and listed with its error."""
    area = shelve(regressors, iris.parent / "area", "area", "area")
    commands = ["canary area 1 --weight 0.25", "promote area 1", "rollback area", "rollback area"]
    assert [invoke(command)[0] for command in commands] == [0, 0, 0, 0]
    assert [traffic for _, traffic in records(area)] == [
        {"2": 1.0}, {"1": 0.25, "2": 0.75}, {"1": 1.0}, {"1": 0.25, "2": 0.75}, {"2": 1.0},
    ]  # fmt: skip
    table = invoke("list")[1].splitlines()
    assert table[0].split()[4:7] == ["accuracy", "mae", "parity"]
    newest = json.loads(invoke("show area --json")[1])["versions"][0]
    error = newest["errors"]["sepal"]["mae"]
    assert [row.split()[4:6] for row in table[1:]][:2] == [["-", f"{error:.3g}*"]] * 2
    shutil.rmtree(iris)
    shutil.rmtree(iris.parent / "people")
    assert invoke("list")[1].split()[4:6] == ["mae", "parity"]


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        ([41.23456], "41.2"),
        ([5236.78], "5,237"),
        ([123456.7], "123,457"),
        ([12345678.9], "1.23e7"),
        ([5.236e-10], "5.24e-10"),
        ([0.0], "0"),
        ([0.5, 1e100, 3.0], "target 0 0.5, target 1 1e100 and 1 more"),
    ],
)
def test_an_error_takes_little_room(errors, text):
    """The list has three digits of an error, and the errors of two targets at most."""
    quality = {f"target {place}": {"mae": error} for place, error in enumerate(errors)}
    assert tables._errors({"errors": quality, "held_out": True}) == text


def test_list_of_what_is_no_file(iris, invoke):
    """A pipe in place of a model is refused without waiting; one in place of a history has no records."""
    (iris / "3" / "model.onnx").unlink()
    os.mkfifo(iris / "3" / "model.onnx")
    os.mkfifo(iris / "history.jsonl")
    listed = invoke("list")[1]
    assert "version 3 is refused" in listed
    assert "it is not a file" in listed
    assert "iris: version 2 answers /models/iris/predict" in invoke("show iris")[1]
    assert "history.jsonl cannot be read: it is not a file" in invoke("rollback iris")[1]


def test_show(iris, invoke):
    """The page of a model has its versions, settings, features and history, and each refusal."""
    invoke("canary iris 1 --weight 0.1")
    (iris / "serving.toml").write_text("load = 7\nload = 8")
    spoil(iris, 2)
    page = invoke("show iris")[1]
    assert page.startswith("iris: version 1 10% and version 3 90% of /models/iris/predict\n")
    assert "version 2 is refused: it is not a complete ONNX file" in page
    assert "serving.toml is not TOML" in page
    assert "traffic: 1 = 0.1, 3 = 0.9" in page
    assert "sepal_length  number  refused  4.3 to 7.9" in page
    assert "1: 10%, 3: 90%  -       stable = 3  canary 1 --weight 0.1" in page


def test_show_has_the_ranges_in_force(iris, invoke):
    """The page has the policy on a line and the range of each feature; JSON has them as the card does."""
    own = '[inputs.features]\npetal_width = {outside = "clip", highest = 2}\nsepal_width.outside = "accept"\n'
    (iris / "serving.toml").write_text(f"inputs.slack = 0.5\n{own}")
    page = invoke("show iris")[1]
    assert (
        'inputs: outside = "flag", slack = 0.5, \'petal_width\' = {outside = "clip", highest = 2}, ' in page
    )
    assert "sepal_length  number  refused  4.3 to 7.9   flag     2.5 to 9.7" in page
    assert "petal_width   number  refused  0.1 to 2.5   clip     -1.1 to 2" in page
    assert "sepal_width   number  refused  2 to 4.4     accept   -" in page
    inputs = json.loads(invoke("show iris --json")[1])["inputs"]
    assert (inputs["slack"], inputs["features"]["sepal_width"]) == (0.5, {"outside": "accept"})
    assert json.loads(invoke("show people --json")[1])["inputs"]["features"]["city"]["known"] == 3


def test_looking_leaves_no_trace(iris, invoke):
    """list and show write no file, not even a history."""
    assert [invoke(line)[0] for line in ("list", "show iris", "list --json", "show iris --json")] == [0] * 4
    assert files(iris) == {}


def test_json(iris, invoke):
    """--json prints the same as JSON."""
    invoke("canary iris 1 --weight 0.25")
    iris_listed, people = json.loads(invoke("list --json")[1])
    details = json.loads(invoke("show iris --json")[1])
    assert (iris_listed["traffic"], people["model"]) == ({"1": 0.25, "3": 0.75}, "people")
    assert iris_listed.items() <= details.items()
    newest = {"version": 3, "labels": ["stable"], "traffic": 0.75, "loaded": True, "refused": None}
    assert newest.items() <= details["versions"][0].items()
    assert details["serving"] == {"labels": {"stable": 3}, "traffic": {"stable": 0.75, "1": 0.25}}
    assert details["features"][0]["name"] == "sepal_length"
    assert [record["by"] for record in details["history"]] == ["canary 1 --weight 0.25", "as found"]


def test_an_empty_folder(iris, invoke):
    """In an empty folder, the list says how to get a model."""
    shutil.rmtree(iris)
    shutil.rmtree(iris.parent / "people")
    assert "there are no models in .: export one" in invoke("list")[1]


def test_settings_are_the_servers(iris, monkeypatch, capsys):
    """Without a flag, the models folder is that of the environment or of the server's file."""
    monkeypatch.setenv("UNPICKLED_MODELS", "nowhere")
    assert main(["models", "list"]) == 1
    assert "nowhere" in capsys.readouterr().err
    Path("unpickled.toml").write_text("models = '.'\nreload_seconds = 0")
    monkeypatch.delenv("UNPICKLED_MODELS")
    assert main(["models", "promote", "iris", "2"]) == 0
    assert "Running servers follow at SIGHUP." in capsys.readouterr().out


def test_help_teaches(capsys):
    """Without a command, the help shows the steps of a new version in lines of at most 100 characters."""
    assert main(["models"]) == 2
    usage = capsys.readouterr().err
    assert usage.startswith("Usage: unpickled models")
    assert "unpickled models rollback iris" in usage
    assert max(map(len, usage.splitlines())) <= 100


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
    """Wrong usage ends with status 2 and two lines: the usage, and an error with a suggestion or the help."""
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
    """The program, the package as a module and, in a checkout, the folder as a module do the same."""
    command = [*program, "models", "list", "--models", str(models.path)]
    completed = run(command, cwd=ROOT)
    assert completed.stdout.startswith("model   version  labels")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no /dev/full")
def test_an_answer_that_cannot_be_printed(models):
    """Output that cannot be written ends with one line on stderr, without a traceback."""
    command = [BIN / "unpickled", "models", "list", "--models", str(models.path)]
    with open("/dev/full", "w") as full_disk:
        completed = run(command, cwd=ROOT, stdout=full_disk)
    assert (completed.returncode, completed.stderr.count("\n")) == (1, 1)
    assert "cannot be printed: No space left on device" in completed.stderr


def test_a_serving_process_does_without():
    """A serving process does not load the library that only commands need."""
    code = (
        "import sys, unpickled.server.app, unpickled.server.process.workers\n"
        "sys.exit('tomlkit' in sys.modules)"
    )
    assert run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
