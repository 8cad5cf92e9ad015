"""How requests write the columns of the training table: their cells, and columns that are not read."""

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd
from msgspec.structs import replace

from unpickled.export.data.columns import Reading
from unpickled.export.data.labels import fitted_names
from unpickled.server.artifact.manifest import Feature
from unpickled.server.model.dates import FIRST, LAST


def described(features: Sequence[Feature], readings: Sequence[Reading]) -> tuple[Feature, ...]:
    """The features, each with the notation and the words for a missing value of its column.

    Dates end with the year 9999, whatever the graph computes beyond.
    """
    by_name = {reading.name: reading for reading in readings}
    return tuple(_described(feature, by_name.get(feature.name)) for feature in features)


def unused(
    pipeline: Any, rows: Any, features: Sequence[Feature], readings: Sequence[Reading]
) -> tuple[str, ...]:
    """The columns of the training table that are no features; "" for those without a name."""
    read = {feature.name for feature in features}
    columns = list(rows.columns) if isinstance(rows, pd.DataFrame) else []
    table = [*(fitted_names(pipeline) or ()), *columns, *(reading.name for reading in readings)]
    names = [str(name) for name in dict.fromkeys(table) if str(name) not in read]
    nameless = any(re.fullmatch(r"Unnamed: [0-9]+", name) for name in names)
    return (*names, "") if nameless and "" not in read else tuple(names)


def _described(feature: Feature, reading: Reading | None) -> Feature:
    if reading is None:
        return feature
    if reading.notation is not None and reading.notation.date:
        feature = replace(
            feature,
            lowest=max(FIRST, -math.inf if feature.lowest is None else feature.lowest),
            highest=min(LAST, math.inf if feature.highest is None else feature.highest),
        )
    return replace(
        feature,
        boolean=feature.boolean or reading.kind == "boolean",
        missing_words=tuple(word for word in reading.missing_words if word not in feature.categories),
        notation=reading.notation,
    )
