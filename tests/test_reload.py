"""Models replaced in running servers: several workers, real load, signals, kills, shared folders."""

import http.client
import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from conftest import FLOWER, PATIENCE, Serving, eventually, serving, shelve
from prometheus_client.parser import text_string_to_metric_families

from server.commands import cli
from server.lifecycle import history

BODY = json.dumps({"features": FLOWER})
WORKERS = ("--workers", "2")


@pytest.fixture
def home(models, tmp_path) -> Path:
    """models/iris/ with two versions that answer differently."""
    return shelve(models, tmp_path / "models" / "iris", "iris", "forest")


class Load:
    """Clients that ask without a pause, each on a connection of its own, and what they were answered."""

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
    """What each loaded version answers."""
    found = {}
    for number in server.ask("/models/iris")[1]["versions"]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.request("POST", f"/models/iris/versions/{number}/predict", BODY)
        found[str(number)] = connection.getresponse().read()
        connection.close()
    return found


def command(home: Path, *words: str) -> None:
    assert cli.main([*words, "--models", str(home.parent)], {}) == 0


def write(home: Path, text: str) -> None:
    (home / "serving.toml").write_text(text, "utf-8")


def settled(server: Serving, version: str, workers: int = 2) -> bool:
    """Whether every worker has just this version loaded, and serves it."""
    return metrics(server).get(("unpickled_model_loaded", "iris", version)) == workers


def metrics(server: Serving) -> dict[tuple[str, ...], float]:
    """(name, labels' values in order of their names) -> value; empty while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except OSError:
        return {}
    finally:
        connection.close()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name, *(one.labels[name] for name in sorted(one.labels))): one.value for one in samples}


def kill_one(server: Serving) -> None:
    """Until it is replaced."""
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len({*server.workers()} - {*before}) == 1)


def memory(pid: int) -> float:
    """Resident MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_reloads_and_promotions_under_load(home, tmp_path):
    """200 of them: no request fails, no answer mixes versions, memory stays level."""
    write(home, 'load = "all"\n[labels]\nstable = 1')
    with serving(tmp_path, *WORKERS, models=home.parent) as server:
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
    """One version is loaded in the place of the other, then the other promoted, or rolled back to."""
    write(home, "load = [2]\n[labels]\nstable = 2")
    eventually(lambda: stable(server) == 2)
    command(home, *(["promote", "iris", "1"] if turn % 2 else ["rollback", "iris"]))
    eventually(lambda: stable(server) == 1)


def stable(server: Serving) -> int:
    server.process.send_signal(signal.SIGHUP)
    return server.ask("/models/iris")[1]["labels"]["stable"]


def test_a_new_version_is_noticed(home, tmp_path, models):
    """By every worker and every server on the folder, with no signal; so is one that is bad."""
    with (
        serving(tmp_path, *WORKERS, models=home.parent) as one,
        serving(tmp_path, models=home.parent) as other,
    ):
        shelve(models, home, "iris", first=3)
        eventually(lambda: settled(one, "3", 2) and settled(other, "3", 1))
        shelve(models, home, "forest", first=4)
        (home / "4" / "model.onnx").write_bytes(b"no model")
        eventually(lambda: all("4" in server.ask("/models/iris")[1]["refused"] for server in (one, other)))
        command(home, "promote", "iris", "1")
        eventually(lambda: settled(one, "1", 2) and settled(other, "1", 1))
        assert {server.ask("/predict", BODY.encode())[0] for server in (one, other)} == {200}
        assert [record.traffic for record in history.read(home)] == [{"2": 1.0}, {"3": 1.0}, {"1": 1.0}]


@pytest.mark.parametrize("direct", [False, True], ids=["main process", "workers"])
def test_hangup(home, tmp_path, direct):
    """SIGHUP makes every worker look at once, where it would never look by itself; none is replaced."""
    with serving(tmp_path, *WORKERS, "--reload-seconds", "0", models=home.parent) as server:
        workers = server.workers()
        eventually(lambda: settled(server, "2"))
        write(home, "load = [1]")
        for pid in workers if direct else [server.process.pid]:
            os.kill(pid, signal.SIGHUP)
        eventually(lambda: settled(server, "1"))
        assert server.workers() == workers


def test_worker_killed_in_the_middle_of_a_reload(home, tmp_path, models):
    """Its successor serves what the others serve; nobody is answered wrongly meanwhile."""
    write(home, "[labels]\nstable = 1")
    with serving(tmp_path, *WORKERS, models=home.parent) as server:
        shelve(models, home, *["forest"] * 40, first=3)
        right = answers(server)["1"]
        with Load(server) as load:
            write(home, 'load = "all"\n[labels]\nstable = 42')
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: "version 9" not in server.printed())
            kill_one(server)
            eventually(lambda: settled(server, "42"))
        new = answers(server)["42"]
    assert set(load.answers) == {(200, "1", right), (200, "42", new)}


def test_figures_add_up(home, tmp_path):
    """What all workers count is what the clients counted, also of a worker that was killed since."""
    (tmp_path / "tmp").mkdir()
    shared = set(Path("/dev/shm").iterdir())
    with serving(tmp_path, *WORKERS, models=home.parent) as server:
        sent = Counter()
        for _ in range(2):
            for _ in range(100):
                sent["200"] += server.ask("/predict", BODY.encode())[0] == 200
                sent["400"] += server.ask("/models/iris/predict", b"{")[0] == 400
                sent["404"] += server.ask("/nowhere")[0] == 404
            found = metrics(server)
            assert counted(found) == sent
            kill_one(server)
            eventually(lambda: settled(server, "2"))
        assert counted(metrics(server)) == sent
        assert found["unpickled_rows_total", "iris", "2"] == 200
        assert found["unpickled_predictions_total", "0", "iris", "2"] == 200
        os.killpg(server.process.pid, signal.SIGKILL)
    assert set(Path("/dev/shm").iterdir()) == shared


def counted(found: dict[tuple[str, ...], float]) -> dict[str, float]:
    """Requests by status, as far as the test makes them."""
    totals: Counter[str] = Counter()
    for (name, *labels), value in found.items():
        if name == "unpickled_requests_total" and labels[1] in ("/predict", "/models/<name>/predict", ""):
            totals[labels[2]] += value
    return {status: totals[status] for status in ("200", "400", "404")}
