"""Batch jobs as commands: parts, what is done already, kills, locks, refused rows and pipes."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from conftest import BIN, FLOWERS, PATIENCE, environment, eventually, run, started
from pyarrow import csv, ipc, parquet

from unpickled.__main__ import main
from unpickled.server.batch.bound import Bound
from unpickled.server.batch.engines.local import Local
from unpickled.server.batch.job import Job
from unpickled.server.batch.places.registry import place_of
from unpickled.server.batch.plan import planned
from unpickled.server.batch.progress import Progress
from unpickled.server.batch.task import Task
from unpickled.server.errors import ServingError

HEADER = f"id,{','.join(FLOWERS)}"
GOOD = "5.1,3.5,1.4,0.2"
# The command, and then the most memory that its process has had at once, in kB.
PEAK = r"""
import pathlib, re, sys
from unpickled.__main__ import main
assert main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture
def folder(models, tmp_path, monkeypatch):
    """An empty folder, in which commands find the models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNPICKLED_MODELS", str(models.path))
    return tmp_path


def table(path, first=0, rows=3, wrong=()):
    """A table of flowers with ids from ``first`` on, of which some are wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [f"{row},{'tall,1,1,1' if row in wrong else GOOD}" for row in range(first, first + rows)]
    path.write_text("\n".join([HEADER, *cells, ""]))


def ids(folder):
    """How often each id has an answer."""
    tables = (path.read_text().splitlines()[1:] for path in folder.rglob("*.csv"))
    return Counter(int(line.split(",")[0]) for lines in tables for line in lines)


def predict(*words):
    return main(["predict", "iris", *words])


def command(*words):
    return [BIN / "unpickled", "predict", "iris", *words]


def test_one_part_for_each_file(folder, capsys):
    """Patterns, folders and files: targets keep names and folders; other files are left out."""
    for place, name in enumerate(("a/x.csv", "b/x.csv", "b/deep/y.csv")):
        table(folder / "big" / name, 3 * place)
    (folder / "big" / "README.md").write_text("no table")
    assert predict("big/*/x.csv", "big/b/", "--out", "scored/", "--workers", "1") == 0
    scored = folder / "scored"
    names = {path.relative_to(scored).as_posix() for path in scored.rglob("*.csv")}
    assert names == {"a/x.csv", "b/x.csv", "deep/y.csv"}
    assert ids(scored) == dict.fromkeys(range(9), 1)
    assert capsys.readouterr().out == "9 rows scored by iris version 1: 3 parts, in scored/\n"


def test_a_job_that_was_killed_goes_on(folder):
    """SIGKILL in the middle: the same command scores what is left, and no part twice."""
    for place in range(40):
        table(folder / "big" / f"{place:02}.csv", 1000 * place, 1000)
    words = ("big/*.csv", "--out", "scored", "--workers", "2")
    parts = folder / "scored" / "_parts.jsonl"
    with started(command(*words), env=environment()) as process:
        eventually(lambda: parts.exists() and parts.read_bytes().count(b"\n") > 3)
        process.kill()
        process.wait(PATIENCE)
    done = [json.loads(line)["part"]["target"] for line in parts.read_text().splitlines()[1:]]
    before = {target: os.stat(target).st_ino for target in done}
    # Its processes end with it, so that none of them writes later than those of the next job.
    eventually(lambda: not processes(folder))
    completed = run(command(*words), env=environment())
    assert completed.returncode == 0, completed.stderr
    assert f"40 parts, {len(done)} of them earlier" in completed.stdout
    assert ids(folder / "scored") == dict.fromkeys(range(40_000), 1)
    assert {target: os.stat(target).st_ino for target in done} == before
    assert not list((folder / "scored").rglob("*.unfinished"))


def processes(folder):
    """Ids of the processes that score parts in a folder."""
    places = [
        (pid, f"/proc/{pid}/cmdline", f"/proc/{pid}/cwd") for pid in filter(str.isdigit, os.listdir("/proc"))
    ]
    found = []
    for pid, line, cwd in places:
        try:
            with open(line, "rb") as file:
                if b"engines.hand" in file.read() and os.readlink(cwd) == str(folder):
                    found.append(pid)
        except OSError:
            continue
    return found


