"""What a process has started ends with it: also where it is killed, and has no time to end anything.

Whatever is started inherits a variable, through all processes and sessions that come between. A small process
waits for the end of the one that it guards, and then kills whatever has the variable. Linux only: other
systems do not show the environment of a process.
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

# The names of all that a process ends with: of what guards it, of what guards that, and so on.
ENDS_WITH = "ENDS_WITH"
# One that is just being started has its parent's environment for a moment.
MOMENT = 0.05


@functools.cache
def guard() -> None:
    """Whatever this process starts from now on ends with it."""
    if not Path("/proc/self/environ").exists():
        return
    name = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", __file__, name]
    # It is to outlive everything: who guards this process must not end it, nor a signal to all of a group.
    environment = {key: value for key, value in os.environ.items() if key != ENDS_WITH}
    theirs, ours = os.pipe()
    warden = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    os.register_at_fork(after_in_child=functools.partial(os.close, ours))
    os.environ[ENDS_WITH] = f"{os.environ.get(ENDS_WITH, '')}:{name}"
    atexit.register(_end, ours, warden)


def _end(line: int, warden: "subprocess.Popen[bytes]") -> None:
    os.close(line)
    warden.wait()


def ending_with(name: str) -> list[int]:
    """The processes that end with the one of that name."""
    return [pid for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))) if name in _names(pid)]


def _names(pid: int) -> list[str]:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            key, _, value = line.partition(b"=")
            if key == ENDS_WITH.encode():
                return value.decode().split(":")
    return []


def _wait(name: str) -> None:
    """Until the other end of the pipe is closed, which nobody else has; then kill what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.read(0, 1)
    quiet = 0
    while quiet < 2:
        found = ending_with(name)
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        quiet = 0 if found else quiet + 1
        time.sleep(MOMENT)


if __name__ == "__main__":
    _wait(sys.argv[1])
