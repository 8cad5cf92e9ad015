"""The same Parquet files, scored by ``unpickled predict`` and by scikit-learn with joblib, in turns."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.batches import tables
from benchmarks.batches.running import Finished, finished
from benchmarks.errors import BenchmarkError
from benchmarks.measuring import machine, pipelines
from benchmarks.measuring.pipelines import RECIPES, Fitted, Recipe, logistic
from benchmarks.reporting.batches import JOBLIB, OURS, Figures, Level, Turn

# Case -> its recipe, and its share of --rows: forests take long.
CASES: dict[str, tuple[Recipe, float]] = {
    "iris": (RECIPES["iris"], 1.0),
    "wide": (Recipe("breast_cancer", "logistic regression", 4, logistic), 0.25),
    "forest": (RECIPES["forest"], 0.05),
}
# Points of the memory that are kept of a run.
_POINTS = 200
ROOT = pipelines.ROOT


@dataclass(frozen=True)
class Campaign:
    """``rows`` of the iris case, in ``files``; ``level``: the rows whose memory is looked at, 0 for none."""

    cases: Sequence[str]
    rows: int
    files: int
    repeats: int
    workers: int
    level: int
    level_files: int

    def measure(self, say: Callable[[str], None]) -> Figures:
        """Every figure; raises BenchmarkError, where answers differ too."""
        started = datetime.now(UTC).replace(microsecond=0)
        turns: list[Turn] = []
        levels: list[Level] = []
        with tempfile.TemporaryDirectory(prefix="b-") as work:
            fitted = {}
            for case in self.cases:
                recipe, share = CASES[case]
                fitted[case] = pipelines.fit(case, Path(work) / case, recipe)
                turns += self._case(case, fitted[case], int(self.rows * share), Path(work) / case, say)
            if self.level:
                levels = self._levels(fitted[self.cases[0]], Path(work), say)
        return Figures(
            started=started,
            machine=machine.describe(None, None),
            versions=machine.versions("locust"),
            commit=machine.commit(),
            workers=self.workers,
            turns=turns,
            levels=levels,
        )

    def _case(
        self, case: str, fitted: Fitted, rows: int, work: Path, say: Callable[[str], None]
    ) -> list[Turn]:
        size = tables.write(fitted, work / "rows", self.files, rows)
        tables.write(fitted, work / "few", self.files, self.files)
        turns = []
        for repeat in range(self.repeats):
            # In turns, so that a machine that slows down favours nobody.
            for name in (OURS, JOBLIB)[:: -1 if repeat % 2 else 1]:
                start = self._run(name, fitted, work / "few", work / f"{name}-few").seconds
                run = self._run(name, fitted, work / "rows", work / name)
                turn = Turn(
                    case=case,
                    title=fitted.title,
                    features=len(fitted.features),
                    program=name,
                    repeat=repeat,
                    rows=rows,
                    files=self.files,
                    bytes=size,
                    seconds=run.seconds,
                    start_s=start,
                    memory_mb=max((memory for _, memory in run.memory), default=0.0),
                )
                turns.append(turn)
                say(
                    f"{case}, {name}: {turn.rows_per_s:,.0f} rows/s, {turn.net_rows_per_s:,.0f} without start"
                )
            compared = tables.compare(work / OURS, work / JOBLIB)
            if compared.labels or compared.difference > 1e-9 or compared.rows != rows:
                raise BenchmarkError(f"{case}: answers differ: {compared}")
            for turn in turns[-2:]:
                turn.difference = compared.difference
        return turns

    def _levels(self, fitted: Fitted, work: Path, say: Callable[[str], None]) -> list[Level]:
        levels = []
        for files in (1, self.level_files):
            folder = work / f"level-{files}"
            tables.write(fitted, folder, files, self.level)
            run = self._run(OURS, fitted, folder, work / f"{OURS}-level")
            shutil.rmtree(folder)
            shutil.rmtree(work / f"{OURS}-level")
            step = -(-len(run.memory) // _POINTS) or 1
            level = Level(
                rows=self.level,
                files=files,
                seconds=run.seconds,
                # Rows come at an even pace: the time tells how many are done.
                done=[round(self.level * second / run.seconds) for second, _ in run.memory[::step]],
                memory_mb=[
                    max(memory for _, memory in run.memory[place : place + step])
                    for place in range(0, len(run.memory), step)
                ],
            )
            levels.append(level)
            say(f"{self.level:,} rows in {files} files: at most {max(level.memory_mb):,.0f} MiB")
        return levels

    def _run(self, name: str, fitted: Fitted, sources: Path, out: Path) -> Finished:
        shutil.rmtree(out, ignore_errors=True)
        if name == JOBLIB:
            words: list[str | Path] = [fitted.pickle, sources, out, str(self.workers)]
            return finished(["-m", "benchmarks.batches.joblib_job", *words], ROOT)
        words = ["model", sources, "--out", out, "--models", fitted.models, "--workers", str(self.workers)]
        return finished(["-m", "unpickled", "predict", *words], ROOT)
