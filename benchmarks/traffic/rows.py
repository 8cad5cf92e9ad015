"""Random rows within the ranges and categories of a model's features, as GET /models publishes them."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

Feature = Mapping[str, Any]
Value = float | str | None

# Share of missing values in a feature that allows them.
MISSING = 0.02
# A range has about a thousand steps, so that numbers look measured: 5.1, not 5.10382940.
STEPS = 1000


def draw(features: Sequence[Feature], count: int, seed: int = 0) -> list[list[Value]]:
    """``count`` rows, a value per feature in each; the same seed draws the same."""
    chance = random.Random(seed)
    return [[_value(feature, chance) for feature in features] for _ in range(count)]


def _value(feature: Feature, chance: random.Random) -> Value:
    if feature.get("missing") and chance.random() < MISSING:
        return None
    if feature["kind"] == "category":
        categories = feature.get("categories")
        return str(chance.choice(categories)) if categories else None
    return _number(feature, chance)


def _number(feature: Feature, chance: random.Random) -> float | None:
    low: float | None = feature.get("minimum")
    high: float | None = feature.get("maximum")
    if low is None or high is None:
        # The training column had no value, so its range is unknown.
        return None if feature.get("missing") else 0.0
    return min(max(round(chance.uniform(low, high), _decimals(low, high)), low), high)


def _decimals(low: float, high: float) -> int:
    """Decimals that divide a range into about a thousand steps; 0 where both ends are integers far apart."""
    if high <= low:
        return 15
    integers = float(low).is_integer() and float(high).is_integer()
    return 0 if integers and high - low >= 10 else max(math.ceil(math.log10(STEPS / (high - low))), 0)
