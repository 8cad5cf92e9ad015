"""The notation in which a column of text writes its numbers."""

from collections.abc import Collection, Iterator, Sequence

from unpickled.server.artifact.manifest import Notation
from unpickled.server.model.cells import PLAIN, UNITS, number

# (decimal, group), the likelier ones first; with a decimal point, then with a decimal comma.
_POINT = ((".", ""), (".", ","), (".", "'"), (".", " "))
_COMMA = ((",", ""), (",", "."), (",", " "), (",", "'"))
# The notation in which a number that is plain, 1.234, may be another one.
_POINTS = Notation(decimal=",", group=".")


def notation_of(texts: Collection[str], comma: bool = False) -> tuple[Notation | None, str]:
    """The notation in which all of these texts are numbers, and a remark about it; None if there is none.

    Where two notations read the texts as other numbers, thousands commas are likelier than decimal commas,
    unless ``comma`` says that the table may have decimal commas; the remark then names the choice. Where it
    may have some, even 1.234 has two readings; a decimal point is the likelier one.

    Example:
        >>> notation_of(["1.234,50", "7"])[0]
        Notation(decimal=',', group='.')
    """
    is_plain = numbers_in(texts, PLAIN) is not None
    if is_plain and not comma:
        return PLAIN, ""
    candidates = (PLAIN, _POINTS) if is_plain else _candidates(texts, comma)
    readings = {notation: numbers_in(texts, notation) for notation in candidates}
    likely = {notation: numbers for notation, numbers in readings.items() if numbers is not None}
    if not likely:
        return None, ""
    notation = next(iter(likely))
    pairs = zip(texts, zip(*likely.values(), strict=True), strict=True)
    doubtful = next((text.strip() for text, numbers in pairs if len(set(numbers)) > 1), None)
    if doubtful is not None:
        return notation, f"written like {doubtful}, read as {number(doubtful, notation):g}"
    example = next((text.strip() for text in texts if not _is_plain(text)), None)
    return notation, "" if example is None else f"written like {example}"


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
