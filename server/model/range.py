"""The range of one feature in training: which values lie outside, and how answers and errors name them."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
from msgspec import Meta

from unpickled.server.artifact.manifest import Feature, Manifest
from unpickled.server.errors import OutsideTraining
from unpickled.server.message.answer import dumps
from unpickled.server.model import dates
from unpickled.server.model.feeds import Value
from unpickled.server.model.policy import Action, Policy
from unpickled.server.model.rule import figure
from unpickled.server.quote import listed, quoted, shortened

# Most categories that a finding names, and the longest text in it, in characters.
_MOST_NAMES, _LONGEST = 20, 200
# Most categories that are compiled into a decoder: very many would hold up a new version for seconds.
_MOST_COMPILED = 1000
_LARGEST32 = float(np.finfo(np.float32).max)
# The ends of a range that has none.
_ENDLESS = (-math.inf, -math.inf), (math.inf, math.inf)


class Range:
    """The range of one feature.

    Args:
        place: The place of the feature among those of the model.
        feature: The feature, out of the manifest.
        action: The fate of values outside.
        setting: The key of serving.toml that has decided the action.
        lowest, highest: The end of the numbers on either side, and the outermost double that counts as
            that end: it may lie a little beyond.
        trained: The range in training as answers show it: its ends, or the first categories.
        moved: Whether the policy moves an end, so that answers show the range in force beside it.

    Attributes:
        place, feature, action: As above.
        name: The name of the feature.
        least, most: The lowest and the highest value, which "clip" puts in place of others.
        low, high: The doubles between which numbers count as inside.
        known: The categories; None for numbers.
    """

    __slots__ = (
        "_before", "_behind", "_members", "_plain", "_setting", "action", "feature", "high", "known",
        "least", "low", "most", "name", "place",
    )  # fmt: skip

    def __init__(
        self,
        place: int,
        feature: Feature,
        action: Action,
        setting: str,
        lowest: tuple[float, float] = _ENDLESS[0],
        highest: tuple[float, float] = _ENDLESS[1],
        trained: Sequence[Any] = (),
        moved: bool = False,
    ) -> None:
        self.place, self.feature, self.action = place, feature, action
        self.name, self._setting = feature.name, setting
        (self.least, self.low), (self.most, self.high) = lowest, highest
        self.known = frozenset(feature.categories) if feature.kind == "category" else None
        # Numbers that are no dates stand in a finding as they are.
        self._plain = self.known is None and not feature.date
        # The range as findings and errors have it; the one in force where it is not that of training.
        self._members: dict[str, Any] = {"trained": trained} | ({"range": [*self.ends]} if moved else {})
        # The parts of a finding that are alike for all values: those before the value, and behind one that
        # is too high or too low.
        self._before = b',"feature":' + dumps(self.name) + b',"value":'
        self._behind = [self._end(used) for used in (self.most, self.least)]

    @property
    def compiled(self) -> bool:
        """Whether a decoder can check it."""
        return self.known is None or 0 < len(self.feature.categories) <= _MOST_COMPILED

    def type(self, lowest: float, highest: float) -> Any:
        """The msgspec type of a value inside that lies between these limits, too."""
        if self.known is not None:
            return Literal[self.feature.categories]
        return Annotated[float, Meta(ge=max(lowest, self.low), le=min(highest, self.high))]

    @property
    def ends(self) -> tuple[Any, Any]:
        """The lowest and the highest value as answers show them; None where there is none."""
        return self._shown(self.least), self._shown(self.most)

    @property
    def figures(self) -> tuple[str, str]:
        """The lowest and the highest value in a sentence."""
        return self._figure(self.least), self._figure(self.most)

    def clipped(self, value: float) -> float:
        """The value inside that is nearest to a number outside."""
        return self.least if value < self.low else self.most

    def finding(self, row: int, value: Value) -> bytes:
        """The object in an answer that describes a value outside, in JSON."""
        text = dumps(value if self._plain else self._shown(value))
        end = self._behind[self.known is None and value < self.low]  # type: ignore[operator]
        return b"".join((b'{"row":', str(row).encode() if row else b"0", self._before, text, end))

    def refuse(self, row: int, value: Value) -> NoReturn:
        """Raise the error about a value outside."""
        name = self.name
        if self.known is None:
            kind = "allowed" if "range" in self._members else "training"
            fault = f"is {self._figure(value)}, outside the {kind} range ({' to '.join(self.figures)})"
        else:
            known = listed(self.feature.categories, write=quoted) or "none"
            fault = f"is {quoted(value)}, which training did not have: it had {known}"
        raise OutsideTraining(
            f"feature {quoted(name)} of row {row} {fault}: send another, or let serving.toml admit it "
            f'({self._setting} = "flag")',
            row=row,
            feature=name[:200],
            value=self._shown(value),
            **self._members,
        )

    def _end(self, used: float) -> bytes:
        """The part of a finding behind the value, in whose place this one may be predicted."""
        members, shown = {**self._members}, len(self._members["trained"])
        if self.known is not None and len(self.known) > shown:
            members["more"] = len(self.known) - shown
        if self.known is None and self.action == "clip":
            members["used"] = self._shown(used)
        return b"," + dumps(members)[1:]

    def _shown(self, value: Value) -> Any:
        return _shown(self.feature, value)

    def _figure(self, value: Value) -> str:
        shown = self._shown(value)
        return figure(shown) if isinstance(shown, float) else str(shown or "any")


def has_borders(feature: Feature) -> bool:
    """Whether the values of a feature may have a lowest and a highest one."""
    return feature.kind == "number" and not feature.closed and not feature.boolean


def ranges_of(manifest: Manifest, policy: Policy) -> list[Range | None]:
    """The range of each feature; None for one that has none, whatever the policy."""
    dtypes = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
    return [
        _range_of(place, feature, dtypes[feature.name], policy)
        for place, feature in enumerate(manifest.features)
    ]


def _range_of(place: int, feature: Feature, dtype: str, policy: Policy) -> Range | None:
    """The range of a feature, whose tensor has this element type."""
    own = policy.of(feature.name)
    if feature.closed or feature.boolean:
        return None
    action = own.outside or policy.outside
    setting = f"inputs.features.{quoted(feature.name)}.outside" if own.outside else "inputs.outside"
    if feature.kind == "category":
        trained = [shortened(text, _LONGEST) for text in feature.categories[:_MOST_NAMES]]
        return Range(place, feature, action, setting, trained=trained)
    slack = _slack(feature, policy.slack)
    sides = ((own.lowest, feature.minimum, -1.0), (own.highest, feature.maximum, 1.0))
    ends = [
        _end(trained, side, slack, feature, dtype)
        if border is None
        else _end(border, side, 0.0, feature, dtype)
        for border, trained, side in sides
    ]
    if ends == [*_ENDLESS]:
        return None
    trained = [_shown(feature, border) for _, border, _ in sides]
    moved = ends != [_end(border, side, 0.0, feature, dtype) for _, border, side in sides]
    return Range(place, feature, action, setting, ends[0], ends[1], trained, moved)


def _shown(feature: Feature, value: Value) -> Any:
    """A value as answers show it: a date as text, a long text shortened."""
    if isinstance(value, str):
        return shortened(value, _LONGEST)
    if value is None or not math.isfinite(value):
        return None
    return dates.written(value, feature.date) if feature.date else value


def _slack(feature: Feature, share: float) -> float:
    """How far the range is wider than in training, on either side."""
    if not share or feature.minimum is None or feature.maximum is None:
        return 0.0
    return share * (feature.maximum - feature.minimum)


def _end(
    border: float | None, side: float, slack: float, feature: Feature, dtype: str
) -> tuple[float, float]:
    """The outermost value on one side (-1 or 1), and the outermost double that counts as that value."""
    if border is None:
        return side * math.inf, side * math.inf
    end = _told(border + side * slack, slack) if slack else border
    if dtype == "int64" or feature.date:
        end = float(np.floor(end) if side > 0 else np.ceil(end))
        return end, end
    if dtype == "float32":
        end = float(np.float32(min(max(end, -_LARGEST32), _LARGEST32)))
    # Clients write the numbers of a column of float32 with fewer digits.
    is_float32 = abs(end) <= _LARGEST32 and float(np.float32(end)) == end
    return end, _rounded_to(end, side) if is_float32 else end


def _told(end: float, slack: float) -> float:
    """An end with slack, to a billionth of it: answers have 2.5, and not 2.4999999999999996."""
    return round(end, 9 - math.floor(math.log10(min(slack, 1e9))))


def _rounded_to(end: float, side: float) -> float:
    """The outermost double on one side that float32 rounds to this number."""
    number = np.float32(end)
    with np.errstate(over="ignore", under="ignore"):
        beyond = float(np.nextafter(number, np.float32(side * np.inf)))
        if not math.isfinite(beyond):
            # Beyond the largest number, float32 rounds as if there were one more.
            beyond = 2 * end - float(np.nextafter(number, np.float32(0)))
        middle = (end + beyond) / 2
        return middle if np.float32(middle) == number else float(np.nextafter(middle, -side * np.inf))
