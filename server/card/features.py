"""How a version decides: how much each feature matters, and how answers follow those that do most."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import NamedTuple

from msgspec.structs import replace

from unpickled.server.artifact.card import Card, Dependence, Importance
from unpickled.server.artifact.manifest import Feature, Manifest
from unpickled.server.card import palette
from unpickled.server.card.parts import below, digits, interval, legend, picture, pictures
from unpickled.server.card.plot import Axis, Plot, color, day, days, figure, numbers, shares
from unpickled.server.card.targets import short_axis
from unpickled.server.quote import counted, shortened
from unpickled.server.report.strip import Scale, strip
from unpickled.server.report.table import short_name, table

# Features in the table of importances, and targets with pictures of dependences.
_MOST, _TARGETS = 25, 3
# The height of a category in a picture, and the room for its name.
_ROW, _NAMES = 22, 110
# An end is far away if it is so many times as far from the others as these lie apart.
_FAR = 3


class _Series(NamedTuple):
    """The answers that a dependence has: of classes, or of one target.

    names: those of all classes or targets. kinds: the colors of those that are drawn, by their places.
    up: the axis of their numbers.
    """

    names: Sequence[str]
    kinds: Mapping[int, str]
    up: Axis


def importances(card: Card) -> str:
    """How much the loss rises where a feature is shuffled, the most important feature first."""
    shown = card.importances[:_MOST]
    if not shown:
        return ""
    ends = [end for each in shown for end in _ends(each)]
    scale = Scale(min(0.0, *ends), max(0.0, *ends), "", "")
    several = ", in shares of that of each target" if len(card.targets) > 1 else ""
    heads = ("feature", f"rise of the {card.loss}", "")
    lines = (_importance(each, scale) for each in shown)
    more = len(card.importances) - _MOST
    rest = f'<p class="note">And {counted(more, "feature")} that matter less.</p>' if more > 0 else ""
    note = (
        f'<p class="note">How much the {card.loss}{several}, {interval(card.loss_value, digits)}, rises '
        "where the cells of one feature are shuffled among the rows, with its 95% interval; the upright "
        "stroke is 0. Features that say the same share their importance: shuffling one leaves the other.</p>"
    )
    return below("Importance of the features", note, table("", heads, lines), rest)


def _ends(importance: Importance) -> Sequence[float]:
    rise = importance.rise
    return [end for end in (rise.lowest, rise.value, rise.highest) if end is not None]


def _importance(importance: Importance, scale: Scale) -> tuple[str, str, str]:
    ends = _ends(importance)
    drawn = strip((ends[0], importance.rise.value, ends[-1]), scale, mark=0.0)
    return short_name(importance.feature), escape(interval(importance.rise, digits)), drawn


def dependences(manifest: Manifest, card: Card) -> str:
    """How the mean answer follows each of the most important features."""
    features = {each.name: each for each in manifest.features}
    drawn = [
        svg
        for each in card.dependences
        if each.at and each.feature in features
        for svg in _dependence(each, features[each.feature], card)
    ]
    noun = "answer for each class" if card.classes else "predicted number"
    note = (
        f'<p class="note">The mean {noun} of all rows if one feature had the same value in each of them, '
        "and the others stayed as they are. Where features move together, such rows need not exist.</p>"
    )
    return below("Dependence on the most important features", note, pictures(drawn)) if drawn else ""


def _dependence(found: Dependence, feature: Feature, card: Card) -> Iterator[str]:
    is_category = feature.kind == "category" or feature.boolean
    drawn = _named(found, feature) if is_category else _central(found)
    for series in _series(card):
        of = f"{series.names[next(iter(series.kinds))]} by " if len(card.targets) > 1 else ""
        note = f"{legend(series.names, series.kinds)}{palette.remark(card)} " if card.classes else ""
        svg = (_by_category if is_category else _by_number)(drawn, feature, series)
        far = "" if is_category else _outlying(found, drawn, feature)
        yield picture(f"{of}{found.feature}", svg, note + far)


def _series(card: Card) -> Iterator[_Series]:
    """The classes in one picture; a picture for each of the first targets."""
    if card.classes:
        kinds = palette.colors(card)
        noun = "probability" if card.loss == "log loss" else "score"
        yield _Series(
            [each.name for each in card.classes], kinds, _axis(card.dependences, kinds, f"mean {noun}")
        )
        return
    names = [each.name for each in card.targets]
    for place, name in enumerate(names[:_TARGETS]):
        kinds = {place: color(0)}
        yield _Series(names, kinds, _axis(card.dependences, kinds, f"mean predicted {short_axis(name)}"))


def _axis(dependences: Iterable[Dependence], places: Iterable[int], title: str) -> Axis:
    """An axis for all features, so that pictures can be compared: shares, or the range of the numbers."""
    answers = [each[place] for found in dependences for place in places for each in found.answers]
    lowest, highest = min(answers), max(answers)
    if title == "mean probability":
        return shares(title, 0.0, highest)
    room = (highest - lowest) * 0.05 or abs(highest) * 0.05
    return numbers(lowest - room, highest + room, title)


def _named(found: Dependence, feature: Feature) -> Dependence:
    """The dependence on categories; of a boolean feature, on false and true, in place of 0 and 1."""
    if not feature.boolean:
        return found
    return replace(found, at=tuple("true" if each else "false" for each in found.at))


def _central(found: Dependence) -> Dependence:
    """The dependence without an end that is far away: beside it, all others would be one stroke."""
    at = [float(each) for each in found.at]
    first = 1 if len(at) > 3 and at[1] - at[0] > _FAR * (at[-1] - at[1]) else 0
    last = len(at) - (1 if len(at) > 3 and at[-1] - at[-2] > _FAR * (at[-2] - at[first]) else 0)
    return replace(found, at=found.at[first:last], answers=found.answers[first:last])


def _outlying(found: Dependence, drawn: Dependence, feature: Feature) -> str:
    """A remark about the ends that are not drawn."""
    write = day if feature.date else figure
    far = [each for each in found.at if each not in drawn.at]
    numbers = escape(", ".join(write(float(each)) for each in far))
    return f"Not drawn, as it is far away: {numbers}." if far else ""


def _by_number(found: Dependence, feature: Feature, series: _Series) -> str:
    at = [float(each) for each in found.at]
    write = days if feature.date else numbers
    plot = Plot(write(at[0], at[-1], short_axis(found.feature)), series.up, _label(found, series))
    lines = (
        plot.line(
            [(across, each[place]) for across, each in zip(at, found.answers, strict=True)],
            kind,
            series.names[place],
        )
        for place, kind in series.kinds.items()
    )
    dots = (
        plot.dot((across, each[place]), kind, radius=2)
        for across, each in zip(at, found.answers, strict=True)
        for place, kind in series.kinds.items()
    )
    return plot.svg([*lines, *dots])


def _by_category(found: Dependence, feature: Feature, series: _Series) -> str:
    """A line for each category, with a dot for each class: no category comes before another."""
    count = len(found.at)
    names = [shortened(str(each), 12) for each in found.at]
    ticks = tuple((count - place - 0.5, name) for place, name in enumerate(names))
    up = Axis(0.0, float(count), ticks, "")
    plot = Plot(series.up, up, _label(found, series), height=max(_ROW * count, 44), left=_NAMES)
    dots = (
        plot.dot(
            (answers[place], ticks[row][0]),
            kind,
            f"{found.at[row]}: {series.names[place]} {figure(answers[place])}",
            4.5,
        )
        for row, answers in enumerate(found.answers)
        for place, kind in series.kinds.items()
    )
    return plot.svg(dots)


def _label(found: Dependence, series: _Series) -> str:
    """The picture in words: the answers at both ends."""
    first, last = found.at[0], found.at[-1]
    changes = (
        f"{series.names[place]} from {digits(found.answers[0][place])} to {digits(found.answers[-1][place])}"
        for place, kind in series.kinds.items()
    )
    return f"Mean answer by {found.feature}, {first} to {last}: {'; '.join(changes)}"
