"""The command ``convert``: from a pipeline saved with joblib to a model file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import click
from sklearn.base import is_regressor

from unpickled.export import detectors, pickled
from unpickled.export.commands import printing
from unpickled.export.commands.naming import model_name
from unpickled.export.commands.options import (
    FILE,
    Output,
    add_working_directory,
    chosen,
    command_words,
    demands,
    exporting,
    from_function,
    kept,
)
from unpickled.export.commands.printing import progress
from unpickled.export.convert import check_pipeline
from unpickled.export.data import files
from unpickled.export.data import target as truth_of
from unpickled.export.data.fitted import Sample
from unpickled.export.data.source import Source
from unpickled.export.errors import DataError
from unpickled.export.material import data_of
from unpickled.export.progress import running
from unpickled.export.publish import export_pipeline, task_of
from unpickled.export.store import model_folder
from unpickled.server import console
from unpickled.server.artifact.recipe import Recipe

DANGER = "Loading a joblib file runs the code in it: convert only files whose origin you trust."


@click.command(
    epilog=console.examples(
        "unpickled convert fitted.joblib --sample rows.csv --name churn",
        "unpickled convert fitted.joblib --sample rows.csv --target churned --min-accuracy 0.9",
    ),
    help=f"Export a pipeline you fitted and saved with joblib.\n\n{DANGER}",
)
@click.argument("file", metavar="FITTED", type=FILE)
@click.option(
    "--sample",
    type=FILE,
    required=True,
    metavar="FILE",
    help="rows like those it was fitted on, .csv or .parquet",
)
@click.option(
    "--target",
    metavar="COLUMN,...",
    help="column of classes or numbers in --sample, to measure the pipeline with",
)
@from_function
@exporting
def convert(
    file: Path, sample: Path, target: str | None, recipe: str | None, **output: Unpack[Output]
) -> None:
    """Export a pipeline saved with joblib."""
    if recipe is not None:
        add_working_directory()
    name = model_name(file) if output["name"] is None else output["name"]
    model_folder(output["models"], name)
    files.check_file(file)
    with running(progress, f"reading {sample}"):
        source = files.load(sample)
    targets = truth_of.named(source, target) if target else []
    print(f"warning: {DANGER}", file=sys.stderr, flush=True)
    with running(progress, f"loading {file}"):
        pipeline = pickled.load(file, command_words())
    with pickled.blamed(file, pipeline):
        check_pipeline(pipeline)
        task_of(pipeline).admit(demands(output))
        _check_measured(output, targets)
        rows = Sample.of(pipeline, source, chosen(output), targets)
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
            recipe=Recipe(
                by="function" if recipe else "pipeline",
                function=recipe or "",
                data=data_of(sample),
                target=tuple(targets),
                options=kept(output),
            ),
            feature_names=names,
            readings=rows.readings,
            min_accuracy=output["min_accuracy"],
            max_error=output["max_error"],
            operators=output["operators"],
            progress=progress,
        )
    printing.quality(export.manifest.training, f"on {sample.name}")
    printing.written(export, output["models"])


def _check_measured(output: Output, targets: Sequence[str]) -> None:
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
