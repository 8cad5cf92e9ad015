"""Locust against real servers: the requests it sends, the answers it checks, and the times it measures."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from conftest import PATIENCE, ROOT, Serving, command_line, eventually, free_port, run, serving, started

from benchmarks.traffic.checks import Expected, judge
from benchmarks.traffic.contracts import CONTRACTS, Predictions, WrongAnswer
from benchmarks.traffic.rows import draw

if importlib.util.find_spec("locust") is None:
    # An import would let gevent replace the sockets and threads of all other tests.
    pytest.skip("needs Locust", allow_module_level=True)

FILE, LADDER = ROOT / "benchmarks" / "locustfile.py", ROOT / "benchmarks" / "ladder.py"
SAMPLE = {
    "model": "m", "features": ["a", "b"], "classes": [0, 1], "rows": [[1.0, 2.0], [3.0, 4.0]],
    "labels": [0, 0], "probabilities": [[0.75, 0.25], [0.75, 0.25]],
}  # fmt: skip
# A server that gives the answer in the sample; ``changes`` define ``turn``, which may sleep, and the answer.
# At /asked it has the number of requests so far.
SERVER = """
    import sys, threading, time
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    answer = b'{{"prediction": [0], "probabilities": [[0.75, 0.25]]}}'
    seen, counting = [], threading.Lock()
    {changes}
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two writes: the second would wait 40 ms for the first to be acknowledged.
        disable_nagle_algorithm = True
        def do_GET(self):
            self.write(b"%d" % len(seen)) if self.path == "/asked" else self.send_error(404)
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            with counting:
                seen.append(1)
                number = len(seen)
            turn(number)
            self.write(answer)
        def write(self, content):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        def log_message(self, *_): pass
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
STEADY = "turn = lambda number: None"
# All requests wait while one does, as in a process with one thread.
STALLING = """
    lock = threading.Lock()
    def turn(number):
        with lock: time.sleep(1.0 * (number == 5))
"""
# No answer from the fifth request on.
HANGING = "turn = lambda number: time.sleep(600 * (number > 4))"
UNSENT = "not sent before the end: every connection waited for an answer"
UNANSWERED = "no answer before the end"


@contextmanager
def answering(folder: Path, changes: str = STEADY) -> Iterator[str]:
    """The address of a small server with ``changes`` in its program."""
    port = free_port()
    program = folder / "server.py"
    program.write_text(textwrap.dedent(SERVER.format(changes=changes)))
    address = f"http://127.0.0.1:{port}"
    with started([sys.executable, program, str(port)], stderr=subprocess.DEVNULL):
        eventually(lambda: reached(address))
        yield address


def reached(address: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), PATIENCE).close()
    except OSError:
        return False
    return True


def locust_command(address: str, *words: str, files: str = str(FILE)) -> list[str]:
    flags = ["--headless", "--only-summary", "-f", files, *(["--host", address] if address else [])]
    return [sys.executable, "-m", "locust", *flags, *words]


def two_processes() -> list[str]:
    """The options for two processes, which meet at a port of their own: other runs may have the usual one."""
    port = str(free_port())
    return ["--processes", "2", "--master-bind-port", port, "--master-port", port]


def locust(
    folder: Path, address: str, *words: str, files: str = str(FILE)
) -> subprocess.CompletedProcess[str]:
    return run(locust_command(address, *words, files=files), cwd=folder)


def measured(folder: Path, address: str, *words: str, **options: Any) -> list[dict[str, Any]]:
    """The latencies of a run without wrong answers."""
    completed = locust(folder, address, "--latencies", "latencies.json", *words, **options)
    assert (folder / "latencies.json").exists(), completed.stderr
    entries = latencies(folder)
    # A busy machine does not send or answer every request in time; no other failure may occur.
    failures = {(entry["failure"] or "").strip("'") for entry in entries}
    assert failures <= {"", UNSENT, UNANSWERED}, completed.stderr
    assert completed.returncode == (failures != {""}), completed.stderr
    return entries


def latencies(folder: Path) -> list[dict[str, Any]]:
    """The file that Locust wrote: an object for each name in the statistics."""
    entries: list[dict[str, Any]] = json.loads((folder / "latencies.json").read_text())
    return entries


