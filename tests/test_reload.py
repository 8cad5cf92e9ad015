"""Models replaced in running servers: several workers, real load, signals, kills, shared folders."""

import http.client
import json
import os
import re
import shutil
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
from conftest import FLOWER, PATIENCE, Serving, eventually, serving, shelve
from handmade import store
from prometheus_client.parser import text_string_to_metric_families
from test_server import both_serve

from unpickled.__main__ import main
from unpickled.server.lifecycle import history

BODY = json.dumps({"features": FLOWER})
WORKERS = ("--workers", "2")


@pytest.fixture
def home(models, tmp_path) -> Path:
    """models/iris/ with two versions that answer differently."""
    return shelve(models, tmp_path / "models" / "iris", "iris", "forest")


class Load:
    """Clients that send requests without a pause, each on its own connection, and their answers."""

    def __init__(self, server: Serving, clients: int = 3) -> None:
        self.answers: Counter[tuple[int, str | None, bytes]] = Counter()
        self.broken = 0
        self._server = server
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE)
        while not self._done.is_set():
            try:
                connection.request("POST", "/predict", BODY)
                answer = connection.getresponse()
                self.answers[answer.status, answer.headers["Model-Version"], answer.read()] += 1
            except (OSError, http.client.HTTPException):
                self.broken += 1
                connection.close()
        connection.close()


def answers(server: Serving) -> dict[str, bytes]:
    """The answer of each loaded version."""
    contents = {}
    for number in server.ask("/models/iris")[1]["versions"]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.request("POST", f"/models/iris/versions/{number}/predict", BODY)
        contents[str(number)] = connection.getresponse().read()
        connection.close()
    return contents


def invoke(home: Path, *words: str) -> None:
    """Run a command of ``unpickled models``."""
    assert main(["models", *words, "--models", str(home.parent)]) == 0


def write(home: Path, text: str) -> None:
    (home / "serving.toml").write_text(text, "utf-8")


def settled(server: Serving, version: str, workers: int = 2) -> bool:
    """Whether every worker has this version, and no other, in memory."""
    return metrics(server).get(("unpickled_model_loaded", "iris", version)) == workers


def metrics(server: Serving) -> dict[tuple[str, ...], float]:
    """(name, values of the labels in order of their names) -> value; empty while no worker answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError:
        return {}
    finally:
        connection.close()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_keys_meet_one_version(home, tmp_path):
    """A key is answered by the same version, whichever worker answers, and after a restart too."""
    write(home, "[traffic]\n1 = 0.5\n2 = 0.5")
    met: dict[str, set[str]] = {}
    for _ in range(2):
        with serving(tmp_path, *WORKERS, models=home.parent) as server:
            for number in range(200):
                met.setdefault(f"user {number % 40}", set()).add(keyed(server, f"user {number % 40}"))
    assert {len(versions) for versions in met.values()} == {1}
    assert set.union(*met.values()) == {"1", "2"}


def keyed(server: Serving, key: str) -> str:
    """The version that answers one request, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("POST", "/predict", BODY, {"X-Request-Key": key})
    version = connection.getresponse().headers["Model-Version"]
    connection.close()
    return version


def test_closed_streams(home, tmp_path):
    """A server whose stdout is closed serves and counts, and writes no output into another file."""
    program = ("sh", "-c", 'exec "$0" "$@" >&-', sys.executable, "-m", "server", "--port", "{port}")
    with serving(tmp_path, "--access-log", models=home.parent, program=program, wait=False) as server:
        eventually(server.listens)
        eventually(lambda: settled(server, "2", 1))
        assert {server.ask("/predict", BODY.encode())[0] for _ in range(50)} == {200}
        assert metrics(server)["unpickled_requests_total", "iris", "/predict", "200", "2"] == 50


def kill_one(server: Serving) -> None:
    """Kill a worker, and wait until it is replaced."""
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len({*server.workers()} - {*before}) == 1 and server.answers())


