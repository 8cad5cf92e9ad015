"""All cores of this machine: a process for each, which gets part after part."""

import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec

from unpickled.server.batch.engines.hand import Message
from unpickled.server.batch.task import Part, Result, Task
from unpickled.server.batch.worker import Worker
from unpickled.server.errors import ServingError

_PROGRAM = "unpickled.server.batch.engines.hand"
# How often a part is tried whose process ends without a word.
_TRIES = 2


class Local:
    """Scores parts in processes of this machine; one part, or with one worker, in this process.

    Args:
        workers: How many parts are scored at once. Where there are fewer parts, each has several threads.
        program: The module that each process runs.
    """

    def __init__(self, workers: int, program: str = _PROGRAM) -> None:
        self._workers, self._program = workers, program

    def run(self, task: Task, parts: Sequence[Part], told: Callable[[int], None]) -> Iterator[Result]:
        """The result of each part. See ``Engine`` in engines/engine.py."""
        if not parts:
            return
        threads = max(1, self._workers // len(parts))
        if self._workers == 1 or len(parts) == 1:
            worker = Worker(task, threads)
            for part in parts:
                yield worker.score(part, told)
            return
        command = [sys.executable, "-P", "-m", self._program, str(threads)]
        crew = _Crew(task, parts, min(self._workers, len(parts)), command)
        try:
            yield from crew.results(told)
        finally:
            crew.end()


class _Ended(msgspec.Struct):
    """A process has ended while it scored a part."""

    part: Part
    status: int


class _Crew:
    """Processes, and a thread beside each that hands it parts."""

    def __init__(self, task: Task, parts: Sequence[Part], count: int, command: list[str]) -> None:
        self._task, self._left, self._count = task, deque(parts), len(parts)
        self._tries: dict[str, int] = {}
        self._command = command
        self._said: queue.SimpleQueue[Message | _Ended] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._lock, self._is_over = threading.Lock(), False
        self._threads = [threading.Thread(target=self._lead, args=(place,)) for place in range(count)]
        for thread in self._threads:
            thread.start()

    def results(self, told: Callable[[int], None]) -> Iterator[Result]:
        """The result of each part; ServingError where one cannot be scored."""
        done = 0
        while done < self._count:
            said = self._said.get()
            if isinstance(said, _Ended):
                raise ServingError(
                    f"{said.part.source}: the process that scored it has ended {_TRIES} times "
                    f"({_status(said.status)}): if memory is short, take fewer --workers"
                )
            if said.error:
                raise ServingError(said.error)
            told(said.rows)
            if said.result is not None:
                done += 1
                yield said.result

    def end(self) -> None:
        """End all processes and threads."""
        with self._lock:
            self._is_over = True
            self._left.clear()
            for process in self._processes.values():
                process.kill()
        for thread in self._threads:
            thread.join()

    def _lead(self, place: int) -> None:
        try:
            self._work(place)
        except OSError as error:
            self._said.put(Message(error=f"no process can be started: {error.strerror}"))

    def _work(self, place: int) -> None:
        """Hand parts to a process, and start another one where it ends."""
        while part := self._next():
            process = self._processes.get(place) or self._start(place)
            if process is None or self._hand(process, part):
                continue
            status = process.wait()
            self._processes.pop(place)
            _close(process)
            self._lost(part, status)
        if process := self._processes.get(place):
            _close(process)
            process.wait()

    def _next(self) -> Part | None:
        with self._lock:
            return None if self._is_over or not self._left else self._left.popleft()

    def _start(self, place: int) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._is_over:
                return None
            # In a group of its own: Ctrl-C ends the command, which ends its processes.
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                process_group=0,
            )
            self._processes[place] = process
        _send(process, self._task)
        return process

    def _hand(self, process: "subprocess.Popen[bytes]", part: Part) -> bool:
        """Have a part scored, and pass on what the process says; False if it ends before it is done."""
        assert process.stdout is not None
        _send(process, part)
        for line in process.stdout:
            with suppress(msgspec.MsgspecError):
                message = msgspec.json.decode(line, type=Message)
                self._said.put(message)
                if message.is_last:
                    return True
        return False

    def _lost(self, part: Part, status: int) -> None:
        with self._lock:
            if self._is_over:
                return
            self._tries[part.source] = self._tries.get(part.source, 0) + 1
            if self._tries[part.source] < _TRIES:
                self._left.append(part)
                return
        self._said.put(_Ended(part, status))


def _send(process: "subprocess.Popen[bytes]", value: Task | Part) -> None:
    assert process.stdin is not None
    # A process that has ended is found out about when it is read from.
    with suppress(OSError):
        process.stdin.write(msgspec.json.encode(value) + b"\n")
        process.stdin.flush()


def _close(process: "subprocess.Popen[bytes]") -> None:
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with suppress(OSError):
            stream.close()


def _status(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"
