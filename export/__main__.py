"""Command line: ``python -m export train`` and ``python -m export convert``."""

import argparse
import re
import shlex
import signal
import sys
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from export import data
from export.publish import Export, export_pipeline, place
from export.train import CLASSIFIERS, SCALERS, titles, train
from server.artifact import Training
from server.errors import ExportError, UnpickledError

DANGER = "Loading a joblib file runs the code in it: convert only files whose origin you trust."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 written, 1 refused (one line says why), 2 wrong usage."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            options.command(options)
        except UnpickledError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted: nothing was written", file=sys.stderr)
            return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export", description="Write a fitted pipeline as an ONNX file."
    )
    commands = parser.add_subparsers(required=True, metavar="train|convert")
    _add_train(commands)
    _add_convert(commands)
    return parser


def _add_train(commands: Any) -> None:
    parser = commands.add_parser("train", help="fit a scaler and a classifier, then export them")
    table = parser.add_mutually_exclusive_group(required=True)
    table.add_argument(
        "dataset", nargs="?", choices=list(data.BUNDLED), help="one of scikit-learn's data sets"
    )
    table.add_argument("--data", type=Path, metavar="FILE", help="your own table, .csv or .parquet")
    parser.add_argument("--target", metavar="COLUMN", help="the column of classes in --data")
    parser.add_argument("--scaler", choices=list(SCALERS), default="standard", help="default: %(default)s")
    parser.add_argument(
        "--classifier", choices=list(CLASSIFIERS), default="logistic", help="default: %(default)s"
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of the split and the classifier (default: 0)"
    )
    parser.add_argument(
        "--held-out",
        type=_fraction,
        default=0.2,
        metavar="F",
        help="part of the rows to measure on (default: 0.2)",
    )
    _add_export(parser, "the data's own")
    parser.set_defaults(command=_train, usage=parser.error)


def _add_convert(commands: Any) -> None:
    text = "export a pipeline you fitted and saved with joblib"
    parser = commands.add_parser("convert", help=text, description=f"{text.capitalize()}. {DANGER}")
    parser.add_argument("fitted", type=Path, help=f"the joblib file. {DANGER}")
    parser.add_argument(
        "--sample",
        type=Path,
        required=True,
        metavar="FILE",
        help="rows like those it was fitted on, .csv or .parquet",
    )
    parser.add_argument(
        "--target", metavar="COLUMN", help="the column of classes, to measure the pipeline with"
    )
    _add_export(parser, "the file's own")
    parser.set_defaults(command=_convert, usage=parser.error)


def _add_export(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--models", type=Path, default=Path("models"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--name", help=f"the model's name (default: {name})")
    parser.add_argument(
        "--class-names", type=_names, metavar="A,B,...", help="in the order of the sorted labels"
    )
    parser.add_argument("--min-accuracy", type=_accuracy, metavar="F", help="refuse to write a worse model")


def _train(options: argparse.Namespace) -> None:
    if (options.data is None) != (options.target is None):
        options.usage("--data and --target go together")
    if options.data is not None:
        data.check_file(options.data)
    name = options.name or options.dataset or _name(options.data)
    place(options.models, name)
    dataset = data.bundled(options.dataset) if options.dataset else data.read(options.data, options.target)
    dataset = replace(dataset, class_names=titles(dataset.class_names, options.class_names))
    _progress(f"training {options.classifier}")
    fitted = train(dataset, options.scaler, options.classifier, options.seed, options.held_out)
    _describe(dataset, fitted.training)
    _score(fitted.training, "on the held-out rows")
    export = export_pipeline(
        fitted.pipeline,
        fitted.train,
        name=name,
        models=options.models,
        class_names=dataset.class_names,
        held_out=fitted.held_out,
        training=fitted.training,
        min_accuracy=options.min_accuracy,
        progress=_progress,
    )
    _report(export, options.models)