def memory(pid: int) -> float:
    """The resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.long
def test_reloads_and_promotions_under_load(home, tmp_path):
    """During 200 reloads no request fails, no answer mixes versions, and memory stays level."""
    write(home, 'load = "all"\n[labels]\nstable = 1')
    with serving(tmp_path, *WORKERS, models=home.parent) as server:
        eventually(lambda: both_serve(server))
        right = answers(server)
        with Load(server) as load:
            for turn in range(100):
                replace(server, home, turn)
                if turn == 20:
                    before = [memory(pid) for pid in server.workers()]
            eventually(lambda: settled(server, "1"))
        after = [memory(pid) for pid in server.workers()]
    assert load.broken == 0
    assert {(200, version, right[version]) for version in "12"} == set(load.answers)
    assert max(end - start for start, end in zip(before, after, strict=True)) < 12


def replace(server: Serving, home: Path, turn: int) -> None:
    """Load one version in place of the other, then promote the other or roll back to it."""
    write(home, "load = [2]\n[labels]\nstable = 2")
    eventually(lambda: stable(server) == 2)
    invoke(home, *(["promote", "iris", "1"] if turn % 2 else ["rollback", "iris"]))
    eventually(lambda: stable(server) == 1)


def stable(server: Serving) -> int:
    """The version with the label stable, after a SIGHUP."""
    server.process.send_signal(signal.SIGHUP)
    return server.ask("/models/iris")[1]["labels"]["stable"]


def test_a_new_version_is_noticed(home, tmp_path, models):
    """Every worker and server on a folder follows it without a signal; a bad version is refused by each."""
    with (
        serving(tmp_path, *WORKERS, models=home.parent) as first,
        serving(tmp_path, models=home.parent) as second,
    ):
        # A worker that starts late would record version 2 behind version 3.
        eventually(lambda: settled(first, "2"))
        shelve(models, home, "iris", first=3)
        eventually(lambda: settled(first, "3", 2) and settled(second, "3", 1))
        store(home.parent, "iris", b"no model", version=4)
        eventually(lambda: all("4" in server.ask("/models/iris")[1]["refused"] for server in (first, second)))
        invoke(home, "promote", "iris", "1")
        eventually(lambda: settled(first, "1", 2) and settled(second, "1", 1))
        assert {server.ask("/predict", BODY.encode())[0] for server in (first, second)} == {200}
        assert [record.traffic for record in history.read(home)] == [{"2": 1.0}, {"3": 1.0}, {"1": 1.0}]


@pytest.mark.parametrize("direct", [False, True], ids=["main process", "workers"])
def test_hangup(home, tmp_path, direct):
    """SIGHUP makes every worker scan the folder at once, and replaces none."""
    with serving(tmp_path, *WORKERS, "--reload-seconds", "0", models=home.parent) as server:
        eventually(lambda: settled(server, "2"))
        workers = server.workers()
        write(home, "load = [1]")
        for pid in workers if direct else [server.process.pid]:
            os.kill(pid, signal.SIGHUP)
        eventually(lambda: settled(server, "1"))
        assert server.workers() == workers


@pytest.mark.long
def test_worker_killed_in_the_middle_of_a_reload(home, tmp_path, models):
    """A worker that replaces a killed one serves as the others; meanwhile every answer is right."""
    write(home, "[labels]\nstable = 1")
    with serving(tmp_path, *WORKERS, models=home.parent) as server:
        eventually(lambda: both_serve(server))
        shelve(models, home, *["forest"] * 200, first=3)
        right = answers(server)["1"]
        with Load(server) as load:
            write(home, 'load = "all"\n[labels]\nstable = 202')
            # The other 195 take seconds.
            eventually(lambda: server.printed().count("is loaded") > 5)
            kill_one(server)
            eventually(lambda: settled(server, "202"))
            eventually(lambda: "202" in {version for _, version, _ in [*load.answers]})
        new = answers(server)["202"]
    assert set(load.answers) == {(200, "1", right), (200, "202", new)}
    assert load.broken <= 6


def test_worker_that_starts_without_the_default_model(home, tmp_path):
    """A new worker serves the copy of a default model that is away, then follows the folder that is back."""
    shutil.copytree(home, home.parent / "other")
    with serving(tmp_path, *WORKERS, "--default-model", "iris", models=home.parent) as server:
        eventually(lambda: settled(server, "2"))
        shutil.move(home, tmp_path / "aside")
        kill_one(server)
        eventually(lambda: settled(server, "2"))
        assert {server.ask("/predict", BODY.encode())[0] for _ in range(30)} == {200}
        shutil.move(tmp_path / "aside", home)
        eventually(lambda: settled(server, "2"))
    assert server.process.returncode == 0


def test_a_second_model_does_not_take_the_default_away(home, tmp_path, models):
    """A second model leaves the default of running workers and of a new one as it is."""
    with serving(tmp_path, *WORKERS, models=home.parent) as server:
        shelve(models, home.parent / "people", "people")
        eventually(lambda: metrics(server).get(("unpickled_model_loaded", "people", "1")) == 2)
        kill_one(server)
        eventually(lambda: settled(server, "2"))
        assert {server.ask("/predict", BODY.encode())[0] for _ in range(30)} == {200}


def test_workers_agree_on_readiness(home, tmp_path):
    """A worker that replaces another waits for what the server started with, and forgets what is deleted."""
    store(home.parent, "bad", b"no model")
    flags = (*WORKERS, "--default-model", "iris", "--reload-seconds", "0.2")
    with serving(tmp_path, *flags, models=home.parent) as server:
        assert statuses(server) == {503}
        shutil.rmtree(home.parent / "bad")
        eventually(lambda: statuses(server) == {200})
        eventually(lambda: metrics(server).keys().isdisjoint({("unpickled_model_ready", "bad")}))
        store(home.parent, "late", b"no model")
        eventually(lambda: ("unpickled_model_ready", "late") in metrics(server))
        kill_one(server)
        eventually(lambda: settled(server, "2"))
        assert statuses(server) == {200}


def statuses(server: Serving) -> set[int]:
    """The statuses of /readyz on many connections, which different workers take."""
    return {server.ask("/readyz")[0] for _ in range(40)}


def test_a_deleted_model_is_served_by_all_workers(home, tmp_path, models):
    """A model that is deleted without being retired is served on, by a worker that starts later as well."""
    shelve(models, home.parent / "people", "people")
    flags = (*WORKERS, "--default-model", "iris")
    with serving(tmp_path, *flags, models=home.parent) as server:
        shutil.rmtree(home.parent / "people")
        kill_one(server)
        eventually(lambda: settled(server, "2"))
        eventually(lambda: metrics(server)["unpickled_model_ready", "people"])
        figures = [metrics(server)["unpickled_model_ready", "people"] for _ in range(20)]
        assert set(figures) == {1.0}
        assert statuses(server) == {200}


def test_hangup_at_the_start(home, tmp_path):
    """A SIGHUP before the workers have started ends no process."""
    with serving(tmp_path, models=home.parent, wait=False) as server:
        eventually(lambda: hangups(server.process.pid))
        # Each check sends one, until the server serves.
        eventually(lambda: server.process.send_signal(signal.SIGHUP) or settled(server, "2", workers=1))


def hangups(pid: int) -> bool:
    """Whether a process survives SIGHUP: it ignores the signal, or handles it."""
    masks = re.findall(r"^Sig(?:Ign|Cgt):\s(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) & 1 for mask in masks)


def test_figures_add_up(home, tmp_path):
    """The sums of all workers are those of the clients, including a worker that was killed."""
    (tmp_path / "tmp").mkdir()
    with serving(tmp_path, *WORKERS, models=home.parent) as server:
        sent = Counter()
        for _ in range(2):
            for _ in range(100):
                sent["200"] += server.ask("/predict", BODY.encode())[0] == 200
                sent["400"] += server.ask("/models/iris/predict", b"{")[0] == 400
                sent["404"] += server.ask("/nowhere")[0] == 404
            figures = metrics(server)
            assert counted(figures) == sent
            kill_one(server)
            eventually(lambda: settled(server, "2"))
        assert counted(metrics(server)) == sent
        assert figures["unpickled_rows_total", "iris", "2"] == 200
        assert figures["unpickled_predictions_total", "0", "iris", "2"] == 200
        maps = Path(f"/proc/{server.workers()[0]}/maps").read_text()
        os.killpg(server.process.pid, signal.SIGKILL)
    shared = {line.split(maxsplit=5)[5] for line in maps.splitlines() if " rw-s " in line}
    assert shared
    assert not any(map(os.path.exists, shared))


def counted(figures: dict[tuple[str, ...], float]) -> dict[str, float]:
    """The requests of the test by status."""
    totals: Counter[str] = Counter()
    for (name, *labels), value in figures.items():
        if name == "unpickled_requests_total" and labels[1] in ("/predict", "/models/<name>/predict", ""):
            totals[labels[2]] += value
    return {status: totals[status] for status in ("200", "400", "404")}
