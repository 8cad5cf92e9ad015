"""The check of an answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.traffic.contracts import Contract, Predictions, WrongAnswer

# The export promises that probabilities are this close to scikit-learn's, as are a regressor's numbers
# relative to max(1, |number|), and that labels are equal where the two highest probabilities are further
# apart than the gap.
TOLERANCE = 1e-5
TIE_GAP = 1e-6
# Tree ensembles answer in single precision, class by class.
SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Expected:
    """scikit-learn's own answers: one label per row; probabilities, rows x classes.

    A regressor has no probabilities, and its labels are numbers.
    """

    labels: Sequence[Any]
    probabilities: Sequence[Sequence[float]]


def judge(
    contract: Contract, content: bytes, rows: int, classes: Sequence[Any] | None, expected: Expected | None
) -> None:
    """Check that ``content`` is the right answer to ``rows`` rows; raises WrongAnswer, and nothing else.

    ``classes`` and ``expected`` are None where they are unknown.
    """
    if not contract.checked:
        return
    try:
        predictions = contract.read(content)
        check_sound(predictions, rows, classes)
        if expected is not None:
            check_expected(predictions, expected)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RecursionError):
        raise WrongAnswer("the answer has predictions of another form") from None


def check_sound(predictions: Predictions, rows: int, classes: Sequence[Any] | None) -> None:
    """Check the rules for every answer to ``rows`` rows; WrongAnswer names the one that is broken.

    There is one prediction per row; probabilities are finite and sum to 1; where the ``classes`` are
    known, the label is the most probable one.
    """
    labels, probabilities = predictions.labels, predictions.probabilities
    if labels is not None and len(labels) != rows:
        raise WrongAnswer(f"{len(labels)} predictions for {rows} rows")
    if probabilities and len(probabilities) != rows:
        raise WrongAnswer(f"probabilities of {len(probabilities)} rows for {rows} rows")
    if labels is None and not probabilities:
        raise WrongAnswer("the answer has neither predictions nor probabilities")
    for row, shares in enumerate(probabilities):
        _check_shares(row, shares)
    if classes and labels is not None:
        for row, (label, shares) in enumerate(zip(labels, probabilities, strict=False)):
            _check_label(row, label, shares, classes)


def _check_shares(row: int, shares: object) -> None:
    if not isinstance(shares, list) or not all(isinstance(share, float | int) for share in shares):
        raise WrongAnswer(
            "the probabilities of a row are not a list of numbers", f"row {row}: {shares!r:.80}"
        )
    total = math.fsum(shares)
    if not abs(total - 1) <= SUM_TOLERANCE or min(shares) < 0:
        raise WrongAnswer("the probabilities of a row do not sum to 1", f"row {row}: sum {total:g}")


def _check_label(row: int, label: object, shares: Sequence[float], classes: Sequence[Any]) -> None:
    if len(shares) != len(classes):
        raise WrongAnswer(f"{len(shares)} probabilities in a row for {len(classes)} classes")
    best = classes[shares.index(max(shares))]
    if label != best and not _tied(shares):
        raise WrongAnswer(
            "the label is not the most probable class", f"row {row}: {label!r}, most probable {best!r}"
        )


def check_expected(predictions: Predictions, expected: Expected) -> None:
    """Check that predictions are scikit-learn's own; WrongAnswer names the first row that is not."""
    if not expected.probabilities:
        _check_numbers(predictions, expected.labels)
        return
    if not predictions.probabilities:
        raise WrongAnswer("the answer has no probabilities")
    for row, shares in enumerate(predictions.probabilities):
        _check_probabilities(row, shares, expected.probabilities[row])
    for row, label in enumerate(predictions.labels or []):
        label_expected = expected.labels[row]
        if label != label_expected and not _tied(expected.probabilities[row]):
            raise WrongAnswer(
                "the label is not scikit-learn's", f"row {row}: {label!r}, scikit-learn {label_expected!r}"
            )


def _check_numbers(predictions: Predictions, expected: Sequence[float]) -> None:
    if predictions.labels is None or predictions.probabilities:
        raise WrongAnswer("the answer is not one of a regressor")
    for row, (number, target) in enumerate(zip(predictions.labels, expected, strict=True)):
        if not abs(number - target) <= TOLERANCE * max(1.0, abs(target)):
            raise WrongAnswer(
                "a number is not scikit-learn's", f"row {row}: {number:g}, scikit-learn {target:g}"
            )


def _check_probabilities(row: int, shares: Sequence[float], expected: Sequence[float]) -> None:
    if len(shares) != len(expected):
        raise WrongAnswer(f"{len(shares)} probabilities in a row for {len(expected)} classes")
    for share, target in zip(shares, expected, strict=True):
        if not abs(share - target) <= TOLERANCE:
            raise WrongAnswer(
                "a probability is not scikit-learn's", f"row {row}: {share:g}, scikit-learn {target:g}"
            )


def _tied(shares: Sequence[float]) -> bool:
    first, second = sorted(shares, reverse=True)[:2] if len(shares) > 1 else (1.0, 0.0)
    return first - second <= TIE_GAP
