"""Locks on memory that processes share: one holder at a time, whatever the kernel makes of their threads."""

import os
import subprocess
import sys

# A thread holds one of two locks; another waits for the second one until ``GO`` is written to.
PROGRAM = """
import sys, threading, time
from unpickled.server.shared import exclusive
first, second = (open(name, "r+b") for name in sys.argv[1:3])
def wait():
    with exclusive(second.fileno()):
        print("both", flush=True)
with exclusive(first.fileno()):
    print("one", flush=True)
    sys.stdin.readline()
    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
thread.join()
"""


def test_threads_that_cross(tmp_path):
    """Two processes, each with a thread that holds a lock and one that waits for the other's, go on."""
    names = [str(tmp_path / name) for name in "ab"]
    for name in names:
        open(name, "wb").close()
    command, pipe = [sys.executable, "-c", PROGRAM], subprocess.PIPE
    both = [
        subprocess.Popen([*command, *order], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=os.environ)
        for order in (names, names[::-1])
    ]
    assert [process.stdout.readline() for process in both] == ["one\n"] * 2
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate() for process in both] == [("both\n", "")] * 2
