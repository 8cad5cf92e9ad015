"""The loss of each row, of which importances are a rise."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from unpickled.export.card import intervals
from unpickled.export.card.intervals import Floats
from unpickled.export.gate.answers import Answers, Array
from unpickled.server.artifact.card import Measured
from unpickled.server.artifact.manifest import Outputs

Noun = Literal["log loss", "share of wrong labels", "mean absolute error"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss by its noun. ``sizes`` (targets,) are what the errors of each target are shares of."""

    noun: Noun
    sizes: Floats

    def rows(self, answers: Answers, truth: Array) -> Floats:
        """(rows,): the loss of each, for true places among the classes (rows,) or numbers (rows, targets)."""
        if self.noun == "mean absolute error":
            errors: Floats = (np.abs(answers.scores - truth) / self.sizes).mean(axis=1)
            return errors
        if self.noun == "share of wrong labels":
            return np.asarray(answers.labels != truth, np.float64)
        return log_losses(answers.scores, truth)

    def measured(self, losses: Floats) -> Measured:
        """The mean of some rows' losses."""
        if self.noun == "share of wrong labels":
            return intervals.share(float(losses.sum()), len(losses))
        return intervals.mean(losses, least=0.0)


def log_losses(probabilities: Floats, truth: npt.NDArray[np.intp]) -> Floats:
    """(rows,): the log loss of each row, for probabilities (rows, classes) and true places (rows,).

    No probability counts as less than the smallest step beside 1, as in the log loss of the training.
    """
    of_truth = probabilities[np.arange(len(truth)), truth]
    # Adding 0 makes a 0 of -0.
    return np.asarray(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)) + 0.0)


def loss_of(outputs: Outputs, answers: Answers, truth: Array) -> Loss:
    """The loss of a graph with these outputs, whose answers to rows with this truth are known."""
    if outputs.kind != "prediction":
        noun: Noun = "log loss" if outputs.kind == "probabilities" else "share of wrong labels"
        return Loss(noun, np.ones(0))
    return Loss("mean absolute error", _sizes(np.abs(answers.scores - truth)))


def _sizes(errors: npt.NDArray[np.float64]) -> Floats:
    """The sizes that errors (rows, targets) are shares of: several targets have units of their own."""
    means = errors.mean(axis=0)
    return np.ones(1) if len(means) == 1 else np.where(means > 0, means, 1.0)
