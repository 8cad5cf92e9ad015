"""The commands that export: ``train`` and ``convert``."""

import functools
import math
import re
import shlex
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack, get_args

import click
from click.core import ParameterSource
from sklearn.base import is_regressor

from unpickled.export import detectors, pickled, ties
from unpickled.export.convert import Operators, check_pipeline
from unpickled.export.data import dataset, files, summary
from unpickled.export.data import target as truth_of
from unpickled.export.data.columns import Choices
from unpickled.export.data.dataset import Dataset
from unpickled.export.data.fitted import Sample
from unpickled.export.data.source import Source
from unpickled.export.data.target import TaskName
from unpickled.export.errors import DataError, ExportError, memory_reported
from unpickled.export.progress import Passing, running
from unpickled.export.publish import Export, export_pipeline, task_of
from unpickled.export.store import model_folder
from unpickled.export.tasks.registry import TASKS
from unpickled.export.tasks.task import Demands, Task
from unpickled.export.train import SCALERS
from unpickled.export.train import train as fit
from unpickled.server import console
from unpickled.server.artifact.manifest import Training
from unpickled.server.quote import counted

DANGER = "Loading a joblib file runs the code in it: convert only files whose origin you trust."

# The endings of files with a pipeline, of tables, and of both where they are compressed.
_ENDINGS = (
    *(".joblib", ".pkl", ".pickle", ".cloudpickle", ".dill", ".sav", ".jbl"),
    *(".csv", ".tsv", ".parquet", ".pq"),
    *(".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4", ".zip"),
)


@click.group(
    cls=console.Group,
    epilog=console.examples("unpickled train iris", "unpickled convert fitted.joblib --sample rows.csv"),
)
def export() -> None:
    """Write a fitted pipeline as an ONNX file."""


class _Number(click.FloatRange):
    """A float in a range. NaN is refused, as it is in no range: comparisons alone would let it pass."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class _Share(_Number):
    """A part of a whole."""

    name = "share"


class _Whole(click.IntRange):
    """An integer in a range."""

    name = "whole number"


def _names(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """The names in a text that separates them by commas."""
    return None if text is None else [name.strip() for name in text.split(",")]


class _Output(TypedDict):
    """The options that every command has that writes a model."""

    missing: list[str] | None
    text: list[str] | None
    models: Path
    name: str | None
    class_names: list[str] | None
    min_accuracy: float | None
    max_error: float | None
    operators: Operators


_FILE = click.Path(path_type=Path)


def _exporting(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``_Output``; print each warning in one line; report an interrupt."""

    @click.option(
        "--missing",
        callback=_names,
        metavar="NA,...",
        help="texts that stand for a missing value in every column  [default: NA and the like among numbers]",
    )
    @click.option(
        "--text", callback=_names, metavar="COLUMN,...", help="columns that are text, whatever they hold"
    )
    @click.option(
        "--models", type=_FILE, default="models", show_default=True, metavar="DIR", help="models folder"
    )
    @click.option("--name", metavar="NAME", help="name of the model  [default: that of the data or file]")
    @click.option(
        "--class-names", callback=_names, metavar="A,B,...", help="names in the order of the sorted labels"
    )
    @click.option(
        "--min-accuracy", type=_Share(0, 1), metavar="F", help="refuse to write a model of lower accuracy"
    )
    @click.option(
        "--max-error",
        type=_Number(0),
        metavar="F",
        help="refuse to write a model of larger mean absolute error",
    )
    @click.option(
        "--operators",
        type=console.Choice(list(get_args(Operators))),
        default="fastest",
        show_default=True,
        metavar="standard",
        help="those of ai.onnx alone, which any execution provider may run, or the fastest on a CPU",
    )
    @functools.wraps(command)
    def exporting(**options: Any) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            try:
                with memory_reported():
                    command(**options)
            except KeyboardInterrupt:
                print("interrupted: nothing was written", file=sys.stderr)
                raise

    return exporting


