"""Counts rows, and the answers to them, in the cells of a version's reference.

One array of numbers holds all counts, so that several workers can add theirs up:

    rows
    of each feature with a reference     its cells, missing, outside
    of each prediction                   its cells

The cells of a feature and its missing values add up to the rows. A row outside the training range, or of an
unknown category, lies in a cell as well: in the first, in the last, or among the other categories. The range
is that of training, whatever serving.toml makes of it, and features that have none there have none here: true
and false are never outside.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from unpickled.server.artifact.manifest import MISSING_CATEGORY, Feature, Manifest
from unpickled.server.artifact.reference import Reference, Spread
from unpickled.server.model.feeds import Matrix, Row, numbers
from unpickled.server.model.kinds import outputs_of
from unpickled.server.model.outputs import Labels, Scores
from unpickled.server.model.range import has_borders

Floats = npt.NDArray[np.float64]
_Places = npt.NDArray[np.intp]
# Lies between false and true.
_HALF = 0.5


class Part(NamedTuple):
    """The cells of one feature or prediction among all counts.

    Attributes:
        spread: Its reference.
        feature: The feature; None of a prediction.
        first: The place of its first cell.
        after: The place behind its last cell: of a feature, that of its missing values, and then that of the
            rows outside.
    """

    spread: Spread
    feature: Feature | None
    first: int
    after: int


class Binning:
    """The cells of one version, and where each is counted.

    Attributes:
        size: How many numbers the counts are.
        rows: The training rows of the reference; 0 where the version has none.
        features: The features that have a reference, in their order.
        predictions: The prediction of a classifier, or each target of a regressor.
        unmeasured: The names of the other features.
    """

    def __init__(self, manifest: Manifest) -> None:
        reference = manifest.reference or Reference(rows=0)
        spreads = {spread.name: spread for spread in reference.features}
        measured = [feature for feature in manifest.features if feature.name in spreads]
        self.rows = reference.rows
        self.features = tuple(_features(measured, spreads))
        first = self.features[-1].after + 2 if self.features else 1
        self.predictions = tuple(_predictions(reference.predictions, first))
        self.size = self.predictions[-1].after if self.predictions else first
        self.unmeasured = tuple(f.name for f in manifest.features if f.name not in spreads)
        self._count_features = _Features(manifest, self.features)
        self._count_answers = _Answers(manifest, self.predictions)

    def count(self, rows: Sequence[Row], labels: Labels, scores: Scores) -> Floats:
        """How many of these rows lie in each cell (size,).

        Args:
            rows: Rows in feature order: float, str, or None for a missing value.
            labels: The label of each row (rows,), out of the manifest's classes; 0 of a regressor.
            scores: The scores of each row (rows, classes) or (rows, targets).
        """
        counts = np.zeros(self.size)
        counts[0] = len(rows)
        if len(rows) and self.rows:
            self._count_features(rows, counts)
            self._count_answers(labels, scores, counts)
        return counts


def _features(features: Sequence[Feature], spreads: dict[str, Spread]) -> Iterator[Part]:
    first = 1
    for feature in features:
        spread = spreads[feature.name]
        if feature.boolean and feature.kind == "number":
            spread = _both(spread, feature)
        after = first + len(spread.counts)
        yield Part(spread, feature, first, after)
        first = after + 2


def _both(spread: Spread, feature: Feature) -> Spread:
    """The spread of truth values, with a cell for the one that no training row had.

    Both have one cell where a few rows had the other, of which nothing is to be said.
    """
    if spread.bounds or feature.minimum is None or feature.minimum != feature.maximum:
        return spread
    counts = (0, *spread.counts) if feature.minimum > _HALF else (*spread.counts, 0)
    return replace(spread, bounds=(_HALF,), counts=counts)


def _predictions(spreads: Sequence[Spread], first: int) -> Iterator[Part]:
    for spread in spreads:
        after = first + len(spread.counts)
        yield Part(spread, None, first, after)
        first = after


class _Features:
    """Counts rows in the cells of features: all columns of numbers at once, those of categories by value."""

    def __init__(self, manifest: Manifest, parts: Sequence[Part]) -> None:
        positions = {feature.name: position for position, feature in enumerate(manifest.features)}
        of_numbers = [part for part in parts if part.feature and part.feature.kind == "number"]
        self._columns = [positions[part.spread.name] for part in of_numbers]
        self._cells = _Cells(of_numbers)
        self._categories = [
            (positions[part.spread.name], _Categories(part, part.feature))
            for part in parts
            if part.feature and part.feature.kind == "category"
        ]
        self._width = len(manifest.features)
        kinds = {tensor.dtype for tensor in manifest.inputs if tensor.dtype != "string"}
        self._is_plain = not any(tensor.dtype == "string" for tensor in manifest.inputs)
        # The graph rounds a value to float32, as training did: 0.7 must not lie apart from its own 0.7.
        self._narrow = kinds == {"float32"}

    def __call__(self, rows: Sequence[Row], counts: Floats) -> None:
        """Add these rows to the counts."""
        if isinstance(rows, Matrix):
            values = rows.values[:, self._columns]
        elif self._is_plain:
            values = numbers(rows[:], self._width, "float64")[:, self._columns]
        else:
            columns = list(zip(*rows[:], strict=True))
            values = np.array([columns[position] for position in self._columns], np.float64).T
            for position, categories in self._categories:
                categories(columns[position], counts)
        if self._columns:
            if self._narrow:
                values = values.astype(np.float32).astype(np.float64)
            self._cells(values, counts)


class _Cells:
    """Counts columns of numbers in their cells."""

    def __init__(self, parts: Sequence[Part]) -> None:
        most = max((len(part.spread.bounds) for part in parts), default=0)
        # (most, parts), where infinity stands for no bound.
        self._bounds = np.full((most, len(parts)), np.inf)
        for place, part in enumerate(parts):
            self._bounds[: len(part.spread.bounds), place] = part.spread.bounds
        self._first = np.array([part.first for part in parts], np.intp)
        self._missing = np.array([part.after for part in parts], np.intp)
        self._outside = self._missing + 1
        self._lowest = np.array([_end(part, "minimum", -np.inf) for part in parts])
        self._highest = np.array([_end(part, "maximum", np.inf) for part in parts])
        self._ranged = any(part.feature is not None for part in parts)

    def __call__(self, values: Floats, counts: Floats) -> None:
        """Add the values (rows, parts), of which NaN is a missing one, to the counts."""
        places = np.tile(self._first, (len(values), 1))
        # Bound by bound: a comparison with all of them at once takes twice as long for 30 features.
        for bound in self._bounds:
            places += values > bound
        if self._ranged:
            places = np.where(np.isnan(values), self._missing, places)
            beyond = (values < self._lowest) | (values > self._highest)
            counts[self._outside] += beyond.sum(axis=0)
        counts += np.bincount(places.ravel(), minlength=len(counts))


def _end(part: Part, name: str, without: float) -> float:
    """An end of the training range of a feature; ``without``, where it has none."""
    end = getattr(part.feature, name) if part.feature and has_borders(part.feature) else None
    return without if end is None else float(end)


class _Categories:
    """Counts the texts of one feature."""

    def __init__(self, part: Part, feature: Feature) -> None:
        self._cells = {text: part.first + cell for cell, text in enumerate(part.spread.categories)}
        self._others = part.after - 1
        self._missing = part.after
        self._known = frozenset(feature.categories)

    def __call__(self, values: Sequence[Any], counts: Floats) -> None:
        """Add these texts, of which None is a missing one, to the counts."""
        for value, count in Counter(values).items():
            if value is None or value == MISSING_CATEGORY:
                counts[self._missing] += count
                continue
            counts[self._cells.get(value, self._others)] += count
            if value not in self._known:
                counts[self._missing + 1] += count


class _Answers:
    """Counts the labels of a classifier, or the numbers of a regressor."""

    def __init__(self, manifest: Manifest, parts: Sequence[Part]) -> None:
        outputs = outputs_of(manifest)
        self._count, self._labels = outputs.count, outputs.places(0)
        self._classes: _Places | None = None
        if len(outputs.counted) > 1 and parts:
            cells = {name: parts[0].first + cell for cell, name in enumerate(parts[0].spread.categories)}
            self._classes = np.array([cells.get(name, parts[0].after - 1) for name in outputs.counted])
        order = {name: column for column, name in enumerate(outputs.names)}
        self._targets = [] if self._classes is not None else [order[part.spread.name] for part in parts]
        self._cells = _Cells(parts if self._targets else ())

    def __call__(self, labels: Labels, scores: Scores, counts: Floats) -> None:
        """Add these answers to the counts."""
        if self._classes is not None:
            of_classes = np.zeros(len(self._classes))
            self._count(labels, self._labels, of_classes)
            np.add.at(counts, self._classes, of_classes)
        elif self._targets:
            self._cells(np.asarray(scores, np.float64)[:, self._targets], counts)
