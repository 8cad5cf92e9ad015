"""The command ``predict``: score the rows of files, part by part, or of a pipe."""

import os
import sys

import click
from msgspec.structs import replace

from unpickled.server import console, machine
from unpickled.server.batch import piped
from unpickled.server.batch.bound import Bound
from unpickled.server.batch.engines import registry
from unpickled.server.batch.engines.engine import Engine
from unpickled.server.batch.engines.local import Local
from unpickled.server.batch.forms.registry import FORMS
from unpickled.server.batch.job import Job
from unpickled.server.batch.log.beginning import begun
from unpickled.server.batch.places.paths import joined
from unpickled.server.batch.plan import REFUSED, planned
from unpickled.server.batch.task import Task
from unpickled.server.batch.totals import Totals
from unpickled.server.batch.worker import Worker
from unpickled.server.commands import completion, shelves
from unpickled.server.config import Config, Log
from unpickled.server.quote import counted, listed

PIPE = "-"
LOCAL = "local"


@click.command(
    epilog=console.examples(
        "unpickled predict iris 'big/*.parquet' --out scored/",
        "unpickled predict iris big/ --out scored/ --append",
        "unpickled predict iris big/a.csv big/b.jsonl --out scored/ --only id --format parquet",
        "unpickled predict iris 'big/*.csv' --out scored/ --max-refused 1%",
        "unpickled predict iris 's3://bucket/big/*.parquet' --out s3://bucket/scored/",
        "unpickled predict iris big/ --out scored/ --log log",
        "unpickled predict iris - < rows.csv > scored.csv",
        "unpickled predict iris 'big/*.parquet' --out scored/ --engine ray --engine-address auto",
        "unpickled predict models/iris/2/model.onnx - --format jsonl < rows.jsonl",
    )
)
@click.argument("model", metavar="MODEL", shell_complete=completion.models)
@click.argument("files", metavar="FILES...", nargs=-1, required=True)
@click.option("--out", metavar="DIR", help="folder of the answers: a part for each file")
@click.option("--version", metavar="VERSION", help="a number or a label  [default: the one that answers]")
@click.option("--append", is_flag=True, help="keep all columns, features too")
@click.option("--only", metavar="NAMES", help="keep these columns alone, such as id,customer")
@click.option("--prefix", default="", metavar="TEXT", help="beginning of the names of the answers' columns")
@click.option(
    "--format",
    "form",
    type=console.Choice(list(FORMS)),
    help="form of the answers  [default: that of the rows]",
)
@click.option("--max-refused", metavar="N", help="stop where more rows are refused: a number, or 1%")
@click.option("--refused", metavar="FILE", help="refused rows of a pipe  [default: their reasons on stderr]")
@click.option("--log", metavar="FOLDER", help="add the rows to this payload log, with ids for their truth")
@click.option("--workers", type=click.IntRange(min=1), help="processes  [default: one for each core]")
@click.option(
    "--engine",
    type=console.Choice([LOCAL, *registry.KINDS]),
    default=LOCAL,
    help="the processes that score: this machine's alone, or those of a cluster  [default: local]",
)
@click.option(
    "--engine-address",
    metavar="ADDRESS",
    help="the cluster's address  [default: the engine is started on this machine]",
)
@click.option("--restart", is_flag=True, help="forget what the folder has, and begin anew")
@click.option("--again", is_flag=True, help="score parts again that have changed, or whose answers are gone")
@shelves.with_settings
def predict(
    settings: Config,
    model: str,
    files: tuple[str, ...],
    out: str | None,
    version: str | None,
    append: bool,
    only: str | None,
    prefix: str,
    form: str | None,
    max_refused: str | None,
    refused: str | None,
    log: str | None,
    workers: int | None,
    engine: str,
    engine_address: str | None,
    restart: bool,
    again: bool,
) -> str:
    """Score the rows of files: Parquet, CSV (also .csv.gz) and JSON Lines (also .jsonl.gz).

    MODEL is a model of the models folder, or the path of a folder or file. FILES are files, folders and
    patterns; - is a pipe, with CSV, JSON Lines or an Arrow stream. Columns are matched by their names; those
    that are no features are passed through. A job that was ended goes on where it was when the same command
    is given again. Refused rows go to refused/ in the folder, with their reasons.
    """
    if append and only is not None:
        raise click.UsageError("give either --append or --only")
    bound = Bound() if max_refused is None else Bound.read(max_refused)
    task = _task(settings, model, version, append, _names(only), prefix)
    if PIPE in files:
        if len(files) > 1 or out is not None:
            raise click.UsageError(
                "- stands alone, and its answers go to the standard output: leave out --out"
            )
        if (logging := _log(settings, log)) is not None:
            task = replace(task, logged=begun(None, logging))
        return _pipe(task, form, bound, refused)
    if not out:
        raise click.UsageError("name the folder of the answers with --out")
    if refused is not None:
        raise click.UsageError(f"--refused is for pipes: refused rows of files go to {joined(out, REFUSED)}")
    parts = planned(files, out, None if form is None else FORMS[form])
    job = Job(task, parts, out, _engine(engine, engine_address, workers), bound, _log(settings, log))
    try:
        totals = job.run(restart, again)
    except KeyboardInterrupt:
        done = f"{job.totals.parts:,} of {counted(len(parts), 'part')} are done"
        print(f"{done}: the same command goes on with the others", file=sys.stderr)
        raise
    return "\n".join(_report(totals, task, out))


