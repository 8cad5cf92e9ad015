"""The benchmark suite measures real servers for seconds, and notices those that are wrong."""

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import BIN, ROOT, copied, end, environment, eventually

from benchmarks import formats, stages
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators, pipelines
from benchmarks.measuring.generators import Target
from benchmarks.measuring.turn import Plan, Turn
from benchmarks.results import FLOOR, UNPICKLED, read_all
from benchmarks.servers import environments, process
from benchmarks.servers.catalogue import BASELINES, PEERS, SERVERS, Entry

if importlib.util.find_spec("locust") is None:
    pytest.skip("needs Locust", allow_module_level=True)

SHORT = (
    "--models=iris", "--servers=tutorial,floor,unpickled", "--repeats=1", "--seconds=1", "--ladder=100",
    "--batches=1,50", "--generator=locust", "--unpinned",
)  # fmt: skip
FLOWER = b'{"features": [5.1, 3.5, 1.4, 0.2]}'
# Speaks as the tutorial does, and takes the least probable class.
WRONG = """
from tutorial import app, jsonify, np, pipeline, request
def predict():
    probabilities = pipeline.predict_proba(np.atleast_2d(request.get_json()["features"]))
    labels = pipeline.classes_[probabilities.argmin(axis=1)]
    return jsonify(prediction=labels.tolist(), probabilities=probabilities.tolist())
app.view_functions["predict"] = predict
"""


def bench(*arguments: str, **more: object) -> subprocess.Popen[str]:
    """python -m benchmarks, under way."""
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def said(running: subprocess.Popen[str]) -> tuple[int, str]:
    """(exit status, all that it printed)."""
    out, err = running.communicate(timeout=240)
    return running.returncode, out + err


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run of seconds by make, with the options that the documentation names: (run, output, checkout)."""
    copy = copied(tmp_path_factory.mktemp("measured") / "copy")
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    options = re.search(r"make bench OPTIONS=\"(.*?)\"", "".join(page.read_text() for page in pages))[1]
    make = ["make", "bench", f"OPTIONS={options} {' '.join(SHORT)}", f"BIN={BIN}"]
    done = subprocess.run(make, cwd=copy, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return read_all(copy / "benchmarks" / "results")[0], done.stdout + done.stderr, copy


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return pipelines.fit("iris", tmp_path_factory.mktemp("iris"))


@pytest.mark.parametrize("server", ["tutorial", FLOOR, UNPICKLED])
def test_everything_is_measured(measured, server):
    """Start, saturation, one connection, latency at half the tutorial's rate and on the ladder, batches."""
    run, *_ = measured
    found = [record for record in run.records if record.server == server]
    kinds = {type(record).__name__ for record in found} - {"Stages"}
    assert kinds == {"Start", "Saturation", "Alone", "Latency"} | ({"Batch"} if server != FLOOR else set())
    rates = [(record.rate, record.half_of) for record in found if type(record).__name__ == "Latency"]
    assert len(rates) == 2
    assert rates[0][1] == "tutorial"
    assert rates[1] == (100, None)


def test_what_a_run_says(measured):
    """It is complete, knows the machine and its versions, and told what it did and how long it takes."""
    run, text, _ = measured
    assert run.complete
    assert run.failures == []
    assert run.versions["scikit-learn"]
    assert run.machine.cores
    assert {record.server for record in run.records} == {*run.servers, "onnxruntime", "scikit-learn"}
    assert "iris: 1 of 1, unpickled:" in text
    assert "min left" in text


def test_make_bench_reports(measured):
    """The figures are kept, and the tables, the page and the README made of them."""
    run, text, copy = measured
    results = copy / "benchmarks" / "results"
    assert f"measured: {results / run.file_name}" in text
    assert f"wrote {copy / 'README.md'}" in text
    assert (results / "report.html").is_file()


def test_stages_stand_next_to_the_floor(measured):
    """The stages of one request add up, and the CPU time of the floor and of the server is with them."""
    run, *_ = measured
    (found,) = (record for record in run.records if type(record).__name__ == "Stages")
    assert list(found.stages) == list(stages.MEANING)
    assert sum(found.stages.values()) == pytest.approx(found.total_us, abs=0.01)
    assert found.floor_cpu_us > 0
    assert found.server_cpu_us > 0


def test_an_interrupted_run_keeps_what_it_has(tmp_path):
    """Ctrl-C ends the servers, keeps what was measured, and says where."""
    running = bench("run", *SHORT, "--servers=floor,unpickled", f"--results={tmp_path}")
    eventually(lambda: any(run.records for run in read_all(tmp_path)))
    running.send_signal(signal.SIGINT)
    status, text = said(running)
    (run,) = read_all(tmp_path)
    assert status == 130
    assert f"interrupted: what was measured is in {tmp_path / run.file_name}" in text
    assert not run.complete
    assert run.records


