"""The answers of both versions to the same rows, beside the truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.export.comparison.answers import Answers
from unpickled.server.artifact.manifest import Manifest

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Classified:
    """One classifier's answers to rows.

    Attributes:
        places: (rows,): the place of each label among the classes of both versions.
        scores: (rows, classes of both): 0 for a class that this version does not know.
        probable: Whether the scores are probabilities.
        known: (classes of both,): whether this version knows the class.
    """

    places: Places
    scores: Floats
    probable: bool
    known: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes that two versions or the truth know, by their labels as text.

    Files do not distinguish 1, 1.0 and "1": a label of one version is that of the other one where both are
    written alike. A class has the name that the later version gives it.
    """

    names: tuple[str, ...]
    places: dict[str, int]

    @classmethod
    def of(cls, this: Manifest, other: Manifest, truth: npt.NDArray[Any]) -> "Classes":
        """The classes of this version, then those that the other one alone knows, then the truth's."""
        named = {
            str(label): name
            for manifest in (other, this)
            for label, name in zip(manifest.classes, manifest.class_names, strict=True)
        }
        labels = [*map(str, (*this.classes, *other.classes)), *map(_written, np.unique(truth).tolist())]
        order = list(dict.fromkeys(labels))
        return cls(
            tuple(named.get(label, label) for label in order),
            {label: place for place, label in enumerate(order)},
        )

    def found(self, labels: npt.NDArray[Any]) -> Places:
        """The place of each label (rows,)."""
        kinds, inverse = np.unique(labels, return_inverse=True)
        return np.array([self.places[_written(kind)] for kind in kinds.tolist()], np.int64)[inverse]

    def side(self, manifest: Manifest, answers: Answers) -> Classified:
        """The answers of one version, with columns for all classes."""
        own = np.array([self.places[str(label)] for label in manifest.classes])
        scores = np.zeros((len(answers), len(self.names)))
        scores[:, own] = answers.scores
        known = np.zeros(len(self.names), np.bool_)
        known[own] = True
        probable = manifest.outputs.kind == "probabilities"
        return Classified(self.found(answers.labels), scores, probable, known)


def _written(label: Any) -> str:
    """A label as the manifest writes it: booleans and whole floats are integers."""
    return label if isinstance(label, str) else str(int(label))