def test_ctrl_c_says_how_to_go_on(folder):
    """An interrupted job ends with 130, says how many parts are done, and leaves no file half written."""
    for place in range(60):
        table(folder / "big" / f"{place:02}.csv", 1000 * place, 1000)
    pipes = {"stderr": subprocess.PIPE, "env": environment()}
    with started(command("big/", "--out", "scored", "--workers", "2"), **pipes) as process:
        eventually(lambda: list((folder / "scored").glob("*.csv")))
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode in (0, 130)
    assert process.returncode == 0 or "of 60 parts are done: the same command goes on with the others" in said
    assert not list((folder / "scored").rglob("*.unfinished"))
    assert not processes(folder)


def test_a_process_that_ends_is_replaced_once(models, folder):
    """A part is tried again in another process; if that ends, too, the error names the part."""
    for name in ("a.csv", "b.csv"):
        table(folder / "big" / name)
    task = Task(model=str(models.path / "iris"), name="iris", version=1, sha256="")
    # A program that ends by itself, whatever it is told.
    engine = Local(2, program="this")
    with pytest.raises(ServingError, match=r"big/[ab]\.csv: the process that scored it has ended 2 times"):
        Job(task, planned(["big/"], "scored"), "scored", engine).run()


def test_an_error_ends_all_processes(folder, capsys):
    """A part that is not for the model ends the job, and the error names it; the next job goes on."""
    for place in range(6):
        table(folder / "big" / f"{place}.csv", 3 * place)
    (folder / "big" / "3.csv").write_text("a,b\n1,2\n")
    assert predict("big/", "--out", "scored", "--workers", "2") == 1
    assert "error: big/3.csv: line 1: features 'sepal_length'" in capsys.readouterr().err
    assert not processes(folder)
    table(folder / "big" / "3.csv", 9)
    assert predict("big/", "--out", "scored", "--workers", "2") == 0
    assert ids(folder / "scored") == dict.fromkeys(range(18), 1)


def test_a_folder_has_one_job(folder, capsys):
    """Other options, another file or another job at the same time are refused; --restart begins anew."""
    table(folder / "big" / "a.csv")
    out = ("--out", "scored", "--workers", "1")
    assert predict("big/a.csv", *out) == 0
    assert predict("big/a.csv", *out, "--append") == 1
    assert "other options (append was false)" in capsys.readouterr().err
    assert predict("big/a.csv", *out, "--append", "--restart") == 0
    table(folder / "big" / "a.csv", 7, 4)
    assert predict("big/a.csv", *out, "--append") == 1
    assert "big/a.csv has changed since it was scored" in capsys.readouterr().err
    assert predict("big/a.csv", *out, "--append", "--again") == 0
    table(folder / "new" / "a.csv")
    assert predict("new/a.csv", *out, "--append", "--again") == 1
    assert "scored/a.csv has the answers to big/a.csv" in capsys.readouterr().err
    assert ids(folder / "scored") == dict.fromkeys(range(7, 11), 1)
    assert predict("big/a.csv", "--out", "big") == 1
    assert "would be overwritten by its answers" in capsys.readouterr().err


def test_two_jobs_at_once(folder):
    """A second job does not begin while another one has the folder."""
    table(folder / "big" / "a.csv")
    (folder / "scored").mkdir()
    program = "import fcntl, sys; file = open('scored/_lock', 'ab'); fcntl.flock(file, fcntl.LOCK_EX)\n"
    program += "print('locked', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started([sys.executable, "-c", program], **pipes) as other:
        assert other.stdout.readline() == b"locked\n"
        completed = run(command("big/a.csv", "--out", "scored"), env=environment())
        other.communicate(timeout=PATIENCE)
    assert (completed.returncode, "another job is writing to scored" in completed.stderr) == (1, True)


def test_files_of_others_stay(folder, capsys):
    """A file that no job wrote is not overwritten."""
    table(folder / "big" / "a.csv")
    (folder / "scored").mkdir()
    (folder / "scored" / "a.csv").write_text("precious")
    assert predict("big/a.csv", "--out", "scored") == 1
    assert "scored/a.csv is there already, and no job wrote it" in capsys.readouterr().err
    assert (folder / "scored" / "a.csv").read_text() == "precious"


