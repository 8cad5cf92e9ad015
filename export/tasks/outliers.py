"""Outlier detection: pipelines that tell outliers from inliers; they are fitted without labels."""

from collections.abc import Sequence
from dataclasses import replace

from unpickled.export import detectors
from unpickled.export.tasks.classification import CLASSIFICATION, no_distance
from unpickled.export.tasks.task import ClassNames


def _titles(classes: Sequence[int | str], class_names: ClassNames | None) -> tuple[str, ...]:
    return CLASSIFICATION.titles(classes, detectors.NAMES if class_names is None else class_names)


# It is measured as classification is. No training has it: a table's target would have no part in the fit.
OUTLIERS = replace(
    CLASSIFICATION,
    name="outliers",
    step="detector",
    default="",
    estimators={},
    titles=_titles,
    admit=no_distance("An outlier detector answers with outlier or inlier"),
)
