"""A task: the kind of question that a pipeline answers, and all that a training has to know about it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from unpickled.server.artifact.manifest import Curve, Training

# The names of the classes: in the order of the labels, or by label.
ClassNames = Sequence[str] | Mapping[Any, str]


@dataclass(frozen=True, slots=True)
class Demands:
    """The least quality at which a model is written, and where it was demanded; None demands nothing."""

    min_accuracy: float | None = None
    max_error: float | None = None
    on_command_line: bool = False

    def spelled(self, name: str) -> str:
        """The name of a demand as the caller has given it: as an option or as an argument."""
        return f"--{name.replace('_', '-')}" if self.on_command_line else name


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of question.

    Attributes:
        name: Its name, as ``--task`` takes it.
        step: The noun for its estimators, which names the last step of a pipeline and an option.
        default: The estimator that is trained if the user names none; empty if the task is not trained.
        estimators: By name, functions from a seed to an unfitted estimator; none if the task is not trained.
        split: (rows, truth, seed, share held out) -> rows and truth to fit on, rows and truth held out, in
            the order of scikit-learn's train_test_split. Raises DataError.
        titles: (classes, the user's names) -> the names of the classes. Raises DataError.
        truth: (pipeline, how many rows, the user's answers) -> what is true of the rows: the pipeline's own
            labels (rows,), or float64 numbers (rows, targets). Raises DataError.
        measured: (training, pipeline, rows, truth, names) -> the training with the quality on these rows.
            ``names`` are those of the classes or of the targets.
        curve: (pipeline, rows, truth) -> the training loss, if the estimator is fitted step by step. Without
            the training rows (None), only that of an estimator that has kept it.
        admit: Raises DataError for a demand that this task cannot meet.
        require: Raises QualityError if a training does not meet the demands.
        described: (truth, names of the classes) -> a few words about the target of a table.
        report: (training, words about the rows) -> the lines that tell its quality; none if it has none.
    """

    name: str
    step: str
    default: str
    estimators: Mapping[str, Callable[[int], Any]]
    split: Callable[[Any, npt.NDArray[Any], int, float], Any]
    titles: Callable[[Sequence[int | str], ClassNames | None], tuple[str, ...]]
    truth: Callable[[Any, int, Any], npt.NDArray[Any]]
    measured: Callable[[Training, Any, Any, Any, Sequence[str]], Training]
    curve: Callable[[Any, Any, npt.NDArray[Any]], Curve | None]
    admit: Callable[[Demands], None]
    require: Callable[[Training, Demands], None]
    described: Callable[[npt.NDArray[Any], Sequence[str]], str]
    report: Callable[[Training, str], list[str]]