def test_refused_rows_are_counted(folder, capsys):
    """The end of a job says how many rows are refused; a bound stops it, and a higher one goes on."""
    table(folder / "big" / "a.csv", 0, 10, wrong={1, 4})
    table(folder / "big" / "b.csv", 10, 10, wrong={12})
    words = ("big/", "--out", "scored", "--workers", "1")
    assert predict(*words, "--max-refused", "1") == 1
    assert (
        "2 rows refused are more than --max-refused allows (1): look into scored/refused"
        in capsys.readouterr().err
    )
    assert predict(*words, "--max-refused", "10%") == 1
    assert "3 rows refused are more than --max-refused allows (10% of 20)" in capsys.readouterr().err
    assert predict(*words, "--max-refused", "15%") == 0
    out = capsys.readouterr().out
    assert out.startswith("17 rows scored by iris version 1: 2 parts, 2 of them earlier")
    assert "3 rows refused: scored/refused has them, with their reasons" in out
    lines = (folder / "scored" / "refused" / "a.csv.jsonl").read_text().splitlines()
    assert [json.loads(line)["values"]["id"] for line in lines] == ["1", "4"]


def test_parts_of_any_form_in_one(folder, capsys):
    """--format gives all parts one form; names that would be the same keep their ends."""
    table(folder / "big" / "a.csv")
    row = dict(zip(FLOWERS, (5.1, 3.5, 1.4, 0.2), strict=True))
    (folder / "big" / "a.jsonl").write_text(json.dumps(row))
    (folder / "big" / "b.jsonl").write_text(json.dumps(row))
    assert predict("big/", "--out", "scored", "--format", "parquet") == 0
    assert {path.name for path in (folder / "scored").glob("*.parquet")} == {
        "a.csv.parquet", "a.jsonl.parquet", "b.parquet",
    }  # fmt: skip


def test_versions_and_paths(models, folder, capsys):
    """A version by its number, a model's folder, a version's folder and a file give the same answers."""
    table(folder / "a.csv")
    home = models.path / "iris"
    for place, (model, *words) in enumerate(
        [("iris", "--version", "1"), (str(home),), (str(home / "1"),), (str(home / "1" / "model.onnx"),)]
    ):
        assert main(["predict", model, "a.csv", "--out", f"scored{place}", *words]) == 0
    assert len({(folder / f"scored{place}" / "a.csv").read_text() for place in range(4)}) == 1
    assert predict("a.csv", "--out", "scored0", "--version", "7") == 1
    assert "iris has no version 7: it has 1" in capsys.readouterr().err


def test_pipes(folder):
    """CSV, JSON Lines and Arrow come in and go out; reasons of refused rows go to the standard error."""
    rows = f"{HEADER}\n1,{GOOD}\n2,tall,1,1,1\n3,900,3.5,1.4,0.2\n"
    completed = piped(rows.encode(), "-")
    assert completed.stdout.decode().splitlines()[1].startswith("1,0,setosa,0.98")
    notes = completed.stderr.decode().splitlines()
    assert notes[0].startswith("refused: feature 'sepal_length' of row 1 is text ('tall')")
    assert notes[1:] == ["1 row refused", "1 value outside the training range, of sepal_length"]
    line = json.dumps({"id": 7} | dict(zip(FLOWERS, (5.1, 3.5, 1.4, 0.2), strict=True)))
    answer = piped(f"{line}\n".encode(), "-", "--format", "arrow").stdout
    arrow = ipc.open_stream(answer).read_all()
    assert (arrow["id"].to_pylist(), arrow["prediction"].to_pylist()) == ([7], [0])
    sink = io.BytesIO()
    with ipc.new_stream(sink, arrow.schema) as writer:
        writer.write_table(arrow.slice(0, 0))
    refused = piped(sink.getvalue(), "-")
    assert refused.returncode == 1
    assert refused.stderr.decode().startswith("error: the input: feature")


def piped(content, *words):
    """A command with this input, and its output as bytes."""
    return subprocess.run(
        command(*words), input=content, capture_output=True, env=environment(), timeout=PATIENCE, check=False
    )


def test_a_reader_that_goes_away(folder):
    """A command whose output nobody reads any more ends without a word."""
    table(folder / "a.csv", 0, 50_000)
    program = f"{BIN}/unpickled predict iris - < a.csv | head -n 1"
    completed = run(["bash", "-c", program], env=environment())
    assert completed.stdout.startswith("id,prediction,")
    assert completed.stderr == ""


@pytest.mark.parametrize("text", ["-1", "x", "101%", "1.5", "nan%"])
def test_wrong_bounds(text):
    """A bound is a number of rows, or a share of them."""
    with pytest.raises(ServingError, match="write a number of rows, or a share such as 1%"):
        Bound.read(text)


