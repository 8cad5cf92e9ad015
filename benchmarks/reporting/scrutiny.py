"""The tables that a sceptic asks for: targets, losses, failures, repetition, limits, versions."""

from collections.abc import Sequence

from benchmarks import units
from benchmarks.reporting.figures import P99, REQUESTS, Figures, Metric
from benchmarks.reporting.losses import Loss, losses
from benchmarks.reporting.repeats import AGREEMENT, changed, differences, repetition
from benchmarks.reporting.tables import Cell, Section, Table, row
from benchmarks.reporting.targets import Outcome, outcomes, targets
from benchmarks.results import Latency, Run, Saturation

STAGES = {
    "install": "installation", "start": "start", "check": "comparison with scikit-learn",
    "measure": "measurement",
}  # fmt: skip
# A generator that was busy for more of the time may itself be what was measured.
BUSY = 0.95
# So are percentiles of requests of which the latest were sent late by more of the p99.
LATE = 0.25
RANGES = {True: "overlap", False: "apart", None: ""}


def summary(runs: Sequence[Run], run: Run) -> list[tuple[str, str]]:
    """(count, question) for each of the tables below."""
    figures = Figures(run)
    measured = [outcome for outcome in outcomes(figures) if outcome.ratio is not None]
    met = sum(not outcome.missed for outcome in measured)
    return [
        (f"{met} of {len(measured)}", "targets met"),
        (str(len(losses(figures))), "figures in which another server, or scikit-learn, is better"),
        (str(len(run.failures)), "servers that did not run"),
        *_repeated(runs, run),
        (str(sum(len(table.rows) for table in limited(figures))), "figures that the load generator limited"),
    ]


def _repeated(runs: Sequence[Run], run: Run) -> list[tuple[str, str]]:
    second = repetition(runs, run)
    if second is None:
        return [("none", "second run to compare with")]
    shared = differences(run, second)
    counts = []
    for metric, title in ((REQUESTS, "requests/s"), (P99, "p99")):
        agreeing = [difference.agrees for difference in shared if difference.metric is metric]
        question = f"ratios of {title} that a second run repeats within {100 * AGREEMENT:.0f}%"
        counts += [(f"{sum(agreeing)} of {len(agreeing)}", question)] if agreeing else []
    return counts


def sections(runs: Sequence[Run], run: Run) -> list[Section]:
    """Every table below that has rows."""
    figures = Figures(run)
    return [
        Section("Targets", reached(figures)),
        Section("Where others are better", better(figures)),
        Section("Servers that did not run", failed(figures)),
        Section("Repeatability", repeated(runs, run)),
        Section("Where the generator was the limit", limited(figures)),
        Section("Versions", versions(run)),
    ]


def reached(figures: Figures) -> list[Table]:
    """Each target: the ratio that is wanted, and the one measured with each model."""
    models = figures.models()
    by_target = {(outcome.target, outcome.model): outcome for outcome in outcomes(figures)}
    rows = [
        [Cell(_ratio(figures, target.metric, target.server)),
         Cell(f"{target.sign} {units.times(target.limit)}"),
         *(_verdict(by_target.get((target, model))) for model in models)]
        for target in targets(figures)
        if any((target, model) in by_target for model in models)
    ]  # fmt: skip
    head = ["Unpickled / other", "wanted", *(figures.model(model) for model in models)]
    return [Table(head, rows)] if rows else []


def _ratio(figures: Figures, metric: Metric, server: str) -> str:
    return f"{metric.title}{' at half of its rate' if metric is P99 else ''}, {figures.title(server)}"


def _verdict(outcome: Outcome | None) -> Cell:
    if outcome is None:
        return Cell("")
    if outcome.ratio is None:
        return Cell("not measured")
    if outcome.missed:
        # Three digits, so that 3.97 does not read as the 4 that is wanted.
        return Cell(f"{outcome.ratio:.3g}x missed{_failures(outcome)}", bad=True)
    return Cell(f"{units.times(outcome.ratio)} met{_failures(outcome)}", bad=any(outcome.failed))


