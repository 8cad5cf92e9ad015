"""The answers of another runtime to rows of a model, beside those that they are compared with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import ArtifactError
from unpickled.server.model.session import Model
from unpickled.server.quote import counted

Answers = tuple[npt.NDArray[Any], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Agreement:
    """How far answers agree with others to the same rows.

    ``labels``: rows with another label, but for ``ties``, where the two best scores lie as close together as
    the parity gate allows. ``difference`` is the largest between two scores, measured as in Parity.
    """

    rows: int
    labels: int
    ties: int
    difference: float

    def text(self, labelled: bool) -> str:
        """The agreement in words; a regressor has no labels."""
        ties = f" ({counted(self.ties, 'tie')} aside)" if self.ties else ""
        other = f"{self.labels} of {self.rows} labels different{ties}, " if labelled else ""
        return f"{other}largest difference {self.difference:.1e}"


def golden(model: Model, answers: Answers) -> Agreement:
    """The agreement with the pipeline on the golden rows.

    Raises ArtifactError where one is answered otherwise, by the rule of a server that loads the file.
    """
    labels, scores = answers
    expected = model.manifest.golden
    model.outputs.check_golden(labels.tolist(), scores.tolist())
    return Agreement(len(labels), 0, 0, _largest(model, scores, np.array(expected.scores)))


def compared(model: Model, answers: Answers, expected: Answers) -> Agreement:
    """The agreement of answers to made-up rows with those of the model in this process."""
    other = answers[0] != expected[0]
    ties = other & _tied(model, expected[1])
    difference = _largest(model, answers[1], expected[1])
    return Agreement(len(other), int((other & ~ties).sum()), int(ties.sum()), difference)


def refuse_disagreement(model: Model, agreement: Agreement) -> None:
    """Raise ArtifactError where labels differ, or scores by more than the tolerance of the parity gate."""
    tolerance = model.manifest.parity.tolerance
    # A difference that is no number is none that is allowed.
    if agreement.labels or not agreement.difference <= tolerance:
        raise ArtifactError(
            f"it answers made-up rows otherwise than this process does: {agreement.labels} of "
            f"{agreement.rows} labels different, largest difference {agreement.difference:.1e}, and "
            f"{tolerance:.0e} is allowed"
        )


def _largest(model: Model, scores: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> float:
    return float(model.outputs.differences(scores, expected).max(initial=0.0))


def _tied(model: Model, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    if scores.shape[1] < 2:
        return np.zeros(len(scores), np.bool_)
    best = np.sort(scores, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0] <= model.manifest.parity.tie_gap)
