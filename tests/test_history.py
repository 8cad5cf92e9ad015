"""history.jsonl: every line is whole, no state is recorded twice, and the state before a change is known."""

import fcntl
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import tomlkit
from conftest import ROOT, started

from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.serving import Shadowing

# Appends records without end.
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
    """A record of a version that answers all requests."""
    return Record(at="2026-01-31T12:00:00Z", by=by, traffic={str(number): 1.0}, **parts)


def lines(folder: Path) -> list[bytes]:
    return (folder / "history.jsonl").read_bytes().splitlines()


def traffic_of(folder: Path) -> list[dict[str, float]]:
    """The traffic of each record in the history."""
    return [record.traffic for record in history.read(folder)]


def test_a_record_is_one_line(tmp_path):
    """A record is a line of JSON with the traffic and the parts that are in use."""
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
    """Records are read in the order they were written; without a file there are none."""
    assert history.read(tmp_path) == []
    full = record(2, load=(1, 2), retired=(4, 3), labels={"a": 2}, shadow=Shadowing(version=5, share=0.5))
    records = [record(1), record(2), full]
    assert all(history.append(tmp_path, entry) for entry in records)
    assert history.read(tmp_path) == records
    assert len(lines(tmp_path)) == 3


def test_nothing_is_recorded_twice(tmp_path):
    """A record that repeats the last one is not added; one that repeats an earlier one is."""
    assert history.append(tmp_path, record(1))
    assert not history.append(tmp_path, record(1, by="server there"))
    assert history.append(tmp_path, record(2))
    assert history.append(tmp_path, record(1))
    assert traffic_of(tmp_path) == [{"1": 1.0}, {"2": 1.0}, {"1": 1.0}]


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
    """The settings of a record name its versions, so that a newer version changes nothing."""
    again = then.serving()
    serving.check(again)
    assert serving.parse(tomlkit.dumps(msgspec.to_builtins(again))) == again
    assert again.traffic == traffic
    assert (again.load, again.retired, again.labels, again.shadow) == (
        (then.load, then.retired, then.labels, then.shadow)
    )


def test_what_was_before():
    """The previous record is the newest with other traffic or another shadow."""
    first, second, repeated = record(1), record(2), record(1, by="somebody else")
    assert history.previous([]) is history.previous([first]) is history.previous([first, repeated]) is None
    assert history.previous([second, first, repeated]) is second
    assert history.previous([first, second, first]) is second
    assert history.previous([second, second, first, second]) is first
    labelled, shadowed = record(2, labels={"candidate": 1}), record(2, shadow=Shadowing(version=1))
    assert history.previous([first, second, labelled]) is first
    assert history.previous([first, second, labelled, shadowed]) is labelled


def test_each_rollback_goes_further_back():
    """A rollback never returns to a state that was rolled back from."""
    first, second, third = record(1), record(2), record(3)
    back_to_first, back_to_second = record(1, by="rollback"), record(2, by="rollback")
    assert history.previous([first, second, third, back_to_second]) is first
    assert history.previous([first, second, third, back_to_second, back_to_first]) is None
    assert history.previous([first, second, back_to_first, third]) is back_to_first
    assert history.previous([first, second, first, second, back_to_first]) is second
    assert history.previous([third, back_to_first]) is third


def test_strange_lines_are_passed_over(tmp_path):
    """Cut lines, lines of other programs and nonsense are skipped; the records around them count."""
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
    assert traffic_of(tmp_path) == [{"1": 1.0}, {"2": 1.0}, {"3": 1.0}]


def test_a_cut_off_line_costs_only_itself(tmp_path):
    """After a cut line, the next record starts on a line of its own."""
    history.append(tmp_path, record(1))
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(b'{"at": "2026')
    assert history.append(tmp_path, record(2))
    assert traffic_of(tmp_path) == [{"1": 1.0}, {"2": 1.0}]
    assert lines(tmp_path)[1] == b'{"at": "2026'


def test_a_killed_writer(tmp_path):
    """A writer that is killed leaves whole records, and a file to which others can append."""
    program = [sys.executable, "-c", WRITER, str(tmp_path)]
    with started(program, stdout=subprocess.PIPE, cwd=ROOT) as process:
        acknowledged = [process.stdout.readline() for _ in range(20)]
        process.kill()
        process.wait()
    whole = traffic_of(tmp_path)
    assert whole == [{str(number): 1.0} for number in range(len(whole))]
    assert len(whole) >= len(acknowledged)
    assert history.append(tmp_path, record(10**9))
    assert traffic_of(tmp_path) == [*whole, {str(10**9): 1.0}]


