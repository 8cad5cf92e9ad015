"""The Parquet files that are scored, and the comparison of two folders of answers."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.errors import BenchmarkError
from benchmarks.measuring.pipelines import Fitted

# Rows of a group in the files, and rows that are made, and compared, at a time.
GROUP = 131_072


class Compared(NamedTuple):
    """Answers side by side: rows, those with another label, and the largest difference of a probability."""

    rows: int
    labels: int
    difference: float


def write(fitted: Fitted, folder: Path, files: int, rows: int) -> int:
    """Write so many rows into so many files, and return their bytes; each row is one of the sample's."""
    folder.mkdir(parents=True)
    sample = np.array(fitted.rows)
    for number in range(files):
        draw = np.random.default_rng(number)
        count = rows // files + (number < rows % files)
        _write(fitted, folder / f"part-{number:03}.parquet", sample, draw, count)
    return sum(path.stat().st_size for path in folder.iterdir())


def _write(fitted: Fitted, path: Path, sample: np.ndarray, draw: np.random.Generator, count: int) -> None:
    schema = pa.schema([(name, pa.float64()) for name in fitted.features])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, count, GROUP):
            values = sample[draw.integers(0, len(sample), min(GROUP, count - start))]
            columns = [pa.array(np.ascontiguousarray(column)) for column in values.T]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def compare(one: Path, other: Path) -> Compared:
    """Two folders of answers, file by file; BenchmarkError where they have other files or rows."""
    names = sorted(path.name for path in other.glob("*.parquet"))
    if sorted(path.name for path in one.glob("*.parquet")) != names:
        raise BenchmarkError(f"{one} and {other} have other files")
    rows = labels = 0
    difference = 0.0
    for name in names:
        answers, others = parquet.read_table(one / name), parquet.read_table(other / name)
        if len(answers) != len(others):
            raise BenchmarkError(f"{name} has {len(answers)} rows in {one}, and {len(others)} in {other}")
        ours = [column for column in answers.column_names if column.startswith("probabilities")]
        theirs = [column for column in others.column_names if column.startswith("probabilities")]
        rows += len(answers)
        same = np.asarray(answers["prediction"]) == np.asarray(others["prediction"])
        labels += int((~same).sum())
        for mine, column in zip(ours, theirs, strict=True):
            gap = np.abs(np.asarray(answers[mine]) - np.asarray(others[column]))
            difference = max(difference, float(gap.max(initial=0.0)))
    return Compared(rows, labels, difference)
