"""Both sides of the books: the rows that the server counts, and those in the files of its log."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SAMPLE = re.compile(r"^unpickled_(\w+)\{(.*)\} (\S+)$", re.M)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Counts:
    """The server's counts: rows answered, rows on their way to the log, and the rest by fate.

    ``statuses``: requests by status, those of one route.
    """

    answered: int
    waiting: int
    fates: Counter[str]
    statuses: Counter[str]

    @property
    def settled(self) -> bool:
        """Whether each row that was answered has its fate."""
        return not self.waiting and self.answered == self.fates.total()


@dataclass(frozen=True)
class Files:
    """The finished files of a log: how many, their rows, and the different ids of these."""

    count: int
    rows: int
    ids: int


def counts(metrics: str, route: str) -> Counts:
    """The counts in an answer of GET /metrics."""
    return Counts(
        _sums(metrics, "rows_total", "model").total(),
        _sums(metrics, "log_rows_waiting", "model").total(),
        _sums(metrics, "log_rows_total", "fate"),
        _sums(metrics, "requests_total", "status", route),
    )


def files(log: Path) -> Files:
    """Read the ids of all rows in the Parquet files of a log."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    # A file that is not finished is hidden.
    paths = sorted(log.glob("*/date=*/[!.]*.parquet"))
    read = [pq.ParquetFile(path).read(["_prediction_id"]) for path in paths]
    if not read:
        return Files(0, 0, 0)
    ids = pa.concat_tables(read)["_prediction_id"]
    return Files(len(paths), len(ids), pc.count_distinct(ids, mode="all").as_py())


def differences(counted: Counts, found: Files, right: int) -> Iterator[str]:
    """Sentences about books that are not even; ``right`` answers have come to the clients."""
    if counted.waiting:
        yield f"{counted.waiting:,} rows still wait for the writer"
    if counted.answered != counted.fates.total():
        yield f"{counted.answered:,} rows were answered, and {counted.fates.total():,} have a fate"
    if found.rows != counted.fates["written"]:
        yield f"{found.rows:,} rows are in the files, and {counted.fates['written']:,} counted as written"
    if found.ids != found.rows:
        yield f"{found.rows:,} rows in the files have {found.ids:,} different ids"
    # A killed worker may have counted a row whose answer never left.
    if counted.answered < right:
        yield f"{counted.answered:,} rows were answered, and clients have {right:,} answers"


def _sums(metrics: str, name: str, label: str, route: str = "") -> Counter[str]:
    """The sums of a metric by the values of a label."""
    sums: Counter[str] = Counter()
    for metric, text, number in _SAMPLE.findall(metrics):
        labels = dict(_LABEL.findall(text))
        if metric == name and (not route or labels.get("route") == route):
            sums[labels[label]] += int(float(number))
    return sums
