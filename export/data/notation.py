"""The notation in which a column of text writes its numbers."""

from collections.abc import Collection, Iterator, Sequence

from unpickled.server.artifact.manifest import Notation
from unpickled.server.model.cells import PLAIN, UNITS, number

# (decimal, group), the likelier ones first; with a decimal point, then with a decimal comma.
_POINT = ((".", ""), (".", ","), (".", "'"), (".", " "))
_COMMA = ((",", ""), (",", "."), (",", " "), (",", "'"))


def notation_of(texts: Collection[str], comma: bool = False) -> tuple[Notation | None, str]:
    """The notation in which all of these texts are numbers, and a remark about it; None if there is none.

    Where two notations read the texts as other numbers, thousands commas are likelier than decimal commas,
    unless ``comma`` says that the table has decimal commas; the remark then names the choice.

    Example:
        >>> notation_of(["1.234,50", "7"])[0]
        Notation(decimal=',', group='.')
    """
    if numbers_in(texts, PLAIN) is not None:
        return PLAIN, ""
    readings = {notation: numbers_in(texts, notation) for notation in _candidates(texts, comma)}
    likely = {notation: numbers for notation, numbers in readings.items() if numbers is not None}
    if not likely:
        return None, ""
    notation, numbers = next(iter(likely.items()))
    example = next(text.strip() for text in texts if not _is_plain(text))
    remark = f"written like {example}"
    if any(other != numbers for other in likely.values()):
        remark += f", read as {number(example, notation):g}"
    return notation, remark


def numbers_in(texts: Collection[str], notation: Notation) -> list[float] | None:
    """The numbers that the texts are in this notation; None if one of them is no number."""
    try:
        return [number(text, notation) for text in texts]
    except ValueError:
        return None


def _candidates(texts: Collection[str], comma: bool) -> Iterator[Notation]:
    unit = "".join(sign for sign in UNITS if any(sign in text for text in texts))
    marks: Sequence[tuple[str, str]] = (*_COMMA, *_POINT) if comma else (*_POINT, *_COMMA)
    for decimal, group in marks:
        yield Notation(decimal=decimal, group=group, unit=unit)  # type: ignore[arg-type]


def _is_plain(text: str) -> bool:
    return numbers_in([text], PLAIN) is not None
