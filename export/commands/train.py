"""The command ``train``: from a table to a model file."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import click

from unpickled.export import detectors, ties
from unpickled.export.commands import printing
from unpickled.export.commands.naming import ENDINGS, model_name
from unpickled.export.commands.options import (
    FILE,
    Output,
    Share,
    Whole,
    chosen,
    command_words,
    demands,
    exporting,
)
from unpickled.export.commands.printing import progress
from unpickled.export.data import dataset, files
from unpickled.export.data.dataset import Dataset
from unpickled.export.data.target import TaskName
from unpickled.export.errors import DataError
from unpickled.export.progress import running
from unpickled.export.publish import export_pipeline
from unpickled.export.store import model_folder
from unpickled.export.tasks.registry import TASKS
from unpickled.export.tasks.task import Task
from unpickled.export.train import SCALERS
from unpickled.export.train import train as fit
from unpickled.server import console


class _Bundled(console.Choice):
    """A data set that needs no file; a file's name in its place is met with the options that take it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices and Path(value).suffix.lower() in ENDINGS:
            given = shlex.quote(str(value))
            self.fail(f"a table of your own is given as --data {given} --target COLUMN.", param, ctx)
        return super().convert(value, param, ctx)


class _Estimator(console.Choice):
    """The estimator of a task; an outlier detector in its place is met with the command that exports it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if detectors.is_named(str(value)):
            self.fail(
                f"{value} is fitted without a target, and train fits to one: fit it in Python, save it with "
                "joblib.dump, and export it with unpickled convert.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def _estimators(task: Task) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option that takes an estimator of this task."""
    return click.option(
        f"--{task.step}",
        type=_Estimator(list(task.estimators)),
        metavar=task.step.upper(),
        help=f"one of {', '.join(task.estimators)}  [default: {task.default}]",
    )


@click.command(
    epilog=console.examples(
        "unpickled train iris",
        "unpickled train wine --classifier forest --seed 7 --name wine-forest",
        "unpickled train --data customers.csv --target churned --min-accuracy 0.9",
        "unpickled train --data houses.csv --target price --max-error 50",
    )
)
@click.argument("bundled", required=False, type=_Bundled(list(dataset.BUNDLED)), metavar="[DATASET]")
@click.option(
    "--data",
    type=FILE,
    metavar="FILE",
    help="your own table, .csv or .parquet, or the folder of a payload log",
)
@click.option("--target", metavar="COLUMN", help="column to predict in --data")
@click.option(
    "--task",
    type=console.Choice(list(TASKS)),
    metavar="TASK",
    help=f"one of {', '.join(TASKS)}  [default: the target decides]",
)
@click.option(
    "--scaler",
    type=console.Choice(list(SCALERS)),
    default="standard",
    show_default=True,
    metavar="SCALER",
    help=f"one of {', '.join(SCALERS)}",
)
@_estimators(TASKS["classification"])
@_estimators(TASKS["regression"])
@click.option(
    "--seed",
    type=Whole(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="seed of the split and of the estimator",
)
@click.option(
    "--held-out",
    type=Share(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    metavar="F",
    help="share of the rows that are held out, to measure on",
)
@click.option(
    "--dates",
    type=console.Choice(["leave", "expand"]),
    default="leave",
    show_default=True,
    metavar="expand",
    help="make year, month, weekday, hour and days since 1970 of dates, inside the model, or leave them out",
)
@exporting
def train(
    bundled: str | None,
    data: Path | None,
    target: str | None,
    task: TaskName | None,
    scaler: str,
    classifier: str | None,
    regressor: str | None,
    seed: int,
    held_out: float,
    dates: str,
    **output: Unpack[Output],
) -> None:
    """Fit a scaler and a classifier or regressor, and export both as one ONNX file.

    DATASET is one of scikit-learn's: iris, wine, breast_cancer, digits, diabetes; or houses, which are made
    up. --data and --target name a table of your own instead.
    """
    misuse = _misuse(bundled, data, target)
    if misuse:
        raise click.UsageError(misuse, click.get_current_context())
    if data is not None:
        files.check_file(data)
    name = output["name"]
    if name is None:
        name = model_name(data) if data else str(bundled)
    model_folder(output["models"], name)
    choices = replace(chosen(output), expand=dates == "expand")
    with running(progress, f"reading {data or bundled}"):
        table = dataset.read(data, str(target), choices, task) if data else _bundled(str(bundled), task)
    kind = TASKS[table.task]
    estimator = _estimator(kind, table, {"classifier": classifier, "regressor": regressor})
    kind.admit(demands(output))
    table = replace(table, class_names=kind.titles(table.class_names, output["class_names"]))
    progress(f"training {estimator}")
    with running(progress, f"training {estimator}"):
        model = fit(table, scaler, estimator, seed, held_out)
    with running(progress, "looking for ties between neighbors"):
        ties.check(model, command_words(), table.dates)
    printing.describe(table, model.training)
    printing.quality(model.training, "on the held-out rows")
    export = export_pipeline(
        model.pipeline,
        model.train,
        name=name,
        models=output["models"],
        class_names=table.class_names or None,
        held_out=model.held_out,
        training=model.training,
        readings=table.readings,
        min_accuracy=output["min_accuracy"],
        max_error=output["max_error"],
        operators=output["operators"],
        progress=progress,
    )
    printing.written(export, output["models"])


def _bundled(name: str, task: TaskName | None) -> Dataset:
    """A bundled data set, whose task is its own. Raises DataError for another one."""
    table = dataset.bundled(name)
    if task not in (None, table.task):
        raise DataError(f"{name} is a data set for {table.task}: leave --task out, or take another one.")
    return table


def _estimator(task: Task, table: Dataset, given: Mapping[str, str | None]) -> str:
    """The name of the estimator to train, out of those given by step. Raises DataError for another task's."""
    for other in TASKS.values():
        if other is not task and given[other.step] is not None:
            otherwise = f", or --task {other.name}" if table.alternative == other.name else ""
            raise DataError(
                f"--{other.step} is for {other.name}, but the task of {table.target!r} is {task.name}: give "
                f"--{task.step} instead{otherwise}."
            )
    return given[task.step] or task.default


def _misuse(bundled: str | None, data: Path | None, target: str | None) -> str | None:
    """The error in the arguments that name a table; None if there is none."""
    if (data is None) != (target is None):
        return "--data and --target go together."
    if bundled is not None and data is not None:
        return "DATASET and --data exclude each other."
    if bundled is None and data is None:
        return f"Give DATASET, one of {', '.join(dataset.BUNDLED)}, or a table of your own with --data."
    return None
