"""The interface of all forms: a source of chunks of rows, and a writer of rows with their answers."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, Protocol

from unpickled.server.batch.forms.answers import Answers
from unpickled.server.errors import RequestError
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.feeds import Column
from unpickled.server.model.outputs import Labels, Scores

# Says whether the column with this name is to be read, or written.
Kept = Callable[[str], bool]


class Given(Protocol):
    """Rows as a source has them, with all of their columns. Each form can be written as each other one."""

    @property
    def names(self) -> Sequence[str]:
        """The names of the columns."""

    def __len__(self) -> int: ...

    def kept(self, keep: Kept) -> "Given":
        """The same rows with these columns alone."""

    def taken(self, places: Sequence[int]) -> "Given":
        """The rows at these places, which ascend."""

    def batch(self) -> Any:
        """The rows as a pyarrow.RecordBatch."""

    def cells(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """The cells of each row in these columns as text; an empty one where there is none."""

    def records(self) -> Sequence[dict[str, Any]]:
        """Each row by names, with values that JSON has."""


class Fault(NamedTuple):
    """A row that cannot be read: its number in the file, its line if it has one, and its values."""

    row: int
    line: int | None
    error: RequestError
    values: dict[str, Any]


class Chunk(NamedTuple):
    """Rows that follow each other in a source.

    Attributes:
        first: The number of the first row in the source.
        given: The rows.
        columns: Reads one column (rows,) per feature. Raises InvalidInput where a column cannot be read.
        faults: Rows before or after these that cannot be read.
        line: The place of a row in this chunk -> the number of its line; None where a form has no lines.
    """

    first: int
    given: Given
    columns: Callable[[], dict[str, Column]]
    faults: Sequence[Fault] = ()
    line: Callable[[int], int] | None = None


class Source(Protocol):
    """A table that is read chunk by chunk.

    Attributes:
        empty: No row, with the columns of the table as far as they are known before it is read.
        rows: How many rows it has; None where that is known at its end only.
    """

    empty: Given
    rows: int | None

    def chunks(self) -> Iterator[Chunk]:
        """The rows, from the first to the last."""


class Writer(Protocol):
    """Writes a table to a file."""

    def write(self, given: Given, labels: Labels, scores: Scores) -> None:
        """Write rows, each with its answer."""

    def close(self) -> None:
        """Write the end of the table. The file stays open."""

    def drop(self) -> None:
        """Forget what is not written yet: the file will not be used."""


class Form(NamedTuple):
    """A form of tables.

    Attributes:
        name: Its name, as --format has it.
        endings: The ends of the names of its files; the first one is that of new files.
        read: (file, predictor, columns to read) -> the table in a file. Raises InvalidInput where it is none
            for the model.
        write: (file, answers, empty table with the columns of all rows) -> a writer.
    """

    name: str
    endings: tuple[str, ...]
    read: Callable[[BinaryIO, Predictor, Kept], Source]
    write: Callable[[BinaryIO, Answers, Given], Writer]
