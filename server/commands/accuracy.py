"""The command ``accuracy``: how right a model was, from a running server or from its payload log."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from unpickled.server import config, console
from unpickled.server.accuracy import picture
from unpickled.server.accuracy.judgement import ENOUGH
from unpickled.server.accuracy.measures import headings, measures, of_target, or_dash, target_headings
from unpickled.server.accuracy.report import (
    Accuracy,
    Bin,
    ClassAccuracy,
    Figures,
    Pair,
    Slice,
    TargetAccuracy,
    VersionAccuracy,
)
from unpickled.server.commands import reports, tables
from unpickled.server.commands.asking import asked
from unpickled.server.errors import ServingError
from unpickled.server.quote import counted
from unpickled.server.truth import logged
from unpickled.server.truth.joining import Source

# The exit status where a version is worse than in training: 1 is an error, and 2 a wrong command line.
FALLEN = 3
# Classes whose confusion matrix fits a terminal.
_MATRIX = 12


@click.command(
    epilog=console.examples(
        "unpickled accuracy iris",
        "unpickled accuracy iris --window 7d --html accuracy.html",
        "unpickled accuracy customers --log log --by plan   every truth, late ones too, by plan",
        "unpickled accuracy iris --url https://models.example.com --key unp_... --json",
    )
)
@reports.MODEL
@reports.window("how far back rows were predicted")
@reports.URL
@click.option("--log", metavar="FOLDER", help="read this payload log and the truth in it; no server is asked")
@click.option("--by", metavar="FEATURE", help="part the rows by this feature; needs --log")
@click.option(
    "--models", metavar="DIR", help="models folder, for --log  [default: that of the server's settings]"
)
@reports.VERSION
@reports.KEY
@reports.HTML
@reports.JSON
@click.pass_obj
def accuracy(
    environ: Mapping[str, str],
    model: str,
    window: Any,
    url: str,
    log: str | None,
    by: str | None,
    models: str | None,
    number: int | None,
    key: str | None,
    html: str | None,
    as_json: bool,
) -> int:
    """Show how right a model was, by the truth that was reported of its predictions.

    A running server is asked, which knows the truth of its last rows. With --log, the payload log is read
    instead: it has every row. The exit status is 0, or 3 if a version is worse than on held-out rows or its
    probabilities are off, and 1 if that cannot be told: there is no server, no row, or too little truth yet.
    """
    if by is not None and log is None:
        raise click.UsageError("--by reads the payload log: name its folder with --log")
    if log is None:
        found = reports.chosen(asked(Accuracy, url, model, window, key), number, "predicted")
    else:
        folder = Path(config.load({"models": models}, environ).models)
        found = logged.assess(Source(Path(log), folder, model, window, by, number), time.time())
    reports.show(found, html, as_json, picture.page, text)
    _refuse_unjudged(found)
    return FALLEN if any(each.fallen or each.miscalibrated for each in found.versions) else 0


def _refuse_unjudged(found: Accuracy) -> None:
    """Raise ServingError if no version was judged, with the rows of the newest."""
    if not any(version.judged for version in found.versions):
        newest = found.versions[0]
        known = f"truth is known of {counted(newest.figures.rows, 'row')}, and {ENOUGH} are needed"
        raise ServingError(
            f"version {newest.version} of {found.model} is not judged: {known}: report what turned out to be "
            f"true to POST /models/{found.model}/truth"
        )


def text(found: Accuracy) -> str:
    """The report as tables, one or more for each version."""
    head = f"{found.model}, rows predicted in the last {found.window} ({found.since} to {found.until})"
    notes = [found.note] if found.note else []
    versions = [f"\n{_version(version)}" for version in found.versions]
    pairs = tables.table([_pair(pair) for pair in found.pairs])
    beside = ["\nshadows, on the same rows (shadow - version)", *(f"  {line}" for line in pairs)]
    return "\n".join([head, *notes, *versions, *(beside if pairs else [])])


def _version(version: VersionAccuracy) -> str:
    lines = [
        f"{version.title}: {version.sentence}",
        *version.reasons,
        *version.notes,
        *tables.table([dict(zip(headings(version), each, strict=True)) for each in measures(version)]),
        *_titled("classes", [_class(each) for each in version.figures.classes]),
        *_titled("truth (rows) and answers (columns)", _confusion(version.figures)),
        *_titled("probability of the class answered", _bins(version.figures)),
        *_titled("errors (prediction - truth)", _targets(version.figures.targets)),
        *_titled("slices", [_slice(each) for each in version.slices]),
    ]
    return "\n".join(f"  {line}" if line and number else line for number, line in enumerate(lines))


def _titled(title: str, lines: list[dict[str, str]]) -> list[str]:
    return ["", title, *tables.table(lines)] if lines else []


def _class(found: ClassAccuracy) -> dict[str, str]:
    coverage = "-" if found.coverage is None else f"{found.coverage:.1%}"
    return {
        "class": found.name,
        "predicted": f"{found.predicted:,}",
        "truth known": f"{found.known:,}",
        "coverage": coverage,
        "precision": or_dash(found.precision, ".1%"),
        "recall": or_dash(found.recall, ".1%"),
    }


def _confusion(found: Figures) -> list[dict[str, str]]:
    if found.confusion is None or len(found.classes) > _MATRIX or not found.rows:
        return []
    names = [each.name for each in found.classes]
    lines = []
    for place, counts in enumerate(found.confusion):
        if place < len(names) or any(counts):
            truth = names[place] if place < len(names) else "no class of it"
            cells = zip(names, counts, strict=True)
            lines.append({"": truth, **{name or '""': f"{count:,}" for name, count in cells}})
    return lines


def _bins(found: Figures) -> list[dict[str, str]]:
    bins = found.calibration.bins if found.calibration else ()
    return [_bin(each) for each in bins if each.rows]


def _bin(found: Bin) -> dict[str, str]:
    return {
        "probability": f"{found.lowest:.1f} to {found.highest:.1f}",
        "rows": f"{found.rows:,}",
        "mean": "-" if found.probability is None else f"{found.probability:.3f}",
        "came true": or_dash(found.came_true, ".3f"),
    }


def _targets(targets: Sequence[TargetAccuracy]) -> list[dict[str, str]]:
    names = target_headings(targets)
    return [dict(zip(names, of_target(target), strict=True)) for target in targets]


def _slice(found: Slice) -> dict[str, str]:
    return {
        found.feature: found.value,
        "truth known": f"{found.figures.rows:,}",
        "figure": found.figures.sentence,
    }


def _pair(pair: Pair) -> dict[str, str]:
    errors = "; ".join(f"{name} {figure.text('+.4g')}" for name, figure in pair.mae.items())
    return {
        "shadow": f"{pair.shadow} beside {pair.version}",
        "rows": f"{pair.rows:,}",
        "accuracy": or_dash(pair.accuracy, "+.1%"),
        "log loss": or_dash(pair.log_loss, "+.3f"),
        "mean absolute error": errors or "-",
        "": pair.note,
    }
