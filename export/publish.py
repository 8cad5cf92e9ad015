"""From a fitted pipeline to a checked model file on disk."""

import dataclasses
import hashlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from google.protobuf.message import EncodeError
from msgspec.structs import replace
from sklearn.base import is_outlier_detector, is_regressor

from unpickled.export import reference
from unpickled.export.boosters.reading import read_once
from unpickled.export.card import card
from unpickled.export.card.card import Model
from unpickled.export.comparison.against import Against
from unpickled.export.comparison.unread import with_unread
from unpickled.export.convert import Conversion, Operators, check_pipeline, convert
from unpickled.export.data import gaps, requests
from unpickled.export.data.columns import Reading
from unpickled.export.data.memory import table
from unpickled.export.detectors import classes
from unpickled.export.errors import (
    ConversionError,
    DataError,
    ExportError,
    ParityError,
    memory_reported,
    reason,
)
from unpickled.export.gate import golden
from unpickled.export.gate.answers import Array, predictions
from unpickled.export.gate.pair import Run
from unpickled.export.gate.parity import check
from unpickled.export.gate.proof import Proof, prove
from unpickled.export.gate.spans import spans
from unpickled.export.labelled import Labelled
from unpickled.export.places import places
from unpickled.export.privacy import KEEPS_ROWS, keeps_rows
from unpickled.export.progress import running
from unpickled.export.recipe import completed
from unpickled.export.store import add_version, model_folder
from unpickled.export.tasks import regression
from unpickled.export.tasks.outliers import OUTLIERS
from unpickled.export.tasks.registry import TASKS
from unpickled.export.tasks.task import ClassNames, Demands, Task
from unpickled.export.train import curve, steps, versions
from unpickled.server.artifact import onnxfile
from unpickled.server.artifact.card import Card
from unpickled.server.artifact.manifest import SCHEMA, Feature, Manifest, Training, read, repeated
from unpickled.server.artifact.manifest import properties as manifest_properties
from unpickled.server.artifact.recipe import Recipe
from unpickled.server.artifact.reference import Reference
from unpickled.server.card import page
from unpickled.server.card.version import Version
from unpickled.server.errors import ArtifactError
from unpickled.server.model.feeds import Feeds
from unpickled.server.model.session import load, open_graph
from unpickled.server.quote import listed, quoted, shortened
from unpickled.server.report.page import framed


@dataclass(frozen=True, slots=True)
class Export:
    """A version of a model that was written to disk.

    Attributes:
        path: The file, ``models/<name>/<version>/model.onnx``.
        version: Its number.
        size: Its length in bytes.
        sha256: Its digest, in hex.
        manifest: The manifest inside it.
        proof: How many splits and leaves of its trees were compared with the fitted ones, each of them; None
            if it has no trees, or others than a proof can be made for.
    """

    path: Path
    version: int
    size: int
    sha256: str
    manifest: Manifest
    proof: Proof | None = None

    def _repr_html_(self) -> str:
        """The report about this version, which a notebook shows (server/card/page.py)."""
        name = self.path.parent.parent.name
        version = Version(name, self.version, self.manifest, self.size, self.sha256)
        return framed(page.html(version), version.title)


