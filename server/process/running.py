"""The requests that this process answers, and whether others still queue for a thread.

The HTTP server runs each request in a thread of its own and keeps further ones in a queue, first come, first
served; it tells of neither. Looking at the frames of all threads costs a request nothing.
"""

import sys
import threading
from time import monotonic
from types import FrameType
from typing import NamedTuple

from unpickled.server.message import body
from unpickled.server.model import row, session
from unpickled.server.serve import noted
from unpickled.server.system import resource

# Time that a request may need from its last byte to the queue, and from the queue to a thread.
SLACK = 1.0
# Seconds that a thread of the HTTP server may rest before it ends: the most that granian takes.
REST = 600
# Seconds after which a request that the HTTP server may have left in its queue is given up: see prove.
_GIVEN_UP = 60.0
# Outermost function of every thread that Python itself has started.
_BOOTSTRAP = threading.Thread._bootstrap.__code__  # type: ignore[attr-defined]
# The functions that wait for bytes.
_READING = (*body.READING, *noted.READING)
# The functions that run a model.
_RUNS = frozenset({(row.__file__, "run_row"), (session.__file__, "run")})


class Request(NamedTuple):
    """One request that has a thread: it came into the queue after ``proof``, and before ``seen``."""

    proof: float
    seen: float


class Running:
    """The requests that have a thread, as last looked at.

    Args:
        threads: Requests that can have a thread at once.

    Attributes:
        requests: One by one.
        readers: The outermost frame of each request whose body is read now -> its thread.
        reads: Seconds since the watchdog first saw each request whose body is read now.
        runs: Seconds since the watchdog first saw each run of a model that is under way, by its thread.
        saturated: When all threads were last taken; 0 if never.
        proof: When it was last certain that no request was queueing.
    """

    def __init__(self, threads: int) -> None:
        self.requests: list[Request] = []
        self.reads: list[float] = []
        self.readers: dict[FrameType, int] = {}
        self.runs: dict[int, float] = {}
        self.saturated = 0.0
        self.proof = 0.0
        # When a thread was last free that may not have been started.
        self._likely = 0.0
        self._threads = threads
        # So many threads the HTTP server had at once, and when: it starts them one by one as it needs them.
        self._had, self._had_at = 1, 0.0
        # Keeping an outermost frame keeps its identity: a frame that is seen again is the same request. The
        # inner ones hold bodies, so they are not kept.
        self._frames: dict[FrameType, Request] = {}
        self._reading: dict[FrameType, float] = {}
        self._models: dict[FrameType, float] = {}
        self._main = threading.main_thread().ident

    def look(self, now: float) -> None:
        """Look at the threads."""
        frames = sys._current_frames()
        frames.pop(self._main or 0, None)
        # With this very frame among them, they would be a circle, which keeps bodies until it is collected.
        frames.pop(threading.get_ident(), None)
        inner = {_outermost(frame): frame for frame in frames.values()}
        fresh = Request(self.proof, now)
        self._frames = {
            frame: self._frames.get(frame, fresh) for frame in inner if frame.f_code is not _BOOTSTRAP
        }
        self._reading = {
            frame: self._reading.get(frame, now) for frame in self._frames if inner[frame].f_code in _READING
        }
        self.readers = {
            _outermost(frame): thread for thread, frame in frames.items() if frame.f_code in _READING
        }
        models = {thread: frame for thread, frame in frames.items() if _is_run(frame)}
        self._models = {frame: self._models.get(frame, now) for frame in models.values()}
        self.runs = {thread: now - self._models[frame] for thread, frame in models.items()}
        self.requests = [*self._frames.values()]
        self.reads = [now - begun for begun in self._reading.values()]
        taken = len(self._frames)
        if taken >= self._threads:
            self.saturated = now
        if taken >= self._had or now - self._had_at > REST / 2:
            self._had, self._had_at = max(taken, 1), now

    def prove(self) -> None:
        """Set ``proof`` if no request is queueing: a thread is free, and none waits for Python's lock.

        A thread that has taken a request from the queue and waits for the lock has no frame yet. It asks for
        the lock after a switch interval, and whoever holds it then has to wait.

        A thread is free for certain if fewer are taken than the HTTP server is known to have. It may have up
        to ``threads``, but now and then it starts none for a request that comes at the very moment at which
        a thread takes another one: that request queues until a thread is free, or one more request comes.
        """
        now = monotonic()
        switches = _switches()
        end = now + 2 * sys.getswitchinterval()
        while monotonic() < end:
            pass
        self.look(monotonic())
        if _switches() != switches or self.saturated >= now:
            return
        self._likely = now
        if len(self._frames) < self._had:
            self.proof = now

    def may_await(self, since: float, until: float) -> bool:
        """Whether a request may be queueing, or running, that came between the two times."""
        proof = self._likely if monotonic() - until > _GIVEN_UP else self.proof
        if proof < until + SLACK:
            return True
        return any(
            request.seen >= since - SLACK and request.proof <= until + SLACK for request in self.requests
        )


def _switches() -> int:
    """How often this thread has waited: for the interpreter's lock, too."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw  # Linux alone


def _is_run(frame: FrameType) -> bool:
    """Whether a thread is inside a run of a model."""
    return (frame.f_code.co_filename, frame.f_code.co_name) in _RUNS


def _outermost(frame: FrameType) -> FrameType:
    # Read once each: the thread goes on meanwhile, and may leave a function between two reads.
    while (caller := frame.f_back) is not None:
        frame = caller
    return frame
