"""The files of batch jobs in object stores: a store that speaks S3, and a folder by its address."""

import os
import subprocess
import sys

import numpy as np
import pytest
from buckets import BUCKET, bucket
from conftest import FLOWERS, PATIENCE

from unpickled.__main__ import main
from unpickled.server import objects
from unpickled.server.batch.places import lease
from unpickled.server.batch.places.bucket import Bucket, bucket_at
from unpickled.server.errors import ServingError

pytest.importorskip("obstore")
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
csv = pytest.importorskip("pyarrow.csv")

ROWS = 20_000
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def s3():
    with bucket() as variables:
        yield variables


@pytest.fixture(params=["s3", "file"])
def home(request, tmp_path, monkeypatch):
    """The address of an empty folder in a store."""
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture
def store(home):
    return Bucket(objects.address_of(home).root)


def put(store, path, content=b"x"):
    with store.write(path) as file:
        file.write(content)


def test_patterns_stand_for_objects(store, home):
    """A pattern is matched within names, ** in folders too; a folder stands for all, hidden ones aside."""
    for name in ("a-1.csv", "b 2.csv", "b.txt", "deep/er/c.csv", "_job.csv", "deep/.hidden.csv"):
        put(store, f"{home}/{name}")
    names = {
        pattern: [entry.name for entry in store.list(f"{home}/{pattern}".rstrip("/"))]
        for pattern in (
            "*.csv",
            "[!a]*.csv",
            "?-1.csv",
            "**/*.csv",
            "d*/*/c.csv",
            "b 2.csv",
            "",
            "none",
            "_job.csv",
        )
    }
    assert names.pop("*.csv") == ["a-1.csv", "b 2.csv"]
    assert names.pop("[!a]*.csv") == names.pop("b 2.csv") == ["b 2.csv"]
    assert names.pop("?-1.csv") == ["a-1.csv"]
    assert names.pop("**/*.csv") == ["a-1.csv", "b 2.csv", "deep/er/c.csv"]
    assert names.pop("") == ["a-1.csv", "b 2.csv", "b.txt", "deep/er/c.csv"]
    assert names == {"d*/*/c.csv": ["deep/er/c.csv"], "none": [], "_job.csv": ["_job.csv"]}
    assert store.read(store.list(f"{home}/b*.csv")[0].path) == b"x"


def test_parquet_is_read_by_groups_of_rows(store, home):
    """A table is written to an address, and a group of its rows read from there without the others."""
    table = pyarrow.table({"width": np.arange(ROWS, dtype=float)})
    with store.write(f"{home}/a.parquet") as file, parquet.ParquetWriter(file, table.schema) as writer:
        for start in range(0, ROWS, 5000):
            writer.write_table(table.slice(start, 5000))
    read = parquet.ParquetFile(store.open(f"{home}/a.parquet"))
    assert read.num_row_groups == 4
    assert read.read_row_group(2) == table.slice(10_000, 5000)
    assert read.read() == table


def test_a_file_is_read_at_any_place(store, home):
    """Reading goes on from every place, over the ends of what was asked for at a time."""
    content = os.urandom(5 * MIB)
    put(store, f"{home}/a", content)
    with store.open(f"{home}/a") as file:
        assert file.read(10) == content[:10]
        assert file.seek(-7, os.SEEK_END) == 5 * MIB - 7
        assert file.read() == content[-7:]
        file.seek(MIB)
        assert b"".join(iter(lambda: file.read(99_999), b"")) == content[MIB:]


def test_a_file_appears_whole_or_not_at_all(store, home):
    """An upload in pieces is given up if its block fails, and what was there stays."""
    put(store, f"{home}/a", b"before")
    failing = (part for part in [bytes(40 * MIB), None])
    with pytest.raises(TypeError), store.write(f"{home}/a") as file:
        file.writelines(failing)
    assert store.read(f"{home}/a") == b"before"
    put(store, f"{home}/a", bytes(40 * MIB))
    assert [entry.size for entry in store.list(home)] == [40 * MIB]


def test_a_file_that_is_changed_while_it_is_read_is_told(store, home):
    """Rows of two contents are never mixed: a range of another content than the first is an error."""
    put(store, f"{home}/a", bytes(4 * MIB))
    with store.open(f"{home}/a") as file:
        file.read(1)
        before = store.list(home)[0].changed
        put(store, f"{home}/a", b"\1" * 4 * MIB)
        assert store.list(home)[0].changed != before
        file.seek(3 * MIB)
        with pytest.raises(ServingError, match="it was changed while it was read"):
            file.read(1)


