"""The ranges of one version's training rows, and the fate of values outside them.

Numbers and dates have a lowest and a highest value, categories those that training had. A missing value lies
inside, and so do truth values and the values of a feature that takes known ones only. Files of releases that
kept no range have none.

No training row lies outside. A number that a graph reads as float32 is compared as float32. A border that a
float32 holds exactly is taken for one of a float32 column, of which clients send fewer digits: numbers that
float32 rounds to it are inside.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy

import numpy as np

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.model.beyond import Pace, Places, Tensor, tensor_of
from unpickled.server.model.feeds import Feeds, Row, Value
from unpickled.server.model.outside import MOST, Outside
from unpickled.server.model.policy import Policy
from unpickled.server.model.range import Range, ranges_of

# Is told the name of a feature, and how many rows are outside because of it.
Count = Callable[[str, int], None]


def _uncounted(*_: object) -> None:
    """A Count that keeps nothing."""


class Ranges:
    """The ranges of one version under a policy.

    Args:
        manifest: Describes the training rows.
        policy: The policy.
        count: Is told of rows outside, also of those that are refused.

    Attributes:
        compiled: Whether the decoders of rows check all of them.
    """

    def __init__(self, manifest: Manifest, policy: Policy, count: Count = _uncounted) -> None:
        ranges = [
            None if each is None or each.action == "accept" else each for each in ranges_of(manifest, policy)
        ]
        places = {feature.name: place for place, feature in enumerate(manifest.features)}
        columns = {tensor.name: [places[name] for name in tensor.features] for tensor in manifest.inputs}
        self._ranges = ranges
        self._present = [each for each in ranges if each is not None]
        self._borders = [(each.place, each.low, each.high, each) for each in self._present]
        self._tensors = [
            (
                tensor_of(tensor, [ranges[place] for place in columns[tensor.name]]),
                np.array(columns[tensor.name]),
            )
            for tensor in manifest.inputs
            if any(ranges[place] is not None for place in columns[tensor.name])
        ]
        # Whether the one tensor has all features in the order of the model: its places are keys in order.
        self._in_order = [*columns.values()] == [[*range(len(ranges))]]
        self._count = count
        self._most = MOST
        self.compiled = all(each.compiled for each in self._present)

    def __bool__(self) -> bool:
        """Whether any value lies outside."""
        return bool(self._present)

    def uncounted(self) -> "Ranges":
        """The same ranges, which tell nobody of rows outside."""
        ranges = copy(self)
        ranges._count = _uncounted
        return ranges

    def undescribed(self) -> "Ranges":
        """The same ranges, which count the values outside and describe none of them: findings are ``[]``."""
        ranges = copy(self)
        ranges._most = 0
        return ranges

    def of(self, place: int) -> Range | None:
        """The range of the feature at this place; None where no value of it lies outside."""
        return self._ranges[place]

    def admit_row(self, values: Row) -> tuple[Row, Outside | None]:
        """One row as it is to be run, and what of it is outside; raises OutsideTraining.

        Only for models of floats; the row has passed the checks of the signature.
        """
        beyond: list[tuple[Range, Value]] = []
        for place, low, high, each in self._borders:
            value = values[place]
            if value is not None and not low <= value <= high:  # type: ignore[operator]
                beyond.append((each, value))
        if not beyond:
            return values, None
        if len(beyond) == 1:
            # Most of the time it is one value, which is dealt with in half of the time.
            each, value = beyond[0]
            self._count(each.name, 1)
            if each.action != "flag":
                values = self._decided(values, beyond)
            return values, Outside((each.name,), 1, b"[%b]" % each.finding(0, value))
        for each, _ in beyond:
            self._count(each.name, 1)
        values = self._decided(values, beyond)
        names = tuple([each.name for each, _ in beyond])
        findings = [each.finding(0, value) for each, value in beyond[:MOST]]
        return values, Outside(names, len(beyond), b"[%b]" % b",".join(findings))

    @staticmethod
    def _decided(values: Row, beyond: Sequence[tuple[Range, Value]]) -> Row:
        """One row as it is to be run; raises OutsideTraining."""
        used = [*values]
        for each, value in beyond:
            if each.action == "refuse":
                each.refuse(0, value)
            if each.action == "clip":
                used[each.place] = each.clipped(value)  # type: ignore[arg-type]
        return used

    def admit(
        self, feeds: Feeds, rows: Sequence[Row], pace: Pace, first: int = 0
    ) -> tuple[Feeds, Outside | None]:
        """Tensors as they are to be run, and what in them is outside; raises OutsideTraining.

        Args:
            feeds: The tensors of rows that passed the checks of the signature; they are not changed.
            rows: The same rows as they were sent.
            pace: Is called now and then.
            first: The number of the first row, for errors and findings.
        """
        found = [
            (tensor, columns, places)
            for tensor, columns in self._tensors
            if len(places := tensor.find(feeds[tensor.name], pace))
        ]
        if not found:
            return feeds, None
        parts = [self._keys(places, columns) for _, columns, places in found]
        keys = parts[0] if len(parts) == 1 else np.concatenate(parts)
        features = self._counted(keys)
        asked = _Asked(rows, feeds, self._tensors)
        refusing = [each.place for each in features if each.action == "refuse"]
        if refusing:
            [(row, each)] = self._first(keys[np.isin(keys % len(self._ranges), refusing)], 1)
            each.refuse(first + row, asked.value(row, each))
        findings = b",".join(
            [each.finding(first + row, asked.value(row, each)) for row, each in self._first(keys, self._most)]
        )
        if any(each.action == "clip" for each in features):
            feeds = feeds | {
                tensor.name: tensor.clipped(feeds[tensor.name], places) for tensor, _, places in found
            }
        return feeds, Outside(tuple([each.name for each in features]), len(keys), b"[%b]" % findings)

    def _keys(self, places: Places, columns: Places) -> Places:
        """Row * features + feature of places in a tensor that has the features of these columns."""
        if self._in_order:
            return places
        return places // len(columns) * len(self._ranges) + columns[places % len(columns)]

    def _counted(self, keys: Places) -> list[Range]:
        """Count the rows of these places by feature; returns the ranges of the features."""
        counts = np.bincount(keys % len(self._ranges), minlength=len(self._ranges)).tolist()
        features = [each for each in self._present if counts[each.place]]
        for each in features:
            self._count(each.name, counts[each.place])
        return features

    def _first(self, keys: Places, most: int) -> Iterator[tuple[int, Range]]:
        """The row and the range of the first of these places, each row * features + feature."""
        if not self._in_order:
            keys = np.sort(np.partition(keys, most)[:most] if len(keys) > most else keys)
        for key in keys[:most].tolist():
            row, place = divmod(key, len(self._ranges))
            each = self._ranges[place]
            assert each is not None
            yield row, each


class _Asked:
    """The values of rows as they were sent; those of dates as their seconds."""

    def __init__(self, rows: Sequence[Row], feeds: Feeds, tensors: Sequence[tuple[Tensor, Places]]) -> None:
        self._rows = rows
        self._feeds = feeds
        self._tensors = tensors

    def value(self, row: int, each: Range) -> Value:
        if each.feature.date is None:
            return self._rows[row][each.place]
        tensor, columns = next(pair for pair in self._tensors if each.place in pair[1])
        return float(self._feeds[tensor.name][row, columns.tolist().index(each.place)])
