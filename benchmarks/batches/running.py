"""One run of a command: its seconds, and the memory of all of its processes while it runs."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.errors import BenchmarkError, last_line

# Seconds between two looks at the memory.
_PERIOD = 0.25
_MIB = 1024 * 1024


class Finished(NamedTuple):
    """A command that has ended: its seconds, and pairs of seconds since its start and MiB in memory."""

    seconds: float
    memory: list[tuple[float, float]]


def finished(command: Sequence[str | Path], cwd: Path) -> Finished:
    """Run a command to its end. Raises BenchmarkError where it fails."""
    memory: list[tuple[float, float]] = []
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # A command may be over before the thread's first look.
        _look(process.pid, started, memory)
        over = threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, started, memory, over))
        watcher.start()
        try:
            _, errors = process.communicate()
        except BaseException:
            process.terminate()
            raise
        finally:
            over.set()
            watcher.join()
    if process.returncode:
        raise BenchmarkError(f"{command[1]} failed: {last_line(errors)}")
    return Finished(time.monotonic() - started, memory)


def _watch(pid: int, started: float, memory: list[tuple[float, float]], over: threading.Event) -> None:
    while not over.wait(_PERIOD):
        _look(pid, started, memory)


def _look(pid: int, started: float, memory: list[tuple[float, float]]) -> None:
    """Note the memory of a process and its children; pages that they share count once for each."""
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    if total:
        memory.append((time.monotonic() - started, total / _MIB))
