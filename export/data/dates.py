"""The notation in which a column of text writes its dates."""

import datetime
import re
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
import pyarrow

from unpickled.export.data.texts import Texts
from unpickled.server.artifact.manifest import Notation
from unpickled.server.model.dates import Moment, Order, moment
from unpickled.server.quote import quoted

_ORDERS: tuple[Order, ...] = ("year first", "day first", "month first")
_REMEDY = "write them with the year first, as 2024-01-31"
# More than what is read as a date: a column of dates with a mistake in one is named as such.
_LIKENESS = re.compile(r"(\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4})([Tt ].*)?")


def are_meant(texts: Collection[str]) -> bool:
    """Whether these different texts have the form of dates, all of them or all but a few of many.

    A column with a mistake in few cells is then named with that cell, rather than taken for text.
    """
    others = sum(not _LIKENESS.fullmatch(text.strip()) for text in texts)
    return others == 0 or (len(texts) > 20 and others <= max(3, len(texts) // 10))


def notation_of(texts: Sequence[str]) -> tuple[Notation | None, str]:
    """The notation in which all of these texts are dates, and a remark; or None, and the reason why.

    Example:
        >>> notation_of(["31.01.2024", "1.2.2024"])[0]
        Notation(date='day first')
    """
    read = {order: [moment(text, order) for text in texts] for order in _ORDERS}
    orders = [order for order in _ORDERS if None not in read[order]]
    if not orders:
        return None, _unread(texts, read)
    if len(orders) > 1:
        return None, f"the day and the month of its dates, such as {texts[0].strip()}, look alike: {_REMEDY}"
    order = orders[0]
    moments = [each for each in read[order] if each is not None]
    offsets = [each.has_offset for each in moments]
    if any(offsets) and not all(offsets):
        with_one, without = (quoted(texts[offsets.index(state)]) for state in (True, False))
        reason = (
            f"some of its dates have an offset from UTC, such as {with_one}, and others have none, such as"
        )
        return None, f"{reason} {without}: give each of them one, or none"
    times = any(each.has_time for each in moments)
    return Notation(date=order, times=times, offset=offsets[0]), _remark(texts[0], order, times)


def texts_of(column: pd.Series) -> Texts | None:
    """The cells of a column of dates, or of texts, as text; None for times of day, durations and periods."""
    cells = [_text(cell) for cell in column]
    if None in cells:
        return None
    return Texts.of(pyarrow.chunked_array([pyarrow.array(cells, pyarrow.string())]))


def _text(cell: object) -> str | None:
    if isinstance(cell, np.datetime64):
        cell = pd.Timestamp(cell)
    if isinstance(cell, str):
        return cell
    if pd.isna(cell):
        return ""
    return cell.isoformat() if isinstance(cell, datetime.date) else None


def _unread(texts: Sequence[str], read: dict[Order, list[Moment | None]]) -> str:
    """The reason why no order reads all: a text that the best order does not read."""
    best = min(_ORDERS, key=lambda order: read[order].count(None))
    text = texts[read[best].index(None)].strip()
    remedy = (
        _REMEDY if _LIKENESS.fullmatch(text) else f"say --missing {quoted(text)} if that is what it means"
    )
    return f"not all of its cells are dates that are written alike, such as {quoted(text)}: {remedy}"


def _remark(text: str, order: Order, times: bool) -> str:
    written = text.strip() if order == "year first" else f"{text.strip()}, {order}"
    parts = "year, month, weekday, hour and days" if times else "year, month, weekday and days"
    return f"written like {written}; {parts} since 1970"
