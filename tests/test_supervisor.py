"""The main process: workers that die or hang are replaced, signals are followed, addresses have one owner."""

import contextlib
import fcntl
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, eventually, free_port, halt, serving, shelve, started
from handmade import slow, store
from test_interrupts import PAGE
from test_server import DEFAULT, is_answered

from unpickled.server.config import Config
from unpickled.server.process.heartbeat import Heartbeat, State
from unpickled.server.process.place import Place, cause
from unpickled.server.process.pulse import Pulse
from unpickled.server.process.quarantine import Notes, Quarantine
from unpickled.server.process.renewal import Renewal
from unpickled.server.service import Service


def test_pauses_grow_and_end():
    """A worker that ends at once again and again is restarted after growing pauses, at most 30 s."""
    place = Place(0, 1, Heartbeat(2), 30)
    assert [place.empty(float(now)) for now in range(10)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert (place.due, place.report(9.0).state, place.report(9.0).starts_in) == (39.0, "waiting", 30.0)


def test_a_machine_that_sleeps_makes_no_worker_hang():
    """Silence is counted in short steps of the main process, begins with a first beat and ends with one."""
    heartbeat = Heartbeat(2)
    place = Place(1, 1, heartbeat, 2)
    with started([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        place.fill(process, 0.0)
        assert [place.listen(1.0) for _ in range(5)] == [False] * 5
        heartbeat.beat(1, State.READY)
        assert [place.listen(1.0) for _ in range(4)] == [False, False, True, True]
        assert (place.report(0.0).state, place.lives) == ("hung", False)
        heartbeat.beat(1, State.READY)
        assert (place.listen(1.0), place.lives, heartbeat.beats(0)) == (False, True, 0)
        process.communicate(b"\n")
    place.process = None


def test_a_worker_is_ready_once_it_listens():
    """Models that are loaded make no worker ready, before a client can connect to it."""
    heartbeat = Heartbeat(1)
    place = Place(0, 1, heartbeat, 30)
    with started([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        place.fill(process, 0.0)
        heartbeat.beat(0, State.READY)
        assert place.report(0.0).state == "starting"
        heartbeat.listen(0)
        assert place.report(0.0).state == "ready"
        process.communicate(b"\n")
    place.process = None


def beat(heartbeat: Heartbeat, slot: int) -> None:
    """Work as a worker that is ready and listens, until a signal ends it."""
    heartbeat.beat(slot, State.READY)
    heartbeat.listen(slot)
    signal.pause()


@pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")
def test_renewal():
    """Sound workers are replaced one by one: each ends after another one has taken over."""
    heartbeat, context = Heartbeat(4), multiprocessing.get_context("fork")
    places = [Place(index, 2, heartbeat, 30) for index in range(2)]

    def start(slot: int) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=beat, args=(heartbeat, slot), daemon=True)
        process.start()
        return process

    for place in places:
        place.fill(start(place.slot), 0.0)
    eventually(lambda: all(heartbeat.beats(slot) for slot in range(2)))
    before = [place.process.pid for place in places]
    renewal = Renewal(places, start, heartbeat, delay=0.0, timeout=PATIENCE)
    renewal.begin()
    lives: list[int] = []
    eventually(lambda: turned(renewal, places, lives) and [place.slot for place in places] == [2, 3])
    eventually(lambda: turned(renewal, places, lives) and not [*renewal.processes()])
    assert not {place.process.pid for place in places} & {*before}
    assert (min(lives), max(lives)) == (2, 3)
    for place in places:
        place.process.kill()
        place.process.join()


@pytest.mark.filterwarnings("ignore:This process.* is multi-threaded:DeprecationWarning")
def test_a_successor_has_to_listen():
    """However long a new worker has run, the one before goes on until the new one takes connections."""
    heartbeat, context = Heartbeat(2), multiprocessing.get_context("fork")
    place = Place(0, 1, heartbeat, 30)
    old, new = (context.Process(target=signal.pause, daemon=True) for _ in range(2))
    old.start()
    new.start()
    place.fill(old, 0.0)
    renewal = Renewal([place], lambda slot: new, heartbeat, delay=0.0, timeout=PATIENCE)
    renewal.begin()
    for _ in range(100):
        heartbeat.beat(1, State.READY)
        renewal.go_on(0.0)
    assert place.process is old
    heartbeat.listen(1)
    renewal.go_on(0.0)
    assert (place.process, place.slot) == (new, 1)
    for process in (old, new):
        process.kill()
        process.join()


def test_a_shared_socket_tells_nothing(models):
    """Where a socket listened before its worker began, two seconds of beats say that the worker does."""
    service, heartbeat = Service(Config.of(models=str(models.path), default_model="iris")), Heartbeat(1)
    with socket.create_server(("127.0.0.1", 0)):
        pulse = Pulse(service, heartbeat, Notes(Quarantine(1, 1), 0), 0)
        shown = []
        for _ in range(9):
            shown.append(heartbeat.listens(0))
            pulse.beat()
    assert shown == [False] * 8 + [True]


def turned(renewal: Renewal, places: list[Place], lives: list[int]) -> bool:
    """Take a step, and note how many workers there are."""
    renewal.reap(0.0)
    renewal.go_on(0.0)
    lives.append(len(places) + len([*renewal.processes()]))
    return True


@pytest.mark.parametrize(("status", "words"), [(0, "status 0"), (-9, "SIGKILL"), (-42, "signal 42")])
def test_causes(status, words):
    """The log names the signal that ended a worker, or its status."""
    assert cause(status) == words


def kill(server) -> list[int]:
    """Kill all workers at once, and wait until others are there; their process ids."""
    killed = server.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(server.workers()) == len(killed) and not {*server.workers()} & {*killed})
    return server.workers()


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_killed_again_and_again(models, tmp_path, workers):
    """However often all workers are killed, others replace them, later each time; the log says when."""
    with serving(tmp_path, *DEFAULT, "--workers", str(workers), models=models.path) as server:
        for _ in range(4):
            kill(server)
        eventually(lambda: is_answered(server))
        pauses = re.findall(
            r"worker 1 \(process \d+\) ended \(SIGKILL\): it is replaced (.*)", server.printed()
        )
        assert len(pauses) >= 3
        assert pauses == ["now", "in 0.5 s", "in 1 s", "in 2 s"][: len(pauses)]
    assert server.process.returncode == 0


def test_a_worker_that_hangs_is_replaced(models, tmp_path):
    """A worker that is stopped gives no sign of life: it is killed, replaced, and requests are answered."""
    with serving(tmp_path, *DEFAULT, "--hang-timeout", "6", models=models.path) as server:
        (before,) = server.workers()
        halt(before)
        eventually(lambda: server.workers() not in ([], [before]))
        eventually(lambda: is_answered(server))
        assert f"worker 1 (process {before}) gives no sign of life for 6 s: it is killed" in server.printed()
        assert "ended (hung): it is replaced now" in server.printed()


def test_a_worker_that_never_serves_ends_the_server(tmp_path):
    """A worker that cannot even start ends the server with status 1: nobody has relied on it yet."""
    # They load for many seconds, so that each worker is killed before it could serve.
    for number in range(8):
        store(tmp_path / "models", f"slow{number}", slow(3000))
    with serving(tmp_path, models=tmp_path / "models", wait=False) as server:
        for _ in range(2):
            (worker,) = eventually_some(server)
            os.kill(worker, signal.SIGKILL)
            eventually(lambda worker=worker: server.ended() or worker not in server.workers())
        assert server.process.wait(PATIENCE) == 1
        assert "before it could serve: the server ends" in server.printed()


def eventually_some(server) -> list[int]:
    """The process ids of the workers, once there is one."""
    eventually(server.workers)
    return server.workers()


def test_a_worker_drains_for_its_main_process_alone(models, tmp_path):
    """The signal to drain leaves a worker as it is if somebody else sends it: nothing would end the drain."""
    home = shelve(models, tmp_path / "models" / "iris", "iris")
    with serving(tmp_path, *DEFAULT, "--reload-seconds", "0", models=tmp_path / "models") as server:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGUSR1)
        for version in (2, 3):
            # At the second one, the worker has taken the signal before.
            shelve(models, home, "forest", first=version)
            os.kill(worker, signal.SIGHUP)
            eventually(lambda version=version: server.ask("/models/iris")[1]["versions"] == [version])
        assert server.ask("/readyz")[0] == 200


@pytest.mark.parametrize("times", [3, pytest.param(40, marks=pytest.mark.long)])
def test_no_signal_is_lost(models, tmp_path, times):
    """SIGTERM right behind SIGHUP ends the server every time."""
    for turn in range(times):
        with serving(tmp_path, *DEFAULT, "--drain-delay", "0", models=models.path) as server:
            for _ in range(turn % 4):
                server.process.send_signal(signal.SIGHUP)
            server.process.send_signal(signal.SIGHUP)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE) == 0


NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs namespaces")
@pytest.mark.parametrize("imported", [b"msgspec", b"click", b"onnxruntime"])
def test_the_first_process_of_a_container_ends(models, imported):
    """SIGTERM ends the server while it imports, even as process 1, whose signals have no default effect."""
    if subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("only root may make a namespace of processes")
    command = [*NAMESPACE, sys.executable, "-X", "importtime", "-m", "server"]
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PAGE)
    with (
        started(command, cwd=ROOT, stderr=writing) as process,
        open(reading, "rb", buffering=0) as printed,
    ):
        os.close(writing)
        while imported not in printed.readline():
            assert process.poll() is None
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        printed.read()
        assert process.wait(PATIENCE) == 143


@pytest.mark.parametrize("kind", ["port", "wildcard", "socket"])
def test_an_address_has_one_server(models, tmp_path, kind):
    """If four servers start at once on one address, one serves and the others say that it is taken."""
    command = [sys.executable, "-m", "server", "--models", str(models.path), "--port", str(free_port())]
    more = {"port": [], "wildcard": ["--host", "0.0.0.0"], "socket": ["--uds", str(tmp_path / "one.sock")]}[
        kind
    ]
    log = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        flags = [more, [] if kind == "wildcard" else more] * 2
        processes = [
            stack.enter_context(started([*command, *words], cwd=ROOT, stdout=output, stderr=output))
            for words in flags
        ]
        eventually(lambda: [process.poll() for process in processes].count(1) >= 3)
        eventually(lambda: "Unpickled serves" in log.read_text())
        assert [process.poll() for process in processes].count(None) == 1
    assert len(re.findall("error: .*(?:in use|another server)", log.read_text())) == 3
