"""Made-up rows within the training ranges, on which the answers of two runtimes are compared."""

from collections.abc import Sequence

import numpy as np

from unpickled.server.artifact.manifest import Feature, Input, Manifest
from unpickled.server.model import dates
from unpickled.server.model.feeds import Value

# The share of cells that are missing or of an unknown category, where these are accepted.
_UNUSUAL = 0.1
_UNKNOWN = "something else"


def made_up(manifest: Manifest, count: int) -> list[list[Value]]:
    """So many rows in feature order, the same each time: None is missing, a date is its seconds.

    Every second number is a whole one where the range has any: these meet the thresholds of trees.

    Example:
        >>> from pathlib import Path
        >>> from unpickled.server.artifact import manifest
        >>> rows = made_up(manifest.read(Path("models/iris/1/model.onnx").read_bytes()), 200)
        >>> len(rows), len(rows[0])
        (200, 4)
    """
    rng = np.random.default_rng(0)
    tensors = {name: tensor for tensor in manifest.inputs for name in tensor.features}
    columns = [_column(feature, tensors[feature.name], count, rng) for feature in manifest.features]
    return [list(row) for row in zip(*columns, strict=True)]


def _column(feature: Feature, tensor: Input, count: int, rng: np.random.Generator) -> list[Value]:
    cells: list[Value] = []
    if feature.kind == "category":
        cells += _categories(feature, count, rng)
    elif feature.closed:
        cells += rng.choice(np.array(feature.values), count).tolist()
    else:
        cells += _numbers(feature, tensor, count, rng)
    if feature.missing:
        for place in np.flatnonzero(rng.random(count) < _UNUSUAL).tolist():
            cells[place] = None
    return cells


def _categories(feature: Feature, count: int, rng: np.random.Generator) -> list[str]:
    known = feature.categories or ("",)
    cells = [known[place] for place in rng.integers(0, len(known), count).tolist()]
    if not feature.closed:
        for place in np.flatnonzero(rng.random(count) < _UNUSUAL).tolist():
            cells[place] = _UNKNOWN
    return cells


def _numbers(feature: Feature, tensor: Input, count: int, rng: np.random.Generator) -> Sequence[float]:
    low, high = (
        float(np.clip(bound or 0.0, feature.lowest, feature.highest))
        for bound in (feature.minimum, feature.maximum)
    )
    if feature.boolean:
        return [float(bit) for bit in rng.integers(0, 2, count)]
    shares = rng.random(count)
    # The width of the range itself may be infinite.
    numbers = low * (1.0 - shares) + high * shares
    whole = np.round(numbers)
    if feature.date:
        unit = 60.0 if feature.date.times else float(dates.DAY)
        return [float(number) for number in np.clip(np.floor(numbers / unit) * unit, low, high)]
    chosen = (tensor.dtype == "int64") | (np.arange(count) % 2 == 0)
    fits = chosen & (low <= whole) & (whole <= high)
    return [float(number) for number in np.where(fits, whole, numbers)]
