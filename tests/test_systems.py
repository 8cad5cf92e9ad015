"""The parts that work without forks and locks of files, as on Windows: processes here lack them.

This is not Windows. Its paths, its renames and its consoles are not tested.
"""

import os
import subprocess
import sys
from pathlib import Path

import conftest
import pytest
from conftest import shelve

from unpickled.server.system import NEEDS_POSIX

# Python imports a module of this name at its start.
LACKING = """
import errno, os, signal, sys

for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
lacking = {
    os: "fork register_at_fork sched_getaffinity memfd_create fchown pread O_NONBLOCK O_CLOEXEC O_DIRECTORY",
    signal: "SIGHUP SIGUSR1 SIGUSR2 SIGCHLD SIGALRM pthread_sigmask setitimer",
}
for module, names in lacking.items():
    for name in names.split():
        delattr(module, name)

def opened(path, *rest, opening=os.open, **options):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return opening(path, *rest, **options)

os.open = opened
"""
LOADED = "import unpickled; print(unpickled.load({path!r}, follow={follow}).predict([[5.1, 3.5, 1.4, 0.2]]))"
ROWS = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n"


def run(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """A run of Python in a folder, without what Windows lacks."""
    (folder / "sitecustomize.py").write_text(LACKING)
    environ = os.environ | {"PYTHONPATH": str(folder)}
    return conftest.run([sys.executable, *map(str, words)], cwd=folder, env=environ)


@pytest.mark.parametrize("follow", [False, True])
def test_a_model_is_loaded_and_followed(models, tmp_path, follow):
    """load() needs neither; without a trial in another process, a folder is followed all the same."""
    completed = run(tmp_path, "-c", LOADED.format(path=str(models.path / "iris"), follow=follow))
    assert (completed.stdout, completed.stderr) == ("[0]\n", "")


@pytest.mark.parametrize("command", ["serve", "consume", "models", "pull", "retrain"])
def test_a_command_that_cannot_run_says_so(tmp_path, command):
    """One sentence names the reason and the remedy, without a traceback."""
    completed = run(tmp_path, "-m", "unpickled", command)
    assert (completed.returncode, completed.stderr) == (1, f"error: this command {NEEDS_POSIX}\n")


def test_the_application_says_so(tmp_path):
    """create_app() raises ImportError with the same words."""
    completed = run(tmp_path, "-c", "import unpickled; unpickled.create_app()")
    assert f"\nImportError: serving {NEEDS_POSIX}" in completed.stderr


@pytest.mark.long
def test_a_model_is_trained_checked_and_scored(tmp_path):
    """train, check, predict, report and explain work; so does a second prediction into the same folder."""
    (tmp_path / "rows.csv").write_text(ROWS)
    for words in (
        "train iris",
        "check models/iris",
        "predict iris rows.csv --out scored",
        "predict iris rows.csv --out scored",
        "report iris",
        "explain iris --example",
    ):
        completed = run(tmp_path, "-m", "unpickled", *words.split())
        assert completed.returncode == 0, completed.stderr
    assert len([*tmp_path.glob("scored/rows*")]) == 1


@pytest.mark.long
def test_a_signature_is_made_and_required(models, tmp_path):
    """sign makes keys and a signature, without which load() refuses the model."""
    shelve(models, tmp_path / "models" / "iris", "iris")
    required = "import unpickled; print(unpickled.load('models/iris', require_signature='ours.pub').version)"
    assert run(tmp_path, "-m", "unpickled", "sign", "--new-key", "ours.pem").returncode == 0
    assert "it has no signature" in run(tmp_path, "-c", required).stderr
    assert run(tmp_path, "-m", "unpickled", "sign", "models/iris/1", "--key", "ours.pem").returncode == 0
    assert run(tmp_path, "-c", required).stdout == "1\n"
