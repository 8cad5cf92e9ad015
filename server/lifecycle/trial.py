"""A process that loads new contents before a process that answers requests does.

The operators that an export writes can still ask for any amount of memory (a tensor beside itself, doubled
thirty times), compute for hours, or end a process (a quotient that is no int64). In a process of its own with
bounded memory and time, such a content ends that process, and nobody waits for it.
"""

import logging
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from typing import IO

from unpickled.server.errors import ArtifactError
from unpickled.server.model import session
from unpickled.server.system import resource

logger = logging.getLogger("unpickled")

# Seconds for any content, and bytes that are loaded in a second more. Here a forest of 13 MB takes 0.4 s.
_SECONDS, _BYTES_PER_SECOND = 60.0, 250_000
# Bytes of memory for any content, and for each of its bytes. Here a forest takes 9 for each.
_MEMORY, _MEMORY_PER_BYTE = 1 << 30, 32

_READY = b"ready\n"
_HEAD = struct.Struct("<Qd")
# The path of this process leads to the same modules, whatever the working directory and the variables are.
_PROGRAM = """
import sys
sys.path[:] = sys.argv[1:]
from unpickled.server.lifecycle import trial
trial.main()
"""


class Trial:
    """A process that tries one content after the other; it starts with the first, and ends with ``close``.

    Args:
        seconds: The time that each content has, beyond that for its size.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._impossible = False

    def check(self, data: bytes) -> bool:
        """Raise ArtifactError unless the other process can load the content, and lives on.

        Returns whether it was tried: where no process can be started it is not, and the log says so once.
        """
        if self._process is not None and self._process.poll() is not None:
            # It has ended without any content: the system was short of memory, for one.
            self.close()
        process = self._process or self._started()
        if process is None:
            return False
        assert process.stdin is not None
        assert process.stdout is not None
        seconds = self._seconds + len(data) / _BYTES_PER_SECOND
        with suppress(BrokenPipeError):
            process.stdin.write(_HEAD.pack(len(data), seconds))
            process.stdin.write(data)
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            self.close()
            raise ArtifactError(_ending(process.returncode, seconds))
        if refusal := answer.decode().strip():
            raise ArtifactError(refusal)
        return True

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(BrokenPipeError):
                process.communicate()

    def _started(self) -> "subprocess.Popen[bytes] | None":
        if self._impossible:
            return None
        command = [sys.executable, "-I", "-c", _PROGRAM, *sys.path]
        try:
            # The interpreter starts anew: a fork of a process with threads might wait for ever.
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            self._give_up(str(error))
            return None
        assert process.stdout is not None
        if process.stdout.readline() != _READY:
            process.kill()
            process.communicate()
            self._give_up(f"{sys.executable} ended with {process.returncode}")
            return None
        self._process = process
        return process

    def _give_up(self, reason: str) -> None:
        self._impossible = True
        logger.warning("new model files are loaded without a trial in another process: %s", reason)


def _ending(status: int, seconds: float) -> str:
    """Why a content is refused that has ended the process that tried it."""
    if status == -signal.SIGALRM:
        return f"it could not be loaded within {seconds:.0f} seconds"
    cause = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"it ended the process that tried to load it ({cause})"


def main() -> None:
    """Read contents from stdin, each behind its length and its time; answer each with why it is refused."""
    # Nothing that a library prints may look like an answer.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _be_first()
    answers.write(_READY)
    while head := sys.stdin.buffer.read(_HEAD.size):
        size, seconds = _HEAD.unpack(head)
        data = sys.stdin.buffer.read(size)
        # Without a handler the signal ends the process, wherever it is.
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _bound_memory(size)
        refusal = ""
        try:
            session.load(data)
        except ArtifactError as error:
            refusal = str(error)
        except MemoryError:
            refusal = "it takes more memory than a model of its size"
        signal.setitimer(signal.ITIMER_REAL, 0)
        _answer(answers, refusal)


def _answer(answers: IO[bytes], refusal: str) -> None:
    """Write one line, which is empty for a content that is not refused."""
    answers.write(" ".join(refusal.split()).encode(errors="replace") + b"\n")


def _be_first() -> None:
    """Have the system end this process, and none that answers requests, where it runs out of memory."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _bound_memory(size: int) -> None:
    """Bound what the process may take beyond what it has, where the system tells how much that is."""
    with suppress(OSError):
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        limit = pages * os.sysconf("SC_PAGESIZE") + _MEMORY + _MEMORY_PER_BYTE * size
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
