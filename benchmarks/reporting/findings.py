"""What follows from the figures, in sentences and tables: targets, losses, failures, repeatability."""

from collections.abc import Sequence
from math import isfinite

from benchmarks import units
from benchmarks.reporting import tables
from benchmarks.reporting.figures import P99, REQUESTS, Figures, Metric
from benchmarks.reporting.repeats import AGREEMENT, Difference, changed, differences, repetition, stalls
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
from benchmarks.results import TUTORIAL, Run


def sections(runs: Sequence[Run], run: Run) -> list[Section]:
    """The whole report about one of the stored runs; a part without figures is left out."""
    figures = Figures(run)
    found = [
        measured(run), tables.throughput(figures), tables.latency(figures), tables.batches(figures),
        tables.stages(figures), tables.sizes(run), reached(figures), slower(figures), failed(run),
        repeated(runs, run), limited(figures), used(run),
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
    return figure(figures, target.metric, target.server)


def figure(figures: Figures, metric: Metric, server: str) -> str:
    at = " at half of its rate" if metric is P99 else ""
    return f"{metric.title}{at}, {figures.title(server)}"


def verdict(outcome: Outcome | None) -> Cell:
    if outcome is None:
        return Cell("")
    if outcome.ratio is None:
        return Cell("not measured")
    if outcome.short:
        # More digits, lest 3.97 read as the 4 that were wanted.
        return Cell(f"{outcome.ratio:.3g}x short{unanswered(outcome)}", bad=True)
    return Cell(f"{units.times(outcome.ratio)} met{unanswered(outcome)}", bad=any(outcome.failed))


def unanswered(outcome: Outcome) -> str:
    """Whose requests failed, so that they have no part in a ratio of latencies."""
    pairs = zip(("Unpickled's", "the other's"), outcome.failed, strict=True)
    said = [f"{units.number(count)} of {whose} requests failed" for whose, count in pairs if count]
    return f" ({units.listed(said)})" if said else ""


def summary(figures: Figures) -> str:
    """How many targets are met, each that is not, and how many nothing is known of."""
    wanted = outcomes(figures)
    found = [outcome for outcome in wanted if outcome.ratio is not None]
    short = [outcome for outcome in found if outcome.short]
    if not found:
        return "No target was measured."
    unknown = len(wanted) - len(found)
    rest = f"; {unknown} target{'s' if unknown > 1 else ''} not measured." if unknown else "."
    if not short:
        return f"All {len(found)} targets {'that were measured ' if unknown else ''}are met{rest}"
    missed = "; ".join(miss(figures, outcome) for outcome in short)
    return f"Fallen short of {len(short)} of {len(found)} targets (Unpickled / other): {missed}{rest}"


def miss(figures: Figures, outcome: Outcome) -> str:
    target = outcome.target
    return (
        f"{what(figures, target)} with {figures.model(outcome.model)}, "
        f"{outcome.ratio:.3g}x where {target.sign} {units.times(target.wanted)} was wanted"
        f"{unanswered(outcome)}"
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


def beaten(figures: Figures) -> str:
    """One sentence: how many figures others win, and the greatest of the most telling kinds."""
    library, others = library_losses(figures), losses(figures)
    count = len(library) + len(others)
    if not count:
        return "No other server, nor scikit-learn in process, is better in any figure."
    told = [*greatest(library), *greatest([loss for loss in others if not loss.within_spread])][:4]
    examples = "; ".join(
        f"{loss.title} with {figures.model(loss.model)}, {loss.theirs} ({loss.server}) "
        f"where Unpickled has {loss.ours}" for loss in told
    )  # fmt: skip
    are = f"Others are better than Unpickled in {count} figure{'s' if count > 1 else ''}"
    return f"{are}, among them: {examples}." if told else f"{are}, by less than the repetitions differ."


def greatest(found: Sequence[Loss]) -> list[Loss]:
    """The greatest loss of each kind, the greatest of all first."""
    by_kind: dict[str, Loss] = {}
    for loss in sorted(found, key=lambda loss: -loss.factor):
        by_kind.setdefault(loss.kind, loss)
    return list(by_kind.values())


RANGES = {True: "overlap", False: "apart", None: ""}


def lost(figures: Figures, loss: Loss) -> list[Cell]:
    return row(
        loss.title, figures.model(loss.model), loss.server, loss.theirs, loss.ours,
        f"{loss.factor:.2f}x" if isfinite(loss.factor) else "", RANGES[loss.within_spread],
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
    flattered = any(limit.server in floor and limit.title == REQUESTS.title for limit in limits(figures))
    return [
        "Not counted: the same HTTP server with an application that does nothing is ahead in "
        f"{len(found)} figures, as it should be. Unpickled reaches this share of its requests/s: "
        f"{units.listed(ratios)}."
        + (" Where the generator was the limit, this share is flattered (see below)." if flattered else "")
    ]


def failed(run: Run) -> Section:
    """Who has no figures, and why."""
    figures = Figures(run)
    lines = [
        [Cell(figures.title(failure.server)), Cell(figures.model(failure.model or "every model")),
         Cell(STAGE[failure.stage], bad=True), Cell(failure.reason)]
        for failure in run.failures
    ]  # fmt: skip
    head = ["server", "model", "what", "reason"]
    none = (
        "Every server was installed, started and measured; all but the floor answered as scikit-learn does."
        if run.complete
        else "Nothing failed until the run was interrupted."
    )
    texts = [] if lines else [none]
    return Section("What did not run", texts, [Table(head, lines, words=4)] if lines else [])


STAGE = {
    "install": "was not installed", "start": "did not start", "check": "answered wrongly",
    "measure": "was not measured to the end",
}  # fmt: skip


def missing(run: Run) -> str:
    """One sentence: which servers failed, and when."""
    figures, found = Figures(run), dict[tuple[str, str], list[str]]()
    for failure in run.failures:
        models = found.setdefault((failure.server, failure.stage), [])
        models += [figures.model(failure.model)] if failure.model else []
    said = [
        f"{figures.title(server)} {STAGE[stage]}"
        + (f" (with {units.listed(list(dict.fromkeys(models)))})" if models else "")
        for (server, stage), models in found.items()
    ]
    return f"Without all figures: {'; '.join(said)}." if said else ""


def repeated(runs: Sequence[Run], run: Run) -> Section:
    """Whether another run like this one found the same, ratio by ratio."""
    other = repetition(runs, run)
    if other is None:
        return Section("Repeatability", [agreement(runs, run)])
    figures = Figures(run)
    lines = [
        [Cell(figure(figures, found.metric, found.server)), Cell(figures.model(found.model)),
         *(Cell(units.times(value)) for value in found.ratios),
         Cell(units.percent(found.share), bad=found.share > AGREEMENT)]
        for found in [*differences(run, other), *stalls(run, other)]
    ]  # fmt: skip
    head = ["Unpickled / other", "model", when(run), when(other), "difference"]
    return Section("Repeatability", [agreement(runs, run)], [Table(head, lines, words=2)])


def when(run: Run) -> str:
    return f"{run.started:%Y-%m-%d %H:%M}"


def agreement(runs: Sequence[Run], run: Run) -> str:
    """Whether two runs agree in throughput, and apart from that in p99; or that there is one only."""
    other = repetition(runs, run)
    found = differences(run, other) if other else []
    if not other or not found:
        return "There is one run only: nothing says yet whether a second one finds the same."
    name = "full runs" if run.kind == "all" else "runs of the baselines"
    half = "p99 at half of the tutorial's rate"
    said = [
        compared(run, found, f"Two {name}", "ratios of requests/s (Unpickled / other)"),
        compared(run, stalls(run, other), "They", f"ratios of {half} (Unpickled / tutorial)"),
    ]
    apart = changed(run, other)
    said += [f"They were not made with the same: {'; '.join(apart)}."] if apart else []
    return " ".join(filter(None, said))


def compared(run: Run, found: Sequence[Difference], who: str, ratios: str) -> str:
    """One sentence: by how much the ratios of two runs differ; nothing where there are none."""
    if not found:
        return ""
    far = [difference for difference in found if difference.share > AGREEMENT]
    if not far:
        largest = f"(largest difference: {named(run, found[0])})"
        return f"{who} agree within {units.percent(found[0].share)} in all {len(found)} {ratios} {largest}."
    return (
        f"{who} did NOT agree within {100 * AGREEMENT:.0f}% in {len(far)} of {len(found)} {ratios}; the "
        f"largest difference: {named(run, far[0])}."
    )


def named(run: Run, difference: Difference) -> str:
    new, old = difference.ratios
    server, model = run.servers[difference.server].title, run.models[difference.model].title
    return f"Unpickled / {server} with {model}, {units.times(old)} and {units.times(new)}"


def measured(run: Run) -> Section:
    """How the figures came about, before the first of them."""
    return Section("How it was measured", [method(run), checked(run)])


def method(run: Run) -> str:
    repeats, machine = run.options.get("repeats", "several"), run.machine
    flask = next((server.note for server in run.servers.values() if "gunicorn" in server.note), "")
    peers = any(server.group == "peer" for server in run.servers.values())
    headline = [Figures(run).model(model) for model in run.options.get("headline", [])]
    parts = [
        f"On {machine.processor}, {pinned(run)}; loopback only.",
        f"Servers take turns, and after the last the first comes again: {repeats} repetitions, of which the "
        "tables show the median.",
        f"Requests/s at saturation are from {tables.load(run)}, latency at fixed rates is from "
        f"{run.generators.get('latency', 'Locust').capitalize()}.",
        f"Flask runs on {flask}." if flask else "",
        "A server that is several processes shares the one core among them."
        if min(machine.server_core, machine.generator_core) >= 0
        else "",
        f"The peers were measured with {units.listed(headline)}." if peers and headline else "",
    ]
    return " ".join(filter(None, parts))


def checked(run: Run) -> str:
    """Which answers were compared with scikit-learn's."""
    generator = run.generators.get("saturation", "")
    once = "Before anything is timed, every server but the floor has to answer as scikit-learn does: "
    every = "At the fixed rates Locust compares every answer"
    status = (
        f"; at saturation {generator} looks at the status alone" if generator in ("wrk", "h2load") else ""
    )
    body = ", and repeats one body" if generator == "h2load" else ""
    return f"{once}probabilities within 1e-5 and equal labels. {every}{status}{body}."


def used(run: Run) -> Section:
    """The machine, the versions and the options."""
    machine = run.machine
    system = f"{machine.cores} cores, {units.memory(machine.memory_mb)}, {machine.system}"
    facts = [
        row("machine", f"{machine.processor}, {system}"),
        row("cores", pinned(run)),
        row("generators", ", ".join(f"{measure}: {name}" for measure, name in run.generators.items())),
        row("versions", joined(run.versions)),
        row("options", "; ".join(f"{name}: {option(value)}" for name, value in run.options.items())),
        row("commit", commit(run)),
        row("measured", f"{run.started:%Y-%m-%d %H:%M} UTC" + finished(run)),
    ]
    return Section("Versions and options", [], [Table(["", ""], facts, words=2), *editions(run)])


def option(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


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


def limited(figures: Figures) -> Section:
    """Figures that are in part the generator's own."""
    lines = [
        row(limit.title, figures.model(limit.model), figures.title(limit.server), limit.why)
        for limit in limits(figures)
    ]
    text = "In these figures the generator was the limit, or a good part of it: the server may be better."
    head = ["figure", "model", "server", "why"]
    title = "Where the generator was the limit"
    return Section(title, [text] if lines else [], [Table(head, lines, words=4)] if lines else [])


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
    with_peers = {
        model for model in figures.models() for name in names if figures.ratio(REQUESTS, model, name)
    }
    models = units.listed([figures.model(model) for model in figures.models() if model in with_peers])
    span = f"{units.times(min(ratios))} to {units.times(max(ratios))}"
    return f"With {models}, Unpickled answers {span} the requests/s of the other servers ({titles})."
