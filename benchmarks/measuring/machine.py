"""The machine, the versions and the commit of a run."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import psutil

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import generators
from benchmarks.results import Commit, Machine

ROOT = Path(__file__).parent.parent.parent
MEASURED = (
    "unpickled", "flask", "granian", "gunicorn", "onnxruntime", "scikit-learn", "lightgbm", "numpy", "locust",
)  # fmt: skip


def cores(pinned: bool) -> tuple[int | None, int | None]:
    """(core of the server, core of the generator), None if not pinned; BenchmarkError for a single core."""
    if not pinned:
        return None, None
    if not hasattr(os, "sched_getaffinity"):
        raise BenchmarkError(f"{platform.system()} pins no process to a core: add --unpinned")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchmarkError(
            "one core is too few: the server needs one and the load generator another (--unpinned measures "
            "on one core, where each disturbs the other)"
        )
    server = allowed[0]
    # Threads of one physical core share its arithmetic units.
    apart = [core for core in allowed[1:] if core not in _siblings(server)]
    return server, (apart or allowed[1:])[0]


def _siblings(core: int) -> set[int]:
    """The hardware threads of the same physical core, where Linux lists them."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    threads: set[int] = set()
    with contextlib.suppress(OSError, ValueError):
        for part in path.read_text("ascii").strip().split(","):
            first, _, last = part.partition("-")
            threads |= set(range(int(first), int(last or first) + 1))
    return threads


def describe(server_core: int | None, generator_core: int | None) -> Machine:
    """The machine of a run."""
    return Machine(
        processor=_processor(),
        cores=_cores(),
        memory_mb=psutil.virtual_memory().total // 2**20,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        server_core=-1 if server_core is None else server_core,
        generator_core=-1 if generator_core is None else generator_core,
    )


def versions(generator: str) -> dict[str, str]:
    """The versions of the packages of this environment that take part, and of the generator."""
    names = {"python": platform.python_version()}
    for name in MEASURED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            names[name] = importlib.metadata.version(name)
    if generator != "locust":
        names[generator] = generators.version(generator)
    return names


def commit() -> Commit | None:
    """The commit that is checked out, clean despite changed results and README; None without git."""
    try:
        head = _git("rev-parse", "HEAD")
        changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!README.md")
    except (OSError, subprocess.CalledProcessError):
        return None
    return Commit(id=head, clean=not changed)


def _cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _processor() -> str:
    with contextlib.suppress(OSError):
        match = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()
