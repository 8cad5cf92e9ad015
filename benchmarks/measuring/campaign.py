"""What is measured, in which order: the servers take turns, and are checked before they are timed."""

import contextlib
import http.client
import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import inside, pipelines
from benchmarks.measuring.pipelines import Fitted
from benchmarks.measuring.turn import Plan, Turn
from benchmarks.results import Compute, Model, Run, Saturation, Stage, Stages
from benchmarks.servers import environments, process
from benchmarks.servers.catalogue import FLOOR, OURS, PEERS, SERVERS, Places, own_bin


class Say(Protocol):
    """Tells people a sentence; ``turn`` says that a server's turn is over."""

    def __call__(self, sentence: str, turn: bool = False) -> None: ...


class Campaign:
    """One run of a plan. Everything measured is in ``run``, which is saved after each server's turn."""

    def __init__(self, plan: Plan, run: Run, work: Path, results: Path, say: Say) -> None:
        self._plan = plan
        self._run = run
        self._work = work
        self._results = results
        self._say = say
        self._bins: dict[str, Path] = {}
        self._halves: dict[str, float] = {}

    def measure(self) -> None:
        """All of it; a server that fails is noted in the run and left out from there on."""
        if self._plan.generator_core is not None:
            os.sched_setaffinity(0, {self._plan.generator_core})
        servers = [name for name in self._plan.servers if self._installed(name)]
        for name in self._plan.models:
            self._measure_model(name, servers)
        self._run.finish()
        self._run.save(self._results)

    def _installed(self, name: str) -> bool:
        entry = SERVERS[name]
        with self._noting(name, None, lambda: "install"):
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
        left = [server for server in servers if self._prepared(server, fitted)]
        for repeat in range(self._plan.repeats):
            self._compute(fitted, repeat)
            # There and back: what warms or slows the machine falls on each of them alike.
            for server in left[:: -1 if repeat % 2 else 1]:
                if not self._serve(server, fitted, repeat):
                    left.remove(server)
        self._stages(fitted)

    def _compute(self, fitted: Fitted, repeat: int) -> None:
        self._say(f"{fitted.name}: {repeat + 1} of {self._plan.repeats}, in process")
        found = inside.compute(fitted, list(self._plan.batches))
        for (server, rows), us in found.items():
            self._run.add(Compute(model=fitted.name, server=server, repeat=repeat, rows=rows, us=us))

    def _stages(self, fitted: Fitted) -> None:
        """Where the time of one request goes, next to the CPU time that HTTP takes around it."""
        floor, ours = (self._cpu_us(fitted.name, server) for server in (FLOOR, OURS))
        if floor is None or ours is None:
            return
        self._say(f"{fitted.name}: stages of a request")
        with self._noting(OURS, fitted.name, lambda: "measure"):
            stages = inside.stages(fitted, self._plan.server_core)
            self._run.add(
                Stages(
                    model=fitted.name,
                    server=OURS,
                    repeat=0,
                    stages=stages,
                    total_us=round(sum(stages.values()), 3),
                    floor_cpu_us=floor,
                    server_cpu_us=ours,
                )
            )

    def _cpu_us(self, model: str, server: str) -> float | None:
        found = [
            record.cpu_us
            for record in self._run.records
            if isinstance(record, Saturation) and (record.model, record.server) == (model, server)
        ]
        return statistics.median(cpu_us for cpu_us in found if cpu_us is not None) if found else None

    def _prepared(self, server: str, fitted: Fitted) -> bool:
        entry = SERVERS[server]
        with self._noting(server, fitted.name, lambda: "install"):
            if entry.prepare:
                places = self._places(server, fitted)
                environments.prepare(entry.prepared(places), entry.variables(places))
            return True
        return False

    def _serve(self, server: str, fitted: Fitted, repeat: int) -> bool:
        """One turn of one server; False where it failed."""
        entry, places = SERVERS[server], self._places(server, fitted)
        turn = Turn(self._plan, fitted, repeat, (server, entry), self._run.add)
        command, variables = entry.started(places), entry.variables(places)
        log = self._work / f"{server}.log"
        done = False
        with (
            self._noting(server, fitted.name, lambda: turn.stage),
            process.running(command, variables, self._plan.server_core, places.port, log) as running,
        ):
            process.wait(running, turn.path, turn.first_body)
            turn.check(running)
            turn.measure(running, self._halves)
            done = True
        self._run.save(self._results)
        rate = f"{turn.requests_per_s:,.0f} requests/s" if done else "failed"
        self._say(f"{fitted.name}: {repeat + 1} of {self._plan.repeats}, {server}: {rate}", turn=True)
        return done

    def _places(self, server: str, fitted: Fitted) -> Places:
        folder = self._work / fitted.name / server
        folder.mkdir(parents=True, exist_ok=True)
        return Places(
            bin=self._bins[server],
            folder=folder,
            work=self._work,
            models=fitted.models,
            pickle=fitted.pickle,
            onnx=fitted.onnx,
            port=process.free_port(),
            spare=(process.free_port(), process.free_port(), process.free_port()),
        )

    @contextlib.contextmanager
    def _noting(self, server: str, model: str | None, stage: Callable[[], Stage]) -> Iterator[None]:
        """Notes in the run what goes wrong, so that the other servers still have their turn."""
        try:
            yield
        except (BenchmarkError, OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            self._run.fail(server, model, stage(), reason)
            self._say(f"{server} failed to {stage()}: {reason}")


def _described(fitted: Fitted) -> Model:
    return Model(
        title=fitted.title,
        estimator=fitted.recipe.estimator,
        features=len(fitted.features),
        classes=len(fitted.classes),
        pickle_bytes=fitted.pickle.stat().st_size,
        onnx_bytes=fitted.onnx.stat().st_size,
    )