class _Bundled(console.Choice):
    """A data set that needs no file; a file's name in its place is met with the options that take it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices and Path(value).suffix.lower() in _ENDINGS:
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


@export.command(
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
    type=_FILE,
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
    type=_Whole(0, 2**32 - 1),
    default=0,
    show_default=True,
    metavar="N",
    help="seed of the split and of the estimator",
)
@click.option(
    "--held-out",
    type=_Share(0, 1, min_open=True, max_open=True),
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
@_exporting
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
    **output: Unpack[_Output],
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
        name = _name(data) if data else str(bundled)
    model_folder(output["models"], name)
    choices = replace(_choices(output), expand=dates == "expand")
    with running(_progress, f"reading {data or bundled}"):
        table = dataset.read(data, str(target), choices, task) if data else _bundled(str(bundled), task)
    kind = TASKS[table.task]
    estimator = _estimator(kind, table, {"classifier": classifier, "regressor": regressor})
    kind.admit(_demands(output))
    table = replace(table, class_names=kind.titles(table.class_names, output["class_names"]))
    _progress(f"training {estimator}")
    with running(_progress, f"training {estimator}"):
        model = fit(table, scaler, estimator, seed, held_out)
    with running(_progress, "looking for ties between neighbors"):
        ties.check(model, _given(), table.dates)
    _describe(table, model.training)
    _score(model.training, "on the held-out rows")
    export = export_pipeline(
        model.pipeline,
        model.train,
        name=name,
        models=output["models"],
        class_names=table.class_names or None,
        held_out=model.held_out,
        held_out_y=model.held_out_truth,
        training=model.training,
        readings=table.readings,
        min_accuracy=output["min_accuracy"],
        max_error=output["max_error"],
        operators=output["operators"],
        progress=_progress,
    )
    _report(export, output["models"])


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


def _demands(output: _Output) -> Demands:
    return Demands(output["min_accuracy"], output["max_error"], on_command_line=True)


def _choices(output: _Output) -> Choices:
    """The user's words about the columns of a table."""
    return Choices(missing=frozenset(output["missing"] or ()), text=frozenset(output["text"] or ()))


def _misuse(bundled: str | None, data: Path | None, target: str | None) -> str | None:
    """The error in the arguments that name a table; None if there is none."""
    if (data is None) != (target is None):
        return "--data and --target go together."
    if bundled is not None and data is not None:
        return "DATASET and --data exclude each other."
    if bundled is None and data is None:
        return f"Give DATASET, one of {', '.join(dataset.BUNDLED)}, or a table of your own with --data."
    return None


@export.command(
    epilog=console.examples(
        "unpickled convert fitted.joblib --sample rows.csv --name churn",
        "unpickled convert fitted.joblib --sample rows.csv --target churned --min-accuracy 0.9",
    ),
    help=f"Export a pipeline you fitted and saved with joblib.\n\n{DANGER}",
)
@click.argument("file", metavar="FITTED", type=_FILE)
@click.option(
    "--sample",
    type=_FILE,
    required=True,
    metavar="FILE",
    help="rows like those it was fitted on, .csv or .parquet",
)
@click.option(
    "--target",
    metavar="COLUMN,...",
    help="column of classes or numbers in --sample, to measure the pipeline with",
)
@_exporting
def convert(file: Path, sample: Path, target: str | None, **output: Unpack[_Output]) -> None:
    """Export a pipeline saved with joblib."""
    name = _name(file) if output["name"] is None else output["name"]
    model_folder(output["models"], name)
    files.check_file(file)
    with running(_progress, f"reading {sample}"):
        source = files.load(sample)
    targets = truth_of.named(source, target) if target else []
    print(f"warning: {DANGER}", file=sys.stderr, flush=True)
    with running(_progress, f"loading {file}"):
        pipeline = pickled.load(file, _given())
    with pickled.blamed(file, pipeline):
        check_pipeline(pipeline)
        task_of(pipeline).admit(_demands(output))
        _check_measured(output, targets)
        rows = Sample.of(pipeline, source, _choices(output), targets)
        print(*rows.notes, sep="\n", end="\n" if rows.notes else "", file=sys.stderr)
        truth = _truth(pipeline, source, targets) if targets else None
        X, names = rows.rows()
        export = export_pipeline(
            pipeline,
            X,
            truth,
            name=name,
            models=output["models"],
            class_names=output["class_names"],
            feature_names=names,
            readings=rows.readings,
            min_accuracy=output["min_accuracy"],
            max_error=output["max_error"],
            operators=output["operators"],
            progress=_progress,
        )
    _score(export.manifest.training, f"on {sample.name}")
    _report(export, output["models"])


