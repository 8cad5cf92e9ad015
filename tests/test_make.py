"""make checks Python before it installs anything, and replaces a .venv of another Python."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BIN, ROOT, run

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")
OLD = f"""#!/bin/sh
[ "$1" = --version ] && echo Python 3.9.2 && exit
exec {sys.executable} -c 'import sys; sys.version_info = (3, 9, 2); exec(sys.argv[1])' "$2"
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The files that make needs, beside a program python3.9."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "constraints.txt").touch()
    (tmp_path / "python3.9").write_text(OLD)
    (tmp_path / "python3.9").chmod(0o755)
    return tmp_path


def make(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make; with -n it tells its commands instead."""
    # The suite may run below make, which would tell this one to print its directory.
    return run(["make", "--no-print-directory", *words], cwd=checkout)


def test_an_old_python_is_refused_in_one_sentence(checkout):
    """Nothing is created; the sentence names the version and how to choose another."""
    completed = make(checkout, "serve", "PYTHON=./python3.9")
    assert completed.returncode != 0
    assert completed.stderr.splitlines()[0] == (
        "Unpickled needs Python 3.11 or newer, and ./python3.9 is Python 3.9.2: "
        "name a newer one, as in make serve PYTHON=python3.13"
    )
    assert completed.stdout == ""
    assert not (checkout / ".venv").exists()


@pytest.mark.long
@pytest.mark.parametrize("state", ["old", "gone", "without packages"])
def test_a_stale_environment_is_made_anew(checkout, state):
    """An environment whose Python is too old, gone or replaced is installed again, from nothing."""
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (checkout / ".venv" / "serving").touch()
    if state == "without packages":
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"')
        python.chmod(0o755)
    else:
        python.symlink_to(checkout / ("python3.9" if state == "old" else "nowhere"))
    assert "installing what training" in make(checkout, "-n", "serve", f"PYTHON={sys.executable}").stdout
    assert make(checkout, ".venv", f"PYTHON={sys.executable}").returncode == 0
    assert run([python, "-c", "import pip"]).returncode == 0
    assert not (checkout / ".venv" / "serving").exists()


def test_a_sound_environment_stays(checkout):
    """An environment of a Python that will do is neither made nor filled again, whatever python3 is."""
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / "serving").touch()
    sound = f"BIN={BIN}"
    assert "creating" not in make(checkout, "-n", "serve", sound).stdout
    assert "creating" not in make(checkout, "-n", "serve", sound, f"PYTHON={sys.executable}").stdout
    assert "creating" in make(checkout, "-n", "serve", sound, "PYTHON=./python3.9").stdout
