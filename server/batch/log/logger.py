"""The payload log of a batch job: each part of the job makes one of the log, as requests with its rows would.

    <log folder>/iris/date=2026-11-30/<token of the job>-<digest>.parquet

The first row of each part has the time at which the job began, and the others follow a microsecond apart,
within that day: a part that is scored again, perhaps days later, replaces its file of before. That file
appears before the scored one does: a row that has been handed out with its id is in the log. A job that goes
on finds token and time beside what it has written.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.batch.log.ids import Ids, name_of
from unpickled.server.batch.task import Part, Task
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.cells import as_read
from unpickled.server.model.feeds import Column, values_of
from unpickled.server.model.session import Model
from unpickled.server.payloads import columns, parts, schema, upload
from unpickled.server.payloads.columns import Numbered, Same
from unpickled.server.payloads.schema import BATCH
from unpickled.server.scoring.scorer import Scored

_MILLION = 1_000_000
_DAY = 86_400 * _MILLION

Rows = npt.NDArray[np.int64]


class Logger:
    """Writes the log of parts that one version scores. Any thread may call it.

    Args:
        task: The job, which is logged.
        model: The version.

    Raises:
        ConfigError: The key of hashes is missing or cannot be read.
    """

    def __init__(self, task: Task, model: Model) -> None:
        assert task.logged is not None
        self._task, self._logged = task, task.logged
        served = Served(
            name=task.name, version=task.version, model=model, sha256=task.sha256, size=0, load_seconds=0.0
        )
        key = schema.key_of(self._logged.log)
        self._schema = schema.schema_of(served, self._logged.log, key)
        self._features = {feature.name: feature for feature in model.signature.features}
        self._read = {each.name: _reader(each, key) for each in self._schema.features}
        self._day = datetime.fromtimestamp(self._logged.began, UTC).date()
        self._began = int(self._logged.began * _MILLION)
        self._last = (self._began // _DAY + 1) * _DAY - 1
        self._own: dict[str, columns.Column] = {
            "model": Same(task.name),
            "version": Same(task.version),
            "route": Same(BATCH),
            "shadow": Same(None),
        }

    @contextmanager
    def part(self, part: Part) -> Iterator["Logging"]:
        """The log of one part: it is there once the block ends without an error.

        Raises:
            OSError: The disk is full, or cannot be written to.
        """
        folder, name = Path(self._logged.log.log_folder), name_of(self._task, part)
        ids = Ids.of(self._task, part)
        with parts.written(folder, self._schema, self._day, name) as write:
            yield Logging(ids, lambda *rows: write(self._columns(ids, *rows), len(rows[1].rows)))
        home = folder / self._task.name / f"date={self._day.isoformat()}"
        for ending in parts.ENDINGS:
            # One that was uploaded before it was replaced is uploaded again.
            upload.forget(home / f"{name}{ending}")

    def _columns(
        self, ids: Ids, given: Mapping[str, Column], scored: Scored, places: Rows
    ) -> list[columns.Column]:
        """The columns of answered rows, in the order of the schema."""
        times = np.minimum(scored.rows + self._began, self._last)
        own = self._own | {"time": times, "prediction_id": Numbered(ids.prefix, scored.rows + ids.first)}
        return [
            self._read[column.name](self._cells(column.source, given, places))
            if column.part == "feature"
            else _answer(column, scored)
            if column.part in ("label", "score")
            else own[column.part]
            for column in self._schema.columns
        ]

    def _cells(self, name: str, given: Mapping[str, Column], places: Rows) -> Column:
        """The values of a feature in the answered rows, as those of a request are read."""
        values = {name: _at(given[name], places)}
        [read] = as_read([self._features[name]], values)
        return read


class Logging:
    """Takes the rows of one part.

    Attributes:
        ids: The ids of its rows.
    """

    def __init__(self, ids: Ids, write: Callable[[Mapping[str, Column], Scored, Rows], None]) -> None:
        self.ids = ids
        self._write = write

    def add(self, given: Mapping[str, Column], scored: Scored, first: int) -> None:
        """Log the rows of a chunk that are answered.

        Args:
            given: One column (rows,) per feature, as the scorer got it.
            scored: The answers.
            first: The number of the first row of the chunk in the part.
        """
        if len(scored.rows):
            self.ids.number(int(scored.rows[-1]))
            self._write(given, scored, scored.rows - first)


def _reader(column: schema.Column, key: bytes | None) -> Callable[[Column], columns.Column]:
    """The function that makes cells of a feature's values, the same cells as those of a request."""
    encode = schema.encoder(column, key)

    def read(values: Column) -> columns.Column:
        if encode is None and isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
            return values.astype(np.float64)
        listed: Sequence[Any] = values_of(values)
        return listed if encode is None else list(map(encode, listed))

    return read


def _answer(column: schema.Column, scored: Scored) -> columns.Column:
    if column.part == "score":
        return np.ascontiguousarray(scored.scores[:, column.place])
    return scored.labels if column.type == "int64" else [str(label) for label in scored.labels]


def _at(values: Column, places: Rows) -> Column:
    if len(places) == len(values):
        return values
    return values[places] if isinstance(values, np.ndarray) else [values[place] for place in places.tolist()]
