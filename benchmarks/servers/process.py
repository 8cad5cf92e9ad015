"""A server as a process on a core of its own, with its CPU time and memory from /proc."""

import contextlib
import http.client
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.errors import BenchmarkError

# A variable that marks all processes of a server, even those that leave its session and their parent.
MARK = "BENCHMARKED_BY"
PATIENCE = 300.0
MIB = 1024 * 1024


@dataclass(frozen=True)
class Memory:
    """Memory of a server: ``resident_mb`` of the largest process (RSS), ``tree_mb`` of all together (PSS)."""

    resident_mb: float
    tree_mb: float
    processes: int


@dataclass
class Server:
    """A running server. ``ready_s``: seconds from its start to the first answer."""

    port: int
    process: psutil.Popen
    mark: str
    log: Path
    started: float
    ready_s: float = 0.0

    def processes(self) -> list[psutil.Process]:
        """The process that was started and its descendants: those of its session or with its mark."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        # A process that sets its title may overwrite its environment.
        try:
            marked = bool(process.environ().get(MARK) == self.mark)
            return marked or os.getsid(process.pid) == self.process.pid
        except (psutil.Error, OSError):
            return False

    def cpu_seconds(self) -> float:
        """User and system time of all its processes so far, including those that have ended."""
        return sum(sum(times[:4]) for times in map(_cpu_times, self.processes()))

    def memory(self) -> Memory:
        """The memory of its processes; BenchmarkError where there are none."""
        memories = [memory for memory in map(_memory, self.processes()) if memory]
        if not memories:
            raise BenchmarkError(f"it ended: {self.last_words()}")
        resident, proportional = zip(*memories, strict=True)
        return Memory(round(max(resident) / MIB, 1), round(sum(proportional) / MIB, 1), len(memories))

    def post(self, path: str, body: bytes, timeout: float = 60.0) -> tuple[int, bytes]:
        """(status, content) of one request on a connection of its own; raises OSError, HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def last_words(self) -> str:
        """The last line that it wrote, for an error."""
        lines = [line.strip() for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "it wrote nothing"


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], core: int | None, port: int, log: Path
) -> Iterator[Server]:
    """Run a server for the block, and end all of its processes after it."""
    mark = uuid.uuid4().hex
    started = time.monotonic()
    with log.open("wb") as output:
        process = psutil.Popen(
            list(command),
            env={**environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
    server = Server(port, process, mark, log, started)
    try:
        yield server
    finally:
        end(server)


def wait(server: Server, path: str, body: bytes) -> None:
    """Wait for the first 200, and set ``ready_s``; BenchmarkError where the server ends or never answers."""
    while time.monotonic() - server.started < PATIENCE:
        if server.process.poll() is not None:
            raise BenchmarkError(f"it ended with status {server.process.returncode}: {server.last_words()}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if server.post(path, body)[0] == 200:
                server.ready_s = time.monotonic() - server.started
                return
        time.sleep(0.005)
    raise BenchmarkError(f"it did not answer 200 within {PATIENCE:.0f} s: {server.last_words()}")


def end(server: Server, grace: float = 15.0) -> None:
    """Terminate the process that was started, then its descendants, then kill those that remain."""
    with contextlib.suppress(psutil.NoSuchProcess):
        server.process.terminate()
    with contextlib.suppress(psutil.TimeoutExpired):
        server.process.wait(grace)
    for finish in (psutil.Process.terminate, psutil.Process.kill):
        processes = server.processes()
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                finish(process)
        psutil.wait_procs(processes, timeout=grace)


def leftovers() -> list[int]:
    """Processes of an earlier run that was killed, or of another run that still goes on."""
    pids = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if MARK in process.environ():
                pids.append(process.pid)
    return pids


def refuse_leftovers(remedy: str) -> None:
    """Raise BenchmarkError, with a remedy, where a server of another run would disturb this one."""
    if pids := leftovers():
        processes = ", ".join(map(str, pids))
        raise BenchmarkError(f"servers of another run exist (processes {processes}): {remedy}")


def _cpu_times(process: psutil.Process) -> Sequence[float]:
    try:
        return tuple(process.cpu_times())
    except psutil.NoSuchProcess:
        return (0.0,)


def _memory(process: psutil.Process) -> tuple[int, int] | None:
    """(RSS, PSS) in bytes; where there is no PSS, RSS."""
    try:
        full = process.memory_full_info()
        return int(full.rss), int(getattr(full, "pss", full.rss))
    except psutil.Error:
        return None
