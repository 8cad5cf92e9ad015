"""The files of the payload log: typed columns, whole or not there, the same cells read back."""

import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import numpy as np
import pyarrow.parquet
import pytest
from conftest import PATIENCE
from lots import cells

from unpickled.server.config import Config, Log
from unpickled.server.errors import ConfigError
from unpickled.server.payloads import arrays, parts
from unpickled.server.payloads.schema import (
    Schema,
    hashed,
    key_of,
    schema_of,
    warnings,
)
from unpickled.server.service import Service

FORMS = ["parquet", "jsonlines"]
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
KEY = b"a key of more than 16 bytes"


@pytest.fixture(scope="module")
def served(models):
    """The people model: numbers, categories, gaps, labels of text."""
    return Service(Config(models=str(models.path))).repository.find("people")


def cells_of(schema, rows, labels, scores, key=None, **more):
    """The cells of rows that were answered at noon."""
    return cells(schema, rows, labels, scores, key=key, **{"number": 7, "time": NOON} | more)


ROWS = [(41.0, 2100.5, "Bonn", "pro"), (None, 900.0, 'Ulm\n"x', "free")]
ANSWERS = {"labels": ["stays", "leaves"], "scores": [[0.25, 0.75], [0.5, 0.5]]}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_read_back_as_they_were(served, tmp_path, form):
    """A file has each row with its id, its features in their types, the label and a score for each class."""
    schema = schema_of(served, Log())
    cells = cells_of(schema, ROWS, **ANSWERS)
    [path] = parts.write(tmp_path, schema, cells, "a", form)
    assert path.parent == tmp_path / "people" / "date=2026-11-29"
    assert list(parts.reader(path).rows(path, schema, 1)) == cells
    assert cells[1] == (
        *(int(NOON * 1e6), "abcdefgh-0-8", "people", 1, "/predict", None),
        *(None, 900.0, 'Ulm\n"x', "free", "leaves", 0.5, 0.5),
    )  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_file_explains_itself(served, tmp_path, form):
    """The schema stands in the file, and is the same after JSON and MessagePack."""
    schema = schema_of(served, Log())
    [path] = parts.write(tmp_path, schema, cells_of(schema, ROWS, **ANSWERS), "a", form)
    [part] = parts.find(tmp_path)
    assert part.schema == schema == schema_of(served, Log())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(schema), type=Schema) == schema
    assert (part.path, part.model, part.size) == (path, "people", path.stat().st_size)
    assert schema.sha256 == served.sha256


def test_a_day_has_its_own_file(served, tmp_path):
    """Rows of two days are parted, so that a folder has the rows of its day in UTC and no others."""
    schema = schema_of(served, Log())
    midnight = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
    cells = [
        row
        for moment in (midnight, midnight - 1e-6)
        for row in cells_of(schema, ROWS, **ANSWERS, time=moment)
    ]
    paths = parts.write(tmp_path, schema, cells, "a")
    assert [path.parent.name for path in paths] == ["date=2026-11-29", "date=2026-11-30"]
    assert [pyarrow.parquet.read_metadata(path).num_rows for path in paths] == [2, 2]


@pytest.mark.parametrize("form", FORMS)
def test_what_fails_leaves_no_file(served, tmp_path, form):
    """Rows whose source breaks in the middle leave nothing, and the same name is written later."""
    schema = schema_of(served, Log())
    cells = cells_of(schema, ROWS, **ANSWERS)

    def broken():
        yield from cells * 20_000
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        parts.write(tmp_path, schema, broken(), "a", form)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert len(parts.write(tmp_path, schema, cells, "a", form)) == 1


def test_no_rows_make_no_file(served, tmp_path):
    """Without rows there is no file."""
    assert parts.write(tmp_path, schema_of(served, Log()), [], "a") == ()


def test_columns_are_chosen_and_hashed(served, tmp_path):
    """Features that are not kept are in no cell, and of those that are hashed a cell has the hash alone."""
    key = tmp_path / "log.key"
    key.write_bytes(KEY + b"\n")
    log = Log(log_columns=("age", "city"), log_hash=("city", "plan", "age"), log_key=str(key))
    schema = schema_of(served, log)
    cells = cells_of(schema, ROWS, **ANSWERS, key=key_of(log))
    assert [column.name for column in schema.features] == ["age", "city"]
    assert [row[6:8] for row in cells] == [
        (hashed("41", KEY), hashed("Bonn", KEY)),
        (None, hashed('Ulm\n"x', KEY)),
    ]
    assert len({schema.key_id, schema_of(served, log, KEY + b"2").key_id, ""}) == 3
    for names in (("none",), ()):
        none = schema_of(served, Log(log_columns=names))
        assert cells_of(none, ROWS, **ANSWERS)[0][6:] == ("stays", 0.25, 0.75)


