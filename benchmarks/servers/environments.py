"""The virtual environment of a peer, created when it is first needed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.errors import BenchmarkError, last_line

# Beside the project's own; `make clean` removes both.
HOME = Path(__file__).parent.parent.parent / ".venv" / "peers"
INSTALL_TIMEOUT = 1800

_VERSIONS = "import importlib.metadata as m, json; print(json.dumps({n: m.version(n) for n in %r}))"


def bin_of(requirements: Path) -> Path:
    """The folder of programs of the environment with the distributions in ``requirements``.

    Creates the environment where it is missing or was made from other requirements; BenchmarkError with
    the last line of pip.
    """
    folder = HOME / requirements.stem
    stamp = folder / "installed.txt"
    if stamp.is_file() and stamp.read_text("utf-8") == requirements.read_text("utf-8"):
        return folder / "bin"
    _call(sys.executable, "-m", "venv", "--clear", str(folder))
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _call(*pip, "-r", str(requirements))
    stamp.write_text(requirements.read_text("utf-8"), "utf-8")
    return folder / "bin"


def names(requirements: Path) -> tuple[str, ...]:
    """The distributions in a requirements file."""
    lines = (line.split("#")[0].strip() for line in requirements.read_text("utf-8").splitlines())
    return tuple(line.partition("==")[0].partition("[")[0] for line in lines if line)


def versions(python: Path, distributions: tuple[str, ...]) -> dict[str, str]:
    """The installed version of each distribution in the environment of an interpreter."""
    names: dict[str, str] = json.loads(_call(str(python), "-c", _VERSIONS % (distributions,)))
    return names


def prepare(command: list[str], environment: dict[str, str]) -> None:
    """Run the command that a peer needs before it can serve; BenchmarkError with its last line."""
    _call(*command, environment=environment)


def _call(*command: str, environment: dict[str, str] | None = None) -> str:
    try:
        process = subprocess.run(
            command,
            env=environment or dict(os.environ),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{command[0]} did not end within {INSTALL_TIMEOUT} s") from None
    if process.returncode:
        raise BenchmarkError(last_line(process.stderr, process.stdout))
    return process.stdout
