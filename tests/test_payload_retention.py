"""Retention of the payload log, and uploads of its finished files."""

import os
import time
from pathlib import Path

import pytest
from conftest import eventually
from test_payload_files import ANSWERS, NOON, ROWS, cells_of

from unpickled.server.config import Config, Log
from unpickled.server.errors import ConfigError
from unpickled.server.payloads import parts, retention, upload
from unpickled.server.payloads.journals import DAMAGED, OPEN
from unpickled.server.payloads.schema import schema_of
from unpickled.server.payloads.upload import Uploader
from unpickled.server.service import Service

DAY = 86_400.0
MANY = 10**12
NOW = NOON + 4 * DAY


@pytest.fixture(scope="module")
def schema(models):
    return schema_of(Service(Config(models=str(models.path))).repository.find("people"), Log())


@pytest.fixture
def folder(tmp_path, schema):
    """A log of five days, each file finished at noon, of equal size."""
    folder = tmp_path / "log"
    for day in range(5):
        moment = NOON + day * DAY
        [path] = parts.write(folder, schema, cells_of(schema, ROWS, **ANSWERS, time=moment), "a")
        os.utime(path, (moment, moment))
    return folder


def kept(folder, pattern="people/date=*/*"):
    return [path.parent.name[-2:] for path in sorted(folder.glob(pattern))]


@pytest.mark.parametrize(
    ("days", "files", "expected"),
    [
        (30.0, 5.0, ["29", "30", "01", "02", "03"]),
        (2.5, 5.0, ["01", "02", "03"]),
        (30.0, 2.5, ["02", "03"]),
        (0.01, 5.0, ["03"]),
        (2.5, 1.0, ["03"]),
    ],
)
def test_the_oldest_go_first(folder, days, files, expected):
    """Files go that are too old, and the oldest of those that are too many, with their empty folders."""
    size = parts.find(folder)[0].size
    swept = retention.sweep(folder, days, int(files * size), NOW)
    assert sorted(kept(folder)) == sorted(expected)
    assert swept == (5 - len(expected), size * (5 - len(expected)), 0)
    assert len(list(folder.glob("people/date=*"))) == len(expected)


def test_truth_is_kept_for_as_many_days(folder):
    """Truth goes with its days; how many bytes the log may have is no matter of it."""
    for part in parts.find(folder):
        truth = folder / "people" / "truth" / part.path.parent.name / "a.jsonl"
        truth.parent.mkdir(parents=True)
        truth.write_text("{}")
        os.utime(truth, (part.path.stat().st_mtime,) * 2)
    retention.sweep(folder, 2.5, 1, NOW)
    assert sorted(kept(folder, "people/truth/date=*/*")) == ["01", "02", "03"]


def test_files_that_are_written_stay(folder, schema):
    """An open part stays whatever its day is; what a writer left open a day ago is removed."""
    day = parts.find(folder)[0].path.parent
    fresh, stale = day / f".b.parquet{parts.OPEN}", day / f".c.parquet{parts.OPEN}.narrow"
    fresh.write_text("")
    stale.write_text("")
    os.utime(fresh, (NOW, NOW))
    os.utime(stale, (NOW - 2 * DAY, NOW - 2 * DAY))
    retention.sweep(folder, 0.01, 1, NOW)
    assert [path.name for path in day.iterdir()] == [fresh.name]


def test_what_waits_for_its_upload_stays(folder, caplog):
    """A part that is to be uploaded stays until it is, as long as those that wait are not too many."""
    waiting = parts.find(folder)
    assert retention.sweep(folder, 0.01, MANY, NOW, uploads=True) == (0, 0, 4)
    waiting[0].path.with_name(f".{waiting[0].path.name}.uploaded").touch()
    assert retention.sweep(folder, 0.01, MANY, NOW, uploads=True).files == 1
    assert not caplog.records
    assert retention.sweep(folder, 0.01, int(1.5 * waiting[0].size), NOW, uploads=True).files == 2
    assert "2 files of the payload log are removed though they are not uploaded" in caplog.text


def test_journals_count_and_damaged_ones_go(folder):
    """Journals take room from finished files, and stay; a damaged one goes after as many days as a file."""
    home = folder / "people" / OPEN
    home.mkdir()
    size = parts.find(folder)[0].size
    for name, days in (("a.journal", 9), (f"b{DAMAGED}", 9), (f"c{DAMAGED}", 1)):
        path = home / name
        path.write_bytes(b"x" * size)
        os.utime(path, (NOW - days * DAY,) * 2)
    retention.sweep(folder, 6, 6 * size, NOW)
    assert kept(folder) == ["01", "02", "03"]
    assert sorted(path.name for path in home.iterdir()) == ["a.journal", f"c{DAMAGED}"]
    retention.sweep(folder, 6, size, NOW)
    assert kept(folder) == []


@pytest.fixture
def uploader(folder):
    pytest.importorskip("obstore")
    return Uploader(folder, (folder.parent / "store").as_uri())


def stored(uploader):
    home = Path(uploader._address.removeprefix("file://"))
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}


def test_finished_parts_are_uploaded_once(folder, uploader):
    """Each part is uploaded under its name, with its content, and not again."""
    (folder / "people" / "date=2026-11-29" / f".b.parquet{parts.OPEN}").write_text("")
    found = parts.find(folder)
    assert uploader.attempt() == (5, sum(part.size for part in found), 0)
    assert stored(uploader) == {part.path.relative_to(folder).as_posix() for part in found}
    copy = folder.parent / "store" / "people" / "date=2026-11-29" / "a.parquet"
    assert copy.read_bytes() == found[0].path.read_bytes()
    assert uploader.attempt() == (0, 0, 0)
    assert Uploader(folder, uploader._address).attempt().files == 0


def test_what_fails_is_uploaded_later(folder, uploader, caplog):
    """An address that takes nothing is logged once, and gets every part when it does again."""
    store = folder.parent / "store"
    store.write_text("no folder")
    assert [uploader.attempt().waiting for _ in range(3)] == [5, 5, 5]
    assert uploader.failures == 3
    assert len(caplog.records) == 1
    assert "cannot be uploaded to file:///" in caplog.text
    store.unlink()
    assert uploader.attempt().files == uploader.files == 5


def test_a_thread_uploads(folder, uploader, schema):
    """A part that is finished while the thread runs is uploaded; its end waits for nothing."""
    uploader.start()
    eventually(lambda: uploader.files == 5)
    parts.write(folder, schema, cells_of(schema, ROWS, **ANSWERS, time=time.time()), "b")
    uploader.wake()
    eventually(lambda: uploader.files == 6)
    uploader.close()
    assert not uploader._thread.is_alive()


def test_an_address_needs_a_library(monkeypatch):
    """Without obstore, a server with log_to does not start."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    upload.check(None)
    with pytest.raises(ConfigError, match="which needs obstore: pip install 'unpickled\\[objects\\]'"):
        upload.check("s3://bucket/log")