def _check_measured(output: _Output, targets: Sequence[str]) -> None:
    """Raise DataError if a quality is demanded that nothing measures."""
    option = "--max-error" if output["min_accuracy"] is None else "--min-accuracy"
    if not targets and (output["min_accuracy"], output["max_error"]) != (None, None):
        raise DataError(
            f"{option} needs true answers to measure the pipeline with: name their column with --target."
        )


def _truth(pipeline: Any, source: Source, targets: Sequence[str]) -> Any:
    """The labels, or the numbers of each target, that the pipeline is measured with. Raises DataError."""
    if is_regressor(pipeline):
        return truth_of.numbers_of_sample(source, targets)
    if len(targets) > 1:
        raise DataError(f"A classifier has one target, and --target names {len(targets)}: name one.")
    return truth_of.of_sample(source, targets[0], detectors.classes(pipeline))


def _given() -> list[str]:
    """The words of the command as it was given, so that it can be given again elsewhere."""
    context = click.get_current_context()
    words = [str(context.info_name)]
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT:
            value = context.params[str(parameter.name)]
            text = ",".join(value) if isinstance(value, list) else str(value)
            words += [text] if isinstance(parameter, click.Argument) else [parameter.opts[0], text]
    return words


def _describe(dataset: Dataset, training: Training) -> None:
    rows, features = dataset.features.shape
    target = TASKS[dataset.task].described(dataset.labels, dataset.class_names)
    print(
        f"{dataset.name}: {counted(rows, 'row')}, {counted(features, 'feature')}, {target}; "
        f"trained on {training.rows:,} rows, {training.held_out:,} held out (seed {training.seed})"
    )
    for line in (*dataset.notes, *summary.lines(dataset.readings)):
        print(line)


def _score(training: Training, rows: str) -> None:
    print(*(textwrap.shorten(step, 110, placeholder=" ...") for step in training.pipeline), sep="\n")
    for task in TASKS.values():
        report = task.report(training, rows)
        if report:
            print("", *report, "", sep="\n", flush=True)


def _report(export: Export, models: Path) -> None:
    parity = export.manifest.parity
    kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in parity.rows.items())
    print(
        f"parity: {sum(parity.rows.values()):,} rows ({kinds}), "
        f"largest difference {parity.max_difference:.1e}"
    )
    if export.proof:
        print(f"proof: {export.proof} are the fitted ones, compared one by one")
    print(f"wrote {export.path} ({export.size:,} bytes, sha256 {export.sha256[:12]})")
    print(f"serve it: unpickled serve --models {shlex.quote(str(models))}")


def _progress(phase: str) -> None:
    line = phase if phase.startswith("note: ") or not phase else f"{phase} ..."
    if not sys.stderr.isatty():
        if not phase:
            return
        print(line, file=sys.stderr, flush=True)
        return
    # The line of a count stays without an end, so that the next line is written over it.
    print(f"\r\x1b[K{line}", end="" if isinstance(phase, Passing) else "\n", file=sys.stderr, flush=True)


def _warn(message: Warning | str, *place: Any, **more: Any) -> None:
    """Print a warning in one line, without the file name and the source line that Python would add."""
    print(f"warning: {str(message).strip().splitlines()[0]}", file=sys.stderr, flush=True)


def _name(path: Path) -> str:
    """A model's name made of a file's: without the endings that tell a format, as names may hold dots."""
    stem = Path(path.name)
    while stem.suffix.lower() in _ENDINGS:
        stem = stem.with_suffix("")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem.name).strip("-._")
    if not name:
        raise ExportError(f"No model name can be made of {str(path)!r}: give one with --name.")
    return name
