"""Changes of what is served, by the commands that people use, while clients ask."""

import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.errors import BenchmarkError, last_line
from benchmarks.soak.forms import MODEL

# Versions that stay on the disk, the ones that answer among them.
KEPT = 6
PATIENCE = 120


class Changes:
    """A thread that publishes, tries and promotes versions, one change after the other.

    Args:
        programs: The folder of the command ``unpickled``.
        models: The models folder, with version 1 of one model.
        sources: A model file for each pipeline; version n is a copy of the one whose turn it is.
        server: The process of the server, for SIGHUP.
        pause: Seconds between two changes.
    """

    def __init__(
        self, programs: Path, models: Path, sources: Sequence[Path], server: int, pause: float
    ) -> None:
        self.made = 0
        self.problem = ""
        self._programs = programs
        self._models = models
        self._sources = sources
        self._server = server
        self._pause = pause
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def start(self) -> None:
        """Start with the first change."""
        self._thread.start()

    def stop(self) -> None:
        """End after the change under way."""
        self._done.set()
        self._thread.join(2 * PATIENCE)

    def _work(self) -> None:
        try:
            for _ in self._changes():
                self.made += 1
                if self._done.wait(self._pause):
                    return
        except (BenchmarkError, OSError, subprocess.SubprocessError) as error:
            self.problem = str(error)

    def _changes(self) -> Iterator[None]:
        self._command("promote", MODEL, "1")
        yield
        for version in itertools.count(2):
            self._publish(version, self._sources[(version - 1) % len(self._sources)].read_bytes())
            yield
            self._command("shadow", MODEL, str(version), "--share", "0.2")
            yield
            self._command("canary", MODEL, str(version), "--weight", "0.3")
            yield
            self._command("promote", MODEL, str(version))
            yield
            self._command("rollback", MODEL)
            yield
            self._command("promote", MODEL, str(version))
            yield
            self._spoil(version + 1)
            self._forget(version - KEPT)
            os.kill(self._server, signal.SIGHUP)
            yield

    def _publish(self, version: int, content: bytes) -> None:
        """Put a version into its place, whole."""
        folder = self._models / MODEL / f".soak-{version}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(content)
        folder.rename(self._models / MODEL / str(version))

    def _spoil(self, version: int) -> None:
        """Publish a version that no server can load, and take it back."""
        self._publish(version, self._sources[0].read_bytes()[:-100])
        time.sleep(min(1.5, self._pause))
        shutil.rmtree(self._models / MODEL / str(version))

    def _forget(self, version: int) -> None:
        shutil.rmtree(self._models / MODEL / str(version), ignore_errors=True)

    def _command(self, *words: str) -> None:
        command = [str(self._programs / "unpickled"), "models", *words, "--models", str(self._models)]
        process = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE
        )
        if process.returncode:
            raise BenchmarkError(f"models {' '.join(words)}: {last_line(process.stderr, process.stdout)}")
