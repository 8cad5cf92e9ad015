"""The machine, or the part of it that the container of this process may use."""

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def processors(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """How many processors this process may use, by its affinity and the quotas of its control groups."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _groups(cgroups, own, "cpu"):
        quota, period = _quota(folder)
        if quota > 0 and period > 0:
            allowed = max(1, min(allowed, -(-quota // period)))
    return allowed


def memory(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Bytes of memory that this process may use, by the machine and the limits of its control groups."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _groups(cgroups, own, "memory"):
        # Version 2 and version 1 of control groups; "max", or a number beyond all memory, is no limit.
        limits += [*_numbers(folder / "memory.max"), *_numbers(folder / "memory.limit_in_bytes")]
    return min(limit for limit in limits if limit > 0)


def _groups(cgroups: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of all groups to which this process belongs for a controller, of both versions.

    In a namespace of its own a container sees its group as the root; without one, by its path on the host.
    """
    yield from (cgroups, cgroups / controller)
    try:
        lines = own.read_text("utf-8").splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        group = root / path.lstrip("/")
        while root in group.parents:
            yield group
            group = group.parent


def _quota(folder: Path) -> tuple[int, int]:
    """Microseconds of processors in each period, and the period; 0 where there is no quota."""
    quota = [*_numbers(folder / "cpu.max"), *_numbers(folder / "cpu.cfs_quota_us")]
    quota += _numbers(folder / "cpu.cfs_period_us")
    return (quota[0], quota[1]) if len(quota) == 2 else (0, 0)


def _numbers(file: Path) -> list[int]:
    """The numbers in a file; none if it is not there."""
    try:
        return [int(word) for word in file.read_text("ascii").split() if word.lstrip("-").isdigit()]
    except (OSError, ValueError):
        return []