def test_progress_says_rows_pace_and_time():
    """Elsewhere than on a terminal a line comes every ten seconds: rows, rows left and time left."""
    seconds, lines = [0.0], io.StringIO()
    progress = Progress(1000, True, lines, lambda: seconds[0])
    for now in (5.0, 10.0, 19.0, 20.0):
        seconds[0] = now
        progress.told(100)
    assert lines.getvalue().splitlines() == [
        "200 rows, 20 rows/s, 800 left, 40 s to go",
        "400 rows, 20 rows/s, 600 left, 30 s to go",
    ]


def test_no_server_is_imported(models, folder):
    """A job imports neither Flask nor scikit-learn, nor pyarrow where no part needs it."""
    table(folder / "a.csv")
    program = "import sys; from unpickled.__main__ import main\n"
    program += "assert main(['predict', 'iris', 'a.csv', '--out', 'scored']) == 0\n"
    program += "print({'flask', 'sklearn', 'granian', 'pandas', 'pyarrow'} & set(sys.modules))"
    completed = run([sys.executable, "-c", program], env=environment())
    assert completed.stdout.splitlines()[-1] == "set()", completed.stderr


def test_parquet_needs_no_pandas(folder):
    """Tables are read, refused in part, logged and written in each form without loading pandas."""
    rows = {"id": ["a", None], **{name: [5.1, None] for name in FLOWERS}}
    parquet.write_table(pa.table(rows), "a.parquet")
    program = "import sys; from unpickled.__main__ import main\n"
    table(folder / "b.csv")
    for form in ("parquet", "csv", "jsonl"):
        files = ["a.parquet", "b.csv"] if form == "parquet" else ["a.parquet"]
        words = ["predict", "iris", *files, "--out", form, "--format", form, "--log", "log"]
        program += f"assert main({words}) == 0\n"
    program += "print({'pandas', 'sklearn'} & set(sys.modules))"
    completed = run([sys.executable, "-c", program], env=environment())
    assert completed.stdout.splitlines()[-1] == "set()", completed.stderr


def peak(name):
    """The most memory of a process that scores a file, in MiB."""
    words = ["predict", "iris", name, "--out", f"{name}-scored", "--workers", "1"]
    completed = run([sys.executable, "-c", PEAK, *words], env=environment())
    assert completed.returncode == 0, completed.stderr
    return int(completed.stdout.splitlines()[-1]) / 1024


@pytest.mark.long
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_memory_does_not_grow_with_the_rows(folder, form):
    """Ten times as many rows take about the same memory; whole, they would be 60 MiB of text or more."""
    peaks = []
    for rows in (400_000, 4_000_000):
        values = np.random.default_rng(0).uniform(0.1, 7, (4, rows)).round(1)
        table, name = pa.table(dict(zip(FLOWERS, values, strict=True))), f"{rows}.{form}"
        if form == "csv":
            csv.write_csv(table, name)
        else:
            parquet.write_table(table, name, row_group_size=100_000)
        peaks.append(peak(name))
    assert peaks[1] < peaks[0] + 30


def test_arrow_types_are_those_of_answers(folder):
    """Labels are int64, names text and probabilities float64, never null."""
    row = dict(zip(FLOWERS, ([5.1], [3.5], [1.4], [0.2]), strict=True))
    sink = io.BytesIO()
    with ipc.new_stream(sink, pa.table(row).schema) as writer:
        writer.write_table(pa.table(row))
    schema = ipc.open_stream(piped(sink.getvalue(), "-").stdout).schema
    assert [str(kind) for kind in schema.types[:3]] == ["int64", "string", "double"]
    assert not any(field.nullable for field in schema)


@pytest.mark.parametrize("out", [".", "./", "../{0}", "{1}", "link"])
def test_files_to_score_are_never_overwritten(folder, capsys, out):
    """Whatever name the folder of the answers has, it is not that of the rows."""
    table(folder / "a.csv")
    (folder / "link").symlink_to(folder)
    before = (folder / "a.csv").read_text()
    assert predict("a.csv", "--out", out.format(folder.name, folder)) == 1
    assert "a.csv would be overwritten by its answers" in capsys.readouterr().err
    assert (folder / "a.csv").read_text() == before


