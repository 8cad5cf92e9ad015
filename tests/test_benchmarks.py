"""The benchmark suite measures real servers for a few seconds, and refuses wrong ones."""

import argparse
import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import (
    BIN,
    PATIENCE,
    ROOT,
    command_line,
    copied,
    environment,
    eventually,
    free_port,
    run,
    started,
)

from benchmarks import __main__ as suite
from benchmarks import formats, stages
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, pipelines
from benchmarks.measuring.generators import Target
from benchmarks.measuring.pipelines import RECIPES
from benchmarks.measuring.turn import Plan, Turn
from benchmarks.observers import command as observers
from benchmarks.overload import command as overload
from benchmarks.results import FLOOR, UNPICKLED, read_all
from benchmarks.servers import environments, process
from benchmarks.servers.catalogue import BASELINES, PEERS, SERVERS, Entry
from benchmarks.traffic.checks import Expected, check_expected, judge
from benchmarks.traffic.contracts import CONTRACTS, WrongAnswer
from benchmarks.traffic.subject import sampled

if importlib.util.find_spec("locust") is None:
    pytest.skip("needs Locust", allow_module_level=True)

SHORT = (
    "--models=iris", "--servers=tutorial,floor,unpickled", "--repeats=1", "--seconds=1", "--ladder=10",
    "--batches=1,50", "--generator=locust", "--unpinned",
)  # fmt: skip
FLOWER = b'{"features": [5.1, 3.5, 1.4, 0.2]}'
# A server with the contract of the tutorial that answers the least probable class.
WRONG = """
from tutorial import app, jsonify, np, pipeline, request
def predict():
    probabilities = pipeline.predict_proba(np.atleast_2d(request.get_json()["features"]))
    labels = pipeline.classes_[probabilities.argmin(axis=1)]
    return jsonify(prediction=labels.tolist(), probabilities=probabilities.tolist())
app.view_functions["predict"] = predict
"""