def _failures(outcome: Outcome) -> str:
    counts = zip(outcome.failed, ("Unpickled", "other"), strict=True)
    texts = [f"{units.number(count)} failed, {server}" for count, server in counts if count]
    return f" ({'; '.join(texts)})" if texts else ""


def better(figures: Figures) -> list[Table]:
    """Every figure in which another server, or scikit-learn, is better."""
    head = ["figure", "model", "server", "other", "Unpickled", "factor", "ranges of the repetitions"]
    rows = [_loss(figures, loss) for loss in losses(figures)]
    return [Table(head, rows, words=3)] if rows else []


def _loss(figures: Figures, loss: Loss) -> list[Cell]:
    return row(
        loss.title, figures.model(loss.model), loss.server, loss.other, loss.unpickled,
        f"{loss.factor:.2f}x" if loss.factor else "", RANGES[loss.overlap],
    )  # fmt: skip


def failed(figures: Figures) -> list[Table]:
    """Each server without figures, and the reason."""
    rows = [
        [Cell(figures.title(failure.server)), Cell(figures.model(failure.model or "every model")),
         Cell(STAGES[failure.stage], bad=True), Cell(failure.reason)]
        for failure in figures.run.failures
    ]  # fmt: skip
    return [Table(["server", "model", "failed at", "reason"], rows, words=4)] if rows else []


def repeated(runs: Sequence[Run], run: Run) -> list[Table]:
    """Each ratio in two runs, and each version that differs between them."""
    second = repetition(runs, run)
    if second is None:
        return []
    figures, dates = Figures(run), [f"{each.started:%Y-%m-%d %H:%M}" for each in (run, second)]
    rows = [
        [Cell(_ratio(figures, difference.metric, difference.server)), Cell(figures.model(difference.model)),
         *(Cell(units.times(ratio)) for ratio in difference.ratios),
         Cell(units.percent(difference.share), bad=not difference.agrees)]
        for difference in differences(run, second)
    ]  # fmt: skip
    different = [row(*texts) for texts in changed(run, second)]
    ratios = Table(["Unpickled / other", "model", *dates, "difference"], rows, words=2)
    return [ratios, *([Table(["not the same in both", *dates], different, words=3)] if different else [])]


def limited(figures: Figures) -> list[Table]:
    """Figures that the load generator limited: the servers may be better."""
    rates = [
        row(figures.model(model), figures.title(name), units.percent(share))
        for model in figures.models()
        for name in figures.servers(model)
        if (share := figures.middle(Saturation, "generator_busy", model, name) or 0) > BUSY
    ]
    latencies = [
        row(figures.title_at(P99, model, at), figures.model(model), figures.title(name),
            units.duration(delay), P99.text(p99))
        for model in figures.models(Latency)
        for at in figures.points(Latency, model)
        for name in figures.servers(model, Latency)
        if (p99 := figures.of(P99, model, name, at))
        if (delay := figures.middle(Latency, "late_p99_us", model, name, at) or 0) > LATE * p99.median
    ]  # fmt: skip
    tables = [
        Table(["model", "server", "generator busy at saturation"], rates, words=2),
        Table(["figure", "model", "server", "sent late by", "p99"], latencies, words=3),
    ]
    return [table for table in tables if table.rows]


def versions(run: Run) -> list[Table]:
    """The versions of each server, and how it was started."""
    rows = [
        row(server.title, joined(server.versions), server.note)
        for server in run.servers.values()
        if server.versions or server.note
    ]
    return [Table(["server", "versions", "note"], rows, words=3)] if rows else []


def joined(names: dict[str, str]) -> str:
    """Names and their versions, in one cell."""
    return ", ".join(f"{name} {version}" for name, version in names.items())
