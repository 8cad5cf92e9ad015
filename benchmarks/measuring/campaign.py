"""The order of a run: each server is checked before it is timed, and the servers take turns."""

import contextlib
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import inside, pipelines, serving
from benchmarks.measuring.pipelines import Fitted
from benchmarks.measuring.turn import Plan, Turn
from benchmarks.results import FLOOR, UNPICKLED, AnyRecord, Compute, Model, Run, Saturation, Stage, Stages
from benchmarks.servers import environments, process
from benchmarks.servers.catalogue import PEERS, SERVERS, Places, own_bin


class Say(Protocol):
    """Prints a sentence; ``turn`` is true where the turn of a server is over."""

    def __call__(self, sentence: str, turn: bool = False) -> None: ...


class Campaign:
    """Measures a plan. Every record goes to ``run``, which is saved after the turn of each server."""

    def __init__(self, plan: Plan, run: Run, work: Path, results: Path, say: Say) -> None:
        self._plan = plan
        self._run = run
        self._work = work
        self._results = results
        self._say = say
        self._bins: dict[str, Path] = {}
        self._halves: dict[str, float] = {}

    def measure(self) -> None:
        """Measure the whole plan; a server that fails is recorded in the run and left out from then on."""
        # A run without cores of its own is disturbed in any case.
        if self._plan.server_core is not None:
            process.refuse_leftovers("wait, or end them")
        self._run.save(self._results)
        if self._plan.generator_core is not None:
            # The generators are children of this process and inherit its core.
            os.sched_setaffinity(0, {self._plan.generator_core})
        servers = [name for name in self._plan.servers if self._installed(name)]
        for name in self._plan.models:
            self._measure_model(name, servers)
        self._run.finish()
        self._run.save(self._results)

    def _installed(self, name: str) -> bool:
        entry = SERVERS[name]
        with self._noting(name, None, "install"):
            self._bins[name] = own_bin()
            distributions = entry.versions
            if entry.requirements:
                self._say(f"{name}: its environment")
                requirements = PEERS / entry.requirements
                self._bins[name] = environments.bin_of(requirements)
                distributions = environments.names(requirements)
            python = self._bins[name] / "python"
            self._run.servers[name].versions = environments.versions(python, distributions)
            return True
        return False

    def _measure_model(self, name: str, servers: list[str]) -> None:
        self._say(f"{name}: fitting and exporting")
        fitted = pipelines.fit(name, self._work / name)
        self._run.models[name] = _described(fitted)
        # The programs of the peers answer with classes.
        peers = name in self._plan.headline and bool(fitted.classes)
        planned = [server for server in servers if peers or SERVERS[server].group != "peer"]
        ready = [server for server in planned if self._prepared(server, fitted)]
        for repeat in range(self._plan.repeats):
            self._compute(fitted, repeat)
            # Forwards, then backwards, so that a machine that warms up or slows down favours no server.
            for server in ready[:: -1 if repeat % 2 else 1]:
                if not self._turn(server, fitted, repeat):
                    ready.remove(server)
        self._stages(fitted)

    def _compute(self, fitted: Fitted, repeat: int) -> None:
        self._say(f"{fitted.name}: {repeat + 1} of {self._plan.repeats}, in process")
        times = inside.compute(fitted, list(self._plan.batches))
        for (server, rows), us in times.items():
            self._run.add(Compute(model=fitted.name, server=server, repeat=repeat, rows=rows, us=us))

    def _stages(self, fitted: Fitted) -> None:
        """The stages of one request, with the CPU time of the floor and of the server."""
        floor, unpickled = (self._cpu_us(fitted.name, server) for server in (FLOOR, UNPICKLED))
        if floor is None or unpickled is None:
            return
        self._say(f"{fitted.name}: stages of a request")
        with self._noting(UNPICKLED, fitted.name, "measure"):
            stages = inside.stages(fitted, self._plan.server_core)
            self._run.add(
                Stages(
                    model=fitted.name,
                    server=UNPICKLED,
                    repeat=0,
                    stages=stages,
                    total_us=round(sum(stages.values()), 3),
                    floor_cpu_us=floor,
                    server_cpu_us=unpickled,
                )
            )

    def _cpu_us(self, model: str, server: str) -> float | None:
        times = [
            record.cpu_us
            for record in self._run.records
            if isinstance(record, Saturation) and (record.model, record.server) == (model, server)
        ]
        return statistics.median(cpu_us for cpu_us in times if cpu_us is not None) if times else None

    def _prepared(self, server: str, fitted: Fitted) -> bool:
        entry = SERVERS[server]
        with self._noting(server, fitted.name, "install"):
            if entry.prepare:
                places = self._places(server, fitted)
                environments.prepare(entry.prepared(places), entry.variables(places))
            return True
        return False

    def _turn(self, server: str, fitted: Fitted, repeat: int) -> bool:
        """One turn of one server, and a second one where the first fails; False where both fail."""
        for attempt in ("once more", "given up"):
            records: list[AnyRecord] = []
            turn = Turn(self._plan, fitted, repeat, (server, SERVERS[server]), records.append)
            title = f"{fitted.name}: {repeat + 1} of {self._plan.repeats}, {server}"
            try:
                self._serve(server, fitted, turn)
            except Exception as error:  # no failure of a server may end the run
                problem = _sentence(error)
                self._say(f"{title}: failed ({turn.stage}): {problem}; {attempt}")
            else:
                self._keep(records)
                self._say(f"{title}: {turn.requests_per_s:,.0f} requests/s", turn=True)
                return True
        self._run.fail(server, fitted.name, turn.stage, problem)
        self._keep(records)
        return False

    def _keep(self, records: list[AnyRecord]) -> None:
        for record in records:
            self._run.add(record)
        self._run.save(self._results)

    def _serve(self, server: str, fitted: Fitted, turn: Turn) -> None:
        entry, places = SERVERS[server], self._places(server, fitted)
        with serving.serving(entry, places, fitted, self._plan.server_core) as running:
            turn.check(running)
            turn.measure(running, self._halves)

    def _places(self, server: str, fitted: Fitted) -> Places:
        return serving.places(fitted, self._work / fitted.name / server, self._work, self._bins[server])

    @contextlib.contextmanager
    def _noting(self, server: str, model: str | None, stage: Stage) -> Iterator[None]:
        """Records an error in the run, so that the other servers still have their turn."""
        try:
            yield
        except Exception as error:  # as in _turn
            self._run.fail(server, model, stage, _sentence(error))
            self._say(f"{server}: failed ({stage}): {_sentence(error)}")


def _sentence(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, BenchmarkError):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split())


def _described(fitted: Fitted) -> Model:
    return Model(
        title=fitted.title,
        estimator=fitted.recipe.estimator,
        features=len(fitted.features),
        classes=len(fitted.classes),
        pickle_bytes=fitted.pickle.stat().st_size,
        onnx_bytes=fitted.onnx.stat().st_size,
    )
