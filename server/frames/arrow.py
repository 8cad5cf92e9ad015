"""Arrow tables in memory, read by the rules of Arrow streams over HTTP.

A batch of rows is written as such a stream into memory, at the speed of a copy, so that one reader decides
what a column of each type means.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.feeds import Column
from unpickled.server.protocols.arrow.table import Arrow

if TYPE_CHECKING:
    import pyarrow

# Rows, and cells, of the largest batch: a reader of streams takes no more cells of few bytes.
_ROWS, _CELLS = 65_536, 1 << 21


class Tables:
    """Reads Arrow tables for one model.

    Args:
        predictor: Runs the model; its limit of rows applies to each batch.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._reader = Arrow(predictor)
        self._names = predictor.signature.names
        self.most_rows = max(1, min(_ROWS, _CELLS // len(self._names)))

    def columns(self, batch: "pyarrow.RecordBatch") -> dict[str, Column]:
        """One column (rows,) per feature; other columns are left out.

        Args:
            batch: At most ``most_rows`` rows, and at least one.

        Raises:
            InvalidInput: A feature is not given, or is of a type that is not read; names and remedies are
                in the sentence.
        """
        given = set(batch.schema.names)
        features = [name for name in self._names if name in given]
        _, columns = self._reader.read(_stream(batch.select(features)))
        return columns

    def batches(self, batch: "pyarrow.RecordBatch") -> Iterator["pyarrow.RecordBatch"]:
        """The rows of a batch of any length in batches that ``columns`` takes."""
        starts = range(0, batch.num_rows, self.most_rows)
        return (batch.slice(start, self.most_rows) for start in starts)

    @staticmethod
    def stream(rows: Any) -> "pyarrow.RecordBatchReader":
        """The batches of a table of any library that offers Arrow's C interface, or of a dict of columns.

        Raises:
            InvalidInput: It is no table.
            ImportError: pyarrow is missing.
        """
        try:
            import pyarrow
        except ModuleNotFoundError:
            raise ImportError("tables of Arrow need pyarrow: pip install 'unpickled[batch]'") from None
        try:
            table = pyarrow.table(rows) if isinstance(rows, dict) else rows
            return pyarrow.RecordBatchReader.from_stream(table)
        except (pyarrow.ArrowInvalid, TypeError) as error:
            remedy = "give one with a column per feature"
            raise InvalidInput(f"the rows are no table of Arrow ({error}): {remedy}") from None


def batches(table: "pyarrow.Table", most_rows: int) -> Iterator["pyarrow.RecordBatch"]:
    """The rows of a table in batches of at most so many, without empty ones."""
    return (batch for batch in table.to_batches(max_chunksize=most_rows) if batch.num_rows)


def _stream(batch: "pyarrow.RecordBatch") -> Any:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()
