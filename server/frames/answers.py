"""Answers as a frame, in the library of the rows: pandas, polars or Arrow, and pandas for all other rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from unpickled.server.frames import kinds
from unpickled.server.model.outputs import Labels, Member, Outputs, Scores


def columns(outputs: Outputs, labels: Labels, scores: Scores, members: Sequence[Member]) -> dict[str, Any]:
    """The columns of these members of an answer, by the names that they have in CSV."""
    arrays = outputs.arrays(labels, scores)
    named: dict[str, Any] = {}
    for member in members:
        values = arrays[member.name]
        if member.entries:
            named |= {
                f"{member.name}_{entry}": values[:, place] for place, entry in enumerate(member.entries)
            }
        else:
            named[member.name] = values
    return named


def framed(answers: Mapping[str, Any], rows: Any) -> Any:
    """A frame with these columns, for these rows; one of pandas keeps the index of theirs.

    Raises:
        ImportError: The rows are in no frame, and pandas is missing.
    """
    if kinds.is_polars_frame(rows):
        import polars

        return polars.DataFrame(dict(answers))
    if kinds.is_table(rows) and not kinds.is_pandas_frame(rows):
        import pyarrow

        return pyarrow.table(dict(answers))
    try:
        import pandas
    except ModuleNotFoundError:
        raise ImportError("a frame for rows that are in none needs pandas: pip install pandas") from None
    return pandas.DataFrame(dict(answers), index=rows.index if kinds.is_pandas_frame(rows) else None)