def turn(fitted, entry: Entry) -> Turn:
    plan = Plan(("iris",), ("one",), 1, 1, 4, (100,), ("iris",), (1, 50), "locust", None, None)
    return Turn(plan, fitted, 0, ("one", entry), lambda record: None)


def serving(fitted, folder: Path, program: str):
    """gunicorn with the tutorial, or a program beside it."""
    (port,) = process.free_ports(1)
    command = [f"{Path(sys.executable).parent}/gunicorn", "--chdir", str(folder), "--threads", "4"]
    variables = {**os.environ, "PIPELINE": str(fitted.pickle), "PYTHONPATH": str(BASELINES)}
    command += ["--bind", f"127.0.0.1:{port}", program]
    return process.running(command, variables, None, port, folder / "log")


def test_the_check_catches_a_wrong_server(fitted, tmp_path):
    """A server that answers other than scikit-learn is found out before it is timed."""
    (tmp_path / "wrong.py").write_text(WRONG)
    judged = turn(fitted, SERVERS["tutorial"])
    with serving(fitted, tmp_path, "wrong:app") as running:
        process.wait(running, judged.path, judged.first_body)
        with pytest.raises(BenchmarkError, match="from row 0 is wrong: the label"):
            judged.check(running)
    with serving(fitted, tmp_path, "tutorial:app") as running:
        process.wait(running, judged.path, judged.first_body)
        judged.check(running)


def test_a_server_that_does_not_start(tmp_path):
    """Its last words and its exit status are the message."""
    command = [sys.executable, "-c", "print('no module named models'); raise SystemExit(3)"]
    with (
        process.running(command, os.environ, None, 1, tmp_path / "log") as running,
        pytest.raises(BenchmarkError) as found,
    ):
        process.wait(running, "/predict", FLOWER)
    assert str(found.value) == "it ended with status 3: no module named models"


@pytest.mark.skipif(not shutil.which("setsid"), reason="needs setsid")
def test_nothing_is_left_of_a_server(tmp_path):
    """Processes that left their parent and its session end with the server, and only they."""
    program = "setsid sleep 300 & (setsid sleep 300 &) ; exec sleep 300"
    with subprocess.Popen(["sleep", "300"]) as other:
        with process.running(["sh", "-c", program], os.environ, None, 1, tmp_path / "log") as running:
            # One that has just been started has no figures yet.
            eventually(lambda: len(running.processes()) == running.memory().processes == 3)
        left, survivor = running.processes(), other.poll()
        end(other)
    assert left == []
    assert survivor is None


def test_cpu_time_is_that_of_all_its_processes(tmp_path):
    """Also of those that ended meanwhile."""
    burn = (
        f"{sys.executable} -c 'import time; [None for _ in iter(lambda: time.process_time() < 0.5, False)]'"
    )
    with process.running(["sh", "-c", f"{burn} & {burn}; wait; exec sleep 300"], os.environ, None, 1,
                         tmp_path / "log") as running:  # fmt: skip
        eventually(lambda: running.cpu_seconds() >= 0.95)
        time.sleep(0.2)
        assert running.cpu_seconds() < 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_one_core_is_too_few(tmp_path):
    """With a single core it says so, and what to do about it."""
    core = min(os.sched_getaffinity(0))
    running = bench("run", f"--results={tmp_path}", preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    status, text = said(running)
    assert status == 1
    assert text.startswith("error: one core is too few")
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--generator", "wrk"], "error: wrk is missing: install it (Debian: wrk"),
        (["run", "--servers", "nginx"], "'nginx' is none of tutorial, "),
        (["run", "--models", "iris,rose"], "'rose' is none of iris, "),
        (["run", "--batches", "1,x"], "'1,x' is no list of whole numbers from 1 to 10000"),
        (["run", "--repeats", "0"], "'0' is no whole number above 0"),
        (["report", "--results", "nowhere"], "error: no results in nowhere: python -m benchmarks run"),
    ],
)
def test_what_cannot_be_is_said(arguments, sentence, tmp_path):
    """A missing generator, an unknown name, a number that is none: one sentence, nothing is measured."""
    status, text = said(bench(*arguments, env={**os.environ, "PATH": str(tmp_path)}))
    assert status in (1, 2)
    assert sentence in text
    assert "Traceback" not in text


