"""The commands about the payload log: what there is, and one person's rows taken out."""

import json
import os

import pytest
from test_payload_files import ANSWERS, KEY, NOON, ROWS, cells_of

from unpickled.__main__ import main
from unpickled.server.config import Config, Log
from unpickled.server.payloads import parts, reading, upload
from unpickled.server.payloads.schema import schema_of
from unpickled.server.service import Service
from unpickled.server.truth import store
from unpickled.server.truth.store import Kept

DAY = 86_400.0
NOTE = "Rows of the last 10 minutes may still be in files that are being written: run this again after that"


@pytest.fixture(scope="module")
def served(models):
    return Service(Config(models=str(models.path))).repository.find("people")


@pytest.fixture(params=["parquet", "jsonlines"])
def folder(request, served, tmp_path, monkeypatch):
    """A log of two days with two rows each, the age hashed; its key is log.key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.key").write_bytes(KEY)
    (tmp_path / "other.key").write_bytes(KEY[::-1])
    schema = schema_of(served, Log(log_hash=("age",)), KEY)
    for day in range(2):
        cells = cells_of(schema, ROWS, **ANSWERS, key=KEY, time=NOON + day * DAY, number=10 * day)
        parts.write(tmp_path / "log", schema, cells, "a", request.param)
    return tmp_path / "log"


def cities(folder):
    return [city for batch in reading.read(folder, "people") for city in batch.columns["city"]]


def test_days_are_listed(folder, capsys):
    """Each day of a version has a line with its files, rows and bytes."""
    assert main(["log", "list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["model", "version", "day", "files", "rows", "size"]
    assert [line[:5] for line in lines[1:]] == [
        ["people", "1", f"2026-11-{day}", "1", "2"] for day in (29, 30)
    ]
    assert main(["log", "list", "people", "--json"]) == 0
    assert [day["rows"] for day in json.loads(capsys.readouterr().out)] == [2, 2]
    assert main(["log", "list", "iris"]) == 0
    assert capsys.readouterr().out == (
        "there are no finished files in log: rows are logged where log_share is above 0, and a file is "
        "finished after 100,000 rows or 10 minutes\n"
    )


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        (["city=Bonn"], ['Ulm\n"x'] * 2),
        (["income=2100.5", "plan=pro"], ['Ulm\n"x'] * 2),
        (["income=2100.5", "plan=free"], ["Bonn", 'Ulm\n"x'] * 2),
        (["_prediction_id=abcdefgh-0-11"], ["Bonn", 'Ulm\n"x', "Bonn"]),
        (["age=41"], ['Ulm\n"x'] * 2),
        (["age=41.5"], ["Bonn", 'Ulm\n"x'] * 2),
        (["_time=2026-11-28"], ["Bonn", 'Ulm\n"x'] * 2),
        (["_time=2026-11-29T12:00:01", "city=Bonn"], ["Bonn", 'Ulm\n"x'] * 2),
        (["_time=2026-11-29T13:00:00+01:00", "city=Bonn"], ['Ulm\n"x', "Bonn", 'Ulm\n"x']),
        (["_time=2026-11-29 12:00:00.000000", "city=Bonn"], ['Ulm\n"x', "Bonn", 'Ulm\n"x']),
        (["_time=2026-11-29", "city=Bonn"], ['Ulm\n"x', "Bonn", 'Ulm\n"x']),
    ],
)
def test_rows_are_forgotten(folder, capsys, conditions, left):
    """Rows with all of the values are gone, of a hashed column by its hash; the others stay as they were."""
    words = [word for condition in conditions for word in ("--where", condition)]
    assert main(["log", "forget", "people", *words, "--key", "log.key"]) == 0
    assert cities(folder) == left
    files = len({4 - len(left)} - {0}) * (1 if len(left) == 3 else 2)
    noun = "row" if len(left) == 3 else "rows"
    first, note = capsys.readouterr().out.splitlines()
    assert first == f"{4 - len(left)} {noun} of people removed, from {files} of 2 files searched."
    assert note.startswith(NOTE)


def test_a_part_of_nothing_but_such_rows_is_removed(folder, capsys):
    """No empty file stays."""
    for city in ("Bonn", 'Ulm\n"x'):
        assert main(["log", "forget", "people", "--where", f"city={city}"]) == 0
    assert parts.find(folder) == []


def test_a_day_is_forgotten(folder, capsys):
    """A date as the time means all rows of that day in UTC."""
    assert main(["log", "forget", "people", "--where", "_time=2026-11-29"]) == 0
    assert cities(folder) == ["Bonn", 'Ulm\n"x']


def test_truth_goes_with_its_rows(folder, capsys):
    """Reports about rows that are forgotten go too, the others stay."""
    lines = [Kept(f"abcdefgh-0-{number}", "stays", "", "2026-11-30T12:00:00+00:00") for number in (0, 1, 10)]
    store.Store(str(folder), "a", 10**9).add("people", lines)
    assert main(["log", "forget", "people", "--where", "city=Bonn"]) == 0
    assert "2 reports of their truth removed." in capsys.readouterr().out
    assert [line.id for line in store.read(folder, "people")] == ["abcdefgh-0-1"]


def test_what_the_store_still_has_is_said(folder, capsys):
    """With uploads, the command names the files to delete in the store, and says what it has not searched."""
    for part in parts.find(folder)[:1]:
        part.path.with_name(f".{part.path.name}.uploaded").touch()
    name = parts.find(folder)[0].path.relative_to(folder).as_posix()
    assert main(["log", "forget", "people", "--where", "_time=2026-11-29"]) == 0
    printed = capsys.readouterr().out
    assert f"Nothing is left of {name}: delete it in the object store, too." in printed
    assert "no longer here were not searched" in printed
    assert main(["log", "forget", "people", "--where", "city=Bonn"]) == 0
    assert "object store" not in capsys.readouterr().out


def test_a_damaged_journal_is_named(folder, capsys):
    """Rows may be in a journal that nobody can read."""
    (folder / "people" / ".open").mkdir()
    (folder / "people" / ".open" / "a.damaged").write_text("x")
    assert main(["log", "forget", "people", "--where", "city=Bonn"]) == 0
    assert "1 damaged journal (.damaged in people/.open) could not be searched" in capsys.readouterr().out


def test_a_part_stays_as_old_as_it_was_and_is_uploaded_again(folder, capsys):
    """Retention counts from the first writing, and the object store gets what is left."""
    part = parts.find(folder)[0]
    os.utime(part.path, (NOON, NOON))
    mark = part.path.with_name(f".{part.path.name}.uploaded")
    mark.touch()
    assert main(["log", "forget", "people", "--where", "city=Bonn"]) == 0
    assert (part.path.stat().st_mtime, upload.is_uploaded(part.path)) == (NOON, False)
    assert "1 file of these had been uploaded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["iris", "--where", "a=1"], "there is no payload log of 'iris' in log: name its folder"),
        (
            ["people", "--where", "cty=Bonn"],
            "no file has a column 'cty': did you mean 'city'? they have _time,",
        ),
        (["people", "--where", "income=much"], "'much' is no value of 'income', whose type is double"),
        (
            ["people", "--where", "age=4", "--where", "age=5"],
            "--where names 'age' twice: run the command once",
        ),
        (
            ["people", "--where", "_time=noon"],
            "'noon' is no value of '_time', whose type is timestamp: write 2026-11-29, or 2026-11-29T12",
        ),
        (["people", "--where", "income"], "--where is 'income': write COLUMN=VALUE, such as customer=123"),
        (["people", "--where", "age=41"], "of 'age' there are hashes only: name the key by --key"),
        (["people", "--where", "age=4", "--key", "other.key"], "of 'age' were made with another key"),
        (
            ["people", "--where", "age=4", "--key", "no.key"],
            "no.key cannot be read (No such file or directory): name the file",
        ),
    ],
)
def test_a_mistake_changes_nothing(folder, capsys, words, sentence):
    """The error names the mistake, and every row stays."""
    before = cities(folder)
    assert main(["log", "forget", *words]) == 1
    assert sentence in capsys.readouterr().err
    assert cities(folder) == before
