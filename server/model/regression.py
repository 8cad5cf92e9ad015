"""The answers of a regressor: one number for each target, which is a list where there are several targets.

All rows have the label 0: they are counted in one series, and the heads of their answers are the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import Golden, Manifest, refuse_contradictions, repeated
from unpickled.server.errors import ArtifactError, InferenceFailed
from unpickled.server.message.answer import dumps
from unpickled.server.model.feeds import DTYPES, PACKING
from unpickled.server.model.outputs import (
    Buffers,
    Comparison,
    Counts,
    Differences,
    Labels,
    Member,
    Outputs,
    Scores,
    Tensor,
    apart,
    incomparable,
)
from unpickled.server.model.sizes import sizes
from unpickled.server.quote import listed, quoted

# Two predictions are equal that differ by less, relative to their size.
EQUAL = 1e-6
# Bounds for the differences between two models, as shares of the range between the outer deciles.
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


class Regression(Outputs):
    """One number for each of ``targets``.

    Raises ArtifactError where the manifest contradicts itself or the golden rows.
    """

    counted = ("",)

    def __init__(self, manifest: Manifest) -> None:
        refuse_contradictions(_faults(manifest))
        self.names = self.targets = manifest.outputs.targets
        deciles = manifest.outputs.deciles or ((),) * len(self.targets)
        self.measured = dict(zip(self.targets, deciles, strict=True))
        self._golden, self._tolerance = manifest.golden, manifest.parity.tolerance
        self._spans = manifest.outputs.spans
        self._several = len(self.targets) > 1
        self.title = "targets" if self._several else "target"
        entries = self.targets if self._several else ()
        self.members = (Member("prediction", "Prediction", "number", entries=entries, each="target"),)
        self.tensors = (Tensor(manifest.outputs.scores, "float64", entries),)
        self.methods = {"predict": "prediction"}
        self.text = dumps if self._several else _single

    def summary(self, quote: Callable[[str], str]) -> str:
        return ", ".join(map(quote, self.names[:20]))

    def check_graph(self, types: Mapping[str, str]) -> None:
        [numbers] = self.tensors
        if types.get(numbers.name) not in PACKING:
            raise ArtifactError(f"its graph makes {types}, its manifest says otherwise")

    def read(self, arrays: Sequence[Any], rows: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        [numbers] = arrays
        if numbers.shape != (rows, len(self.targets)):
            raise InferenceFailed(f"the model answered {rows} rows with numbers of shape {numbers.shape}")
        return np.zeros(rows, np.int64), numbers.astype(np.float64, copy=False)

    def buffers(self, types: Mapping[str, str]) -> Callable[[], Buffers] | None:
        [name] = (tensor.name for tensor in self.tensors)

        def make() -> Buffers:
            row = np.zeros((1, len(self.targets)), DTYPES[types[name]])
            return Buffers(np.zeros(1, np.int64), row, {name: row})

        return make

    def check_golden(self, labels: Labels, scores: Scores) -> None:
        expected = np.array(self._golden.scores)
        allowed = self._tolerance * sizes(expected, self._spans)
        close = (np.abs(np.array(scores) - expected) <= allowed).all(axis=1)
        for row in np.flatnonzero(~close)[:1].tolist():
            raise ArtifactError(
                f"it answers golden row {row} with {[*scores[row]]}, the pipeline answered "
                f"{expected[row].tolist()}: the file or this onnxruntime computes something else"
            )

    def differences(
        self, scores: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        return apart(scores, expected, sizes(expected, self._spans))

    def heads(self, write: Callable[[Sequence[Any]], bytes]) -> dict[Any, bytes]:
        return {0: write(())}

    def record_text(self, scores: Sequence[float]) -> bytes:
        return dumps(dict(zip(self.targets, scores, strict=True))) if self._several else _single(scores)

    def arrays(self, labels: Labels, scores: Scores) -> dict[str, Any]:
        return {"prediction": scores if self._several else _column(scores)}

    def items(self, labels: Labels, scores: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        numbers = scores if self._several else scores[:, 0]
        return [{"prediction": number} for number in numbers.tolist()]

    def records(self, labels: Labels, scores: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        if not self._several:
            return self.items(labels, scores)
        return [{"prediction": dict(zip(self.targets, row, strict=True))} for row in scores.tolist()]

    def tensor_values(
        self, labels: npt.NDArray[Any], scores: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[Any], ...]:
        return (scores if self._several else scores[:, 0],)

    def places(self, first: int) -> dict[Any, int]:
        return {0: first}

    def count(self, labels: Labels, places: Mapping[Any, int], counts: Counts) -> None:
        counts[places[0]] += len(labels)

    def comparison(self, other: Outputs) -> Comparison:
        """Two answers agree that are equal in all targets; nothing is equal to an answer of another kind."""
        if not isinstance(other, Regression) or other.targets != self.targets:
            return Comparison(incomparable)

        def compare(
            labels: Labels, scores: Scores, other_labels: Labels, other_scores: Scores
        ) -> Differences:
            ours, theirs = (
                np.asarray(numbers, np.float64).reshape(len(labels), -1) for numbers in (scores, other_scores)
            )
            absolute = np.abs(ours - theirs)
            relative = absolute / np.maximum(1.0, np.abs(ours))
            agree = (absolute / sizes(ours, self._spans)).max(axis=1) <= EQUAL
            return Differences(agree, absolute=absolute, relative=relative)

        return Comparison(compare, {name: _shares(deciles) for name, deciles in self.measured.items()})


def _shares(deciles: Sequence[float]) -> tuple[float, ...]:
    """Bounds for absolute differences, in the unit of a target; none where its usual range is unknown."""
    span = deciles[-1] - deciles[0] if deciles else 0.0
    bounds = [float(f"{share * span:.3g}") for share in SHARES]
    return tuple(dict.fromkeys(bounds)) if 0.0 < span < inf else ()


def _single(scores: Sequence[float]) -> bytes:
    return dumps(scores[0])


def _column(scores: Scores) -> npt.NDArray[np.float64]:
    """The numbers of the only target (rows,), which orjson writes where they lie one behind the other."""
    return np.ascontiguousarray(np.asarray(scores, np.float64).reshape(len(scores), -1)[:, 0])


def _faults(manifest: Manifest) -> Iterator[str]:
    """The rules that the manifest breaks. Each rule relies on those before it."""
    targets = manifest.outputs.targets
    if not targets:
        yield "it has no targets"
    if (name := repeated(targets)) is not None:
        yield f"it has two targets called {quoted(name)}"
    yield from _faults_of_kind(manifest)
    deciles = manifest.outputs.deciles
    if len(deciles) not in (0, len(targets)):
        yield f"its number of targets is {len(targets)}, and it has deciles of {len(deciles)}"
    for target, bounds in zip(targets, deciles, strict=False):
        if any(after <= before for before, after in pairwise(bounds)):
            yield f"the deciles of target {quoted(target)} do not ascend"
    yield from _faults_of_spans(targets, manifest.outputs.spans)
    yield from _faults_of_golden(manifest.golden, len(targets))


def _faults_of_kind(manifest: Manifest) -> Iterator[str]:
    """Members of a classifier's manifest, and quality that is not that of the targets."""
    if manifest.classes or manifest.class_names:
        yield "it predicts numbers, and has classes"
    if manifest.outputs.label:
        yield "it predicts numbers, and has an output with labels"
    if manifest.golden.labels:
        yield "it predicts numbers, and its golden rows have labels"
    if manifest.training.metrics is not None:
        yield "it predicts numbers, and has the accuracy of a classifier"
    measured = tuple(errors.target for errors in manifest.training.errors)
    if measured not in ((), manifest.outputs.targets):
        yield f"it has the errors of {listed(measured, 5, quoted)}, which are not its targets"


def _faults_of_spans(targets: Sequence[str], spans: Sequence[tuple[float, float]]) -> Iterator[str]:
    if len(spans) not in (0, len(targets)):
        yield f"its number of targets is {len(targets)}, and it has spans of {len(spans)}"
    for target, (_, width) in zip(targets, spans, strict=False):
        if width <= 0.0:
            yield f"the span of target {quoted(target)} is {width}"


def _faults_of_golden(golden: Golden, targets: int) -> Iterator[str]:
    if len(golden.rows) != len(golden.scores):
        yield f"{len(golden.rows)} golden rows have {len(golden.scores)} rows of predictions"
    for index, scores in enumerate(golden.scores):
        if len(scores) != targets:
            yield f"golden row {index} has {len(scores)} predictions for {targets} targets"
