"""The contract between training and serving: one ONNX file that carries its own manifest.

``model.onnx`` holds the graph and, in ``metadata_props`` under ``unpickled.manifest``, one JSON
document: the Manifest below. ``schema`` counts its incompatible changes: a reader refuses a
number it does not know; a new optional field does not change it.
"""

import re
from typing import Annotated, Literal

import msgspec

from unpickled.server.artifact import onnxfile
from unpickled.server.errors import ArtifactError

# models/<name>/<version>/model.onnx; a name can stand in a path and a header as it is.
FILE = "model.onnx"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

SCHEMA = 1
MANIFEST_KEY = "unpickled.manifest"

# A Unicode noncharacter: ONNX string tensors have no missing value, and no text contains this.
MISSING_CATEGORY = "\ufdd0"


class Feature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column of a request.

    ``missing`` says whether null is accepted. ``minimum``, ``maximum`` and ``median`` describe the
    training rows; ``lowest`` and ``highest`` bound what the artifact answers as the pipeline does
    (None: the range of the input's dtype). ``categories`` are those seen in training, in order;
    ``closed``: no other is accepted.
    """

    name: str
    kind: Literal["number", "category"]
    missing: bool
    minimum: float | None = None
    maximum: float | None = None
    median: float | None = None
    lowest: float | None = None
    highest: float | None = None
    categories: tuple[str, ...] = ()
    closed: bool = False


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor the graph takes: (rows, len(features)), columns in this order."""

    name: str
    dtype: Literal["float32", "float64", "int64", "string"]
    features: tuple[str, ...]


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    """The graph's two outputs: ``label`` (rows,) and ``scores`` (rows, classes).

    ``kind`` says what the second one holds: probabilities, or for classifiers that have none,
    decision scores (of two classes: [-score, score]).
    """

    label: str
    scores: str
    kind: Literal["probabilities", "scores"]


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Made-up rows inside the training ranges, with the pipeline's own answers.

    ``rows`` in feature order (None is missing), ``labels`` out of Manifest.classes, ``scores``
    (rows, classes).
    """

    rows: tuple[tuple[float | str | None, ...], ...]
    labels: tuple[int | str, ...]
    scores: tuple[tuple[float, ...], ...]


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """What the parity gate compared before the file was written.

    ``rows`` counts them by kind ("training", "held_out", "near_threshold", ...).
    ``max_difference`` is the largest |artifact - pipeline| over all scores, where these are not
    probabilities relative to max(1, |score|); ``ties`` counts labels
    that differed where the pipeline's top two scores lie within ``tie_gap``.
    """

    rows: dict[str, int]
    max_difference: float
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1e-3)]
    tie_gap: float
    ties: int


class ClassReport(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the per-class table, on the held-out rows."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Quality on the held-out rows. ``confusion[i][j]``: rows of class i predicted as class j."""

    accuracy: float
    log_loss: float | None
    classes: tuple[ClassReport, ...]
    confusion: tuple[tuple[int, ...], ...]


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Training loss, one value per epoch or boosting stage."""

    unit: str
    loss: tuple[float, ...]


class Training(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the pipeline came from. ``fingerprint`` is the sha256 of the training table.

    ``holds_rows``: the graph itself keeps rows of that table (support vectors, neighbours).
    """

    pipeline: tuple[str, ...]
    data: str | None = None
    target: str | None = None
    fingerprint: str | None = None
    rows: int | None = None
    held_out: int | None = None
    seed: int | None = None
    metrics: Metrics | None = None
    curve: Curve | None = None
    versions: dict[str, str] = {}
    holds_rows: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a server needs to know about the graph it travels in.

    ``features`` are in the order of an array request; ``inputs`` part them into tensors.
    ``classes`` are the pipeline's labels in the order of the scores' columns, ``class_names`` what
    people call them. ``created`` is ISO 8601, UTC.
    """

    schema: int
    name: str
    created: str
    features: tuple[Feature, ...]
    inputs: tuple[Input, ...]
    outputs: Outputs
    classes: tuple[int | str, ...]
    class_names: tuple[str, ...]
    golden: Golden
    parity: Parity
    training: Training


def read(data: bytes) -> Manifest:
    """The manifest inside a model file, once the file is known to be safe to load.

    Raises ArtifactError: not an ONNX file, external data, operators of other domains, model-local
    functions, no manifest, another schema, or a manifest that contradicts itself.
    """
    text = onnxfile.metadata(data).get(MANIFEST_KEY.encode())
    if text is None:
        raise ArtifactError(
            f"it has no '{MANIFEST_KEY}' metadata, so unpickled did not write it: export the pipeline again"
        )
    try:
        schema = msgspec.json.decode(text, type=_Schema).schema
        if schema != SCHEMA:
            raise ArtifactError(
                f"its manifest has schema {schema}, this server reads schema {SCHEMA}: "
                f"{'upgrade the server' if schema > SCHEMA else 'export the pipeline again'}"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactError(f"its manifest cannot be read: {error}") from None
    _check(manifest)
    return manifest


class _Schema(msgspec.Struct):
    schema: int


def _check(manifest: Manifest) -> None:
    names = [feature.name for feature in manifest.features]
    kinds = {feature.name: feature.kind for feature in manifest.features}
    fed = [(name, tensor.dtype) for tensor in manifest.inputs for name in tensor.features]
    golden = manifest.golden
    sound = (
        names
        and len(set(names)) == len(names)
        and sorted(name for name, _ in fed) == sorted(names)
        and len({tensor.name for tensor in manifest.inputs}) == len(manifest.inputs)
        and all((kinds[name] == "category") == (dtype == "string") for name, dtype in fed)
        and golden.rows
        and all(len(row) == len(names) for row in golden.rows)
        and all(map(_is_sound, manifest.features))
    )
    if not sound:
        raise ArtifactError("its manifest contradicts itself (features, inputs, classes or golden rows)")


def _is_sound(feature: Feature) -> bool:
    if feature.closed and not feature.categories:
        return False
    return feature.lowest is None or feature.highest is None or feature.lowest <= feature.highest