@pytest.mark.parametrize("generator", generators.SATURATION)
def test_generators_agree_on_what_a_request_is(generator, fitted, tmp_path):
    """Each drives a server for a second; what it counted and how long that took is read from it."""
    if generator != "locust" and not shutil.which(generator):
        pytest.skip(f"needs {generator}")
    bodies = tmp_path / "bodies"
    bodies.write_bytes(FLOWER + b"\n" + FLOWER)
    with serving(fitted, tmp_path, "tutorial:app") as running:
        process.wait(running, "/predict", FLOWER)
        target = Target(
            f"http://127.0.0.1:{running.port}", "/predict", bodies, ("--sample", str(fitted.sample))
        )
        found = generators.closed_loop(generator, target, 1, 4)
    assert found.requests > 10
    assert 0.5 < found.seconds < 5
    assert 10 < found.p50_us <= found.p99_us


@pytest.mark.parametrize("generator", generators.SATURATION)
def test_refused_requests_are_no_figures(generator, fitted, tmp_path):
    """A load of errors is not a rate."""
    if generator != "locust" and not shutil.which(generator):
        pytest.skip(f"needs {generator}")
    bodies = tmp_path / "bodies"
    bodies.write_bytes(b'{"features": "none"}')
    sample = json.loads(fitted.sample.read_text()) | {"rows": [["none"] * 4] * 2}
    (tmp_path / "sample.json").write_text(json.dumps(sample))
    with serving(fitted, tmp_path, "tutorial:app") as running:
        process.wait(running, "/predict", FLOWER)
        flags = ("--sample", str(tmp_path / "sample.json"))
        target = Target(f"http://127.0.0.1:{running.port}", "/predict", bodies, flags)
        with pytest.raises(BenchmarkError):
            generators.closed_loop(generator, target, 1, 2)


def test_stages_of_a_served_model(models, tmp_path, capsys):
    """What was kept is what the next measurement is compared with."""
    before = tmp_path / "before.json"
    common = ["--models", str(models.path), "--model", "iris", "--rounds", "3"]
    assert stages.main([*common, "--save", str(before)]) == 0
    assert stages.main([*common, "--against", str(before)]) == 0
    assert list(json.loads(before.read_text())) == list(stages.MEANING)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*stages.MEANING, "total"] * 2
    assert "(+" in lines[-1] or "(-" in lines[-1]


def test_formats(capsys):
    """Each form of a request is checked and timed; the table tells them beside JSON and the session."""
    words = ["--models", "logistic", "--rows", "20", "--repeats", "1", "--seconds", "0.1", "--unpinned"]
    assert formats.main(words) == 0
    out = capsys.readouterr().out
    for form in (*formats.FORMS, "session.run alone, in process"):
        assert re.search(rf"{re.escape(form)} +[\d,]+ rows/s +\S+x", out)


@pytest.mark.parametrize("model", ["forest", "people"])
def test_stages_of_every_kind_of_model(models, model):
    """Models with gaps, and with categories and text labels, have stages too."""
    from unpickled.server import Config
    from unpickled.server.lifecycle.repository import Repository

    found = stages.measure(Repository(Config(models=str(models.path))), model, rounds=2)
    assert list(found) == list(stages.MEANING)
    assert found["run"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "nowhere"], "error: the models folder 'nowhere' cannot be read"),
        (["--model", "rose"], "error: there is no model 'rose'"),
        (["--model", "iris", "--rounds", "1", "--against", "setup.cfg"], "setup.cfg holds no stages"),
    ],
)
def test_stages_say_what_is_wrong(models, arguments, sentence, capsys, monkeypatch):
    """An unknown model or file ends in one sentence."""
    monkeypatch.chdir(ROOT)
    given = arguments if "--models" in arguments else ["--models", str(models.path), *arguments]
    assert stages.main(given) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name, entry in SERVERS.items() if entry.group == "peer"])
def test_peers_are_pinned_and_whole(name):
    """Each peer has its pinned requirements, and programs of its own that are there and compile."""
    entry = SERVERS[name]
    lines = (PEERS / entry.requirements).read_text().split()
    assert all("==" in line for line in lines)
    assert len(environments.names(PEERS / entry.requirements)) == len(lines)
    for word in f"{entry.command} {entry.prepare}".split():
        file = PEERS / word.removeprefix("{peers}/").split(":")[0]
        if "{peers}/" in word or (":" in word and "{" not in word):
            ast.parse(file.with_suffix(".py").read_text())


def test_a_peer_that_cannot_be_installed(tmp_path, monkeypatch):
    """pip's own words are the reason; what was installed before is not taken for it."""
    monkeypatch.setattr(environments, "HOME", tmp_path / "peers")
    requirements = tmp_path / "peer.txt"
    requirements.write_text("")
    assert (environments.bin_of(requirements) / "python").exists()
    requirements.write_text("./no-such-folder\n")
    with pytest.raises(BenchmarkError, match="no-such-folder"):
        environments.bin_of(requirements)
