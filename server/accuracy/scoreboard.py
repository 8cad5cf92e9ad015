"""Counts from which all figures about the accuracy of a version follow.

The counts of several groups of rows are added up to those of all rows: workers, hours and slices of a table
each have theirs. classes.py and targets.py say what is in them; report.py makes the figures.
"""

from collections.abc import Sequence
from typing import Any

from unpickled.server.accuracy.classes import ClassCounts
from unpickled.server.accuracy.layout import Floats
from unpickled.server.accuracy.targets import TargetCounts
from unpickled.server.model.classification import Classification
from unpickled.server.model.outputs import Labels, Outputs, Scores
from unpickled.server.model.regression import Regression


class Scoreboard:
    """Counts the rows of a version with these outputs.

    Attributes:
        size: How many numbers the counts are.
        counts: The arrays in them, and how these are counted.
    """

    def __init__(self, outputs: Outputs) -> None:
        self.counts = _counts_of(outputs)
        self.size = self.counts.layout.size

    def predicted(self, labels: Labels) -> Floats:
        """The counts (size,) of rows that are answered with these labels (rows,), with no truth yet."""
        return self.counts.predicted(labels)

    def count(self, labels: Labels, scores: Scores, truths: Sequence[Any]) -> Floats:
        """The counts (size,) of rows whose truth gets known; those that ``predicted`` made of them remain.

        Args:
            labels: The label of each answer (rows,), out of the manifest's classes; 0 of a regressor.
            scores: The scores of each answer (rows, classes) or (rows, targets).
            truths: For a classifier the true labels or the names of their classes (rows,); any other value
                is a class that the model does not know, so that every answer is wrong. For a regressor
                numbers (rows,) or (rows, targets), None or NaN where one is unknown.
        """
        if isinstance(self.counts, TargetCounts):
            return self.counts.count(scores, truths)
        return self.counts.count(labels, scores, truths)


def _counts_of(outputs: Outputs) -> ClassCounts | TargetCounts:
    if isinstance(outputs, Regression):
        return TargetCounts(outputs)
    assert isinstance(outputs, Classification)
    return ClassCounts(outputs)
