"""history.jsonl: every line whole, nothing told twice, and what was served before the last change."""

import fcntl
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import tomlkit
from conftest import ROOT, started

from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Shadowing

# Appends one record after the other until it is killed.
WRITER = """
import sys
from pathlib import Path
from unpickled.server.lifecycle import history
for number in range(10**9):
    record = history.Record(at="now", by="x" * 100_000, traffic={str(number): 1.0})
    history.append(Path(sys.argv[1]), record)
    print(flush=True)
"""


def record(number: int, by: str = "server here", **parts) -> Record:
    return Record(at="2026-01-31T12:00:00Z", by=by, traffic={str(number): 1.0}, **parts)


def lines(folder: Path) -> list[bytes]:
    return (folder / "history.jsonl").read_bytes().splitlines()


def answers(folder: Path) -> list[dict[str, float]]:
    return [record.traffic for record in history.read(folder)]


def test_a_record_is_one_line(tmp_path):
    """Of JSON, with the parts that are in use; who answers is always given."""
    shadow = Shadowing(version=4)
    assert history.append(tmp_path, record(3, labels={"stable": 3}, shadow=shadow, load="newest"))
    assert [json.loads(line) for line in lines(tmp_path)] == [
        {
            "at": "2026-01-31T12:00:00Z",
            "by": "server here",
            "labels": {"stable": 3},
            "traffic": {"3": 1.0},
            "shadow": {"version": 4, "share": 1.0},
        }
    ]


def test_records_come_back(tmp_path):
    """Oldest first and equal to what was written; none without a file."""
    assert history.read(tmp_path) == []
    full = record(2, load=(1, 2), retired=(4, 3), labels={"a": 2}, shadow=Shadowing(version=5, share=0.5))
    written = [record(1), record(2), full]
    assert all(history.append(tmp_path, one) for one in written)
    assert history.read(tmp_path) == written
    assert len(lines(tmp_path)) == 3


def test_nothing_is_told_twice(tmp_path):
    """What the last record says already, whoever says it, is not added; what an earlier one said is."""
    assert history.append(tmp_path, record(1))
    assert not history.append(tmp_path, record(1, by="server there"))
    assert history.append(tmp_path, record(2))
    assert history.append(tmp_path, record(1))
    assert answers(tmp_path) == [{"1": 1.0}, {"2": 1.0}, {"1": 1.0}]


@pytest.mark.parametrize(
    ("then", "traffic"),
    [
        (record(7), {"7": 1.0}),
        (record(7, labels={"stable": 7}), {}),
        (record(7, labels={"stable": 3}), {"7": 1.0}),
        (record(3, load=2, retired=(1,), labels={"a": 3}, shadow=Shadowing(version=5)), {"3": 1.0}),
    ],
)
def test_a_record_can_be_served_again(then, traffic):
    """It names who answered, so that a newer version by then changes nothing."""
    again = then.serving()
    serving.check(again)
    assert serving.parse(tomlkit.dumps(msgspec.to_builtins(again))) == again
    assert again.traffic == traffic
    assert (again.load, again.retired, again.labels, again.shadow) == (
        (then.load, then.retired, then.labels, then.shadow)
    )


def test_what_was_before():
    """The newest record of plain requests that were answered, or shadowed, otherwise."""
    one, two, other = record(1), record(2), record(1, by="somebody else")
    assert history.previous([]) is history.previous([one]) is history.previous([one, other]) is None
    assert history.previous([two, one, other]) is two
    assert history.previous([one, two, one]) is two
    assert history.previous([two, two, one, two]) is one
    labelled, shadowed = record(2, labels={"candidate": 1}), record(2, shadow=Shadowing(version=1))
    assert history.previous([one, two, labelled]) is one
    assert history.previous([one, two, labelled, shadowed]) is labelled


def test_each_rollback_goes_further_back():
    """What was rolled back from is never gone back to; what came after a rollback is."""
    one, two, three = record(1), record(2), record(3)
    back_to_one, back_to_two = record(1, by="rollback"), record(2, by="rollback")
    assert history.previous([one, two, three, back_to_two]) is one
    assert history.previous([one, two, three, back_to_two, back_to_one]) is None
    assert history.previous([one, two, back_to_one, three]) is back_to_one
    assert history.previous([one, two, one, two, back_to_one]) is two
    assert history.previous([three, back_to_one]) is three


def test_strange_lines_are_passed_over(tmp_path):
    """Half a line, another program's lines, nonsense: the records around them count."""
    strange = [
        b'{"at": "2026-01-01T00:00:00Z", "by": "x", "traf', b"", b"null", b"{}", b"\xff\xfe", b"\0" * 9,
        b'{"at": "", "by": "", "traffic": {}}', b'{"at": "", "by": "", "traffic": {"nobody": 1.0}}',
        b'{"at": "", "by": "", "traffic": {"3": 0.5}}', b'{"at": "", "by": "", "traffic": {"3": 1e999}}',
        b'{"at": "", "by": "", "traffic": {"3": 1.0}, "shadow": {"version": "x", "share": 1.0}}',
        b"[" * 100_000, b'{"new":' + b"[" * 100_000, b'{"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ]  # fmt: skip
    history.append(tmp_path, record(1))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b"\n".join(strange) + b"\n" + b'{"at": "", "by": "", "traffic": {"2": 1.0}, "new": 5}\n')
    history.append(tmp_path, record(3))
    assert answers(tmp_path) == [{"1": 1.0}, {"2": 1.0}, {"3": 1.0}]