def bench(*arguments: str, **options: object) -> AbstractContextManager[subprocess.Popen[str]]:
    """Start python -m benchmarks."""
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return started(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def output(running: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit status, output on both streams)."""
    out, err = running.communicate(timeout=PATIENCE)
    return running.returncode, out + err


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run of seconds by make, with the options that the documentation names: (run, output, checkout)."""
    copy = copied(tmp_path_factory.mktemp("measured") / "copy")
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    options = re.search(r"make bench OPTIONS=\"(.*?)\"", "".join(page.read_text() for page in pages))[1]
    make = ["make", "bench", f"OPTIONS={options} {' '.join(SHORT)}", f"BIN={BIN}"]
    completed = run(make, cwd=copy, env=environment())
    assert completed.returncode == 0, completed.stderr
    return read_all(copy / "benchmarks" / "results")[0], completed.stdout + completed.stderr, copy


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return pipelines.fit("iris", tmp_path_factory.mktemp("iris"))


@pytest.mark.long
@pytest.mark.parametrize("server", ["tutorial", FLOOR, UNPICKLED])
def test_everything_is_measured(measured, server):
    """Each server has records of every measure, at half of the tutorial's rate and on the ladder."""
    run, *_ = measured
    records = [record for record in run.records if record.server == server]
    kinds = {type(record).__name__ for record in records} - {"Stages"}
    assert kinds == {"Start", "Saturation", "Alone", "Latency"} | ({"Batch"} if server != FLOOR else set())
    rates = [(record.rate, record.half_of) for record in records if type(record).__name__ == "Latency"]
    assert len(rates) == 2
    assert rates[0][1] == "tutorial"
    assert rates[1] == (10, None)


@pytest.mark.long
def test_a_run_is_complete(measured):
    """A run has the machine and the versions, and prints its progress and the time left."""
    run, text, _ = measured
    assert run.complete
    assert run.failures == []
    assert run.versions["scikit-learn"]
    assert run.machine.cores
    assert {record.server for record in run.records} == {*run.servers, "onnxruntime", "scikit-learn"}
    assert "iris: 1 of 1, unpickled:" in text
    assert "min left" in text


@pytest.mark.long
def test_make_bench_reports(measured):
    """``make bench`` stores the figures and writes the tables, the page and README from them."""
    run, text, copy = measured
    results = copy / "benchmarks" / "results"
    assert f"measured: {results / run.file_name}" in text
    assert f"wrote {copy / 'README.md'}" in text
    assert (results / "report.html").is_file()


@pytest.mark.long
def test_stages_stand_next_to_the_floor(measured):
    """The stages of one request add up; the CPU time of the floor and of the server stands beside them."""
    run, *_ = measured
    (record,) = (record for record in run.records if type(record).__name__ == "Stages")
    assert list(record.stages) == list(stages.MEANING)
    assert sum(record.stages.values()) == pytest.approx(record.total_us, abs=0.01)
    assert record.floor_cpu_us > 0
    assert record.server_cpu_us > 0


@pytest.mark.long
def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    """Ctrl-C ends the servers, stores the records, and prints the name of the file."""
    with bench("run", *SHORT, "--servers=floor,unpickled", f"--results={tmp_path}") as running:
        eventually(lambda: any(stored.records for stored in read_all(tmp_path)))
        running.send_signal(signal.SIGINT)
        status, text = output(running)
    (stored,) = read_all(tmp_path)
    assert status == 130
    assert f"interrupted: what was measured is in {tmp_path / stored.file_name}" in text
    assert not stored.complete
    assert stored.records


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system does not show environments")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_run(tmp_path, ending):
    """A run that ends or is killed leaves no process of its servers, whatever their sessions."""
    with bench("run", *SHORT, "--servers=unpickled", f"--results={tmp_path}") as running:
        # The server, its worker, and the warden of both.
        eventually(lambda: len(below(running.pid)) > 2)
        pids = below(running.pid)
        running.send_signal(ending)
        running.communicate(timeout=PATIENCE)
        eventually(lambda: not any(map(command_line, pids)))
    assert running.returncode == (130 if ending == signal.SIGTERM else -ending)


def below(pid: int) -> list[int]:
    """The descendants of a process; none where it has ended."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [descendant for child in map(int, children.split()) for descendant in (child, *below(child))]


@pytest.fixture(scope="module")
def diabetes(tmp_path_factory):
    return pipelines.fit("diabetes", tmp_path_factory.mktemp("diabetes"))


def turn(fitted, entry: Entry) -> Turn:
    """The turn of one server in a short run."""
    plan = Plan(("iris",), ("one",), 1, 1, 4, (100,), ("iris",), (1, 50), "locust", None, None)
    return Turn(plan, fitted, 0, ("one", entry), lambda record: None)


def serving(fitted, folder: Path, program: str):
    """gunicorn with a program, which finds the tutorial beside it."""
    port = free_port()
    command = [f"{BIN}/gunicorn", "--chdir", str(folder), "--threads", "4"]
    command += ["--bind", f"127.0.0.1:{port}", program]
    variables = {**os.environ, "PIPELINE": str(fitted.pickle), "PYTHONPATH": str(BASELINES)}
    variables["MODEL"] = str(fitted.onnx)
    return process.running(command, variables, None, port, folder / "log")


@pytest.fixture(scope="module")
def tutorial(fitted, tmp_path_factory):
    """The tutorial's server, after its first answer."""
    with serving(fitted, tmp_path_factory.mktemp("tutorial"), "tutorial:app") as running:
        process.wait(running, "/predict", FLOWER)
        yield running


def target(server: process.Server, bodies: Path, sample: Path) -> Target:
    return Target(f"http://127.0.0.1:{server.port}", "/predict", bodies, ("--sample", str(sample)))


@pytest.mark.long
def test_the_check_catches_a_wrong_server(fitted, tutorial, tmp_path):
    """A server whose answers are not scikit-learn's is refused before it is timed."""
    (tmp_path / "wrong.py").write_text(WRONG)
    judged = turn(fitted, SERVERS["tutorial"])
    with serving(fitted, tmp_path, "wrong:app") as running:
        process.wait(running, "/predict", FLOWER)
        with pytest.raises(BenchmarkError, match="from row 0 is wrong: the label"):
            judged.check(running)
    judged.check(tutorial)


@pytest.mark.long
@pytest.mark.parametrize("program", ["tutorial", "flask_onnx"])
def test_the_check_takes_a_regressors_numbers(diabetes, tmp_path, program):
    """The baselines answer a regressor's numbers, each of which is compared with scikit-learn's."""
    judged = turn(diabetes, SERVERS["tutorial"])
    with serving(diabetes, tmp_path, f"{program}:app") as running:
        process.wait(running, "/predict", CONTRACTS["native"].request(diabetes.rows[:1]))
        judged.check(running)
        diabetes.labels[7] += 0.01
        with pytest.raises(BenchmarkError, match="from row 7 is wrong: a number is not scikit-learn's"):
            judged.check(running)
        diabetes.labels[7] -= 0.01


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"prediction": [151.52]}, "a number is not scikit-learn's (row 0: 151.52, scikit-learn 151.5)"),
        ({"prediction": [151]}, "no list 'probabilities'"),
        ({"prediction": [151.5, 2.0]}, "2 predictions for 1 rows"),
        ({"prediction": [151.5], "probabilities": [[1.0]]}, "the answer is not one of a regressor"),
        ({"prediction": ["151.5"]}, "no list 'probabilities'"),
    ],
)
def test_a_number_is_judged(answer, sentence):
    """The answer of a regressor is right within 1e-5, and any other form is wrong."""
    content = json.dumps(answer).encode()
    expected = Expected([151.5], [])
    judge(CONTRACTS["native"], b'{"prediction": [151.5]}', 1, [], expected)
    with pytest.raises(WrongAnswer) as caught:
        judge(CONTRACTS["native"], content, 1, [], expected)
    assert sentence in str(caught.value)


