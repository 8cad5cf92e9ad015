"""The servers under overload, one after the other, on a core that the generator does not use."""

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import machine, pipelines, serving
from benchmarks.measuring.pipelines import Fitted
from benchmarks.overload.climb import Climb, Plan
from benchmarks.overload.models import MODELS
from benchmarks.reporting.overload import Figure, Figures
from benchmarks.results import UNPICKLED
from benchmarks.results import Server as Described
from benchmarks.servers import environments
from benchmarks.servers.catalogue import PEERS, SERVERS, Entry, own_bin
from benchmarks.servers.process import Server
from benchmarks.traffic.connection import Address

# Seconds that the port for probes has to open, once the server answers.
OPENS = 3.0
# The servers that are compared by default.
COMPARED = (UNPICKLED, "fastapi-onnx", "mlserver")


@dataclass(frozen=True)
class Campaign:
    """``flags`` are more of Unpickled's; with ``admin`` its probes go to a port of their own."""

    plan: Plan
    models: tuple[str, ...]
    servers: tuple[str, ...]
    repeats: int
    flags: str
    admin: bool
    server_core: int | None
    generator_core: int | None

    def measure(self, say: Callable[[str], None]) -> Figures:
        """Every figure of every server; raises BenchmarkError."""
        if self.generator_core is not None:
            os.sched_setaffinity(0, {self.generator_core})
        started, figures, titles = datetime.now(UTC).replace(microsecond=0), [], {}
        bins = {name: _bin(SERVERS[name], say) for name in self.servers}
        with tempfile.TemporaryDirectory(prefix="b-") as folder:
            for model in self.models:
                say(f"{model}: fitting and exporting")
                fitted = pipelines.fit(model, Path(folder) / model, MODELS[model])
                titles[model] = fitted.title
                figures += self._model(fitted, bins, Path(folder), say)
        return Figures(
            started=started,
            machine=machine.describe(self.server_core, self.generator_core),
            versions=machine.versions("locust"),
            commit=machine.commit(),
            limit_s=self.plan.limit,
            poisson=self.plan.poisson,
            flags=self.flags,
            models=titles,
            servers={name: _described(name, bins[name]) for name in self.servers},
            figures=figures,
        )

    def _model(
        self, fitted: Fitted, bins: dict[str, Path], folder: Path, say: Callable[[str], None]
    ) -> list[Figure]:
        figures: list[Figure] = []
        for repeat in range(self.repeats):
            # Forwards, then backwards, so that a machine that slows down favours no server.
            for name in self.servers[:: -1 if repeat % 2 else 1]:
                with self._serving(name, fitted, bins[name], folder) as (running, probes):
                    climb = Climb(self.plan, fitted, (name, SERVERS[name]), figures.append, say)
                    climb.climb(running, probes, repeat)
        return figures

    @contextmanager
    def _serving(
        self, name: str, fitted: Fitted, programs: Path, folder: Path
    ) -> Iterator[tuple[Server, Address]]:
        """A running server, and the address of its probes."""
        entry = self._entry(name)
        home = Path(tempfile.mkdtemp(prefix=f"{name}-{fitted.name}-", dir=folder))
        places = serving.places(fitted, home, folder, programs)
        if entry.prepare:
            environments.prepare(entry.prepared(places), entry.variables(places))
        with serving.serving(entry, places, fitted, self.server_core) as server:
            spare = places.spare[0]
            admin = name == UNPICKLED and self.admin and _opens(spare, entry.probe)
            yield server, Address.of(f"http://127.0.0.1:{spare if admin else server.port}")

    def _entry(self, name: str) -> Entry:
        entry = SERVERS[name]
        if name != UNPICKLED:
            return entry
        admin = " --admin-port {spare[0]}" if self.admin else ""
        return replace(entry, command=f"{entry.command}{admin} {self.flags}".rstrip())


def _bin(entry: Entry, say: Callable[[str], None]) -> Path:
    if not entry.requirements:
        return own_bin()
    say(f"{entry.title}: its environment")
    return environments.bin_of(PEERS / entry.requirements)


def _described(name: str, programs: Path) -> Described:
    entry = SERVERS[name]
    named = environments.names(PEERS / entry.requirements) if entry.requirements else entry.versions
    return Described(
        title=entry.title,
        group=entry.group,
        artifact=entry.artifact,
        versions=environments.versions(programs / "python", named),
        note=entry.note,
    )


def _opens(port: int, path: str) -> bool:
    """Whether a probe is answered 200 at a port within moments; raises BenchmarkError where it is not."""
    end = time.monotonic() + OPENS
    while time.monotonic() < end:
        connection = HTTPConnection("127.0.0.1", port, timeout=OPENS)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return True
        except (OSError, HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    raise BenchmarkError(f"{path} is not answered at --admin-port: add --main-probes to ask the main port")


def split_flags(text: str) -> str:
    """Flags as one line without quotes, which no entry of the catalogue has; raises BenchmarkError."""
    words = shlex.split(text)
    if any(" " in word or "{" in word for word in words):
        raise BenchmarkError(f"--flags {text!r}: a flag here has no space and no brace")
    return " ".join(words)
