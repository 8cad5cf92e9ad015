"""The command ``train``: from a table to a model file."""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

import click
import msgspec

from unpickled.export import detectors, material, ties
from unpickled.export.commands import printing
from unpickled.export.commands.earlier import Earlier
from unpickled.export.commands.naming import ENDINGS, model_name
from unpickled.export.commands.options import (
    CHOOSING,
    FILE,
    Making,
    Output,
    Share,
    Whole,
    command_words,
    demands,
    exporting,
    kept,
    making,
)
from unpickled.export.commands.printing import progress
from unpickled.export.data import dataset, files
from unpickled.export.data.dataset import Dataset
from unpickled.export.data.target import TaskName
from unpickled.export.errors import DataError
from unpickled.export.material import data_of
from unpickled.export.progress import running
from unpickled.export.publish import export_pipeline
from unpickled.export.recipe import pipeline as unfitted
from unpickled.export.store import model_folder
from unpickled.export.tasks.registry import TASKS
from unpickled.export.tasks.task import Task
from unpickled.export.train import SCALERS, Fitted, fitted, last, split
from unpickled.server import console
from unpickled.server.artifact.recipe import Recipe


class _Given(Output, Making):
    """The arguments and options of the command."""

    bundled: str | None
    data: Path | None
    target: str | None
    task: TaskName | None
    scaler: str
    classifier: str | None
    regressor: str | None
    seed: int
    held_out: float
    dates: str
    like: str | None
    version: int | None


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
        "unpickled train --like churn --data newer.csv",
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
@click.option("--like", metavar="MODEL", help="make this model again; options that are given change how")
@click.option(
    "--version", type=Whole(1), metavar="N", help="version that --like makes again  [default: the newest]"
)
@making
@exporting
def train(**given: Unpack[_Given]) -> None:
    """Fit a scaler and a classifier or regressor, and export both as one ONNX file.

    DATASET is one of scikit-learn's: iris, wine, breast_cancer, digits, diabetes; or houses, which are made
    up. --data and --target name a table of your own instead. --like repeats how a model was made: with the
    same data and options, but for those that are given.
    """
    misuse = _misuse(given)
    if misuse:
        raise click.UsageError(misuse, click.get_current_context())
    if given["data"] is not None:
        files.check_file(given["data"])
    earlier = None if given["like"] is None else Earlier.of(given["models"], given["like"], given["version"])
    if earlier is not None:
        given = {**given, **earlier.options()}  # type: ignore[typeddict-item]
    name = _name(given) if given["name"] is None else given["name"]
    model_folder(given["models"], name)
    recipe = _recipe(given, earlier)
    if earlier is not None:
        print(earlier.described(recipe))
    with running(progress, f"reading {recipe.data}"):
        table = material.table(recipe, None if earlier is None else earlier.manifest)
    kind = TASKS[table.task]
    recipe = msgspec.structs.replace(recipe, options=_effective(recipe, kind, table, given))
    kind.admit(demands(given))
    model = _fitted(recipe, table, given["trust_recipe"] or given["recipe"] is not None)
    printing.describe(table, model.training)
    if earlier is not None:
        for sentence in earlier.differences(model.training):
            print(sentence)
    printing.quality(model.training, "on the held-out rows")
    export = export_pipeline(
        model.pipeline,
        model.train,
        name=name,
        models=given["models"],
        class_names=table.class_names or None,
        held_out=model.held_out,
        held_out_y=model.held_out_truth,
        training=model.training,
        recipe=recipe,
        readings=table.readings,
        min_accuracy=given["min_accuracy"],
        max_error=given["max_error"],
        operators=given["operators"],
        progress=progress,
    )
    if earlier is not None:
        print(earlier.compared(export.manifest))
    printing.written(export, given["models"])


def _name(given: _Given) -> str:
    """The name of the model where --name does not say it: that of the earlier one, or of the data."""
    if given["like"] is not None:
        return given["like"]
    return model_name(given["data"]) if given["data"] else str(given["bundled"])


def _recipe(given: _Given, earlier: Earlier | None) -> Recipe:
    """How to make the model: as the earlier one, but for what is given. Raises DataError."""
    recipe = Recipe(by="train") if earlier is None else earlier.recipe
    if given["recipe"] is not None:
        recipe = Recipe(by="function", function=given["recipe"], data=recipe.data, target=recipe.target)
    if given["data"] is not None:
        recipe = msgspec.structs.replace(recipe, data=data_of(given["data"]))
    if given["bundled"] is not None:
        recipe = msgspec.structs.replace(recipe, data=given["bundled"], target=())
    if given["target"] is not None:
        recipe = msgspec.structs.replace(recipe, target=(given["target"],))
    if recipe.data in dataset.BUNDLED and recipe.target:
        raise DataError(f"{recipe.data} has a target of its own: leave --target out, or give --data too.")
    return msgspec.structs.replace(recipe, options=kept(given))


def _effective(recipe: Recipe, kind: Task, table: Dataset, given: _Given) -> dict[str, Any]:
    """The options to keep: those that were given, and those that were decided. Raises DataError."""
    options = {name: value for name, value in recipe.options.items() if name not in CHOOSING}
    if recipe.by != "train":
        return options
    steps = {"classifier": given["classifier"], "regressor": given["regressor"]}
    estimator = _estimator(kind, table, steps)
    return {"task": table.task, "scaler": given["scaler"], kind.step: estimator, **options}


def _fitted(recipe: Recipe, table: Dataset, trusted: bool) -> Fitted:
    """The pipeline of a recipe, fitted on a part of the table. Raises ExportError."""
    pipeline = unfitted(recipe, table, trusted)
    seed = recipe.options["seed"]
    rows = split(table, seed, recipe.options["held_out"])
    what = recipe.options.get(TASKS[table.task].step) or type(last(pipeline)).__name__
    progress(f"training {what}")
    with running(progress, f"training {what}"):
        model = fitted(table, pipeline, *rows, seed=seed)
    if recipe.by == "train":
        with running(progress, "looking for ties between neighbors"):
            ties.check(model, command_words(), table.dates)
    return model


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


def _misuse(given: _Given) -> str | None:
    """The error in the arguments that name a table or a model; None if there is none."""
    bundled, data, target, like = given["bundled"], given["data"], given["target"], given["like"]
    if bundled is not None and data is not None:
        return "DATASET and --data exclude each other."
    if like is not None:
        return None
    if (data is None) != (target is None):
        return "--data and --target go together."
    if given["version"] is not None or given["trust_recipe"]:
        return f"{'--trust-recipe' if given['version'] is None else '--version'} goes with --like."
    if bundled is None and data is None:
        return (
            f"Give DATASET, one of {', '.join(dataset.BUNDLED)}, or a table of your own with --data, or a "
            "model to make again with --like."
        )
    return None
