"""The cells of a table as text: numbers and dates in the notation of their column, truth values, gaps.

Training reads its table with these functions, and the server reads CSV with them: a cell means the same to
both, to the last bit.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import Feature, Notation
from unpickled.server.model import dates
from unpickled.server.model.feeds import Column

# Between the cells of a row, and what people call them.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
TRUTH = {"true": 1.0, "True": 1.0, "TRUE": 1.0, "false": 0.0, "False": 0.0, "FALSE": 0.0}
# Signs of percent and of currencies, which may stand on either side of a number.
UNITS = "%$€£¥₹"
PLAIN = Notation()

# Separator of thousands -> the characters that people use as that separator.
_GROUPS = {"": "", ",": ",", ".": ".", "'": "'\u2019", " ": " \u00a0\u202f"}
_MINUS = "\u2212"


def read_cells(feature: Feature, cells: Sequence[str]) -> Column:
    """The values of a feature's cells: numbers as an array with NaN for a gap, or a list.

    A list holds the text of a number's cell that is no number, so that the feature's rule refuses it; a list
    of categories holds None for an empty cell, unless the empty text is a category. The rule finds the other
    texts that stand for a missing category.
    """
    if feature.kind == "category":
        gap = "" if "" in feature.categories else None
        return [cell or gap for cell in cells]
    if feature.date:
        return _dates(feature, cells)
    if feature.notation is None and not feature.boolean and not feature.missing_words:
        return _plain_numbers(cells)
    return _numbers([_value(feature, cell) for cell in cells])


def as_read(features: Iterable[Feature], columns: Mapping[str, Column]) -> list[Column]:
    """The columns of rows that a model takes, as rows in JSON are read: of dates in text the seconds.

    Args:
        features: The features, in the order of the columns that are returned.
        columns: One column (rows,) per feature, which the rules of the features have passed.
    """
    return [_read(feature, columns[feature.name]) for feature in features]


def _read(feature: Feature, column: Column) -> Column:
    is_numbers = isinstance(column, np.ndarray) and column.dtype != np.object_
    if is_numbers or feature.kind == "category" or not (feature.date or feature.missing_words):
        return column
    return [_value(feature, value) if isinstance(value, str) else value for value in column]


def number(cell: str, notation: Notation | None = None) -> float:
    """The number in a cell, for a date its seconds. Raises ValueError where it is none, in this notation.

    Example:
        >>> number("1.234,50 €", Notation(decimal=",", group=".", unit="€"))
        1234.5
    """
    if notation is None or notation == PLAIN:
        # float() would also read 1_000, and digits of other scripts.
        if not cell.isascii() or "_" in cell:
            raise ValueError(cell)
        return float(cell)
    if notation.date:
        return dates.seconds(cell, notation)
    match = _pattern(notation).fullmatch(cell.strip())
    if match is None:
        raise ValueError(cell)
    sign = "-" if "-" in match["sign"] or _MINUS in match["sign"] else ""
    digits = match["digits"].translate(_removal(notation.group)).replace(notation.decimal, ".")
    return float(sign + digits)


def _plain_numbers(cells: Sequence[str]) -> Column:
    text = "".join(cells)
    if text.isascii() and "_" not in text:
        try:
            values = [cell or "nan" for cell in cells] if "" in cells else cells
            return np.fromiter(map(float, values), np.float64, len(cells))
        except ValueError:
            pass
    return _numbers([_number_or_text(cell, None) for cell in cells])


def _dates(feature: Feature, cells: Sequence[str]) -> Column:
    """The seconds of dates; the texts as they are if one of them is no date: the rule reads text only."""
    values = [_value(feature, cell) for cell in cells]
    if any(isinstance(value, str) for value in values):
        return [None if value is None else cell for value, cell in zip(values, cells, strict=True)]
    return np.array(values, dtype=np.float64)


def _numbers(values: list[float | str | None]) -> npt.NDArray[np.float64] | list[Any]:
    """The values as an array if they are numbers and gaps, else as they are."""
    if any(isinstance(value, str) for value in values):
        return values
    return np.array(values, dtype=np.float64)


def _value(feature: Feature, cell: str) -> float | str | None:
    stripped = cell.strip()
    if stripped in feature.missing_words:
        return None
    if feature.boolean and stripped in TRUTH:
        return TRUTH[stripped]
    return _number_or_text(cell, feature.notation)


def _number_or_text(cell: str, notation: Notation | None) -> float | str | None:
    if not cell.strip():
        return None
    try:
        return number(cell, notation)
    except ValueError:
        return cell


@lru_cache(maxsize=256)
def _pattern(notation: Notation) -> re.Pattern[str]:
    group, point = re.escape(_GROUPS[notation.group]), re.escape(notation.decimal)
    # A group behind a lone 0 is none: 0,125 is an eighth.
    whole = rf"[1-9][0-9]{{0,2}}(?:[{group}][0-9]{{3}})+|[0-9]+" if group else "[0-9]+"
    digits = rf"(?P<digits>(?:(?:{whole})(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][-+]?[0-9]+)?)"
    unit = rf"[{re.escape(notation.unit)}]?" if notation.unit else ""
    space = "[ \u00a0\u202f]?"
    return re.compile(rf"(?P<sign>[-+{_MINUS}]?{unit}{space}[-+{_MINUS}]?){digits}{space}{unit}")


def _removal(group: str) -> dict[int, None]:
    return dict.fromkeys(map(ord, _GROUPS[group]))
