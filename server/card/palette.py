"""The classes that are drawn, and the color of each: the same in every picture of a report."""

from unpickled.server.artifact.card import Card, ClassCard
from unpickled.server.card.plot import COLORS, color


def colors(card: Card) -> dict[int, str]:
    """The color of each class that is drawn, by its place among all of them.

    These are all classes, or of many those with curves and the lowest areas under them.
    """
    places = sorted(range(len(card.classes)), key=lambda place: _area(card.classes[place]))[:COLORS]
    return {place: color(index) for index, place in enumerate(sorted(places))}


def _area(found: ClassCard) -> float:
    """The area under the ROC curve; above all others without a curve."""
    return found.roc_auc.value if found.roc_auc and found.thresholds else 2.0


def remark(card: Card) -> str:
    """A sentence about the classes that are not drawn; empty if all are."""
    more = len(card.classes) - COLORS
    return f"{COLORS} of {len(card.classes)} classes, those with the lowest areas." if more > 0 else ""