@pytest.mark.long
def test_locust_checks_a_regressor(diabetes, tmp_path):
    """The sample of a regressor has numbers for Locust to compare, and rows by name have them too."""
    subject = sampled(diabetes.sample)
    assert subject.answers(4095, 2).labels == diabetes.labels[4095:4097]
    content = json.dumps({"prediction": diabetes.labels[0]}).encode()
    predictions = CONTRACTS["native"].read_record(content)
    check_expected(predictions, subject.answers(0, 1))
    assert predictions.labels == diabetes.labels[:1]


def test_a_model_whose_library_is_missing_is_left_out(monkeypatch, capsys):
    """Without LightGBM its model is left out with a sentence, and an error if it was named."""
    monkeypatch.setitem(pipelines.RECIPES, "lightgbm", replace(RECIPES["lightgbm"], library="absent"))
    assert "lightgbm" not in suite._models(None)
    assert capsys.readouterr().err == "lightgbm is left out: absent is not installed\n"
    with pytest.raises(BenchmarkError, match=r"absent is missing: pip install '\.\[absent\]', or leave"):
        suite._models(["iris", "lightgbm"])


def test_a_server_that_does_not_start(tmp_path):
    """The error has the server's exit status and the last line that it wrote."""
    command = [sys.executable, "-c", "print('no module named models'); raise SystemExit(3)"]
    with (
        process.running(command, os.environ, None, 1, tmp_path / "log") as running,
        pytest.raises(BenchmarkError) as caught,
    ):
        process.wait(running, "/predict", FLOWER)
    assert str(caught.value) == "it ended with status 3: no module named models"


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid")
def test_nothing_is_left_of_a_server(tmp_path):
    """Processes that left the session of the server end with it, and no others do."""
    sleep = f"sleep {PATIENCE}"
    program = f"setsid {sleep} & (setsid {sleep} &) ; exec {sleep}"
    with started(sleep.split()) as bystander:
        with process.running(["sh", "-c", program], os.environ, None, 1, tmp_path / "log") as running:
            # A process that has just been started has no memory yet.
            eventually(lambda: len(running.processes()) == running.memory().processes == 3)
        survivors, status = running.processes(), bystander.poll()
    assert survivors == []
    assert status is None


