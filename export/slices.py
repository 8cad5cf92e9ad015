"""The slices of rows: those with one category of a feature, or whose number lies in one of its cells.

A card and a comparison have the same ones: the cells of the spreads of the training rows, which drift is
measured by as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.server.artifact.manifest import Feature
from unpickled.server.artifact.reference import FEWEST, Reference, Spread
from unpickled.server.model import dates

MISSING, OTHERS = "missing", "all others"

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows of a frame.

    Attributes:
        feature: The name of the feature that parts the rows.
        value: The value that the rows have in common, as people read it: "Bonn", "above 4.8 to 5.2", "true".
        inside: Whether each row of the frame (rows,) is one of them.
    """

    feature: str
    value: str
    inside: npt.NDArray[np.bool_]


def slices(frame: pd.DataFrame, features: Sequence[Feature], reference: Reference | None) -> Iterator[Slice]:
    """Each slice with at least FEWEST rows that are not all rows.

    Args:
        frame: Rows with one column per feature, as a Labelled has them.
        features: The features of the model.
        reference: How its training rows spread over them; without it there are no slices.
    """
    spreads = {spread.name: spread for spread in (reference.features if reference else ())}
    for feature in features:
        spread = spreads.get(feature.name)
        if spread is None:
            continue
        values, places = _parted(feature, spread, frame[feature.name])
        for place, value in enumerate(values):
            inside: npt.NDArray[np.bool_] = places == place
            if FEWEST <= inside.sum() < len(frame):
                yield Slice(feature.name, value, inside)


def _parted(feature: Feature, spread: Spread, column: pd.Series) -> tuple[list[str], Array]:
    """The names of the cells, missing values last, and the place of each row's cell (rows,) among them."""
    if feature.kind == "category":
        values = [*spread.categories, OTHERS]
        known = {category: place for place, category in enumerate(spread.categories)}
        places = np.array([known.get(text, len(known)) for text in column], np.int64)
    else:
        values, bounds = _cells(feature, spread)
        places = np.searchsorted(bounds, column.to_numpy(np.float64), side="left")
    places[column.isna().to_numpy()] = len(values)
    return [*values, MISSING], places


def _cells(feature: Feature, spread: Spread) -> tuple[list[str], Sequence[float]]:
    """The names of the cells of numbers, and the bounds between them."""
    if feature.boolean:
        return ["false", "true"], (0.5,)
    texts = [_figure(feature, bound) for bound in spread.bounds]
    if not texts:
        return ["any"], ()
    between = [f"above {low} to {high}" for low, high in pairwise(texts)]
    return [f"up to {texts[0]}", *between, f"above {texts[-1]}"], spread.bounds


def _figure(feature: Feature, bound: float) -> str:
    """A bound as people read it; of dates, its day."""
    if feature.date and dates.FIRST <= bound <= dates.LAST:
        return dates.written(bound, feature.date).partition("T")[0]
    return f"{bound:.6g}"
