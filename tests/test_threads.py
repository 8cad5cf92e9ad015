"""The threads that a server may have: fewer than the settings ask for, where the system has no more."""

import sys

from conftest import ROOT, environment, run

# In an address space that is nearly used up, threads do not start, as under a limit of processes.
PROGRAM = """
import ctypes, logging, resource, sys
from unpickled.server.config import Listening
from unpickled.server.process import threads
logging.basicConfig()
# The C library needs it when a thread ends, and would find no room for it later.
ctypes.CDLL("libgcc_s.so.1")
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
asked = Listening(threads=int(sys.argv[1]), workers=int(sys.argv[2]))
print(threads.affordable(asked).threads)
limit = used + 400 * threads._STACK
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


def started(program, threads, workers):
    # One arena: each other one would take 64 MB of the address space.
    environ = environment(MALLOC_ARENA_MAX="1")
    return run([sys.executable, "-c", program, str(threads), str(workers)], cwd=ROOT, env=environ)


def test_enough_threads():
    """Where the system has them, a worker has as many threads as the settings say."""
    completed = started(PROGRAM, 64, 2)
    assert (completed.stdout, completed.stderr) == ("64\n", "")


def test_few_threads():
    """Where it has fewer, each worker answers fewer requests at once, and a warning names the remedy."""
    completed = started(PROGRAM + "print(threads.affordable(asked).threads)", 1000, 2)
    threads = [int(word) for word in completed.stdout.split()]
    assert threads[0] == 1000 > threads[1] > 0
    assert f"each worker answers {threads[1]} requests at once; raise its limit" in completed.stderr


def test_no_threads():
    """A server that could not have one thread for each worker does not start, and says why."""
    completed = started(PROGRAM + "threads.affordable(asked)", 1, 300)
    assert "ConfigError: the system allows" in completed.stderr
    assert "raise its limit (pids of the container, or ulimit -u), or use fewer workers" in completed.stderr


def test_too_few_descriptors(models):
    """Where connections would take the descriptors that the server needs, it says so, and does not start."""
    command = f"ulimit -n 64; exec {sys.executable} -m server --workers 2 --models {models.path}"
    completed = run(["sh", "-c", command], cwd=ROOT)
    assert completed.returncode == 1
    assert "lets a process open 64 files, and 108 are needed: raise the limit (ulimit -Hn" in completed.stderr
    assert "Traceback" not in completed.stderr