def test_a_cut_off_line_costs_only_itself(tmp_path):
    """After a writer that was killed in the middle, the next record starts on its own line."""
    history.append(tmp_path, record(1))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"at": "2026')
    assert history.append(tmp_path, record(2))
    assert answers(tmp_path) == [{"1": 1.0}, {"2": 1.0}]
    assert lines(tmp_path)[1] == b'{"at": "2026'


def test_a_killed_writer(tmp_path):
    """kill -9 at any moment leaves what was there, and a file that goes on."""
    program = [sys.executable, "-c", WRITER, str(tmp_path)]
    with started(program, stdout=subprocess.PIPE, cwd=ROOT) as process:
        told = [process.stdout.readline() for _ in range(20)]
        process.kill()
        process.wait()
    whole = answers(tmp_path)
    assert whole == [{str(number): 1.0} for number in range(len(whole))]
    assert len(whole) >= len(told)
    assert history.append(tmp_path, record(10**9))
    assert answers(tmp_path) == [*whole, {str(10**9): 1.0}]


def hundred(folder: Path, first: int) -> None:
    for number in range(first, first + 100):
        history.append(folder, record(number))


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_writers_do_not_mix(tmp_path):
    """Four processes at once: every record is there, whole, and in each one's order."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=hundred, args=(tmp_path, 100 * first)) for first in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    numbers = [int(number) for traffic in answers(tmp_path) for number in traffic]
    assert sorted(numbers) == list(range(400))
    assert len(lines(tmp_path)) == 400
    assert [number for number in numbers if number < 100] == list(range(100))


@contextmanager
def full():
    """No file of this process may grow beyond 600 bytes, its output included: EFBIG half way in a line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up(tmp_path):
    """The line that does not fit raises and leaves no half of itself; a shorter one may still fit."""
    history.append(tmp_path, record(1))
    before = lines(tmp_path)
    with full(), pytest.raises(OSError, match="File too large"):
        history.append(tmp_path, record(2, by="x" * 600))
    assert lines(tmp_path) == before
    with full():
        assert history.append(tmp_path, record(3))
    assert answers(tmp_path) == [{"1": 1.0}, {"3": 1.0}]


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounts a file system")
def test_a_full_disk(tmp_path):
    """On a file system without a byte left, what was there stays and can be read."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        history.append(tmp_path, record(1))
        with pytest.raises(OSError, match="No space left"):
            history.append(tmp_path, record(2, by="x" * 9000))
        assert answers(tmp_path) == [{"1": 1.0}]
        assert len(lines(tmp_path)) == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_that_is_none(tmp_path):
    """A folder, a pipe or a device in its place is an OSError for both, and nobody waits."""
    path = tmp_path / "history.jsonl"
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")):
        make()
        with pytest.raises(OSError, match="it is"):
            history.read(tmp_path)
        with pytest.raises(OSError, match=r"it is not a file|Is a directory"):
            history.append(tmp_path, record(1), wait=False)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_history_that_somebody_locks(tmp_path):
    """BlockingIOError for who does not wait, and nothing of the record."""
    history.append(tmp_path, record(1))
    with (tmp_path / "history.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another program has locked it"):
            history.append(tmp_path, record(2), wait=False)
    assert answers(tmp_path) == [{"1": 1.0}]


def test_one_change_at_a_time(tmp_path):
    """Within alone() nobody else is; what it is for, records, can be added and taken back in it."""
    with history.alone(tmp_path) as first, history.alone(tmp_path, wait=False) as second:
        assert (first, second) == (True, False)
        assert history.append(tmp_path, record(1), wait=False)
        history.withdraw(tmp_path, record(1), wait=False)
    with history.alone(tmp_path, wait=False) as free:
        assert free


def test_a_lock_is_open_for_writing(tmp_path):
    """As network file systems ask for; where it cannot be, that is an OSError."""
    with history.alone(tmp_path):
        held = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        (lock,) = [path for path in held if os.readlink(path) == str(tmp_path / history.LOCK)]
        flags = (Path("/proc/self/fdinfo") / lock.name).read_text().split()[3]
    assert int(flags, 8) & os.O_ACCMODE == os.O_RDWR
    with pytest.raises(FileNotFoundError), history.alone(tmp_path / "nowhere"):
        raise AssertionError


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_new_files_are_the_owners(tmp_path):
    """What root starts in the folder of a server can be written by that server."""
    os.chown(tmp_path, 1234, 1235)
    with history.alone(tmp_path):
        history.append(tmp_path, record(1))
    found = [(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()]
    assert found == [(1234, 1235)] * 2


def test_a_record_is_taken_back(tmp_path):
    """While it is the last one; later records stay."""
    one, two = record(1), record(2)
    history.append(tmp_path, one)
    history.append(tmp_path, two)
    history.withdraw(tmp_path, one)
    assert history.read(tmp_path) == [one, two]
    history.withdraw(tmp_path, two)
    assert history.read(tmp_path) == [one]
