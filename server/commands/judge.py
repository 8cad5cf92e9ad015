"""The command ``judge``: decides between champion and challenger, and with --apply moves the traffic."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from unpickled.server import console
from unpickled.server.commands import asking, changes, reports, shelves, transaction
from unpickled.server.commands.changes import Change
from unpickled.server.config import Config
from unpickled.server.drift.report import Drift, VersionDrift
from unpickled.server.errors import ServingError
from unpickled.server.judge import contest, evidence, verdict
from unpickled.server.judge.contest import Contest
from unpickled.server.judge.evidence import Evidence, Reports
from unpickled.server.judge.exposed import Exposed
from unpickled.server.judge.verdict import Verdict
from unpickled.server.lifecycle.decision import Decision
from unpickled.server.lifecycle.deployment import percent
from unpickled.server.lifecycle.serving import CHALLENGER
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.message import answer
from unpickled.server.observe.windows import DEFAULT

# The exit status where a challenger is rejected: 1 is an error, and 2 a wrong command line.
REJECTED = 3
_BY = "judge"


class _Server(NamedTuple):
    """The address of a server, and the caller's key or token."""

    url: str
    key: str | None


@click.command(
    epilog=console.examples(
        "unpickled judge iris",
        "unpickled judge iris --apply     from cron, every hour: to look often does not mislead it",
        "unpickled judge iris --log /var/log/unpickled --url https://models.example.com --key unp_... --json",
    )
)
@reports.MODEL
@click.option("--apply", is_flag=True, help="move traffic as decided, and keep the decision in the history")
@click.option(
    "--log", metavar="FOLDER", help="folder of the payload log  [default: that of the server's settings]"
)
@reports.URL
@reports.KEY
@reports.JSON
@shelves.with_settings
def judge(
    settings: Config, model: str, apply: bool, log: str | None, url: str, key: str | None, as_json: bool
) -> int:
    """Decide whether the challenger of a model is better than its champion: promote, hold or reject.

    The challenger is the version with the label challenger; without one, the version that shadows is
    compared, and nothing is changed. The champion answers. Rows of the payload log that both have answered,
    and whose truth is known, tell which is better; a running server tells latency, errors and agreement. The
    rules stand in [judge] of serving.toml.

    With --apply, "promote" gives the challenger the next share of the requests, and the last one makes it
    stable; "reject" takes all requests and its label from it. The exit status is 0, 3 if it is rejected, and
    1 if nothing can be decided.
    """
    shelf = shelves.shelf_of(shelves.folder_of(model, settings), settings)
    transaction.check(shelf.deployment, _BY)
    between = contest.contest_of(shelf.deployment)
    if between is None:
        _show_none(model, as_json)
        return 0
    folder = Path(settings.log.log_folder if log is None else log)
    figures = _gathered(shelf, between, Path(settings.models), folder, _Server(url, key))
    outcome = _decided(shelf, between, figures)
    sentence = _applied(settings, shelf, between, outcome, figures) if apply else None
    _show(shelf.name, between, outcome, figures, sentence, as_json)
    return REJECTED if outcome.verdict == "reject" else 0


def _gathered(shelf: Shelf, between: Contest, models: Path, folder: Path, server: _Server) -> Evidence:
    past = contest.past_of(shelves.records(shelf), between, shelf.deployment)
    answers = _reports(between, server)
    return evidence.gather(folder, models, between, shelf.deployment.serving.judge, past.since, answers)


def _reports(between: Contest, server: _Server) -> Reports:
    """The reports of the server, or why there are none."""
    try:
        metrics = Exposed(asking.metrics(*server))
    except ServingError as error:
        return Reports(Exposed(""), silent=str(error))
    for served in (between.champion, between.challenger):
        if not metrics.serves(served.name, served.version):
            silent = (
                f"{server.url} does not serve version {served.version} of {served.name}: name another --url"
            )
            return Reports(metrics, silent=silent)
    return Reports(metrics, _drift(between, server))


