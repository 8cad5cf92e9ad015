"""A fitted pipeline -> a proven artifact, written whole into a numbered directory or not at all."""

import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
from google.protobuf.message import EncodeError
from msgspec.structs import replace

from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ConversionError, DataError, ExportError, reason
from unpickled.export.gate import golden as golden_rows
from unpickled.export.gate.parity import check
from unpickled.export.inside import everything
from unpickled.export.train import measure, require, steps, titles, versions
from unpickled.server.artifact.manifest import FILE, MANIFEST_KEY, NAME, SCHEMA, Manifest, Parity, Training
from unpickled.server.errors import ArtifactError
from unpickled.server.model.session import Model, load

UNPROVEN = Parity(rows={}, max_difference=0.0, tolerance=0.0, tie_gap=0.0, ties=0)

KEEPS_ROWS = (
    "note: this classifier keeps training rows inside the model (support vectors / neighbours): "
    "pass the file only to those who may see them"
)

# Where fitted estimators keep rows of their training table, which their graphs then hold.
_ROWS = {"support_vectors_", "_fit_X", "X_train_"}

LEFTOVER_SECONDS = 24 * 3600

LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Export:
    """What was written: the file, its version, size and sha256, and the manifest inside it."""

    path: Path
    version: int
    size: int
    sha256: str
    manifest: Manifest


def export_pipeline(
    pipeline: Any,
    X: Any,
    y: Any = None,
    *,
    name: str,
    models: str | Path = "models",
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    held_out: Any = None,
    training: Training | None = None,
    min_accuracy: float | None = None,
    progress: Callable[[str], None] = lambda phase: None,
) -> Export:
    """Prove that ``pipeline`` and its graph agree, then write ``models/name/<next version>/model.onnx``.

    ``X`` (rows, columns), an array or a data frame as the pipeline was fitted on: rows to take the
    features' ranges and categories from, usually the training rows. ``y`` (rows,): their labels;
    quality is then measured on X and y and kept in the manifest. ``held_out``: more rows for the
    parity gate. ``feature_names``: the columns' names where X is an array. ``class_names``: what to
    call the classes, in the order of ``pipeline.classes_``. ``training``: where the pipeline came
    from, if that is known. ``min_accuracy``: the measured accuracy to insist on. ``progress`` is told
    each phase, and where the graph keeps training rows (support vectors, neighbours).

    Raises ExportError, and then nothing was written: DataError for the arguments, ConversionError
    for a step that has no graph, ParityError for a graph that answers differently, QualityError for
    a pipeline below ``min_accuracy``.
    """
    home = place(models, name)
    progress("converting")
    conversion = convert(pipeline, X, feature_names)
    names = titles(conversion.classes, class_names)
    tables = [rows for rows in (X, held_out) if rows is not None]
    known = [conversion.table.frame(rows) for rows in tables]
    for rows, frame in zip(tables, known, strict=True):
        _check_holes(pipeline, conversion, rows, frame)
    if training is None:
        metrics = None if y is None else measure(pipeline, conversion.table.own(X), np.ravel(y), names)
        training = Training(pipeline=steps(pipeline), metrics=metrics, versions=versions())
    require(training.metrics, min_accuracy)
    training = replace(training, holds_rows=training.holds_rows or _keeps_rows(pipeline))
    if training.holds_rows:
        progress(KEEPS_ROWS)
    progress("checking parity")
    draft = _draft(pipeline, conversion, known, name, names, training)
    # The gate asks more than the golden rows, and names the step.
    model = _load(_embed(conversion.model, draft), conversion, draft, golden=False)
    parity, features = check(pipeline, conversion, model.run, X, held_out, progress)
    proven = golden_rows.make(pipeline, conversion, features, known)
    manifest = replace(draft, parity=parity, features=features, golden=proven)
    payload = _embed(conversion.model, manifest)
    _load(payload, conversion, manifest)
    progress("writing")
    path = _store(home, payload)
    return Export(path, int(path.parent.name), len(payload), hashlib.sha256(payload).hexdigest(), manifest)


