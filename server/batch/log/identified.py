"""Rows with their prediction ids as one more column, the last of those that stand beside the answers."""

from collections.abc import Iterator, Sequence
from typing import Any

from unpickled.server.batch.forms.form import Given, Kept
from unpickled.server.errors import InvalidInput
from unpickled.server.payloads import arrays
from unpickled.server.quote import quoted

NAME = "prediction_id"


class Identified:
    """Rows of any form with their ids; see ``Given`` in forms/form.py.

    Args:
        given: The rows.
        name: The name of the column.
        ids: The id of each row.
    """

    def __init__(self, given: Given, name: str, ids: Sequence[str]) -> None:
        self._given, self._name, self._ids = given, name, ids
        self.names: Sequence[str] = [*given.names, name]

    def __len__(self) -> int:
        return len(self._ids)

    def kept(self, keep: Kept) -> "Identified":
        """The same rows with these columns, and the ids."""
        return Identified(self._given.kept(keep), self._name, self._ids)

    def taken(self, places: Sequence[int]) -> "Identified":
        """The rows at these places."""
        return Identified(self._given.taken(places), self._name, [self._ids[place] for place in places])

    def batch(self) -> Any:
        """The rows as a pyarrow.RecordBatch."""
        import pyarrow

        batch = self._given.batch()
        field = pyarrow.field(self._name, pyarrow.string(), nullable=False)
        columns = [*batch.columns, arrays.texts(self._ids)]
        return pyarrow.RecordBatch.from_arrays(columns, schema=batch.schema.append(field))

    def cells(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """The cells of each row as text."""
        others = self._given.cells([name for name in names if name != self._name])
        return ((*row, text) for row, text in zip(others, self._ids, strict=True))

    def records(self) -> Sequence[dict[str, Any]]:
        """Each row by names."""
        pairs = zip(self._given.records(), self._ids, strict=True)
        return [{**record, self._name: text} for record, text in pairs]


def check(names: Sequence[str], name: str) -> None:
    """InvalidInput where a column that is passed through has the name of that of the ids."""
    if name in names:
        raise InvalidInput(
            f"column {quoted(name)} has the name of the column of ids: give that another beginning, such as "
            "--prefix new_, or leave the column out with --only",
            feature=name,
        )
