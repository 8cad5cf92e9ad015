"""The command ``ab``: compares the canary with the stable version by what became of the rows of each."""

from pathlib import Path

import click
import msgspec

from unpickled.server import console
from unpickled.server.commands import reports, shelves, tables, transaction
from unpickled.server.config import Config
from unpickled.server.judge import contest, outcomes, split
from unpickled.server.judge.split import Arm, Split
from unpickled.server.lifecycle.deployment import percent
from unpickled.server.message import answer
from unpickled.server.quote import counted


@click.command(
    epilog=console.examples(
        "unpickled ab iris --metric accuracy",
        "unpickled ab offers --metric mean:bought   the share of rows whose truth is this class",
        "unpickled ab houses --metric mean:price    the mean of a regressor's truth",
    )
)
@reports.MODEL
@click.option(
    "--metric",
    default=outcomes.ACCURACY,
    show_default=True,
    metavar="METRIC",
    help="accuracy, or mean: and the name of a target, of a class, or the word truth",
)
@click.option(
    "--log", metavar="FOLDER", help="folder of the payload log  [default: that of the server's settings]"
)
@reports.JSON
@shelves.with_settings
def ab(settings: Config, model: str, metric: str, log: str | None, as_json: bool) -> int:
    """Compare the canary of a model with its stable version, by the truth of the rows of each.

    Rows of the payload log count from the last change of traffic on. The intervals hold however often they
    are looked at. The exit status is 0, and 1 if there is nothing to compare.
    """
    shelf = shelves.shelf_of(shelves.folder_of(model, settings), settings)
    deployment = shelf.deployment
    transaction.check(deployment, "ab")
    both = split.rivals(deployment)
    since = contest.since(shelves.records(shelf), deployment)
    folder = Path(settings.log.log_folder if log is None else log)
    results = outcomes.outcomes(folder, both, metric, 0.0 if since is None else since.timestamp())
    level = deployment.serving.judge.level
    comparison = split.compare(
        deployment, metric, None if since is None else since.isoformat(), results, level
    )
    print(answer.dumps(msgspec.to_builtins(comparison)).decode() if as_json else text(comparison), flush=True)
    return 0


def text(comparison: Split) -> str:
    """The comparison as a table, and the result."""
    since = f", requests since {comparison.since}" if comparison.since else ""
    lines = [f"{comparison.model}: {comparison.metric}{since}"]
    lines += tables.table([_arm("stable", comparison.stable), _arm("canary", comparison.canary)])
    if comparison.difference is not None:
        ends = f"{comparison.lowest:+.4g} to {comparison.highest:+.4g}"
        lines.append(f"canary - stable: {comparison.difference:+.4g} ({ends})")
    lines.append(comparison.sentence)
    if comparison.needed:
        rows = counted(comparison.needed, "row")
        lines.append(f"as the two go on now, it takes {rows} more with truth to tell, in 80 of 100 cases")
    if not comparison.even:
        lines.append(
            "the requests are not shared as serving.toml says, beyond chance: something sorts them, or loses "
            "some, and the two versions may not have got the same kind of rows"
        )
    return "\n  ".join(lines)


def _arm(name: str, arm: Arm) -> dict[str, str]:
    return {
        "": f"{name}, version {arm.version}",
        "traffic": percent(arm.share),
        "requests": f"{arm.requests:,}",
        "rows": f"{arm.answered:,}",
        "truth known": f"{arm.rows:,}",
        "mean": "-" if arm.mean is None else f"{arm.mean:.4g}",
    }
