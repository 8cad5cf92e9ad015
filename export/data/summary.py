"""Lines that say what each column of a table was taken for: a mistake is seen before it matters."""

from collections import Counter
from collections.abc import Iterable, Sequence

from unpickled.export.data.columns import Reading
from unpickled.server.quote import printable, shortened

# Most columns that have a line of their own.
MOST = 40
_WIDEST = 30


def lines(readings: Sequence[Reading]) -> list[str]:
    """A line for each column; of very many, those that a reader should see, and a count of the others."""
    if not readings:
        return []
    listed = list(readings)
    if len(listed) > MOST:
        foremost = {reading.name for reading in sorted(readings, key=_rank)[:MOST]}
        listed = [reading for reading in readings if reading.name in foremost and not _is_plain(reading)]
    rows = [("column", "taken for", "missing", ""), *map(_row, listed)]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    table = [
        f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {missing:>{widths[2]}}  {more}".rstrip()
        for name, kind, missing, more in rows
    ]
    return table + _others(readings, listed)


def _row(reading: Reading) -> tuple[str, str, str, str]:
    name = shortened(printable(reading.name), _WIDEST)
    return name, _taken_for(reading), f"{reading.missing:,}" if reading.missing else "-", _more(reading)


def _taken_for(reading: Reading) -> str:
    return reading.kind if reading.role == "feature" else reading.role


def _more(reading: Reading) -> str:
    words = ", ".join(f"{printable(word.strip())} {count:,}" for word, count in reading.words.items())
    clauses = [f"missing where {words}" if words else "", reading.remark]
    if reading.reason:
        clauses.append(f"left out: {reading.reason}")
    return "; ".join(clause for clause in clauses if clause)


def _is_plain(reading: Reading) -> bool:
    """Whether a reader learns nothing from the line of a column."""
    return _taken_for(reading) == "number" and not reading.missing and not reading.remark


def _rank(reading: Reading) -> int:
    """The place of a column among those that a reader should see: what is surprising comes first."""
    if reading.remark or reading.reason or reading.words or reading.role != "feature":
        return 0
    return 2 if _is_plain(reading) else 1


def _others(readings: Sequence[Reading], listed: Iterable[Reading]) -> list[str]:
    shown = {reading.name for reading in listed}
    counts = Counter(_taken_for(reading) for reading in readings if reading.name not in shown)
    return [f"and {count:,} more: {kind}" for kind, count in counts.items()]
