"""The answers of a classifier: a label out of its classes, and one score for each class."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from unpickled.server.quote import counted, quoted

# From this many rows on, Counter() is faster than one dict look-up per row.
_MANY = 40


class Classification(Outputs):
    """A label out of ``classes``, and a probability or decision score for each class.

    Raises ArtifactError where the manifest's classes contradict themselves or the golden rows.
    """

    title = "classes"

    def __init__(self, manifest: Manifest) -> None:
        refuse_contradictions(_faults(manifest))
        outputs, self.names = manifest.outputs, manifest.class_names
        self.kind, self.classes, self.counted = outputs.kind, manifest.classes, self.names
        self._golden, self._tolerance = manifest.golden, manifest.parity.tolerance
        self._name = dict(zip(self.classes, self.names, strict=True))
        text = isinstance(self.classes[0], str)
        self.members = (
            Member("prediction", "Label", "text" if text else "integer", self.classes),
            Member("predicted_class", "ClassName", "text", self.names),
            Member(self.kind, "Scores", "number", entries=self.names, each="class"),
        )
        self.tensors = (
            Tensor(outputs.label, "string" if text else "int64"),
            Tensor(outputs.scores, "float64", self.names, ranked=True),
        )
        self.methods = {"predict": "prediction"}
        if self.kind == "probabilities":
            self.methods["predict_proba"] = self.kind
        self.text = dumps
        # Labels 0, 1, 2 ... can be counted as indices, in a third of the time.
        self._ordered = self.classes == tuple(range(len(self.classes)))

    def summary(self, quote: Callable[[str], str]) -> str:
        return f"{counted(len(self.names), 'class', 'classes')}: {', '.join(map(quote, self.names[:20]))}"

    def check_graph(self, types: Mapping[str, str]) -> None:
        labels, scores = self.tensors
        if types.get(labels.name) != labels.dtype or types.get(scores.name) not in PACKING:
            raise ArtifactError(f"its graph makes {types}, its manifest says otherwise")

    def read(self, arrays: Sequence[Any], rows: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        labels, scores = arrays
        if labels.shape != (rows,) or scores.shape != (rows, len(self.classes)):
            shapes = f"{labels.shape} and {scores.shape}"
            raise InferenceFailed(f"the model answered {rows} rows with labels and scores of shape {shapes}")
        # float64, so that every protocol writes the same digits.
        return labels, scores.astype(np.float64, copy=False)

    def buffers(self, types: Mapping[str, str]) -> Callable[[], Buffers] | None:
        labels, scores = (tensor.name for tensor in self.tensors)
        if types[labels] != "int64":
            return None

        def make() -> Buffers:
            label, row = np.zeros(1, np.int64), np.zeros((1, len(self.classes)), DTYPES[types[scores]])
            return Buffers(label, row, {labels: label, scores: row})

        return make

    def check_golden(self, labels: Labels, scores: Scores) -> None:
        golden, tolerance = self._golden, self._tolerance
        answers = zip(labels, golden.labels, strict=True)
        equal = np.array([label == expected for label, expected in answers], np.bool_)
        close = np.isclose(np.array(scores), np.array(golden.scores), rtol=tolerance, atol=tolerance)
        for row in np.flatnonzero(~(equal & close.all(axis=1)))[:1].tolist():
            raise ArtifactError(
                f"it answers golden row {row} with {labels[row]!r} {[*scores[row]]}, the pipeline answered "
                f"{golden.labels[row]!r} {list(golden.scores[row])}: "
                "the file or this onnxruntime computes something else"
            )

    def differences(
        self, scores: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        sizes = 1.0 if self.kind == "probabilities" else np.maximum(1.0, np.abs(expected))
        return apart(scores, expected, sizes)

    def heads(self, write: Callable[[Sequence[Any]], bytes]) -> dict[Any, bytes]:
        return {label: write((label, name)) for label, name in self._name.items()}

    def record_text(self, scores: Sequence[float]) -> bytes:
        return dumps(dict(zip(self.names, scores, strict=True)))

    def arrays(self, labels: Labels, scores: Scores) -> dict[str, Any]:
        return {"prediction": labels, "predicted_class": self._class_names(labels), self.kind: scores}

    def items(self, labels: Labels, scores: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        rows = zip(labels, self._class_names(labels), scores.tolist(), strict=True)
        return [{"prediction": label, "predicted_class": name, self.kind: row} for label, name, row in rows]

    def records(self, labels: Labels, scores: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        rows = zip(labels, self._class_names(labels), scores.tolist(), strict=True)
        return [
            {
                "prediction": label,
                "predicted_class": name,
                self.kind: dict(zip(self.names, row, strict=True)),
            }
            for label, name, row in rows
        ]

    def _class_names(self, labels: Iterable[Any]) -> list[str]:
        return [self._name[label] for label in labels]

    def tensor_values(
        self, labels: npt.NDArray[Any], scores: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[Any], ...]:
        return labels, scores

    def places(self, first: int) -> dict[Any, int]:
        return {label: place for place, label in enumerate(self.classes, first)}

    def count(self, labels: Labels, places: Mapping[Any, int], counts: Counts) -> None:
        if isinstance(labels, np.ndarray) and self._ordered:
            numbers = np.bincount(labels, minlength=len(places)).tolist()
            for place, number in enumerate(numbers, places[0]):
                counts[place] += number
        elif isinstance(labels, np.ndarray):
            distinct = np.unique(labels, return_counts=True)
            for label, number in zip(*map(np.ndarray.tolist, distinct), strict=True):
                counts[places[label]] += number
        elif len(labels) < _MANY:
            for label in labels:
                counts[places[label]] += 1.0
        else:
            for label, number in Counter(labels).items():
                counts[places[label]] += number

    def comparison(self, other: Outputs) -> Comparison:
        """The distance is the total variation: half the sum of |difference| over the classes of both."""
        if not isinstance(other, Classification):
            return Comparison(incomparable)
        measured = self.kind == other.kind == "probabilities"
        union = {label: column for column, label in enumerate(dict.fromkeys((*self.classes, *other.classes)))}
        width, columns = len(self.classes), [union[label] for label in other.classes]

        def compare(
            labels: Labels, scores: Scores, other_labels: Labels, other_scores: Scores
        ) -> Differences:
            pairs = zip(labels, other_labels, strict=True)
            equal = np.array([label == other_label for label, other_label in pairs], np.bool_)
            if not measured:
                return Differences(equal)
            differences = np.zeros((len(labels), len(union)))
            differences[:, :width] = np.asarray(scores).reshape(len(labels), width)
            differences[:, columns] -= np.asarray(other_scores)
            # Probabilities in float32 may add up to a little more than 1.
            return Differences(equal, (np.abs(differences).sum(axis=1) / 2).clip(max=1.0))

        return Comparison(compare)


def _faults(manifest: Manifest) -> Iterator[str]:
    """The rules that the manifest breaks. Each rule relies on those before it."""
    classes, names = manifest.classes, manifest.class_names
    if not classes:
        yield "it has no classes"
    if not manifest.outputs.label:
        yield "it has classes, but no output with their labels"
    if (label := repeated(classes)) is not None:
        yield f"it has the class {quoted(label)} twice"
    if (name := repeated(names)) is not None:
        yield f"it has two classes called {quoted(name)}"
    if len(classes) != len(names):
        yield f"{len(classes)} classes have {len(names)} names"
    yield from _faults_of_golden(manifest.golden, classes)


def _faults_of_golden(golden: Golden, classes: Sequence[int | str]) -> Iterator[str]:
    if not len(golden.rows) == len(golden.labels) == len(golden.scores):
        yield (
            f"{len(golden.rows)} golden rows have {len(golden.labels)} labels and "
            f"{len(golden.scores)} rows of scores"
        )
    for index, (label, scores) in enumerate(zip(golden.labels, golden.scores, strict=True)):
        if label not in classes:
            yield f"golden row {index} has the label {quoted(label)}, which is no class"
        if len(scores) != len(classes):
            yield f"golden row {index} has {len(scores)} scores for {len(classes)} classes"