@contextmanager
def under_way(
    address: str, folder: Path, *words: str, until: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """An endless run that has gone on until something is true; its output is in ``log``."""
    with (
        (folder / "log").open("wb") as log,
        started(locust_command(address, *words), cwd=folder, stdout=log, stderr=log) as process,
    ):
        eventually(lambda: until() or process.poll() is not None)
        yield process


def ended(
    folder: Path, address: str, *words: str, until: Callable[[], bool], by: int = signal.SIGTERM
) -> tuple[int, list[dict[str, Any]]]:
    """The exit status and the latencies of a run that a signal ends once something is true.

    A run of a second would send nothing on a machine that is busy for that second.
    """
    words = ("--latencies", "latencies.json", *words)
    with under_way(address, folder, *words, until=until) as process:
        process.send_signal(by)
        status = process.wait(PATIENCE)
    return status, latencies(folder)


def answers(server: Serving, more: int) -> Callable[[], bool]:
    """Whether a server has answered so many requests from now on."""
    before = answered(server)
    return lambda: answered(server) >= before + more


def answered(server: Serving) -> int:
    """The number of requests that the server has answered."""
    models = server.ask("/v2/models/stats")[1]["model_stats"]
    return sum(model["inference_stats"]["success"]["count"] for model in models)


def asked(address: str) -> int:
    """The number of requests that a small server has got."""
    with urlopen(f"{address}/asked", timeout=PATIENCE) as answer:
        return int(answer.read())


@pytest.fixture(scope="module")
def server(models, tmp_path_factory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("locust"), "--default-model", "iris", models=models.path) as server:
        yield server


@pytest.fixture
def url(server) -> str:
    return server.url


@pytest.fixture
def sample(tmp_path) -> str:
    path = tmp_path / "sample.json"
    path.write_text(json.dumps(SAMPLE))
    return str(path)


@pytest.mark.long
@pytest.mark.parametrize("user", ["Array", "Record", "Batch10", "Batch100", "Batch1000"])
def test_each_class_of_users(server, tmp_path, user):
    """Each class of users sends its kind of request, and its times are exact below a millisecond."""
    names = {"Array": "array", "Record": "record"}
    _, (entry,) = ended(tmp_path, server.url, "--model", "people", user, until=answers(server, 2))
    assert entry["name"] == names.get(user, f"batch of {user.removeprefix('Batch')}")
    assert entry["requests"] > entry["failures"]
    assert entry["max_us"] > 0
    # One of them may be whole milliseconds by chance.
    assert entry["max_us"] % 1000 or entry["p50_us"] % 1000
    assert entry["late_p50_us"] is None
    assert entry["rate"] is None


def test_a_mix_is_the_default(server, tmp_path):
    """Without a class, single rows by position and by name come with a few batches."""
    _, entries = ended(tmp_path, server.url, "--model", "iris", until=answers(server, 300))
    count = {entry["name"]: entry["requests"] for entry in entries}
    assert count.keys() >= {"array", "record", "batch of 10"}
    assert count["array"] > count["record"] > count["batch of 10"]


@pytest.mark.long
def test_rate_of_an_open_loop(url, tmp_path):
    """Requests come at the given rate, and their delay is reported."""
    words = ["--model", "iris", "--arrival", "poisson", "--rate", "100", "-t", "8", "Array"]
    (entry,) = measured(tmp_path, url, *words)
    assert entry["rate"] == 100
    assert entry["requests"] == pytest.approx(100 * entry["seconds"], rel=0.25)
    assert entry["late_p50_us"] is not None
    assert (entry["p999_us"] is None) == (entry["requests"] < 1000)
    assert 0 <= entry["generator_busy"] < 1.5


@pytest.mark.long
def test_a_stall_is_the_latency_of_all_that_had_to_wait(sample, tmp_path):
    """In an open loop, latency counts from when a request was due; a closed loop has one slow request."""
    words = ["--sample", sample, "-u", "1", "-t", "3", "Array"]
    with answering(tmp_path, STALLING) as address:
        (closed,) = measured(tmp_path, address, *words)
    with answering(tmp_path, STALLING) as address:
        (opened,) = measured(tmp_path, address, "--arrival", "constant", "--rate", "50", *words)
    assert closed["max_us"] >= 1_000_000
    assert opened["max_us"] >= 1_000_000
    # 50 requests, a third of all, were due during the stall, and a third of them waited for 0.7 s.
    assert opened["p90_us"] >= 400_000
    assert closed["p90_us"] < opened["p90_us"]
    # The generator sent each when its one connection was free.
    assert opened["late_p99_us"] is None or opened["late_p99_us"] < opened["p90_us"]


def lost(folder: Path, address: str, *words: str, files: str = str(FILE)) -> list[dict[str, Any]]:
    """The latencies of a run in which requests have no answer."""
    completed = locust(folder, address, "--latencies", "latencies.json", *words, files=files)
    assert completed.returncode == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    return latencies(folder)


@pytest.mark.long
def test_a_hanging_server_loses_no_request(sample, tmp_path):
    """Requests that were due and not sent, or sent and not answered, are failures with their age."""
    words = ["--sample", sample, "--arrival", "constant", "--rate", "50", "-u", "2", "-t", "3", "Array"]
    with answering(tmp_path, HANGING) as address:
        (entry,) = lost(tmp_path, address, *words, *two_processes())
    assert entry["requests"] - entry["failures"] == 4
    # More than the two that were sent, and none twice; fewer where the processes start slowly.
    assert 2 < entry["failures"] < 2 * 50 * entry["seconds"]
    # A request that was sent has two seconds at the end; one that was not is up to as old as the run.
    assert entry["max_us"] > 1_800_000
    assert entry["max_us"] > entry["p50_us"] > 1e6 / 50
    assert entry["achieved"] == pytest.approx(4 / entry["seconds"], abs=0.1)
    assert entry["failure"].strip("'") in (UNSENT, UNANSWERED)


@pytest.mark.long
def test_a_closed_loop_counts_what_hangs(sample, tmp_path):
    """Without a rate, each user has one request without an answer."""
    words = ["--sample", sample, "-u", "2", "-r", "2", "Array"]
    with answering(tmp_path, HANGING) as address:
        status, (entry,) = ended(tmp_path, address, *words, until=lambda: asked(address) == 6)
    assert status == 1
    assert (entry["requests"], entry["failures"], entry["failure"]) == (6, 2, UNANSWERED)


@pytest.mark.long
def test_a_rung_on_a_hanging_server_is_all_failures(sample, tmp_path):
    """A rung during which no connection is free is measured too."""
    words = ["--sample", sample, "--arrival", "constant", "--rungs", "40,60", "--rung-time", "8", "-u", "1"]
    with answering(tmp_path, HANGING) as address:
        low, high = lost(tmp_path, address, *words, "Array", files=f"{FILE},{LADDER}")
    assert low["requests"] - low["failures"] == 4
    assert high["failures"] == high["requests"] == pytest.approx(60 * high["seconds"], rel=0.1)
    assert high["failure"] == UNSENT
    assert high["achieved"] == 0


def test_answers_after_the_end_count_once(sample, tmp_path):
    """A request in flight at the end of the run has time for its answer."""
    with answering(tmp_path, "turn = lambda number: time.sleep(0.5)") as address:
        eventually(lambda: each_is_counted(tmp_path, address, "--sample", sample, "-u", "1", "Array"), 120)


def each_is_counted(folder: Path, address: str, *words: str) -> bool:
    """Whether a run has counted each of its requests, and none as late: a machine may be busy at its end."""
    before = asked(address)
    status, (entry,) = ended(folder, address, *words, until=lambda: asked(address) > before)
    return (status, entry["requests"], entry["failures"]) == (0, asked(address) - before, 0)


@pytest.mark.parametrize("rows", [1, 7, 4096])
def test_rows_of_a_request(server, tmp_path, rows):
    """Array users send the given number of rows and get right answers."""
    words = ["--model", "people", "--rows", str(rows), "Array"]
    _, (entry,) = ended(tmp_path, server.url, *words, until=answers(server, 2))
    assert (entry["failure"] or UNANSWERED) == UNANSWERED
    assert entry["name"] == (f"batch of {rows}" if rows > 1 else "array")
    assert entry["requests"] > entry["failures"]


def test_rows_of_a_sample(sample, tmp_path):
    """A request may hold all rows of a sample; its answer is compared row by row."""
    answer = b'{"prediction": [0, 0], "probabilities": [[0.75, 0.25], [0.75, 0.25]]}'
    with answering(tmp_path, f"{STEADY}; answer = {answer!r}") as address:
        words = ["--sample", sample, "--rows", "2", "Array"]
        _, (entry,) = ended(tmp_path, address, *words, until=lambda: asked(address) > 2)
        completed = locust(tmp_path, address, "--sample", sample, "--rows", "3", "-t", "1", "Array")
    assert entry["name"] == "batch of 2"
    assert entry["requests"] > entry["failures"]
    assert (entry["failure"] or UNANSWERED) == UNANSWERED
    assert completed.returncode == 1
    assert "error: --rows 3 is more than there are, or none: give 1 to 2" in completed.stderr


WRONG = {
    '{"prediction": [1], "probabilities": [[0.75, 0.25]]}': "the label is not the most probable class",
    '{"prediction": [0], "probabilities": [[0.7, 0.3]]}': "a probability is not scikit-learn's",
    '{"prediction": [0], "probabilities": [[0.75, 0.3]]}': "do not sum to 1",
    '{"prediction": [0, 0], "probabilities": [[0.75, 0.25]]}': "2 predictions for 1 rows",
    "oops": "the answer is not JSON",
}


@pytest.mark.parametrize("answer", WRONG)
def test_wrong_answers(answer):
    """The check of an answer has a sentence for each mistake."""
    with pytest.raises(WrongAnswer, match=WRONG[answer]):
        judge(CONTRACTS["native"], answer.encode(), 1, [0, 1], Expected([0], [[0.75, 0.25]]))


def test_wrong_answers_are_failures(sample, tmp_path):
    """A wrong answer ends in exit code 1 and is reported once, in one sentence."""
    answer, sentence = next(iter(WRONG.items()))
    with answering(tmp_path, f"{STEADY}; answer = {answer.encode()!r}") as address:
        words = ["--sample", sample, "Array"]
        status, (entry,) = ended(tmp_path, address, *words, until=lambda: asked(address) > 2)
    output = (tmp_path / "log").read_text()
    assert status == 1
    assert "Traceback" not in output
    assert sentence in entry["failure"]
    assert entry["failures"] == entry["requests"] > 0
    assert output.count(entry["failure"]) == 1


def test_no_answer_is_a_failure(sample, tmp_path):
    """The requests to a server that ends in the middle are failures, not exceptions."""
    with answering(tmp_path, "turn = lambda number: number > 5 and __import__('os')._exit(1)") as address:
        words = ["--sample", sample, "Array"]
        status, _ = ended(tmp_path, address, *words, until=lambda: not reached(address))
    output = (tmp_path / "log").read_text()
    assert status == 1
    assert "no answer: " in output
    assert "Traceback" not in output


@pytest.mark.long
def test_rungs_have_rows_of_their_own(url, tmp_path):
    """Each rate has its own name in the statistics, and the run ends after the last."""
    words = ["--model", "iris", "--arrival", "constant", "--rungs", "50,200", "--rung-time", "2", "Array"]
    low, high = measured(tmp_path, url, *words, files=f"{FILE},{LADDER}")
    assert (low["name"], high["name"]) == ("array @ 50/s", "array @ 200/s")
    assert (low["rate"], high["rate"]) == (50, 200)
    assert low["requests"] == pytest.approx(50 * low["seconds"], rel=0.1)
    assert high["requests"] == pytest.approx(200 * high["seconds"], rel=0.1)


def test_rungs_of_a_closed_loop_are_users(url, tmp_path):
    """In a closed loop, a rung is a number of users."""
    words = ["--model", "iris", "--rungs", "1,3", "--rung-time", "1", "Array"]
    entries = measured(tmp_path, url, *words, files=f"{FILE},{LADDER}")
    assert [entry["name"] for entry in entries] == ["array @ 1 users", "array @ 3 users"]


@pytest.mark.long
def test_several_processes(url, tmp_path):
    """Workers share the rate, and their statistics add up below a millisecond."""
    words = ["--model", "iris", "--arrival", "constant", "--rate", "100", "-t", "4", *two_processes()]
    (entry,) = measured(tmp_path, url, *words, "Array")
    # Fewer where the processes are slow to start.
    assert 2 < entry["requests"] < 1.5 * 100 * entry["seconds"]
    assert entry["p50_us"] > 0
    assert entry["late_p50_us"] is not None
    assert entry["generator_busy"] is None


def test_interrupted_runs_keep_what_was_measured(server, tmp_path):
    """Ctrl-C ends a run without a time limit in order."""
    words = ["--model", "iris", "Array"]
    status, (entry,) = ended(tmp_path, server.url, *words, until=answers(server, 20), by=signal.SIGINT)
    # A busy machine does not answer the last request in time.
    assert status == (entry["failure"] == UNANSWERED)
    assert entry["requests"] > 10
    assert "p99.9" in (tmp_path / "log").read_text()


def test_interrupted_while_it_starts(tmp_path):
    """Ctrl-C before there is anything to end in order ends it, and is its status."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = locust_command(address)
        with (tmp_path / "log").open("wb") as log, started(command, stdout=log, stderr=log) as process:
            # Locust asks for the list of models, and gets no answer.
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
            connection.close()
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_workers_end_with_their_master(server, tmp_path):
    """A killed run leaves none of its processes."""
    words = ["--model", "iris", *two_processes(), "Array"]
    with under_way(server.url, tmp_path, *words, until=answers(server, 20)) as process:
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        workers = [int(pid) for pid in listed.split()]
        assert len(workers) == 2
        process.kill()
        eventually(lambda: not any(map(command_line, workers)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "name one with --model"),
        (["--model", "nope"], "but not 'nope'"),
        (["--host", "", "--model", "iris"], "--host is missing"),
        (["--host", "localhost:8000"], "is not an address"),
        (["--host", "http://127.0.0.1:1"], "cannot be reached"),
        (["--model", "iris", "--arrival", "constant"], "needs --rate"),
        (["--model", "iris", "--rate", "5"], "--rate needs --arrival"),
        (["--rate", "-1"], "'-1' is not a rate"),
        (["--rows", "0"], "'0' is not a number of rows"),
        (["--model", "iris", "--rows", "5000", "Array"], "give 1 to 4096"),
        (["--model", "iris", "--rows", "5", "Record"], "is for the user class Array"),
        (["--sample", "missing.json"], "--sample missing.json cannot be read"),
        (["--sample", str(FILE)], "it is not JSON"),
        (["--model", "iris", "--contract", "v2", "Record"], "no rows by name"),
    ],
)
def test_errors_are_one_sentence(url, tmp_path, words, sentence):
    """A run that cannot start ends with the reason and a remedy, before anything is sent."""
    completed = locust(tmp_path, url, "-t", "1", *words)
    errors = [line for line in completed.stderr.splitlines() if "error: " in line]
    assert completed.returncode != 0
    assert len(errors) == 1
    assert sentence in errors[0]
    assert "Traceback" not in completed.stderr


@pytest.mark.parametrize(
    ("words", "sentence"), [("--rungs 5,x", "names no rungs"), ("--rung-time 0", "is not a time")]
)
def test_errors_of_the_ladder(url, tmp_path, words, sentence):
    """Rungs are numbers, and a rung takes a second or more."""
    completed = locust(tmp_path, url, *words.split(), files=f"{FILE},{LADDER}")
    assert completed.returncode != 0
    assert sentence in completed.stderr
    assert "Traceback" not in completed.stderr


def test_a_server_without_models_needs_a_sample(tmp_path):
    """For a server without GET /models, the error names the remedy."""
    with answering(tmp_path) as address:
        completed = locust(tmp_path, address, "-t", "1")
    assert completed.returncode == 1
    assert "give --sample, or --features" in completed.stderr


def test_features_of_a_server_are_kept_in_a_file(server, tmp_path):
    """A saved answer of GET /models takes the place of the server's own."""
    (tmp_path / "features.json").write_text(json.dumps(server.ask("/models")[1]))
    words = ["--features", "features.json", "--model", "people", "Record"]
    _, (entry,) = ended(tmp_path, server.url, *words, until=answers(server, 2))
    assert entry["requests"] > entry["failures"]


def test_rows_respect_the_features(server):
    """Numbers are in their range, text is a category, and a few values that may be missing are."""
    features = server.ask("/models/people")[1]["manifest"]["features"]
    rows = draw(features, 2000)
    age, income, city, plan = zip(*rows, strict=True)
    assert all(18 <= value <= 79 and value == int(value) for value in age if value is not None)
    assert all(355 <= value <= 5555 for value in income if value is not None)
    assert set(city) == {"Bonn", "Köln", "Trier", None}
    assert set(plan) == {"free", "pro", None}
    assert 0 < age.count(None) < 200
    assert len({tuple(row) for row in rows}) > 1900


def test_rows_are_the_same_for_the_same_seed():
    """The same seed gives the same rows; a feature without gaps has no missing value."""
    features = [
        {"name": "x", "kind": "number", "missing": False, "minimum": 0.1, "maximum": 2.5},
        {"name": "y", "kind": "number", "missing": False, "minimum": 3.0, "maximum": 3.0},
    ]
    assert draw(features, 50, seed=1) == draw(features, 50, seed=1) != draw(features, 50, seed=2)
    assert all(0.1 <= x <= 2.5 and y == 3.0 for x, y in draw(features, 500))


@pytest.mark.parametrize("rows", [[[1.5, 2.0]], [[1.5, 2.0], [3.0, 4.0]]])
def test_contracts(rows):
    """Each contract writes the rows, and reads the answers, of its servers."""
    native, v2, mlflow = (json.loads(CONTRACTS[name].request(rows)) for name in ("native", "v2", "mlflow"))
    assert native["features"] == (rows if len(rows) > 1 else rows[0])
    assert mlflow["inputs"] == rows
    assert v2["inputs"][0]["shape"] == [len(rows), 2]
    assert len(v2["inputs"][0]["data"]) == 2 * len(rows)
    shares = [[0.5, 0.5] for _ in rows]
    tensor = {"name": "predict_proba", "shape": [len(rows), 2], "data": [0.5] * 2 * len(rows)}
    assert CONTRACTS["v2"].read(json.dumps({"outputs": [tensor]}).encode()) == Predictions(None, shares)
    assert CONTRACTS["mlflow"].read(json.dumps({"predictions": shares}).encode()) == Predictions(None, shares)


@pytest.mark.parametrize("name", ["native", "v2", "mlflow"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"prediction": 1}', b'{"outputs": [{}]}'])
def test_answers_of_another_form(name, content):
    """An answer of another form is wrong."""
    with pytest.raises(WrongAnswer):
        CONTRACTS[name].read(content)


def v2(shape: object, data: object = (), **more: object) -> dict[str, Any]:
    return {"outputs": [{"name": "predict_proba", "shape": shape, "data": data, **more}]}


ODD = [
    ("native", {"prediction": [0], "probabilities": [3]}),
    ("native", {"prediction": [0], "probabilities": [[]]}),
    ("native", {"prediction": [0], "probabilities": [["a", "b"]]}),
    ("native", {"prediction": [0], "probabilities": [[1e308, 1e308, 1e308]]}),
    ("native", {"prediction": [{}], "probabilities": [[0.75, 0.25]]}),
    ("native", {"prediction": [0], "scores": [[1.0]]}),
    ("v2", v2([1, 0])),
    ("v2", v2([1, 0], [0.75, 0.25])),
    ("v2", v2(["1", 2], [0.75, 0.25])),
    ("v2", v2([1, 1.5], [0.75, 0.25])),
    ("v2", v2([2, 2], [0.75, 0.25])),
    ("v2", v2([1, 2], [0.75, 0.25], name=["predict_proba"])),
    ("mlflow", {"predictions": {"0": [0.75, 0.25]}}),
    ("mlflow", {"predictions": [None]}),
]


@pytest.mark.parametrize(("name", "answer"), ODD)
def test_odd_answers_are_wrong(name, answer):
    """Any JSON of another form is wrong, in one sentence."""
    expected = Expected([0], [[0.75, 0.25]])
    with pytest.raises(WrongAnswer) as caught:
        judge(CONTRACTS[name], json.dumps(answer).encode(), 1, [0, 1], expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("native", {"prediction": [0], "probabilities": [[0.75, 0.25]], "model": "m"}),
        ("v2", v2([1, 2], [0.75, 0.25])),
        ("mlflow", {"predictions": [[0.75, 0.25]]}),
        ("floor", {}),
    ],
)
def test_right_answers(name, answer):
    """Each contract's right answer passes."""
    judge(CONTRACTS[name], json.dumps(answer).encode(), 1, [0, 1], Expected([0], [[0.75, 0.25]]))