def test_cpu_time_is_that_of_all_its_processes(tmp_path):
    """The CPU time of a server includes that of its processes that have ended."""
    burn = "import time; [None for _ in iter(lambda: time.process_time() < 0.5, False)]"
    twice = f"{sys.executable} -ISc '{burn}' & {sys.executable} -ISc '{burn}'; wait; exec sleep {PATIENCE}"
    with process.running(["sh", "-c", twice], os.environ, None, 1, tmp_path / "log") as running:
        eventually(lambda: command_line(running.process.pid).startswith(b"sleep"))
        # The sum is at least the time of both processes, and counts none of it twice.
        assert 0.95 <= running.cpu_seconds() < 1.9


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_one_core_is_too_few(tmp_path):
    """With a single core, the error names the remedy."""
    core = min(os.sched_getaffinity(0))
    pinned = {"preexec_fn": lambda: os.sched_setaffinity(0, {core})}
    with bench("run", f"--results={tmp_path}", **pinned) as running:
        status, text = output(running)
    assert status == 1
    assert text.startswith("error: one core is too few")
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--generator", "wrk"], "error: wrk is missing: install it (Debian: wrk"),
        (["run", "--servers", "nginx"], "'nginx' is none of tutorial, "),
        (["run", "--models", "iris,rose"], "'rose' is none of iris, "),
        (["run", "--batches", "1,x"], "'1,x' is not a list of whole numbers from 1 to 10000"),
        (["run", "--repeats", "0"], "'0' is not a whole number above 0"),
        (["report", "--results", "nowhere"], "error: no results in nowhere: python -m benchmarks run"),
    ],
)
def test_wrong_options(arguments, sentence, tmp_path):
    """A missing generator, an unknown name or a wrong number ends with one sentence."""
    with bench(*arguments, env={**os.environ, "PATH": str(tmp_path)}) as running:
        status, text = output(running)
    assert status in (1, 2)
    assert sentence in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (observers, "--repeats 0"),
        (observers, "--seconds x"),
        (observers, "--model none"),
        (overload, "--times 0"),
        (overload, "--seconds x"),
        (overload, "--models none"),
    ],
)
def test_wrong_options_of_a_command(command, words, capsys):
    """A wrong option ends with a sentence."""
    parser = argparse.ArgumentParser()
    command.declare(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(words.split())
    assert "error: argument" in capsys.readouterr().err


@pytest.mark.parametrize("generator", generators.SATURATION)
def test_generators_agree_on_what_a_request_is(generator, fitted, tutorial, tmp_path):
    """Each generator loads a server for a second; its counts and times are read."""
    if generator != "locust" and not shutil.which(generator):
        pytest.skip(f"needs {generator}")
    bodies = tmp_path / "bodies"
    bodies.write_bytes(FLOWER + b"\n" + FLOWER)
    load = loaded(generator, target(tutorial, bodies, fitted.sample))
    assert load.requests > 0
    assert load.seconds > 0.5
    assert 10 < load.p50_us <= load.p99_us


def loaded(generator: str, target: Target, seconds: int = 1) -> generators.Load:
    """The figures of a second, or of more where the machine was busy for that long."""
    try:
        return generators.closed_loop(generator, target, seconds, 4)
    except BenchmarkError as error:
        if "answered nothing" not in str(error) or seconds > 60:
            raise
        return loaded(generator, target, 4 * seconds)


@pytest.mark.parametrize("generator", generators.SATURATION)
def test_refused_requests_are_no_figures(generator, fitted, tutorial, tmp_path):
    """A load whose requests fail is an error, not a rate."""
    if generator != "locust" and not shutil.which(generator):
        pytest.skip(f"needs {generator}")
    bodies, sample = tmp_path / "bodies", tmp_path / "sample.json"
    bodies.write_bytes(b'{"features": "none"}')
    sample.write_text(json.dumps(json.loads(fitted.sample.read_text()) | {"rows": [["none"] * 4] * 2}))
    with pytest.raises(BenchmarkError):
        generators.closed_loop(generator, target(tutorial, bodies, sample), 1, 2)


def test_stages_of_a_served_model(models, tmp_path, capsys):
    """The saved stages are compared with the next ones."""
    before = tmp_path / "before.json"
    common = ["--models", str(models.path), "--model", "iris", "--rounds", "3"]
    assert stages.main([*common, "--save", str(before)]) == 0
    assert stages.main([*common, "--against", str(before)]) == 0
    assert list(json.loads(before.read_text())) == list(stages.MEANING)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*stages.MEANING, "total"] * 2
    assert "(+" in lines[-1] or "(-" in lines[-1]