def _convert(options: argparse.Namespace) -> None:
    name = options.name or _name(options.fitted)
    place(options.models, name)
    sample = data.load(options.sample)
    labels = data.labels(sample, options.target) if options.target else None
    print(f"warning: {DANGER}", file=sys.stderr, flush=True)
    pipeline = _load(options.fitted)
    rows, names = _rows_for(pipeline, sample.drop(columns=options.target or []))
    export = export_pipeline(
        pipeline,
        rows,
        labels,
        name=name,
        models=options.models,
        class_names=options.class_names,
        feature_names=names,
        min_accuracy=options.min_accuracy,
        progress=_progress,
    )
    _score(export.manifest.training, f"on {options.sample.name}")
    _report(export, options.models)


def _load(path: Path) -> Any:
    try:
        fitted = joblib.load(path)
    except Exception as error:  # whatever the code in the file raises
        reason = str(error) or type(error).__name__
        raise ExportError(
            f"{path} cannot be loaded ({reason}): save the fitted pipeline with joblib.dump, and convert it "
            "where the code it uses is installed."
        ) from error
    if not hasattr(fitted, "predict"):
        kind = type(fitted).__name__
        inside = f" of {len(fitted):,}" if isinstance(fitted, (dict, list, tuple)) else ""
        raise ExportError(
            f"{path} holds {'an' if kind[0] in 'aeiou' else 'a'} {kind}{inside}, "
            "not a fitted classifier or pipeline: save the pipeline by itself with joblib.dump."
        )
    return fitted


def _rows_for(pipeline: Any, sample: pd.DataFrame) -> tuple[Any, list[str] | None]:
    """The sample as the pipeline was fitted: a frame of its columns, or an array and its names."""
    fitted_names = getattr(pipeline, "feature_names_in_", None)
    if fitted_names is None:
        return sample.to_numpy(), list(sample.columns)
    return sample[[name for name in fitted_names if name in sample]], None


def _describe(dataset: data.Dataset, training: Training) -> None:
    rows, features = dataset.features.shape
    print(
        f"{dataset.name}: {rows:,} rows, {features:,} features, {len(dataset.class_names):,} classes; "
        f"trained on {training.rows:,} rows, {training.held_out:,} held out (seed {training.seed})"
    )
    print(*dataset.notes, sep="\n", end="\n" if dataset.notes else "")


def _score(training: Training, rows: str) -> None:
    print(*(textwrap.shorten(step, 110, placeholder=" ...") for step in training.pipeline), sep="\n")
    metrics = training.metrics
    if metrics is None:
        return
    loss = "" if metrics.log_loss is None else f"   log loss {metrics.log_loss:.4f}"
    print(f"\naccuracy {metrics.accuracy:.4f}{loss}   ({rows})\n")
    width = max(len("class"), *(len(report.name) for report in metrics.classes))
    print(f"{'class':<{width}}  precision  recall     f1    rows")
    for report in metrics.classes:
        figures = f"{report.precision:>9.3f}  {report.recall:>6.3f}  {report.f1:>5.3f}  {report.support:>6,}"
        print(f"{report.name:<{width}}  {figures}")
    print(flush=True)


def _report(export: Export, models: Path) -> None:
    parity = export.manifest.parity
    kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in parity.rows.items())
    print(
        f"parity: {sum(parity.rows.values()):,} rows ({kinds}), "
        f"largest difference {parity.max_difference:.1e}"
    )
    print(f"wrote {export.path} ({export.size:,} bytes, sha256 {export.sha256[:12]})")
    print(f"serve it: python -m server --models {shlex.quote(str(models))}")


def _progress(phase: str) -> None:
    print(phase if phase.startswith("note: ") else f"{phase} ...", file=sys.stderr, flush=True)


def _warn(message: Warning | str, *place: Any, **more: Any) -> None:
    """One line, where Python would print a file name and a line of somebody else's source."""
    print(f"warning: {str(message).strip().splitlines()[0]}", file=sys.stderr, flush=True)


def _name(path: Path) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.split(".")[0]).strip("-._")
    if not name:
        raise ExportError(f"No model name can be made of {str(path)!r}: give one with --name.")
    return name


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def _fraction(text: str) -> float:
    number = _number(text)
    if not 0.0 < number < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def _accuracy(text: str) -> float:
    number = _number(text)
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not an accuracy from 0 to 1")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from None


if __name__ == "__main__":
    sys.exit(main())