def test_a_file_of_several_names_is_scored_once(folder, capsys):
    """Names of one file are one part; answers among the rows are no rows; all stay in their folder."""
    table(folder / "big" / "a.csv")
    for _ in range(2):
        assert predict("./big", "big/a.csv", str(folder / "big"), "--out", "big/scored") == 0
    assert "1 part, 1 of them earlier" in capsys.readouterr().out
    table(folder / "here" / "a.csv", 3)
    os.chdir(folder / "here")
    assert predict("a.csv", "../big/a.csv", "--out", "scored") == 0
    assert set(ids(folder / "here" / "scored")) == {*range(6)}


def test_answers_that_are_gone(folder, capsys):
    """A part whose file was removed is neither taken for done nor scored without being asked."""
    for name, first in (("a", 0), ("b", 3)):
        table(folder / "big" / f"{name}.csv", first)
    assert predict("big", "--out", "./scored") == 0
    (folder / "scored" / "b.csv").unlink()
    assert predict("big", "--out", "./scored") == 1
    assert "./scored/b.csv was scored and is not there any more" in capsys.readouterr().err
    assert predict("big", "--out", "./scored", "--again") == 0
    assert ids(folder / "scored") == Counter(range(6))


def test_a_line_that_is_cut_off(folder):
    """The list of parts whose last line was cut off, as the disk was full, is added to and read again."""
    table(folder / "big" / "a.csv")
    assert predict("big", "--out", "scored") == 0
    with (folder / "scored" / "_parts.jsonl").open("a") as file:
        file.write('{"part":{"source":"big/b')
    table(folder / "big" / "b.csv", 3)
    for _ in range(2):
        assert predict("big", "--out", "scored") == 0
    assert ids(folder / "scored") == Counter(range(6))


def test_a_full_disk(folder, capsys):
    """The error names the file that has no room, which leaves nothing; the same command goes on."""
    table(folder / "big" / "a.csv", rows=3)
    table(folder / "big" / "b.csv", 3, rows=2000)
    words = ["sh", "-c", 'ulimit -f 8; exec "$@"', "-", *command("big", "--out", "scored", "--workers", "1")]
    failed = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=PATIENCE)
    assert (failed.returncode, failed.stderr) == (1, "error: scored/b.csv: File too large\n")
    assert {path.name for path in (folder / "scored").iterdir()} == {"_lock", "_parts.jsonl", "a.csv"}
    assert predict("big", "--out", "scored") == 0
    assert "1 of them earlier" in capsys.readouterr().out
    assert ids(folder / "scored") == Counter(range(2003))


@pytest.mark.parametrize("out", ["a.csv", "a.csv/scored", "/proc/none/scored"])
def test_a_folder_that_cannot_be_written(folder, capsys, out):
    """It is named in a sentence, with the reason."""
    table(folder / "a.csv")
    table(folder / "b.csv")
    assert predict("b.csv", "--out", out) == 1
    assert f"error: {out}: " in (error := capsys.readouterr().err)
    assert "the same command goes on once that is mended" in error


def test_a_job_that_is_refused_leaves_no_token(folder, capsys):
    """Only the job that has the folder decides under which token its rows are logged."""
    table(folder / "a.csv")
    with place_of("scored").locked("scored"):
        assert predict("a.csv", "--out", "scored", "--log", "log") == 1
    assert "another job is writing to scored" in capsys.readouterr().err
    assert [path.name for path in (folder / "scored").iterdir()] == ["_lock"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (gzip.compress(b"a,b"), "the input is packed: unpack it with gzip -dc"),
        (b"ARROW1\0\0", "the input is an Arrow file: send an Arrow stream"),
        (b"PAR1", "the input is Parquet, which is read from its end"),
    ],
    ids=["gzip", "arrow", "parquet"],
)
def test_pipes_of_other_forms(folder, content, sentence):
    """The first bytes of a form that no pipe takes are answered with what to do."""
    ended = subprocess.run(
        command("-"), input=content, capture_output=True, env=environment(), timeout=PATIENCE
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert sentence in ended.stderr.decode()


def test_a_pipe_into_a_full_disk(folder):
    """The error says that it is the output; a file of refused rows has none of an earlier run."""
    (folder / "refused.jsonl").write_text("earlier")
    words = ["sh", "-c", 'exec "$@" > /dev/full', "-", *command("-", "--refused", "refused.jsonl")]
    content = f"{HEADER}\n1,{GOOD}\n".encode()
    ended = subprocess.run(words, input=content, capture_output=True, env=environment(), timeout=PATIENCE)
    assert (ended.returncode, ended.stderr) == (1, b"error: the output: No space left on device\n")
    assert (folder / "refused.jsonl").read_text() == ""
