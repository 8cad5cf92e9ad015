"""The circumstances of a run: machine, versions, options, commit and date."""

from benchmarks import units
from benchmarks.reporting import scrutiny, tables
from benchmarks.reporting.tables import Table, row
from benchmarks.results import Run

# How much of the answers a generator checks while it measures.
CHECKED = "every answer compared with scikit-learn's"
CHECKS = {
    "wrk": "status of every answer checked",
    "h2load": "status of every answer checked; one body repeated",
}


def facts(run: Run) -> Table:
    """The machine, the versions and the options."""
    machine, commit, saturation = run.machine, run.commit, run.generators.get("saturation", "")
    pinned = min(machine.server_core, machine.generator_core) >= 0
    cores = f"server on {machine.server_core}, generator on {machine.generator_core}"
    state = "" if run.complete else "; interrupted, not everything was measured"
    options = {name: str(value).strip("[]").replace("'", "") for name, value in run.options.items()}
    rows = [
        row("machine", f"{machine.processor}, {machine.cores} cores, {units.memory(machine.memory_mb)}"),
        row("system", machine.system),
        row("cores", cores if pinned else "not pinned"),
        row("saturation", f"{tables.load(run)}, one row per request; {CHECKS.get(saturation, CHECKED)}"),
        row("fixed rates", f"{run.generators.get('latency', 'locust')}; {CHECKED}"),
        row("versions", scrutiny.joined(run.versions)),
        row("options", "; ".join(f"{name}: {value}" for name, value in options.items())),
        row(
            "commit",
            commit.id[:12] + ("" if commit.clean else ", with uncommitted changes") if commit else "",
        ),
        row("measured", f"{run.started:%Y-%m-%d %H:%M} UTC{state}"),
    ]
    return Table(["", ""], rows, words=2)