@memory_reported()
@read_once()
def export_pipeline(
    pipeline: Any,
    X: Any,
    y: Any = None,
    *,
    name: str,
    models: str | Path = "models",
    class_names: ClassNames | None = None,
    feature_names: Sequence[str] | None = None,
    held_out: Any = None,
    held_out_y: Any = None,
    training: Training | None = None,
    recipe: Recipe | str | None = None,
    readings: Sequence[Reading] = (),
    min_accuracy: float | None = None,
    max_error: float | None = None,
    operators: Operators = "fastest",
    against: Against | None = None,
    progress: Callable[[str], None] | None = None,
) -> Export:
    """Prove that a fitted pipeline and its graph agree, then write the graph as a new version of a model.

    The pipeline becomes an ONNX graph. The graph has to answer the given rows and thousands of generated
    ones as the pipeline does. Only then is ``models/<name>/<next version>/model.onnx`` written, whole, after
    the server's own loader has loaded its bytes.

    Args:
        pipeline: A fitted classifier, regressor or outlier detector of scikit-learn, or a pipeline that ends
            in one.
        X: Rows (rows, columns) as the pipeline was fitted on, usually the training rows: ranges and
            categories of the features are taken from them. An array, a frame of pandas or polars, a pyarrow
            table, or a list of records.
        y: Their labels (rows,), or numbers (rows,) or (rows, targets). With them quality is measured on X and
            kept in the manifest, unless ``held_out_y`` is given; the names of a frame's columns are those of
            the targets. Those of an outlier detector are -1 (outlier) and 1.
        name: The model's name, part of its URL.
        models: The folder of all models.
        class_names: Names of the classes, in the order of ``pipeline.classes_`` or as ``{label: name}``; by
            default the labels, or of an outlier detector "outlier" and "inlier".
        feature_names: Names of the columns where X is an array; by default ``feature_0`` and so on.
        held_out: More rows for the comparison, such as those the pipeline was tested on.
        held_out_y: The true answers for ``held_out``, as y has them: quality is measured on these rows, which
            the pipeline was not fitted on, in the place of X.
        training: The origin and the quality of the pipeline, if they are known; the true answers then serve
            for the card alone.
        recipe: How the pipeline was made, kept in the manifest so that ``unpickled train --like`` repeats it:
            by default the parameters of its unfitted estimators. ``"module:function"`` names a function
            without arguments that makes the unfitted pipeline; it is called once, to see that it does.
        readings: For a table out of a file, what its columns were taken for: requests are read likewise.
        min_accuracy: The lowest accuracy, from 0 to 1, at which a classifier is written.
        max_error: The largest mean absolute error at which a regressor is written, of its worst target.
        operators: "standard": those of ``ai.onnx`` alone, which any execution provider may run; "fastest":
            those that are fastest on a CPU.
        against: How it is compared with earlier versions of the model, where ``held_out_y`` is given; by
            default with the newest three, as far as that can be done.
        progress: Called with a line of text for each phase of the work, and with a warning if the graph
            keeps training rows (support vectors, neighbours).

    Returns:
        The path, version, size, digest and manifest of the file.

    Raises:
        ExportError: The base of all errors below; nothing was written.
        DataError: An argument does not fit the others, such as ``held_out_y`` without ``held_out``.
        ConversionError: A step of the pipeline has no graph; the message names it and a remedy.
        ParityError: The graph does not answer as the pipeline does.
        QualityError: The accuracy is below ``min_accuracy``, or an error is above ``max_error``.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from unpickled import export_pipeline
        >>> X, y = load_iris(return_X_y=True)
        >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
        >>> export_pipeline(pipeline, X, y, name="iris").path
        PosixPath('models/iris/1/model.onnx')
    """
    progress = progress or _silent
    home = model_folder(models, name)
    check_pipeline(pipeline)
    recipe = completed(pipeline, recipe)
    task, demands = task_of(pipeline), Demands(min_accuracy, max_error)
    task.admit(demands)
    X, held_out = table(X), table(held_out)
    if held_out_y is not None and held_out is None:
        raise DataError("held_out_y has the true answers for held_out, which is missing: give both.")
    progress("converting")
    with running(progress, "converting"):
        conversion = convert(pipeline, X, feature_names, operators)
    names = task.titles(conversion.classes, class_names)
    samples = [rows for rows in (X, held_out) if rows is not None]
    frames = [conversion.layout.frame(rows) for rows in samples]
    for rows, frame in zip(samples, frames, strict=True):
        _check_holes(pipeline, conversion, rows, frame)
    with running(progress, "measuring"):
        conversion = _named(conversion, pipeline, X, held_out_y if y is None else y, training)
        # The place of the sample with true answers, and these.
        place, truth, counts = 0, y, {}
        if held_out_y is not None:
            place, truth, counts = 1, held_out_y, {"rows": len(X), "held_out": len(held_out)}
        labelled = _labelled(task, pipeline, conversion, frames[place], truth, place == 1)
        if training is None:
            training = _measured(task, pipeline, conversion, samples[place], truth, names)
            training = replace(training, **counts)
    task.require(training, demands)
    training = replace(training, holds_rows=training.holds_rows or keeps_rows(pipeline))
    if training.holds_rows:
        progress(KEEPS_ROWS)
    progress("checking parity")
    with _steps_named(conversion, training):
        run = runner(conversion)
    with running(progress, "comparing the trees"):
        proof = prove(pipeline, conversion)
    if proof:
        progress(f"comparing {proof} with the fitted ones")
    with _gaps_explained(pipeline, conversion, samples):
        parity, features = check(pipeline, conversion, run, X, held_out, progress, proof)
    features = requests.described(features, readings)
    with running(progress, "making golden rows"):
        golden_rows = golden.make(pipeline, conversion, features, frames)
    with running(progress, "counting training rows for drift"):
        spreads = _reference(pipeline, conversion, features, X, names)
    graph = _serialised(conversion.model)
    with running(progress, "measuring the card"):
        figures = _card(
            Model(run, conversion, features, names, spreads, len(graph)), labelled, training, progress
        )
    manifest = Manifest(
        schema=SCHEMA,
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        features=features,
        inputs=conversion.inputs,
        outputs=conversion.outputs,
        classes=conversion.classes,
        class_names=names,
        golden=golden_rows,
        parity=parity,
        training=training,
        unused=requests.unused(pipeline, X, features, readings),
        graph_sha256=onnxfile.contents(graph).sha256,
        reference=spreads,
        card=figures,
        recipe=recipe,
    )
    payload = _sealed(graph, manifest)
    with _steps_named(conversion, training), running(progress, "loading it as a server does"):
        served = load(payload)
    comparisons = (against or Against()).compared(served, home, _compared(labelled, held_out), progress)
    if comparisons:
        manifest = replace(manifest, comparisons=comparisons)
        payload = _sealed(graph, manifest)
        read(payload)
    progress("writing")
    path = add_version(home, payload)
    digest = hashlib.sha256(payload).hexdigest()
    return Export(path, int(path.parent.name), len(payload), digest, manifest, proof)


