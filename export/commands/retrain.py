"""The command ``retrain``: the champion's recipe on newer rows, published if it is better."""

import functools
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from unpickled.export.commands import printing
from unpickled.export.commands.options import (
    FILE,
    Share,
    add_working_directory,
    from_function,
    separated,
)
from unpickled.export.commands.printing import progress
from unpickled.export.errors import memory_reported
from unpickled.export.retraining import text, window
from unpickled.export.retraining import weights as weighing
from unpickled.export.retraining.champion import Champion
from unpickled.export.retraining.material import Asked
from unpickled.export.retraining.outcome import Published
from unpickled.export.retraining.outcome import retrain as outcome
from unpickled.export.retraining.report import Retraining
from unpickled.server import config, console
from unpickled.server.commands import completion, publication

# The exit status where the challenger is not better: 1 is an error, and 2 a wrong command line.
NOT_BETTER = 3


def _reporting(command: Callable[..., int]) -> Callable[..., int]:
    """Print each warning in one line; report an interrupt, and memory that does not suffice."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> int:
        with warnings.catch_warnings():
            warnings.showwarning = printing.warn
            try:
                with memory_reported():
                    return command(*arguments, **options)
            except KeyboardInterrupt:
                print("interrupted: nothing was written", file=sys.stderr)
                raise

    return run


@click.command(
    epilog=console.examples(
        "unpickled retrain iris --log log",
        "unpickled retrain customers --data customers.csv --log log --since 30d --weights recent=2",
        "unpickled retrain customers --log log --since 2026-11-01 --held-out 0.3 --json",
    )
)
@click.argument("model", metavar="MODEL", shell_complete=completion.models)
@click.option("--log", required=True, type=FILE, metavar="FOLDER", help="folder of the payload log")
@click.option(
    "--data",
    metavar="FILE",
    help="base table, or a bundled data set  [default: that of the recipe of the version that answers]",
)
@click.option("--log-only", is_flag=True, help="train on the rows of the log alone, without a base table")
@click.option(
    "--target", callback=separated, metavar="COLUMN", help="column to predict in --data  [default: as before]"
)
@click.option(
    "--since",
    default="30d",
    show_default=True,
    metavar="30d",
    help="rows predicted from then on: a span such as 30d, 12h, 90m or 45s, or a date",
)
@click.option(
    "--weights", metavar="recent=2", help="how much a row of the log counts beside one of the base table"
)
@click.option(
    "--held-out",
    type=Share(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    metavar="SHARE",
    help="share of the rows of the log that is held out, the newest, to compare both versions on",
)
@from_function
@click.option(
    "--trust-recipe",
    is_flag=True,
    help="import the code that the recipe of the model names, which runs it",
)
@click.option("--any-truth", is_flag=True, help="take truth of days too that contradicts that of others")
@click.option("--force", is_flag=True, help="publish the challenger even if it is not better")
@click.option("--models", metavar="DIR", help="models folder  [default: that of the server's settings]")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@click.pass_obj
@_reporting
def retrain(
    environ: Mapping[str, str],
    model: str,
    log: Path,
    data: str | None,
    log_only: bool,
    target: list[str] | None,
    since: str,
    weights: str | None,
    held_out: float,
    recipe: str | None,
    trust_recipe: bool,
    any_truth: bool,
    force: bool,
    models: str | None,
    as_json: bool,
) -> int:
    """Train a model again on what was logged and turned out to be true, and publish it if it is better.

    The version that answers plain requests, the champion, is made again by its recipe from its base table and
    the rows of the payload log that have truth. The newest of these are held out. On them the new version,
    the challenger, is compared with the champion. If it is better by more than chance, it is written as the
    next version, with the label challenger, and shadows; the champion goes on answering. Otherwise nothing is
    written. The exit status is 0 if it was published, 3 if it is not better, and 1 if there is no challenger.
    """
    if log_only and data is not None:
        raise click.UsageError("--log-only and --data exclude each other")
    settings = config.load({"models": models}, environ)
    served, standing = publication.standing(settings, model)
    asked = Asked(
        log=log,
        since=window.moment(since, time.time()),
        data=data,
        alone=log_only,
        target=tuple(target or ()),
        held_out=held_out,
        weight=1.0 if weights is None else weighing.recent(weights),
        any_truth=any_truth,
        force=force,
    )
    home = Path(settings.models) / model
    challenger = None if standing is None else Champion(standing.version, home, standing.model)
    champion = Champion(served.version, home, served.model, challenger, recipe or "")
    trusted = trust_recipe or recipe is not None
    if trusted:
        add_working_directory()

    def publish(add: Callable[[], Path]) -> Published:
        return Published(*publication.publish(settings, served, add))

    report = outcome(champion, asked, publish, trusted, progress)
    _show(report, as_json)
    return 0 if report.outcome == "published" else NOT_BETTER


def _show(report: Retraining, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(report).decode(), flush=True)
    else:
        print(*text.lines(report), sep="\n", flush=True)
