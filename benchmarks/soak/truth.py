"""The pipelines' own answers, which every answer of the server is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.measuring.pipelines import Fitted
from benchmarks.soak.forms import Floats
from benchmarks.traffic.checks import TIE_GAP, TOLERANCE


@dataclass(frozen=True)
class Pipeline:
    """The answers of one fitted pipeline to all rows: labels (rows,), probabilities (rows, classes)."""

    labels: list[Any]
    probabilities: Floats

    def fits(self, first: int, labels: list[Any] | None, shares: Floats | None, count: int) -> bool:
        """Whether these are its answers to ``count`` rows from ``first`` on."""
        expected = self.probabilities[first : first + count]
        if shares is None or shares.shape != expected.shape or np.abs(shares - expected).max() > TOLERANCE:
            return False
        pairs = zip(labels or [], self.labels[first : first + count], expected, strict=False)
        return labels is None or (
            len(labels) == count and all(label == own or _tied(row) for label, own, row in pairs)
        )


def _tied(row: Floats) -> bool:
    second, first = np.sort(row)[-2:]
    return bool(first - second <= TIE_GAP)


class Truth:
    """Versions take turns between the pipelines: version 1 is the first one's, version 2 the second's."""

    def __init__(self, fitted: Sequence[Fitted]) -> None:
        self.rows: Floats = np.array(fitted[0].rows)
        self._pipelines = [Pipeline(each.labels, np.array(each.probabilities)) for each in fitted]

    def of(self, version: int) -> Pipeline:
        """The pipeline that a version was made of."""
        return self._pipelines[(version - 1) % len(self._pipelines)]
