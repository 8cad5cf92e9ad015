"""The books of the payload log: both sides of them, and the command that compares them under kills."""

import sys
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, run

from benchmarks.books.ledger import Counts, Files, counts, differences, files

METRICS = """
unpickled_requests_total{model="iris",route="/predict",status="200",version="1"} 7.0
unpickled_requests_total{model="iris",route="/predict",status="503",version="1"} 2.0
unpickled_requests_total{model="",route="/livez",status="200",version=""} 9.0
unpickled_rows_total{model="iris",version="1"} 4.0
unpickled_rows_total{model="iris",version="2"} 3.0
unpickled_log_rows_total{answer="sent",fate="lost",model="iris",version="1"} 1.0
unpickled_log_rows_total{answer="sent",fate="written",model="iris",version="1"} 3.0
unpickled_log_rows_total{answer="sent",fate="written",model="iris",version="2"} 2.0
unpickled_log_rows_waiting{answer="sent",model="iris",version="1"} 1.0
"""
EVEN = Counts(7, 0, Counter(written=5, dropped=1, lost=1), Counter({"200": 7}))


def test_counts_are_sums():
    """Rows of all versions count together, and requests of the one route."""
    counted = counts(METRICS, "/predict")
    assert (counted.answered, counted.waiting) == (7, 1)
    assert counted.fates == {"written": 5, "lost": 1}
    assert counted.statuses == {"200": 7, "503": 2}
    assert not counted.settled
    assert EVEN.settled


def test_files_of_all_days(tmp_path):
    """Rows and ids are those of all finished files; a row that is there twice has one id."""
    assert files(tmp_path) == Files(0, 0, 0)
    for day, ids in {"2026-11-28": ["a", "b"], "2026-11-29": ["b", "c", "d"]}.items():
        folder = tmp_path / "iris" / f"date={day}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"_prediction_id": ids}), folder / "1.parquet")
        (folder / ".2.parquet").write_bytes(b"unfinished")
    assert files(tmp_path) == Files(2, 5, 4)


def test_even_books():
    """The server may have counted rows whose answers never came."""
    assert list(differences(EVEN, Files(1, 5, 5), right=7)) == []
    assert list(differences(EVEN, Files(1, 5, 5), right=6)) == []


def test_what_is_not_even_is_named():
    """Each side that differs has a sentence."""
    assert list(differences(EVEN, Files(1, 6, 5), right=8)) == [
        "6 rows are in the files, and 5 counted as written",
        "6 rows in the files have 5 different ids",
        "7 rows were answered, and clients have 8 answers",
    ]
    missing = Counts(7, 1, Counter(written=5), Counter())
    assert list(differences(missing, Files(1, 5, 5), right=7)) == [
        "1 rows still wait for the writer",
        "7 rows were answered, and 5 have a fate",
    ]


@pytest.mark.long
def test_seconds_of_kills():
    """Two workers and the writer are killed under load, and the books are even."""
    command = [sys.executable, "-m", "benchmarks", "books", "--rate", "500", "--seconds", "12"]
    completed = run(command, cwd=ROOT)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    head, killed, *lines, verdict = completed.stdout.splitlines()
    assert head.startswith("500 requests/s for 12 s, 2 workers; ")
    assert [part.split()[0] for part in killed.removeprefix("killed: ").split(", ")] == [
        "worker", "writer", "worker",
    ]  # fmt: skip
    assert any(line.startswith("requests: 6,000 sent, ") for line in lines)
    assert verdict == "the books are even"


@pytest.mark.parametrize("option", ["--rate", "--seconds", "--connections"])
def test_wrong_options(option):
    """Nothing is started for a number that makes no sense."""
    completed = run([sys.executable, "-m", "benchmarks", "books", option, "0"], cwd=ROOT)
    assert completed.returncode == 1
    assert completed.stderr == f"error: {option} 0: give a number above 0\n"
