"""What follows from the figures, in sentences and tables: targets, losses, failures, repeatability."""

from collections.abc import Sequence

from benchmarks import units
from benchmarks.reporting import tables
from benchmarks.reporting.figures import P99, REQUESTS, TUTORIAL, Figures
from benchmarks.reporting.repeats import AGREEMENT, Difference, differences, repetition
from benchmarks.reporting.tables import Cell, Section, Table, row
from benchmarks.reporting.verdicts import (
    Loss,
    Outcome,
    Target,
    library_losses,
    limits,
    losses,
    outcomes,
    targets,
)
from benchmarks.results import Run


def sections(runs: Sequence[Run], run: Run) -> list[Section]:
    """The whole report about one of the stored runs; a part without figures is left out."""
    figures = Figures(run)
    found = [
        tables.throughput(figures), tables.latency(figures), tables.batches(figures), tables.stages(figures),
        tables.sizes(run), reached(figures), slower(figures), failed(run), repeated(runs, run),
        measured(run, figures),
    ]  # fmt: skip
    return [section for section in found if section.tables or section.texts]


def reached(figures: Figures) -> Section:
    """Every target with every model it is for."""
    models, found = figures.models(), outcomes(figures)
    by_target = {(outcome.target, outcome.model): outcome for outcome in found}
    lines = [
        [Cell(what(figures, target)), Cell(f"{target.sign} {units.times(target.wanted)}"),
         *(verdict(by_target.get((target, model))) for model in models)]
        for target in targets(figures)
        if any((target, model) in by_target for model in models)
    ]  # fmt: skip
    head = ["Unpickled / other", "wanted", *(figures.model(model) for model in models)]
    return Section("Targets", [summary(figures)] if found else [], [Table(head, lines)] if found else [])


def what(figures: Figures, target: Target) -> str:
    at = " at half of its rate" if target.metric is P99 else ""
    return f"{target.metric.title}{at}, {figures.title(target.server)}"


def verdict(outcome: Outcome | None) -> Cell:
    if outcome is None:
        return Cell("")
    if outcome.ratio is None:
        return Cell("not measured")
    if outcome.short:
        # More digits, lest 3.97 read as the 4 that were wanted.
        return Cell(f"{outcome.ratio:.3g}x short", bad=True)
    return Cell(f"{units.times(outcome.ratio)} met")


def summary(figures: Figures) -> str:
    """How many targets are met, and each that is not."""
    found = [outcome for outcome in outcomes(figures) if outcome.ratio is not None]
    short = [outcome for outcome in found if outcome.short]
    if not short:
        return f"All {len(found)} targets are met." if found else "No target was measured."
    missed = "; ".join(miss(figures, outcome) for outcome in short)
    return f"Fallen short of {len(short)} of {len(found)} targets (Unpickled / other): {missed}."


def miss(figures: Figures, outcome: Outcome) -> str:
    target = outcome.target
    return (
        f"{what(figures, target)} with {figures.model(outcome.model)}, "
        f"{outcome.ratio:.3g}x where {target.sign} {units.times(target.wanted)} was wanted"
    )


def slower(figures: Figures) -> Section:
    """Everything in which somebody else is better, and how far off the floor is."""
    others, floor = losses(figures) + library_losses(figures), losses(figures, ["floor"])
    texts = [
        f"Figures in which another server or scikit-learn beats Unpickled: {len(others) or 'none'}.",
        *floors(figures, floor),
    ]
    head = ["figure", "model", "who", "theirs", "Unpickled", "factor", "ranges of the repetitions"]
    lines = [lost(figures, loss) for loss in others]
    return Section("Where it is not faster", texts, [Table(head, lines, words=3)] if lines else [])


RANGES = {True: "overlap", False: "apart", None: ""}


def lost(figures: Figures, loss: Loss) -> list[Cell]:
    return row(
        loss.title, figures.model(loss.model), loss.server, loss.theirs, loss.ours,
        f"{loss.factor:.2f}x", RANGES[loss.within_spread],
    )  # fmt: skip


def floors(figures: Figures, found: Sequence[Loss]) -> list[str]:
    """One sentence about the server that does nothing, which is no competitor."""
    floor = [name for name, server in figures.run.servers.items() if server.group == "floor"]
    ratios = [
        f"{units.number(share)} ({figures.model(model)})"
        for name in floor
        for model in figures.models()
        if (share := figures.ratio(REQUESTS, model, name))
    ]
    if not ratios:
        return []
    return [
        "Not counted: the same HTTP server with an application that does nothing is ahead in "
        f"{len(found)} figures, as it should be. Unpickled reaches this share of its requests/s: "
        f"{units.listed(ratios)}."
    ]


def failed(run: Run) -> Section:
    """Who has no figures, and why."""
    stage = {"install": "was not installed", "start": "did not start", "check": "answered wrongly",
             "measure": "was not measured to the end"}  # fmt: skip
    figures = Figures(run)
    lines = [
        [Cell(figures.title(failure.server)), Cell(figures.model(failure.model or "every model")),
         Cell(stage[failure.stage], bad=True), Cell(failure.reason)]
        for failure in run.failures
    ]  # fmt: skip
    head = ["server", "model", "what", "reason"]
    none = ["Every server was installed, started, answered as scikit-learn does and was measured."]
    return Section("What did not run", [] if lines else none, [Table(head, lines, words=4)] if lines else [])


