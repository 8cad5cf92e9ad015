"""A fitted pipeline -> a proven artifact, written whole into a numbered directory or not at all."""

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Sequence
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

from export import golden as golden_rows
from export.convert import Conversion, convert
from export.parity import check
from export.train import measure, require, steps, titles, versions
from server.artifact import MANIFEST_KEY, SCHEMA, Manifest, Parity, Training
from server.errors import ArtifactError, ConversionError, DataError, ExportError
from server.model import Model, load

FILE = "model.onnx"

UNPROVEN = Parity(rows={}, max_difference=0.0, tolerance=0.0, tie_gap=0.0, ties=0)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


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
    each phase.

    Raises ExportError, and then nothing was written: DataError for the arguments, ConversionError
    for a step that has no graph, ParityError for a graph that answers differently, QualityError for
    a pipeline below ``min_accuracy``.
    """
    home = place(models, name)
    progress("converting")
    conversion = convert(pipeline, X, feature_names)
    names = titles(conversion.classes, class_names)
    if training is None:
        metrics = None if y is None else measure(pipeline, conversion.table.own(X), np.ravel(y), names)
        training = Training(pipeline=steps(pipeline), metrics=metrics, versions=versions())
    require(training.metrics, min_accuracy)
    progress("checking parity")
    known = [conversion.table.frame(rows) for rows in (X, held_out) if rows is not None]
    draft = _draft(pipeline, conversion, known, name, names, training)
    model = _load(_embed(conversion.model, draft), golden=False)  # the gate asks more, and names the step
    parity, features = check(pipeline, conversion, model.run, X, held_out, progress)
    proven = golden_rows.make(pipeline, conversion, features, known)
    manifest = replace(draft, parity=parity, features=features, golden=proven)
    payload = _embed(conversion.model, manifest)
    _load(payload)
    progress("writing")
    path = _store(home, payload)
    return Export(path, int(path.parent.name), len(payload), hashlib.sha256(payload).hexdigest(), manifest)


def place(models: str | Path, name: str) -> Path:
    """The directory of the model's versions, existing or not. Raises ExportError where it cannot be."""
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{name!r} cannot name a model: use up to 128 of A-Z, a-z, 0-9, '.', '_' and '-', "
            "starting with a letter or digit, so that it works in a URL and as a directory."
        )
    home = Path(models) / name
    ground = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not ground.is_dir():
        raise ExportError(f"{ground} is not a directory, and the model belongs below it: move it away.")
    if not os.access(ground, os.W_OK | os.X_OK):
        raise ExportError(f"{ground} cannot be written to: change its permissions, or choose another place.")
    return home


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
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    onnx.helper.set_model_props(model, {MANIFEST_KEY: msgspec.json.encode(manifest).decode()})
    try:
        payload: bytes = model.SerializeToString(deterministic=True)
        return payload
    except (EncodeError, ValueError) as error:
        raise ConversionError(
            "The graph exceeds the 2 GB ONNX allows: use fewer or smaller trees."
        ) from error


def _load(payload: bytes, golden: bool = True) -> Model:
    try:
        return load(payload, golden=golden)
    except ArtifactError as error:
        raise ConversionError(f"The server refuses the converted pipeline: {error}") from error


def _store(home: Path, payload: bytes) -> Path:
    """Write the next version: a directory beside the others, renamed once its bytes are on disk."""
    staging = home / f".new-{uuid.uuid4().hex}"
    try:
        staging.mkdir(parents=True)
        _write(staging / FILE, payload)
        return _claim(staging, home) / FILE
    except OSError as error:
        raise ExportError(f"{home} cannot be written to ({error.strerror}): no version was added.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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