def _drift(between: Contest, server: _Server) -> VersionDrift | None:
    # A key may be for metrics alone.
    with contextlib.suppress(ServingError):
        report = asking.asked(Drift, server.url, between.champion.name, DEFAULT, server.key)
        versions = {each.version: each for each in report.versions}
        return versions.get(between.challenger.version)
    return None


def _decided(shelf: Shelf, between: Contest, figures: Evidence) -> Verdict:
    past = contest.past_of(shelves.records(shelf), between, shelf.deployment)
    return verdict.decide(between, past, figures, shelf.deployment.serving.judge)


def _applied(settings: Config, before: Shelf, between: Contest, outcome: Verdict, figures: Evidence) -> str:
    """Follow the verdict, unless somebody has changed the model meanwhile; a line that says what was done."""
    if not between.labelled:
        version = between.challenger.version
        return (
            f"{before.name}: nothing is applied, as version {version} only shadows. To let the judge give it "
            f"requests: unpickled models promote {before.name} {version} --label {CHALLENGER}"
        )
    decision = Decision(
        verdict=outcome.verdict,
        champion=between.champion.version,
        challenger=between.challenger.version,
        files=between.files,
        weight=outcome.weight,
        reasons=outcome.reasons,
        evidence=msgspec.to_builtins(figures),
    )
    with transaction.alone(before.name, settings) as shelf:
        if shelf.deployment.plan != before.deployment.plan or _files(shelf) != between.files:
            return f"{shelf.name}: another change came first, and nothing is applied: judge again"
        if outcome.verdict == "hold":
            return _held(shelf, decision)
        return transaction.changed(shelf, _BY, _change(outcome, between), decision)


def _change(outcome: Verdict, between: Contest) -> Callable[[Shelf], Change]:
    version = between.challenger.version
    if outcome.verdict == "reject":
        return partial(changes.withdraw, version=version)
    return partial(changes.advance, version=version, weight=outcome.weight)


def _files(shelf: Shelf) -> tuple[str, str] | None:
    between = contest.contest_of(shelf.deployment)
    return None if between is None else between.files


def _held(shelf: Shelf, decision: Decision) -> str:
    """Keep the decision to hold, unless the history ends with the same one: it is taken every hour."""
    between = contest.contest_of(shelf.deployment)
    assert between is not None
    if not decision.same(contest.past_of(shelves.records(shelf), between, shelf.deployment).last):
        transaction.changed(shelf, _BY, lambda shelf: (shelf.deployment.serving, ""), decision)
    return f"{shelf.name}: nothing changes; {shelf.deployment.sentence}"


def _show_none(model: str, as_json: bool) -> None:
    reason = f"no other version has the label {CHALLENGER} or shadows: there is nothing to decide"
    document = {"model": model, "verdict": "hold", "reasons": [reason], "applied": None, "evidence": None}
    print(answer.dumps(document).decode() if as_json else f"{model}: {reason}", flush=True)


def _show(
    model: str, between: Contest, outcome: Verdict, figures: Evidence, sentence: str | None, as_json: bool
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "model": model,
            "verdict": outcome.verdict,
            "champion": between.champion.version,
            "challenger": between.challenger.version,
            "weight": between.weight,
            "next_weight": outcome.weight,
            "reasons": outcome.reasons,
            "applied": sentence,
            "evidence": msgspec.to_builtins(figures),
        }
        print(answer.dumps(document).decode(), flush=True)
        return
    head = (
        f"{model}: {outcome.verdict} version {between.challenger.version}, which has "
        f"{percent(between.weight)} of the requests, beside version {between.champion.version}"
    )
    outlook = (
        []
        if outcome.weight == between.weight
        else [f"it is to have {percent(outcome.weight)} of the requests"]
    )
    lines = [head, *(f"  {line}" for line in (*outcome.reasons, *outlook))]
    print("\n".join([*lines, *([sentence] if sentence else [])]), flush=True)
