"""A guard that ends the descendants of a process together with it, even where it is killed.

Descendants inherit an environment variable, whatever parents and sessions they have. A small process, the
warden, waits for the end of the guarded process, and then kills every process with the variable. This works
on Linux alone: other systems do not show the environment of a process.
"""

import atexit
import functools
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

# The names of all guarded ancestors of a process, each of which it ends with.
ENDS_WITH = "ENDS_WITH"
# Seconds; a process that is just being started has the environment of its parent.
MOMENT = 0.05


@functools.cache
def guard() -> None:
    """End every process that this one starts from now on together with it."""
    if not Path("/proc/self/environ").exists():
        return
    name = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", __file__, name]
    # The warden has to outlive the others: no outer guard, and no signal to a group, may end it.
    environment = {key: value for key, value in os.environ.items() if key != ENDS_WITH}
    reader, writer = os.pipe()
    warden = subprocess.Popen(
        command,
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,
    )
    os.close(reader)
    os.register_at_fork(after_in_child=functools.partial(os.close, writer))
    os.environ[ENDS_WITH] = f"{os.environ.get(ENDS_WITH, '')}:{name}"
    atexit.register(_end, writer, warden)


def _end(writer: int, warden: "subprocess.Popen[bytes]") -> None:
    os.close(writer)
    warden.wait()


def ending_with(name: str) -> list[int]:
    """The processes that end with the guarded process of that name."""
    return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if name in _names(pid)]


def _names(pid: int) -> list[str]:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            key, _, value = line.partition(b"=")
            if key == ENDS_WITH.encode():
                return value.decode().split(":")
    return []


def _wait(name: str) -> None:
    """Wait until the guarded process, the only writer of the pipe, ends; then kill its descendants."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(0, 1)
    quiet = 0
    while quiet < 2:
        pids = ending_with(name)
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if pids else quiet + 1
        time.sleep(MOMENT)


if __name__ == "__main__":
    _wait(sys.argv[1])