def repeated(runs: Sequence[Run], run: Run) -> Section:
    """Whether another run like this one found the same, ratio by ratio."""
    other = repetition(runs, run)
    if other is None:
        return Section("Repeatability", [agreement(runs, run)])
    lines = [
        [Cell(Figures(run).title(found.server)), Cell(run.models[found.model].title),
         *(Cell(units.times(value)) for value in found.ratios),
         Cell(units.percent(found.share), bad=found.share > AGREEMENT)]
        for found in differences(run, other)
    ]  # fmt: skip
    head = ["Unpickled / other, requests/s", "model", when(run), when(other), "difference"]
    return Section("Repeatability", [agreement(runs, run)], [Table(head, lines, words=2)])


def when(run: Run) -> str:
    return f"{run.started:%Y-%m-%d %H:%M}"


def agreement(runs: Sequence[Run], run: Run) -> str:
    """One sentence: whether two runs agree, or that there is one only."""
    other = repetition(runs, run)
    found = differences(run, other) if other else []
    name = "full runs" if run.kind == "all" else "runs of the baselines"
    if not found:
        return "There is one run only: nothing says yet whether a second one finds the same."
    far = [named(run, difference) for difference in found if difference.share > AGREEMENT]
    if far:
        return f"Two {name} did NOT agree: {'; '.join(far)}."
    most = found[0]
    return (
        f"Two {name} agree within {units.percent(most.share)} in every ratio (largest: {named(run, most)})."
    )


def named(run: Run, difference: Difference) -> str:
    new, old = difference.ratios
    server, model = run.servers[difference.server].title, run.models[difference.model].title
    return f"Unpickled / {server} with {model}, {units.times(old)} and {units.times(new)}"


def measured(run: Run, figures: Figures) -> Section:
    """The machine, the versions, the options, and where the generator may have been the limit."""
    machine, memory = run.machine, f"{run.machine.memory_mb / 1000:.0f} GB"
    facts = [
        row("machine", f"{machine.processor}, {machine.cores} cores, {memory}, {machine.system}"),
        row("cores", pinned(run)),
        row("generators", ", ".join(f"{measure}: {name}" for measure, name in run.generators.items())),
        row("versions", joined(run.versions)),
        row("options", ", ".join(f"{name}: {value}" for name, value in run.options.items())),
        row("commit", commit(run)),
        row("measured", f"{run.started:%Y-%m-%d %H:%M} UTC" + finished(run)),
    ]
    tables = [Table(["", ""], facts, words=2), *editions(run), *generator(figures)]
    return Section("How it was measured", [method(run)], tables)


def method(run: Run) -> str:
    repeats = run.options.get("repeats", "several")
    return (
        f"Every server is a process of its own, {pinned(run)}; loopback only. "
        f"Servers take turns, and after the last the first comes again: {repeats} repetitions, of which the "
        "tables show the median. Before anything is timed, a server has to answer as scikit-learn does: "
        "probabilities within 1e-5 and equal labels."
    )


def pinned(run: Run) -> str:
    server, generator = run.machine.server_core, run.machine.generator_core
    if min(server, generator) < 0:
        return "not pinned to cores"
    return f"the server pinned to core {server} and the generator to core {generator}"


def editions(run: Run) -> list[Table]:
    """Versions and remarks of the servers that have any."""
    lines = [
        row(server.title, joined(server.versions), server.note)
        for server in run.servers.values()
        if server.versions or server.note
    ]
    return [Table(["server", "its versions", "note"], lines, words=3)] if lines else []


def joined(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def generator(figures: Figures) -> list[Table]:
    """Figures that are in part the generator's own."""
    lines = [
        row(limit.title, figures.model(limit.model), figures.title(limit.server), limit.why)
        for limit in limits(figures)
    ]
    caption = "Where the generator was the limit, or a good part of the figure: the server may be better"
    return [Table(["figure", "model", "server", "why"], lines, words=4, caption=caption)] if lines else []


def finished(run: Run) -> str:
    """Nothing for a run that is complete."""
    return "" if run.complete else "; interrupted, so that not everything was measured"


def commit(run: Run) -> str:
    if run.commit is None:
        return "not from a repository"
    return run.commit.id[:12] + ("" if run.commit.clean else ", with changes that are not committed")


def facts(runs: Sequence[Run], run: Run) -> list[tuple[str, str]]:
    """The few figures that come first, each with what it is."""
    figures = Figures(run)
    names = [TUTORIAL, *(name for name, server in run.servers.items() if server.group == "floor")]
    found = [
        (units.times(share), f"the requests/s of {figures.short(name)}, {figures.model(model)}")
        for name in names
        for model in tables.headlined(figures)
        if (share := figures.ratio(REQUESTS, model, name))
    ]
    judged = [outcome for outcome in outcomes(figures) if outcome.ratio is not None]
    met = sum(not outcome.short for outcome in judged)
    return [*found, *([(f"{met} of {len(judged)}", "targets met")] if judged else [])]


def peers(figures: Figures) -> str:
    """One sentence: between how many and how many times the requests/s of the other servers."""
    names = [name for name, server in figures.run.servers.items() if server.group == "peer"]
    found = {
        name: [share for model in figures.models() if (share := figures.ratio(REQUESTS, model, name))]
        for name in names
    }
    ratios = [share for shares in found.values() for share in shares]
    if not ratios:
        return ""
    titles = "; ".join(figures.title(name) for name in names if found[name])
    span = f"{units.times(min(ratios))} to {units.times(max(ratios))}"
    return f"Over all models, Unpickled answers {span} the requests/s of the other servers ({titles})."