def _engine(name: str, address: str | None, workers: int | None) -> Engine:
    if name != LOCAL:
        return registry.chosen(name, address, workers, click.get_current_context().obj)
    if address is not None:
        raise click.UsageError("--engine-address is that of a cluster: name its --engine too")
    return Local(workers or machine.processors())


def _names(only: str | None) -> tuple[str, ...]:
    return () if only is None else tuple(name.strip() for name in only.split(",") if name.strip())


def _task(
    settings: Config, model: str, version: str | None, append: bool, only: tuple[str, ...], prefix: str
) -> Task:
    served, policy, path = shelves.found(settings, model, version)
    return Task(
        model=os.path.abspath(path),
        name=served.name,
        version=served.version,
        sha256=served.sha256,
        policy=policy,
        append=append,
        only=only,
        prefix=prefix,
        runtime=settings.runtime,
    )


def _log(settings: Config, folder: str | None) -> Log | None:
    """The payload log in this folder, whose columns are those of the settings."""
    if folder is None:
        return None
    if "://" in folder:
        raise click.UsageError(
            f"--log is a folder of this machine, not {folder}: log_to uploads it from there"
        )
    return replace(settings.log, log_folder=folder)


def _pipe(task: Task, form: str | None, bound: Bound, refused: str | None) -> str:
    """Score the standard input to the standard output."""
    worker = Worker(task, machine.processors())
    totals = piped.scored(worker, sys.stdin.buffer, sys.stdout.buffer, form, bound, refused)
    print(
        "\n".join(_notes(totals, refused)),
        end="\n" if totals.refused or totals.outside else "",
        file=sys.stderr,
    )
    return ""


def _report(totals: Totals, task: Task, out: str) -> list[str]:
    earlier = f", {totals.earlier:,} of them earlier" if totals.earlier else ""
    parts = f"{counted(totals.parts, 'part')}{earlier}"
    answered = (
        f"{counted(totals.rows, 'row')} scored by {task.name} version {task.version}: {parts}, in {out}"
    )
    return [answered, *_notes(totals, joined(out, REFUSED))]


def _notes(totals: Totals, refused: str | None) -> list[str]:
    notes = []
    if totals.refused:
        place = f": {refused} has them, with their reasons" if refused else ""
        notes.append(f"{counted(totals.refused, 'row')} refused{place}")
    if totals.outside:
        values = f"{counted(totals.outside, 'value')} outside the training range"
        notes.append(f"{values}, of {listed(totals.features)}")
    return notes