def _silent(phase: str) -> None:
    """Show no progress."""


def task_of(pipeline: Any) -> Task:
    """The task that a pipeline was fitted for."""
    if is_outlier_detector(pipeline):
        return OUTLIERS
    return TASKS["regression" if is_regressor(pipeline) else "classification"]


def _measured(
    task: Task, pipeline: Any, conversion: Conversion, rows: Any, y: Any, class_names: tuple[str, ...]
) -> Training:
    """The Training of a pipeline trained elsewhere: steps, versions, and quality if y is given.

    Raises DataError if the answers do not fit the rows, or the pipeline refuses these.
    """
    losses = curve(task, pipeline, None, np.empty(0))
    training = Training(pipeline=steps(pipeline), versions=versions(pipeline), curve=losses)
    if y is None:
        return training
    names = class_names or conversion.outputs.targets
    try:
        return task.measured(training, pipeline, conversion.layout.own(rows), y, names)
    except (MemoryError, ExportError):
        raise
    except Exception as error:  # pipelines raise exceptions of any kind
        raise DataError(
            f"The pipeline refuses rows that it is to be measured on ({reason(error)}): leave them out."
        ) from error


def _labelled(
    task: Task, pipeline: Any, conversion: Conversion, frame: pd.DataFrame, y: Any, held_out: bool
) -> Labelled | None:
    """The rows of a frame with their true answers, None without these; DataError if they do not fit."""
    if y is None:
        return None
    truth = task.truth(pipeline, len(frame), y)
    if conversion.classes:
        truth = np.array(conversion.classes)[places(classes(pipeline), truth)]
    elif truth.shape[1] != len(conversion.outputs.targets):
        raise DataError(
            f"The rows have {truth.shape[1]} numbers to predict each, the pipeline predicts "
            f"{len(conversion.outputs.targets)}: give as many."
        )
    return Labelled(frame, truth, held_out)


def _compared(labelled: Labelled | None, held_out: Any) -> Labelled | None:
    """The held-out rows for other versions, if their true answers are known."""
    return with_unread(labelled, held_out) if labelled is not None and labelled.held_out else None


def _card(
    model: Model, labelled: Labelled | None, training: Training, progress: Callable[[str], None]
) -> Card | None:
    """The card of a model, if the true answers are known."""
    if labelled is None:
        return None
    return card.make(model, labelled, training.seed or 0, lambda sentence: progress(f"note: {sentence}"))


def _named(conversion: Conversion, pipeline: Any, X: Any, y: Any, training: Training | None) -> Conversion:
    """The conversion with what the manifest says of a regressor's targets; a classifier's unchanged."""
    if conversion.classes:
        return conversion
    predicted = predictions(pipeline.predict(conversion.layout.own(X))).scores
    names = [training.target] if training and training.target else _columns(y)
    targets = tuple(names) if len(names) == predicted.shape[1] else conversion.outputs.targets
    outputs = replace(
        conversion.outputs,
        targets=targets,
        deciles=regression.deciles(predicted),
        spans=spans(pipeline, conversion, predicted),
    )
    return dataclasses.replace(conversion, outputs=outputs)


def _reference(
    pipeline: Any, conversion: Conversion, features: Sequence[Feature], X: Any, names: tuple[str, ...]
) -> Reference:
    """The spread of the training rows and of the answers to them, for drift."""
    with warnings.catch_warnings():
        # The same rows were answered by the gate, which heeds no warning either.
        warnings.simplefilter("ignore")
        predicted = pipeline.predict(conversion.layout.own(X))
    if not conversion.classes:
        predicted, names = predictions(predicted).scores, conversion.outputs.targets
    return reference.make(conversion.layout.frame(X), features, predicted, conversion.classes, names)