@pytest.mark.long
def test_formats(capsys):
    """Each form of a request is checked and timed, and compared with JSON and with the session."""
    words = ["--models", "logistic", "--rows", "20", "--repeats", "1", "--seconds", "0.1", "--unpinned"]
    assert formats.main(words) == 0
    text = capsys.readouterr().out
    for form in (*formats.FORMS, "session.run alone, in process"):
        assert re.search(rf"{re.escape(form)} +[\d,]+ rows/s +\S+x", text)


@pytest.mark.parametrize("model", ["forest", "people"])
def test_stages_of_every_kind_of_model(models, model):
    """Models with missing values, categories or text labels have stages too."""
    from unpickled.server import Config
    from unpickled.server.service import Service

    times = stages.measure(Service(Config(models=str(models.path))), model, rounds=2)
    assert list(times) == list(stages.MEANING)
    assert times["run"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "nowhere"], "error: the models folder 'nowhere' cannot be read"),
        (["--model", "rose"], "error: there is no model 'rose'"),
        (["--model", "iris", "--rounds", "1", "--against", "setup.cfg"], "setup.cfg holds no stages"),
    ],
)
def test_wrong_options_of_stages(models, arguments, sentence, capsys, monkeypatch):
    """An unknown model or file ends in one sentence."""
    monkeypatch.chdir(ROOT)
    options = arguments if "--models" in arguments else ["--models", str(models.path), *arguments]
    assert stages.main(options) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, entry in SERVERS.items() if entry.group == "peer"])
def test_peers_are_pinned_and_whole(name):
    """Each peer has pinned requirements, and programs that exist and compile."""
    entry = SERVERS[name]
    lines = (PEERS / entry.requirements).read_text().split()
    assert all("==" in line for line in lines)
    assert len(environments.names(PEERS / entry.requirements)) == len(lines)
    for word in f"{entry.command} {entry.prepare}".split():
        file = PEERS / word.removeprefix("{peers}/").split(":")[0]
        if "{peers}/" in word or (":" in word and "{" not in word):
            ast.parse(file.with_suffix(".py").read_text())


@pytest.mark.long
def test_a_peer_that_cannot_be_installed(tmp_path, monkeypatch):
    """The error has pip's last line, and an environment of other requirements is not reused."""
    monkeypatch.setattr(environments, "HOME", tmp_path / "peers")
    requirements = tmp_path / "peer.txt"
    requirements.write_text("")
    assert (environments.bin_of(requirements) / "python").exists()
    requirements.write_text("./no-such-folder\n")
    with pytest.raises(BenchmarkError, match="no-such-folder"):
        environments.bin_of(requirements)
