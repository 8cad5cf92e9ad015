"""The contract between training and serving: one ONNX file that carries its own manifest.

``model.onnx`` holds the graph and, in ``metadata_props`` under ``unpickled.manifest``, one JSON
document: the Manifest below. ``schema`` counts its incompatible changes: a reader refuses a
number it does not know; a new optional field does not change it.

The manifest holds the digest of everything else in the file, and ``unpickled.manifest.sha256`` is that of
the manifest: a byte that changes after the export is noticed. Anybody can make digests that agree: they tell
damage, and no author.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec

from unpickled.server.artifact import card, onnxfile, reference
from unpickled.server.artifact.card import Card
from unpickled.server.artifact.comparison import Comparison
from unpickled.server.artifact.recipe import Recipe
from unpickled.server.artifact.reference import Reference
from unpickled.server.errors import ArtifactError
from unpickled.server.quote import counted, quoted

# models/<name>/<version>/model.onnx. A name needs no escape in a path or a header.
FILE = "model.onnx"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

SCHEMA = 1
MANIFEST_KEY = "unpickled.manifest"
DIGEST_KEY = "unpickled.manifest.sha256"

# A Unicode noncharacter: ONNX string tensors have no missing value, and no text contains this.
MISSING_CATEGORY = "\ufdd0"


class Notation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """How a column of the training table writes its numbers, which CSV to the server has to follow.

    ``decimal`` is the decimal point, ``group`` what parts thousands, ``unit`` the signs (%, €) that may stand
    beside a number, and do not change it.

    With ``date``, the cells are dates, written in this order; to the graph, each is the whole number of
    seconds since 1970-01-01. ``times``: some had a time of day; ``offset``: each had an offset from UTC.
    Requests send text in this order, or with the year first, with an offset just where training had one.
    """

    decimal: Literal[".", ","] = "."
    group: Literal["", ",", ".", "'", " "] = ""
    unit: str = ""
    date: Literal["", "year first", "day first", "month first"] = ""
    times: bool = False
    offset: bool = False


class Feature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column of a request.

    ``missing`` says whether null is accepted. ``minimum``, ``maximum`` and ``median`` describe the
    training rows; ``lowest`` and ``highest`` bound what the artifact answers as the pipeline does
    (None: the range of the input's dtype). ``categories`` are those seen in training, in order, and
    ``values`` the numbers that the pipeline knows, if it knows a list of them; ``closed``: no other is
    accepted. ``boolean``: true and false are accepted as 1 and 0. ``missing_words`` are texts that stand
    for a missing value, as they did in the training table, with or without spaces around them;
    ``notation`` is how its cells write numbers, if not as 1234.5. Numbers about a feature of dates are
    seconds since 1970-01-01. ``two_blanks``: the training rows had the empty text as a category and
    missing values too, which an empty cell of CSV does not tell apart.
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
    values: tuple[float, ...] = ()
    closed: bool = False
    boolean: bool = False
    missing_words: tuple[str, ...] = ()
    notation: Notation | None = None
    two_blanks: bool = False

    def example(self, cell: float | str | None) -> float | str | None:
        """A value as requests for people show it: of a boolean feature, True or False."""
        return cell >= 0.5 if self.boolean and isinstance(cell, float) else cell

    @property
    def date(self) -> Notation | None:
        """The notation of its dates; None for a feature of anything else."""
        return self.notation if self.notation is not None and self.notation.date else None


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor the graph takes: (rows, len(features)), columns in this order."""

    name: str
    dtype: Literal["float32", "float64", "int64", "string"]
    features: tuple[str, ...]