def _columns(y: Any) -> list[str]:
    """The names of the columns of y; none if it has no names. Raises DataError if two have the same."""
    if isinstance(y, pd.Series):
        return [] if y.name is None else [str(y.name)]
    names = [str(name) for name in y.columns] if isinstance(y, pd.DataFrame) else []
    if (name := repeated(names)) is not None:
        raise DataError(f"Two columns of y are called {quoted(name)}: give each target a name of its own.")
    return names


def _check_holes(pipeline: Any, conversion: Conversion, rows: Any, frame: pd.DataFrame) -> None:
    """Raise DataError if rows hold NaN or infinity and the pipeline does not take them."""
    numbers = frame.select_dtypes("number")
    holes = numbers.columns[~np.isfinite(numbers.to_numpy()).all(axis=0)] if numbers.size else []
    if not len(holes):
        return
    try:
        pipeline.predict(conversion.layout.own(rows))
    except MemoryError:
        raise
    except Exception as error:
        count = int((~np.isfinite(numbers[holes].to_numpy())).any(axis=1).sum())
        raise DataError(
            f"The pipeline refuses the rows ({reason(error)}): {listed(holes, 5, quoted)} "
            f"{'hold' if len(holes) > 1 else 'holds'} NaN or infinity, in {count:,} of {len(frame):,} rows. "
            "Leave those rows out, or fit the pipeline with a step that fills them, such as SimpleImputer "
            "(for NaN)."
        ) from error


def _sealed(graph: bytes, manifest: Manifest) -> bytes:
    """The model file: a graph, and its manifest with the digests of both."""
    try:
        properties = manifest_properties(manifest)
    except UnicodeEncodeError as error:
        raise DataError(
            f"A name or a category holds {quoted(error.object)}, which is no Unicode text: replace it."
        ) from error
    metadata = onnx.ModelProto()
    onnx.helper.set_model_props(metadata, properties)
    # Protobuf reads two messages, one after the other, as one with the fields of both.
    payload = graph + _serialised(metadata)
    if len(payload) > onnxfile.LONGEST:
        raise ConversionError(_TOO_LARGE)
    return payload


def _serialised(model: onnx.ModelProto) -> bytes:
    try:
        payload: bytes = model.SerializeToString(deterministic=True)
        return payload
    except (EncodeError, ValueError) as error:
        raise ConversionError(_TOO_LARGE) from error


_TOO_LARGE = "The graph exceeds the 2 GB ONNX allows: use fewer or smaller trees."


def runner(conversion: Conversion) -> Run:
    """A function that runs the graph, which has no manifest yet, in a session like that of a server."""
    session = open_graph(_serialised(conversion.model))
    label, scores_name = conversion.outputs.label, conversion.outputs.scores

    def classify(feeds: Feeds) -> tuple[Array, Array]:
        labels, scores = session.run([label, scores_name], feeds)
        return labels, scores

    def regress(feeds: Feeds) -> tuple[Array, Array]:
        [numbers] = session.run([scores_name], feeds)
        return np.zeros(len(numbers), np.int64), numbers

    return classify if label else regress


@contextmanager
def _gaps_explained(pipeline: Any, conversion: Conversion, samples: Sequence[Any]) -> Iterator[None]:
    """Turn a ParityError into one that says so where an imputer leaves gaps in the rows as they are."""
    try:
        yield
    except ParityError as error:
        complaints = [gaps.complaint(pipeline, conversion.layout, rows) for rows in samples]
        for sentence in filter(None, complaints):
            raise ParityError(sentence) from error
        raise


@contextmanager
def _steps_named(conversion: Conversion, training: Training) -> Iterator[None]:
    """Turn an ArtifactError about the graph into a ConversionError that names the pipeline's steps."""
    try:
        yield
    except ArtifactError as error:
        steps = " -> ".join(step.partition("(")[0] for step in training.pipeline)
        suspects = f"{', '.join(conversion.foreign)}, which skl2onnx converted," if conversion.foreign else ""
        raise ConversionError(
            f"The graph made of {steps} cannot be served: {_explained(error)}. "
            f"Replace {suspects or 'its last step'} with another estimator; nothing was written."
        ) from error


def _explained(error: ArtifactError) -> str:
    """The first line of an ArtifactError; for a null in the manifest, a clause about the number behind it."""
    text = reason(error)
    null = re.search(r"got `null` - at `\$\.?([^`]*)`", text)
    if null:
        return f"a number of its manifest ({null[1]}) is NaN or infinite"
    return shortened(text, 300)
