"""How the rows of the log differ from those that the champion was trained on, and the shares of classes."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from unpickled.export.retraining.base import Base
from unpickled.export.retraining.predicted import Predicted
from unpickled.export.retraining.report import ClassShare, Moved
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.drift.binning import Binning
from unpickled.server.drift.judgement import judge
from unpickled.server.model.feeds import Rows, values_of

# Rows that are counted at once.
_PART = 10_000


def moved(
    version: int,
    champion: Manifest,
    predicted: Predicted,
    labels: npt.NDArray[np.generic],
    scores: npt.NDArray[np.float64],
) -> tuple[Moved, ...]:
    """The features and predictions that have a reference, those that have moved furthest first.

    Args:
        version: The number of the champion.
        champion: Its manifest, with the reference.
        predicted: The rows of the log with truth.
        labels: The champion's labels for them (rows,); 0 of a regressor.
        scores: Its scores (rows, classes), or numbers (rows, targets).
    """
    binning = Binning(champion)
    columns = [values_of(predicted.frame[feature.name].to_numpy()) for feature in champion.features]
    counts = np.zeros(binning.size)
    for start in range(0, len(predicted), _PART):
        part = slice(start, start + _PART)
        rows = Rows([column[part] for column in columns])
        counts += binning.count(rows, labels[part].tolist(), scores[part])
    return tuple(
        Moved(name=each.name, psi=each.psi, drifted=each.drifted, reasons=each.reasons)
        for each in judge(version, binning, counts).ordered
        if each.psi is not None
    )


def classes(champion: Manifest, base: Base | None, predicted: Predicted) -> Iterator[ClassShare]:
    """The share of each class in the base table and in the log, by the truth; none of a regressor."""
    if base is None or not len(base) or not len(predicted):
        return
    for label, name in zip(champion.classes, champion.class_names, strict=True):
        shares = [_share(part.truth, label) for part in (base, predicted)]
        yield ClassShare(name=name, base=shares[0], log=shares[1])


def _share(truth: npt.NDArray[np.generic], label: int | str) -> float:
    return float((truth == label).mean())