def test_lines_are_appended(store, home, monkeypatch):
    """Lines stand in their order, those of a process that has ended first, and are few objects."""
    monkeypatch.setattr("unpickled.server.batch.places.bucket._SEGMENT", 1000)
    path, line = f"{home}/_job.jsonl", b"x" * 99 + b"\n"
    for number in range(30):
        writer = store if number % 7 else Bucket(objects.address_of(home).root)
        if not number % 7:
            store = writer
        writer.append(path, b"%02d" % number + line)
    content = store.read(path)
    assert [int(each[:2]) for each in content.splitlines()] == list(range(30))
    assert len(store._names(objects.address_of(path).key)) < 10
    store.remove(path)
    assert store.read(path) is None
    store.remove(path)


def test_two_jobs_do_not_share_a_folder(store, home, monkeypatch):
    """A folder is refused while another job renews its lock, and taken over from one that was killed."""
    for name, seconds in (("_RENEWAL", 0.1), ("_LOOK", 0.1), ("_SETTLED", 0.1)):
        monkeypatch.setattr(lease, name, seconds)
    with (
        store.locked(home),
        pytest.raises(ServingError, match="another job is writing to"),
        store.locked(home),
    ):
        pass
    monkeypatch.setattr(lease, "_PATIENCE", 0.0)
    put(store, f"{home}/_lock", b"killed 3")
    with store.locked(home):
        assert not store.read(f"{home}/_lock").startswith(b"killed")
    assert store.read(f"{home}/_lock") is None


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("s3://nowhere/a.csv", "there is no such object: correct the address|correct the name of the bucket"),
        (
            "s3://nowhere/*.csv",
            "s3://nowhere/\\*.csv cannot be listed: NoSuchBucket: .* correct the name of the",
        ),
        (f"s3://{BUCKET}/a.csv", "there is no such object: correct the address"),
        ("s3:///a.csv", "names no bucket: write s3://bucket/name"),
        (f"s3://{BUCKET}/a//b", "has an empty name, . or .. in its path"),
    ],
)
def test_errors_name_address_and_remedy(s3, monkeypatch, address, sentence):
    """An address that stands for nothing is told in a sentence."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ServingError, match=sentence):
        _asked(address)


def _asked(address):
    store = Bucket(objects.address_of(address).root)
    return store.list(address) if "*" in address else store.open(address)


def test_an_endpoint_without_tls_is_a_choice(s3, monkeypatch):
    """A plain endpoint is refused unless a variable allows it, which the sentence names."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(ServingError, match="set AWS_ALLOW_HTTP=true if that is right"):
        Bucket(f"s3://{BUCKET}").open(f"s3://{BUCKET}/a")


def test_a_job_reads_and_writes_a_store(store, home, models, tmp_path, capsys):
    """Answers in a store are those in a folder, and the job is done when it is asked for again."""
    bucket_at.cache_clear()
    rng = np.random.default_rng(0)
    (tmp_path / "big").mkdir()
    for name in ("a.parquet", "b.csv"):
        table = pyarrow.table({flower: rng.uniform(0.1, 7, 3000) for flower in FLOWERS})
        (parquet.write_table if name == "a.parquet" else csv.write_csv)(table, tmp_path / "big" / name)
        put(store, f"{home}/big/{name}", (tmp_path / "big" / name).read_bytes())
    settings = ["--models", str(models.path), "--workers", "1"]
    assert main(["predict", "iris", str(tmp_path / "big"), "--out", str(tmp_path / "scored"), *settings]) == 0
    for _ in range(2):
        assert main(["predict", "iris", f"{home}/big/*", "--out", f"{home}/scored/", *settings]) == 0
    assert "2 parts, 2 of them earlier" in capsys.readouterr().out
    for name in ("a.parquet", "b.csv"):
        assert store.read(f"{home}/scored/{name}") == (tmp_path / "scored" / name).read_bytes()
    bucket_at.cache_clear()


FORKED = """
import os, sys
from unpickled.server import objects
from unpickled.server.batch.places.bucket import Bucket
from unpickled.server.errors import ServingError
Bucket("file:///").list(sys.argv[1])
if os.fork() == 0:
    try:
        Bucket("file:///")
    except ServingError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_process_is_refused(tmp_path):
    """The library would wait for ever in a process that is forked off after its first use."""
    command = [sys.executable, "-c", FORKED, tmp_path.as_uri()]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (
        completed.stdout == "obstore was used before this process was forked off: start it as a new process\n"
    )