class Outputs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The graph's outputs: of a classifier ``label`` (rows,) and ``scores`` (rows, classes).

    ``kind`` says what the second one holds: probabilities, or for classifiers that have none, decision
    scores (of two classes: [-score, score]), shares of votes or negative distances.

    A regressor has ``scores`` only, of the kind "prediction": (rows, targets), the predicted numbers.
    ``targets`` are their names, and ``deciles`` the inner deciles of each target's predictions for the
    training rows, in ascending order, equal ones once. ``spans`` are the center and the width of each
    target's usual predictions, which decide how far two numbers may lie apart (model/sizes.py).
    """

    scores: str
    kind: Literal["probabilities", "scores", "prediction"]
    label: str = ""
    targets: tuple[str, ...] = ()
    deciles: tuple[tuple[float, ...], ...] = ()
    spans: tuple[tuple[float, float], ...] = ()


class Golden(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Made-up rows inside the training ranges, with the pipeline's own answers.

    ``rows`` in feature order (None is missing, a date is ISO text), ``labels`` out of Manifest.classes (none
    for a regressor), ``scores`` (rows, classes) or (rows, targets).
    """

    rows: tuple[tuple[float | str | None, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    labels: tuple[int | str, ...] = ()


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison that the parity gate made before the file was written.

    ``rows`` counts the compared rows by kind ("training", "held_out", "near_threshold", ...).
    ``max_difference`` is the largest |artifact - pipeline| over all scores, where these are not
    probabilities relative to max(1, |score|), of predicted numbers to their sizes (model/sizes.py);
    ``ties`` counts labels that differed where the pipeline's top two scores lie within ``tie_gap``.
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


class ResidualReport(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table of residuals: held-out rows whose prediction lies in [lowest, highest].

    ``bias`` is the mean of prediction - truth, ``mae`` that of its absolute value.
    """

    lowest: float
    highest: float
    rows: int
    bias: float
    mae: float


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Quality of the predictions of one target on the held-out rows.

    ``mae`` and ``rmse`` are in the target's unit; ``r2`` is None where all true values are equal.
    ``baseline`` is the mean absolute error of a model that answers every row with the median of these rows.
    """

    target: str
    rows: int
    mae: float
    rmse: float
    r2: float | None
    residuals: tuple[ResidualReport, ...]
    baseline: float | None = None


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Training loss, one value per epoch or boosting stage."""

    unit: str
    loss: tuple[float, ...]


class Training(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the pipeline came from. ``fingerprint`` is the sha256 of the training table.

    ``holds_rows``: the graph itself keeps rows of that table (support vectors, neighbours). A classifier has
    ``metrics``, a regressor ``errors``, one for each target.
    """

    pipeline: tuple[str, ...]
    data: str | None = None
    target: str | None = None
    fingerprint: str | None = None
    rows: int | None = None
    held_out: int | None = None
    seed: int | None = None
    metrics: Metrics | None = None
    errors: tuple[Errors, ...] = ()
    curve: Curve | None = None
    versions: dict[str, str] = {}
    holds_rows: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a server needs to know about the graph it travels in.

    ``features`` are in the order of an array request; ``inputs`` part them into tensors.
    ``classes`` are the pipeline's labels in the order of the scores' columns, ``class_names`` what
    people call them; a regressor has none. ``created`` is ISO 8601, UTC. ``unused`` are columns of the
    training table that the graph does not read, its target among them: requests may have them.
    ``graph_sha256`` is the digest of the file without its ``metadata_props`` (artifact/onnxfile.py); files of
    earlier releases have none. ``reference`` is what drift is measured against, ``card`` what a report draws,
    ``comparisons`` are those with earlier versions, and ``recipe`` says how the pipeline was made.
    """

    schema: int
    name: str
    created: str
    features: tuple[Feature, ...]
    inputs: tuple[Input, ...]
    outputs: Outputs
    golden: Golden
    parity: Parity
    training: Training
    classes: tuple[int | str, ...] = ()
    class_names: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    graph_sha256: str = ""
    reference: Reference | None = None
    card: Card | None = None
    comparisons: tuple[Comparison, ...] = ()
    recipe: Recipe | None = None

    def examples(self, count: int) -> list[list[float | str | None]]:
        """The first golden rows as requests for people show them, at most ``count``."""
        return [
            [feature.example(cell) for feature, cell in zip(self.features, row, strict=True)]
            for row in self.golden.rows[:count]
        ]


def properties(manifest: Manifest) -> dict[str, str]:
    """The entries of ``metadata_props`` for a manifest.

    Raises UnicodeEncodeError where a text in it is no Unicode.
    """
    text = msgspec.json.encode(manifest)
    return {MANIFEST_KEY: text.decode(), DIGEST_KEY: hashlib.sha256(text).hexdigest()}


def read(data: bytes) -> Manifest:
    """The manifest inside a model file, once the file is known to be whole and safe to load.

    Raises ArtifactError: not an ONNX file, external data, operators that no export writes, model-local
    functions, no manifest, another schema, another digest, or a manifest that contradicts itself.
    """
    contents = onnxfile.contents(data)
    text, digest = (contents.properties.get(key.encode()) for key in (MANIFEST_KEY, DIGEST_KEY))
    if text is None:
        raise ArtifactError(
            f"it has no '{MANIFEST_KEY}' metadata, so unpickled did not write it: export the pipeline again"
        )
    if digest is not None and digest != hashlib.sha256(text).hexdigest().encode():
        raise ArtifactError(f"its manifest {_CHANGED}")
    manifest = _decoded(text)
    if digest is None and manifest.graph_sha256:
        raise ArtifactError(f"its metadata lack '{DIGEST_KEY}', so its manifest {_CHANGED}")
    if manifest.graph_sha256 not in (contents.sha256, ""):
        raise ArtifactError(f"its graph {_CHANGED}")
    if digest is not None and not manifest.graph_sha256:
        raise ArtifactError(f"its manifest lacks the digest of the graph, so it {_CHANGED}")
    refuse_contradictions(_faults(manifest))
    return manifest


_CHANGED = (
    "has changed since the export (its sha256 is another): copy the file again, or export the pipeline again"
)


def _decoded(text: bytes) -> Manifest:
    try:
        schema = msgspec.json.decode(text, type=_Schema).schema
        if schema != SCHEMA:
            raise ArtifactError(
                f"its manifest has schema {schema}, this server reads schema {SCHEMA}: "
                f"{'upgrade the server' if schema > SCHEMA else 'export the pipeline again'}"
            )
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"its manifest cannot be read: {error}") from None


class _Schema(msgspec.Struct):
    schema: int


def refuse_contradictions(faults: Iterator[str]) -> None:
    """Raise ArtifactError with the first fault, if there is one; each says which rule is broken."""
    fault = next(faults, None)
    if fault is not None:
        raise ArtifactError(f"its manifest contradicts itself: {fault}")


def repeated(names: Iterable[Any]) -> Any:
    """The first name that occurs twice; None where each occurs once."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _faults(manifest: Manifest) -> Iterator[str]:
    """The rules that the manifest breaks. Each rule relies on those before it."""
    if not manifest.features:
        yield "it has no features"
    if (name := repeated(feature.name for feature in manifest.features)) is not None:
        yield f"it has two features called {quoted(name)}"
    yield from _faults_of_inputs(manifest)
    yield from _faults_of_dates(manifest)
    for feature in manifest.features:
        yield from _faults_of_feature(feature)
    if not manifest.golden.rows:
        yield "it has no golden rows"
    for index, row in enumerate(manifest.golden.rows):
        if len(row) != len(manifest.features):
            values, features = counted(len(row), "value"), counted(len(manifest.features), "feature")
            yield f"golden row {index} has {values} for {features}"
    yield from _faults_of_figures(manifest)


def _faults_of_inputs(manifest: Manifest) -> Iterator[str]:
    if (name := repeated(tensor.name for tensor in manifest.inputs)) is not None:
        yield f"it has two inputs called {quoted(name)}"
    columns = [(name, tensor) for tensor in manifest.inputs for name in tensor.features]
    if (name := repeated(name for name, _ in columns)) is not None:
        yield f"feature {quoted(name)} is a column of the inputs twice"
    kinds = {feature.name: feature.kind for feature in manifest.features}
    covered = {name for name, _ in columns}
    for name in kinds:
        if name not in covered:
            yield f"feature {quoted(name)} is no column of any input"
    for name, tensor in columns:
        if name not in kinds:
            yield f"input {quoted(tensor.name)} has the column {quoted(name)}, which is no feature"
        elif (kinds[name] == "category") != (tensor.dtype == "string"):
            yield f"feature {quoted(name)} is a {kinds[name]}, but its input holds {tensor.dtype}"


def _faults_of_figures(manifest: Manifest) -> Iterator[str]:
    kinds = {feature.name: feature.kind for feature in manifest.features}
    classes, targets = manifest.class_names, manifest.outputs.targets
    if manifest.reference is not None:
        yield from reference.faults(manifest.reference, kinds, classes, targets)
    if manifest.card is not None:
        yield from card.faults(manifest.card, kinds, classes, targets)


def _faults_of_dates(manifest: Manifest) -> Iterator[str]:
    """Seconds need more digits than a float32 has."""
    dates = {feature.name for feature in manifest.features if feature.date}
    for tensor in manifest.inputs:
        for name in dates.intersection(tensor.features):
            if tensor.dtype != "float64":
                yield f"feature {quoted(name)} is a date, but its input holds {tensor.dtype}"


def _faults_of_feature(feature: Feature) -> Iterator[str]:
    if feature.closed and not (feature.values if feature.kind == "number" else feature.categories):
        yield f"feature {quoted(feature.name)} takes only known values, and knows none"
    if feature.lowest is not None and feature.highest is not None and feature.lowest > feature.highest:
        yield f"feature {quoted(feature.name)} takes nothing: {feature.lowest} is above {feature.highest}"