def test_a_hash_is_what_openssl_says():
    """A person's hash can be made without this program: the first half of an HMAC-SHA256."""
    assert hashed("Bonn", b"0123456789abcdef") == "d4ceb23dceb1fb6d3ff735e6f69d3d10"


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (
            Log(log_hash=("age",)),
            "-hex 32 > log.key', and name the file as log_key",
        ),
        (
            Log(log_hash=("age",), log_key="absent"),
            "absent cannot be read .No such file.*: name .* or make one by .openssl",
        ),
        (Log(log_hash=("age",), log_key="short"), "log_key short has 15 bytes, and at least 16 are needed"),
        (Log(log_columns=("all", "age")), "log_columns is all, age: write all, or none, or the names"),
    ],
)
def test_wrong_settings_are_refused_with_a_remedy(tmp_path, monkeypatch, log, sentence):
    """A server that cannot hash what it is to hash does not start."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("fifteen letters\n")
    with pytest.raises(ConfigError, match=sentence):
        key_of(log)


def test_names_of_no_feature_are_found():
    """A name in the settings that no model takes is a mistake to warn of."""
    log = Log(log_columns=("age", "agee"), log_hash=("city", "ciity"))
    columns, hashes, unlogged = warnings(log, {"age", "city"})
    assert columns.startswith("log_columns names 'agee', which no model takes, so that nothing is")
    assert hashes.startswith("log_hash names 'ciity', which no model takes: correct the names, or")
    assert unlogged.startswith("log_hash names 'city', which log_columns leaves out")
    assert list(warnings(Log(log_hash=("city",)), {"age", "city"})) == []


@pytest.mark.parametrize(("folder", "file"), [(None, 0o600), (0o750, 0o640), (0o755, 0o644)])
def test_those_who_may_read_the_folder_may_read_the_files(served, tmp_path, folder, file):
    """A folder that the server makes is its user's alone; of another, files follow its permissions."""
    home = tmp_path / "log"
    if folder is not None:
        home.mkdir()
        home.chmod(folder)
    schema = schema_of(served, Log())
    [path] = parts.write(home, schema, cells_of(schema, ROWS, **ANSWERS), "a")
    assert path.stat().st_mode & 0o777 == file
    assert home.stat().st_mode & 0o777 == (folder or 0o700)


def test_names_of_no_feature_are_warned_of(models, tmp_path, caplog):
    """A server whose settings name a feature that no model takes says so: it might be logged in the clear."""
    key = tmp_path / "log.key"
    key.write_bytes(KEY)
    Service(
        Config.of(
            models=str(models.path),
            log_share=1.0,
            log_folder=str(tmp_path / "log"),
            log_hash=("city", "plann"),
            log_key=str(key),
        )
    )
    [warning] = (text for text in caplog.messages if "log_hash" in text)
    assert warning.endswith(
        "names 'plann', which no model takes: correct the names, or a feature is logged in the clear"
    )


@pytest.mark.parametrize(
    ("make", "values", "kind"),
    [
        (arrays.texts, ["Köln", None, "", "Bonn", 'x\n"'], "string"),
        (arrays.texts, [None, *(f"id-{number}" for number in range(1000))], "string"),
        (arrays.texts, ["Bonn", None] * 300, "string"),
        (arrays.measured, [2, None, 0.1, float("nan"), True], "float64"),
        (arrays.measured, np.array([0.1, np.nan]), "float64"),
        (arrays.truths, [True, None, False] * 5, "bool"),
        (lambda values: arrays.numbers(values, np.int64), [2**63 - 1, None, -(2**63)], "int64"),
        (lambda values: arrays.numbers(values, np.int32), [19_000, -1], "int32"),
        *((make, [None], kind) for make, kind in ((arrays.texts, "string"), (arrays.truths, "bool"))),
    ],
)
def test_arrays_are_those_of_pyarrow(make, values, kind):
    """Arrays that are made of buffers are those that pyarrow would make of the values; NaN is null."""
    for rows in (values, values[:0]):
        made = make(rows)
        made.validate(full=True)
        wanted = [*map(float, rows)] if isinstance(rows, np.ndarray) else [*rows]
        kinds = pyarrow.type_for_alias(kind)
        assert made.equals(pyarrow.array(wanted, kinds, from_pandas=True))


def test_a_number_that_does_not_fit_is_refused():
    """Decimals are not cut off, nor do large numbers wrap around."""
    for value in (2.5, 2**63):
        with pytest.raises((ValueError, OverflowError)):
            arrays.numbers([None, value], np.int64)


ALONE = """
import sys
from pathlib import Path
from unpickled.server.payloads import parts
from unpickled.server.payloads.schema import Schema
schema = Schema.read(sys.stdin.read())
own = (1764417600000000, "a-0-1", "people", 1, "/predict", None)
row = (*own, 41.0, None, "Bonn", None, "stays", 0.25, 0.75)
[path] = parts.write(Path(sys.argv[1]), schema, [row, row], "a", "parquet")
assert list(parts.reader(path).rows(path, schema, 1)) == [row, row]
print(sorted({"pandas", "pyarrow"} & set(sys.modules)))
"""


def test_pandas_is_not_imported(served, tmp_path):
    """A process that writes and reads parts leaves pandas alone, though pyarrow would import it."""
    schema = schema_of(served, Log()).text().decode()
    command = [sys.executable, "-c", ALONE, str(tmp_path)]
    completed = subprocess.run(command, input=schema, capture_output=True, text=True, timeout=PATIENCE)
    assert completed.stdout == "['pyarrow']\n", completed.stderr
