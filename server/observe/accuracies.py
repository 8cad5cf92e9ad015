"""How right versions were, as metrics tell it: in the notice of the memory that counts rows with truth."""

from collections.abc import Mapping
from typing import NamedTuple

from unpickled.server.observe.notice import Notice, Posted


class VersionAccuracies(NamedTuple):
    """The accuracy of a version, without the figures that are not defined.

    rows: with truth.
    coverage: their share of the rows predicted.
    figures: accuracy, accuracy_training, log_loss and calibration_error.
    targets: mean_absolute_error, root_mean_squared_error and prediction_bias of each target.
    alarms: whether there is one, by what it is about; none before there were rows enough to judge.
    """

    model: str
    version: str
    rows: int
    coverage: float
    figures: Mapping[str, float]
    targets: Mapping[str, Mapping[str, float]]
    alarms: Mapping[str, bool]


ACCURACIES = Notice(Posted[VersionAccuracies])
