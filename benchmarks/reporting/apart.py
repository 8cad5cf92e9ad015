"""Models that the reported run leaves out, each from the newest complete run that has it."""

from collections.abc import Sequence

import msgspec

from benchmarks.reporting import scrutiny, tables
from benchmarks.reporting.facts import facts
from benchmarks.reporting.figures import Figures
from benchmarks.reporting.tables import Section, Table
from benchmarks.results import Run

TEXT = (
    "The figures above are of one run. Each model that it leaves out is shown here from the newest run that "
    "has it, on the machine and in the state that the run names: compare figures of one run only."
)


def section(runs: Sequence[Run], run: Run) -> Section:
    """A table of each such run, and its figures; no tables where the reported run has every model."""
    parts = remaining(runs, run)
    return Section("Models measured apart", [table for part in parts for table in _tables(part)], text=TEXT)


def remaining(runs: Sequence[Run], run: Run) -> list[Run]:
    """The runs with models that ``run`` leaves out, each with those models alone; ``runs`` are new to old."""
    known, parts = set(run.models), []
    for other in runs:
        names = [name for name in other.models if name not in known]
        if other.complete and names:
            parts.append(only(other, names))
            known.update(names)
    return parts


def only(run: Run, names: Sequence[str]) -> Run:
    """The run as if it had measured these models alone."""
    return msgspec.structs.replace(
        run,
        models={name: run.models[name] for name in names},
        records=[record for record in run.records if record.model in names],
        failures=[failure for failure in run.failures if failure.model in (None, *names)],
    )


def _tables(part: Run) -> list[Table]:
    figures = Figures(part)
    return [
        facts(part),
        *tables.throughput(figures),
        *tables.batches(figures),
        *scrutiny.better(figures),
        *scrutiny.failed(figures),
    ]