def place(models: str | Path, name: str) -> Path:
    """The directory of the model's versions, existing or not. Raises ExportError where it cannot be."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise DataError(
            f"{name!r:.200} cannot name a model: use up to 128 of A-Z, a-z, 0-9, '.', '_' and '-', "
            "starting with a letter or digit, so that it works in a URL and as a directory."
        )
    home = Path(models) / name
    ground = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not ground.is_dir():
        raise ExportError(f"{ground} is not a directory, and the model belongs below it: move it away.")
    if not os.access(ground, os.W_OK | os.X_OK):
        raise ExportError(f"{ground} cannot be written to: change its permissions, or choose another place.")
    return home


def _check_holes(pipeline: Any, conversion: Conversion, rows: Any, frame: pd.DataFrame) -> None:
    """Raise DataError where rows hold NaN or infinity and the pipeline does not take them."""
    numbers = frame.select_dtypes("number")
    holes = numbers.columns[~np.isfinite(numbers.to_numpy()).all(axis=0)] if numbers.size else []
    if not len(holes):
        return
    try:
        pipeline.predict(conversion.table.own(rows))
    except Exception as error:
        count = int((~np.isfinite(numbers[holes].to_numpy())).any(axis=1).sum())
        raise DataError(
            f"The pipeline refuses the rows ({reason(error)}): {', '.join(map(repr, holes[:5]))} "
            f"{'hold' if len(holes) > 1 else 'holds'} NaN or infinity, in {count:,} of {len(frame):,} rows. "
            "Leave those rows out, or fit the pipeline with a step that fills them, such as SimpleImputer "
            "(for NaN)."
        ) from error


def _keeps_rows(pipeline: Any) -> bool:
    """Whether an estimator inside keeps rows of its training table."""
    return any(_keeps_them(part) for part in everything(pipeline))


def _keeps_them(part: Any) -> bool:
    """A selector's graph holds a list of columns and nothing of the estimator that chose them."""
    return not hasattr(part, "get_support") and bool(_ROWS & getattr(part, "__dict__", {}).keys())


def _draft(
    pipeline: Any,
    conversion: Conversion,
    known: Sequence[pd.DataFrame],
    name: str,
    class_names: tuple[str, ...],
    training: Training,
) -> Manifest:
    """The manifest before the gate has found out which values may be missing or unknown."""
    strict = [replace(feature, missing=False, closed=True) for feature in conversion.features]
    return Manifest(
        schema=SCHEMA,
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        features=conversion.features,
        inputs=conversion.inputs,
        outputs=conversion.outputs,
        classes=conversion.classes,
        class_names=class_names,
        golden=golden_rows.make(pipeline, conversion, strict, known),
        parity=UNPROVEN,
        training=training,
    )


def _embed(graph: onnx.ModelProto, manifest: Manifest) -> bytes:
    try:
        text = msgspec.json.encode(manifest).decode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"A name or a category holds {error.object!r:.80}, which is no Unicode text: replace it."
        ) from error
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    onnx.helper.set_model_props(model, {MANIFEST_KEY: text})
    try:
        payload: bytes = model.SerializeToString(deterministic=True)
        return payload
    except (EncodeError, ValueError) as error:
        raise ConversionError(
            "The graph exceeds the 2 GB ONNX allows: use fewer or smaller trees."
        ) from error


def _load(payload: bytes, conversion: Conversion, manifest: Manifest, golden: bool = True) -> Model:
    """As a server loads it; what it finds wrong is said of the pipeline."""
    try:
        return load(payload, golden=golden)
    except ArtifactError as error:
        steps = " -> ".join(step.partition("(")[0] for step in manifest.training.pipeline)
        suspects = f"{', '.join(conversion.foreign)}, which skl2onnx converted," if conversion.foreign else ""
        raise ConversionError(
            f"The graph made of {steps} cannot be served: {_explained(error)}. "
            f"Replace {suspects or 'its last step'} by another estimator; nothing was written."
        ) from error


def _explained(error: ArtifactError) -> str:
    """The first line of the server's refusal; of a null in the manifest, what put it there."""
    text = reason(error)
    null = re.search(r"got `null` - at `\$\.?([^`]*)`", text)
    if null:
        return f"a number of its manifest ({null[1]}) is NaN or infinite"
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _store(home: Path, payload: bytes) -> Path:
    """Write the next version: a directory beside the others, renamed once its bytes are on disk."""
    staging = home / f".new-{uuid.uuid4().hex}"
    made = [folder for folder in (home, *home.parents) if not folder.exists()]
    try:
        _sweep(home)
        staging.mkdir(parents=True)
        _write(staging / FILE, payload)
        return _claim(staging, home) / FILE
    except OSError as error:
        raise ExportError(f"{home} cannot be written to ({error.strerror}): no version was added.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):  # not empty: a version was written, by this export or another
            for folder in made:
                folder.rmdir()


def _sweep(home: Path) -> None:
    """Remove what exports that were killed more than a day ago left behind."""
    for leftover in home.glob(".new-*"):
        with suppress(OSError):  # another export was faster
            if time.time() - leftover.lstat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


def _claim(staging: Path, home: Path) -> Path:
    """Rename onto the next number. A rename never replaces a version, which is not empty."""
    while True:
        target = home / str(_newest(home) + 1)
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            continue  # another export took the number
        for directory in (home, home.parent):
            _sync(directory)
        return target


def _newest(home: Path) -> int:
    names = [path.name for path in home.iterdir()]
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)


def _write(path: Path, payload: bytes) -> None:
    with path.open("xb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    _sync(path.parent)


def _sync(directory: Path) -> None:
    if os.name != "posix":  # only there can a directory be opened
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
