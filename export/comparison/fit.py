"""Whether two versions can be compared on rows: both answer one question, and take what the rows have."""

import pandas as pd

from unpickled.export.comparison.earlier import Earlier
from unpickled.export.errors import DataError
from unpickled.server.artifact.manifest import Feature, Manifest
from unpickled.server.quote import counted, listed, quoted


def check(this: Manifest, earlier: Earlier, frame: pd.DataFrame) -> None:
    """Raise DataError, a sentence that says why, unless this version and an earlier one can be compared.

    Args:
        this: The manifest of the later version.
        earlier: The other one.
        frame: The rows, with one column per feature of the later version, or more.
    """
    other = earlier.model.manifest
    fault = _question(this, other) or _lacking(other, frame) or _kinds(this, other, frame)
    if fault:
        raise DataError(f"Version {earlier.version} cannot be compared: {fault}.")


def _question(this: Manifest, other: Manifest) -> str:
    """A clause about what the two answer, if these are different things."""
    if bool(this.classes) != bool(other.classes):
        kinds = ("a regressor", "a classifier")
        return f"it is {kinds[bool(other.classes)]}, and this one {kinds[bool(this.classes)]}"
    if this.classes:
        common = set(map(str, this.classes)) & set(map(str, other.classes))
        return "" if common else f"its classes, {listed(other.class_names, 5)}, are all other ones"
    ours, theirs = this.outputs.targets, other.outputs.targets
    # A single target may have another name: an array of numbers to predict has none.
    if len(theirs) != len(ours) or (len(ours) > 1 and set(ours) != set(theirs)):
        return f"it predicts {listed(theirs, 5)}, and this one {listed(ours, 5)}"
    return ""


def _lacking(other: Manifest, frame: pd.DataFrame) -> str:
    lacking = [feature.name for feature in other.features if feature.name not in frame.columns]
    noun = counted(len(lacking), "feature")
    return f"it takes {noun} that the rows lack, {listed(lacking, 5, quoted)}" if lacking else ""


def _kinds(this: Manifest, other: Manifest, frame: pd.DataFrame) -> str:
    """A clause about the first feature that one takes as text or as a date, and the other one does not."""
    ours = {feature.name: _noun(feature) for feature in this.features}
    for feature in other.features:
        of_rows = ours.get(feature.name) or _noun_of(frame[feature.name])
        if _noun(feature) != of_rows:
            return f"it takes {quoted(feature.name)} as {_noun(feature)}, and the rows have {of_rows} there"
    return ""


def _noun(feature: Feature) -> str:
    if feature.date:
        return "dates"
    return "text" if feature.kind == "category" else "numbers"


def _noun_of(column: pd.Series) -> str:
    return "numbers" if pd.api.types.is_numeric_dtype(column) else "text"
