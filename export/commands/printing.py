"""The lines that the commands print: progress and warnings on stderr, what was done on stdout."""

import shlex
import sys
import textwrap
from pathlib import Path
from typing import Any

from unpickled.export.data import summary
from unpickled.export.data.dataset import Dataset
from unpickled.export.progress import Passing
from unpickled.export.publish import Export
from unpickled.export.tasks.registry import TASKS
from unpickled.server.artifact.comparison import headline, sentence
from unpickled.server.artifact.manifest import Training
from unpickled.server.quote import counted


def describe(dataset: Dataset, training: Training) -> None:
    rows, features = dataset.features.shape
    target = TASKS[dataset.task].described(dataset.labels, dataset.class_names)
    print(
        f"{dataset.name}: {counted(rows, 'row')}, {counted(features, 'feature')}, {target}; "
        f"trained on {training.rows:,} rows, {training.held_out:,} held out (seed {training.seed})"
    )
    for line in (*dataset.notes, *summary.lines(dataset.readings)):
        print(line)


def quality(training: Training, rows: str) -> None:
    print(*(textwrap.shorten(step, 110, placeholder=" ...") for step in training.pipeline), sep="\n")
    for task in TASKS.values():
        report = task.report(training, rows)
        if report:
            print("", *report, "", sep="\n", flush=True)


def written(export: Export, models: Path) -> None:
    for comparison in export.manifest.comparisons:
        print(f"{headline(comparison)}: {sentence(comparison, f'version {export.version}')}")
    parity = export.manifest.parity
    kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in parity.rows.items())
    print(
        f"parity: {sum(parity.rows.values()):,} rows ({kinds}), "
        f"largest difference {parity.max_difference:.1e}"
    )
    if export.proof:
        print(f"proof: {export.proof} are the fitted ones, compared one by one")
    print(f"wrote {export.path} ({export.size:,} bytes, sha256 {export.sha256[:12]})")
    print(f"serve it: unpickled serve --models {shlex.quote(str(models))}")


def progress(phase: str) -> None:
    line = phase if phase.startswith("note: ") or not phase else f"{phase} ..."
    if not sys.stderr.isatty():
        if not phase:
            return
        print(line, file=sys.stderr, flush=True)
        return
    # The line of a count stays without an end, so that the next line is written over it.
    print(f"\r\x1b[K{line}", end="" if isinstance(phase, Passing) else "\n", file=sys.stderr, flush=True)


def warn(message: Warning | str, *place: Any, **more: Any) -> None:
    """Print a warning in one line, without the file name and the source line that Python would add."""
    print(f"warning: {str(message).strip().splitlines()[0]}", file=sys.stderr, flush=True)