def hundred(folder: Path, first: int) -> None:
    """Append a hundred records."""
    for number in range(first, first + 100):
        history.append(folder, record(number))


@pytest.mark.filterwarnings("ignore:This process.*multi-threaded:DeprecationWarning")
def test_writers_do_not_mix(tmp_path):
    """The records of four processes are whole, complete and in the order of each process."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=hundred, args=(tmp_path, 100 * first)) for first in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    numbers = [int(number) for traffic in traffic_of(tmp_path) for number in traffic]
    assert sorted(numbers) == list(range(400))
    assert len(lines(tmp_path)) == 400
    assert [number for number in numbers if number < 100] == list(range(100))


@contextmanager
def full():
    """No file of this process may grow beyond 600 bytes, its output included; longer lines fail half way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up(tmp_path):
    """A record that does not fit raises and leaves no part of itself; a shorter one may still fit."""
    history.append(tmp_path, record(1))
    before = lines(tmp_path)
    with full(), pytest.raises(OSError, match="File too large"):
        history.append(tmp_path, record(2, by="x" * 600))
    assert lines(tmp_path) == before
    with full():
        assert history.append(tmp_path, record(3))
    assert traffic_of(tmp_path) == [{"1": 1.0}, {"3": 1.0}]


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounts a file system")
def test_a_full_disk(tmp_path):
    """On a full file system, the earlier records stay readable."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        history.append(tmp_path, record(1))
        with pytest.raises(OSError, match="No space left"):
            history.append(tmp_path, record(2, by="x" * 9000))
        assert traffic_of(tmp_path) == [{"1": 1.0}]
        assert len(lines(tmp_path)) == 1
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_that_is_none(tmp_path):
    """A folder, a pipe or a device in place of the file raises OSError, and nothing waits."""
    path = tmp_path / "history.jsonl"
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero")):
        make()
        with pytest.raises(OSError, match="it is"):
            history.read(tmp_path)
        with pytest.raises(OSError, match=r"it is not a file|Is a directory"):
            history.append(tmp_path, record(1), wait=False)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_history_that_somebody_locks(tmp_path):
    """Without waiting, a locked history raises BlockingIOError and gets no part of the record."""
    history.append(tmp_path, record(1))
    with (tmp_path / "history.jsonl").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another program has locked it"):
            history.append(tmp_path, record(2), wait=False)
    assert traffic_of(tmp_path) == [{"1": 1.0}]


def test_one_change_at_a_time(tmp_path):
    """alone() admits one at a time; inside, records can be added and withdrawn."""
    with history.alone(tmp_path) as first, history.alone(tmp_path, wait=False) as second:
        assert (first, second) == (True, False)
        assert history.append(tmp_path, record(1), wait=False)
        history.withdraw(tmp_path, record(1), wait=False)
    with history.alone(tmp_path, wait=False) as free:
        assert free


def test_a_lock_is_open_for_writing(tmp_path):
    """The lock is open for writing, which network file systems ask for; a missing folder is an OSError."""
    with history.alone(tmp_path):
        descriptors = Path("/proc/self/fd").iterdir()
        (lock,) = [path for path in descriptors if target(path) == str(tmp_path / history.LOCK)]
        flags = (Path("/proc/self/fdinfo") / lock.name).read_text().split()[3]
    assert int(flags, 8) & os.O_ACCMODE == os.O_RDWR
    with pytest.raises(FileNotFoundError), history.alone(tmp_path / "nowhere"):
        raise AssertionError


def target(descriptor: Path) -> str:
    """The file of a descriptor; "" where another thread has closed it meanwhile."""
    with suppress(OSError):
        return os.readlink(descriptor)
    return ""


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_new_files_are_the_owners(tmp_path):
    """Files that root creates belong to the owner of the folder, so that the server can write them."""
    os.chown(tmp_path, 1234, 1235)
    with history.alone(tmp_path):
        history.append(tmp_path, record(1))
    owners = [(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.iterdir()]
    assert owners == [(1234, 1235)] * 2


def test_a_record_is_taken_back(tmp_path):
    """A record can be withdrawn while it is the last one."""
    first, second = record(1), record(2)
    history.append(tmp_path, first)
    history.append(tmp_path, second)
    history.withdraw(tmp_path, first)
    assert history.read(tmp_path) == [first, second]
    history.withdraw(tmp_path, second)
    assert history.read(tmp_path) == [first]
