"""A machine inside this one with a real systemd: namespaces, and a layer over the files."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT, eventually, run, started

SYSTEMD = Path("/lib/systemd/systemd")
BOOT = ROOT / "tests" / "boot.sh"
_NAMESPACES = ["--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup"]
_UNSHARE = ["unshare", *_NAMESPACES, "--fork", "--kill-child"]
_ENTER = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
# Joins a control group, in which its namespace begins, and becomes the program.
_JOIN = 'echo $$ > "$0/cgroup.procs"; exec "$@"'


@dataclass(frozen=True)
class Machine:
    """A running one; ``init`` is the id of its first process, seen from here."""

    init: int

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a line of the shell there, in a checkout."""
        script = f"cd /opt/source/unpickled; {command}"
        return run(["nsenter", f"--target={self.init}", *_ENTER, "bash", "-euc", script])

    def prints(self, command: str) -> str:
        """The output of a line of the shell there; AssertionError where it fails."""
        completed = self.run(command)
        assert completed.returncode == 0, f"{command}\n{completed.stdout}{completed.stderr}"
        return completed.stdout.strip()


def groups() -> Path | None:
    """Where the control groups of version 2 are, and this process in them; None where there are none."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mounted = [Path(line[1]) for line in lines if line[2] == "cgroup2"]
    own = [line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    return mounted[0] / own[0].lstrip("/") if mounted and own else None


def can_boot() -> bool:
    """Whether this is a Linux machine with systemd whose root may make namespaces and groups."""
    programs = all(map(shutil.which, ("unshare", "nsenter", "ip", "pivot_root")))
    if not (programs and SYSTEMD.exists() and os.geteuid() == 0 and groups()):
        return False
    return os.access(str(groups()), os.W_OK) and run([*_UNSHARE, "true"]).returncode == 0


@contextlib.contextmanager
def machine(folder: Path, models: Path) -> Iterator[Machine]:
    """A machine with the unit's program in /opt/unpickled; ``models`` are in models/ of its checkout.

    Its processes end with the block, whatever they do.
    """
    parent, layer = groups(), folder / "layer"
    assert parent is not None
    group = parent / f"machine-{os.getpid()}"
    group.mkdir()
    layer.mkdir()
    places = [layer, ROOT, Path(sys.prefix), Path(sys.base_prefix), models]
    command = ["bash", "-c", _JOIN, group, *_UNSHARE, "bash", BOOT, *places]
    log = folder / "boot.log"
    try:
        with log.open("wb") as output, started(command, stdout=output, stderr=output) as process:
            try:
                yield _booted(process, log)
            finally:
                # It waits for its child, and heeds no SIGTERM; the first process of the machine dies with it.
                process.kill()
    finally:
        eventually(lambda: _removed(group))


def _booted(process: "subprocess.Popen[bytes]", log: Path) -> Machine:
    """The machine once its systemd takes orders."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    eventually(lambda: process.poll() is not None or children.read_text())
    assert process.poll() is None, log.read_text()
    machine = Machine(int(children.read_text()))
    active = "systemctl is-active machine.target"
    eventually(lambda: process.poll() is not None or machine.run(active).returncode == 0)
    assert process.poll() is None, log.read_text()
    return machine


def _removed(group: Path) -> bool:
    """Whether a control group and those within it are gone: a process that is just ending holds its own."""
    for folder, *_ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not group.exists()
