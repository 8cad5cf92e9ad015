"""Ctrl-C while a program starts ends it with the same status as later."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, started

# The size of a pipe: a program that prints its imports blocks among them until they are read.
PAGE = 4096
INSTALLED = str(Path(sys.executable).parent / "unpickled")


@pytest.mark.skipif(sys.platform != "linux", reason="needs short pipes")
@pytest.mark.parametrize(
    ("program", "imported"),
    [
        ("-m benchmarks report", b"numpy"),
        ("-m export train iris", b"numpy"),
        ("-m server", b"granian"),
        (f"{shlex.quote(INSTALLED)} version", b"platform"),
        ("-m unpickled version", b"platform"),
        ("-m unpickled train iris", b"numpy"),
        ("-m unpickled serve", b"granian"),
        ("-m unpickled models list", b"onnxruntime"),
    ],
)
def test_in_the_middle_of_imports(program, imported):
    """Ctrl-C during the imports ends the program with status 130 and without a traceback."""
    command = [sys.executable, "-X", "importtime", *shlex.split(program)]
    reading, writing = os.pipe()
    # Before anything is in it: it would be too full to become smaller.
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PAGE)
    with (
        started(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writing) as process,
        open(reading, "rb", buffering=0) as printed,
    ):
        os.close(writing)
        while imported not in printed.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        error = printed.read()
        output, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output) == (130, b"")
    assert b"Traceback" not in error
