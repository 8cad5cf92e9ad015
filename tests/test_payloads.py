"""The way of predicted rows to the payload log: each is written once or counted, whatever is killed."""

import io
import json
import os
import re
import resource
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    FLOWER,
    PERSON,
    Serving,
    command_line,
    end,
    environment,
    eventually,
    free_port,
    generated,
    halt,
    run,
    serving,
)
from hypothesis import given
from hypothesis import strategies as st
from lots import lot
from payloads import GOOD, LOGGING, Traffic, exposed, fates, journals, logged, settled

from unpickled.server.config import Config
from unpickled.server.errors import ConfigError
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.intake import Intake
from unpickled.server.observe.logged import LOGGED, LOGGED_SHADOW, PUT, WRITTEN
from unpickled.server.observe.source import TAKEN, Source
from unpickled.server.payloads.claim import Claim
from unpickled.server.payloads.feeder import Feeder
from unpickled.server.payloads.finisher import Finisher
from unpickled.server.payloads.journal import Journal, schema_of
from unpickled.server.payloads.journals import Journals
from unpickled.server.payloads.ring import Frame, Ring, Rings
from unpickled.server.payloads.schema import key_of
from unpickled.server.records import Records
from unpickled.server.serve.routes import Routes
from unpickled.server.service import Service


class Site:
    """The routes of a service whose rows go into the ring of one worker, and the writer's side of that."""

    def __init__(self, service: Service, folder: Path, size: int = 1 << 20, **settings: object) -> None:
        settings = {"log_share": 1.0, "log_folder": str(folder)} | settings
        self.log = Config.of(**settings).log
        self.memory = Memory(blocks=1)
        self.block = self.memory.claim()
        self.rings = Rings(1, size)
        self.ring = self.rings.ring(0)
        self.folder = folder
        self.begin(service)

    def begin(self, service: Service) -> None:
        """Begin as a worker that has this block."""
        key = key_of(self.log)
        self.intake = Intake(self.block, [Feeder(self.log, self.rings, key, self.memory, self.block)])
        self.routes = Routes(
            service.repository, self.block, service.slots, service.routes._gate, intake=self.intake
        )

    def post(self, rows: list, name: str = "iris") -> str:
        """Have rows predicted; the id of the first one."""
        body = json.dumps({"features": rows} if isinstance(rows[0], list) else {"instances": rows}).encode()
        path = f"/models/{name}/predict"
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": str(len(body))}
        status, headers, content = self.routes.targets[path](environ | {"wsgi.input": io.BytesIO(body)})
        assert status == "200 OK", content
        return dict(headers)["Prediction-Id"]

    def writer(self, token: str = "aaaaaaaa") -> Journals:
        """A writer that has just started."""
        block = self.memory.reserve_for_writer()
        self.finisher = Finisher(self.log, token, block)
        return Journals(self.log, token, self.rings, block, key_of(self.log), self.finisher.add)

    def counts(self, name: str = "iris") -> list[float]:
        """PUT, DROPPED, UNCHOSEN and LOST rows, and those that are written."""
        series = self.memory.read()
        return [
            *series[(LOGGED, name, "1")],
            series.get((WRITTEN, name, "1", LOGGED, "0"), [0.0])[0],
        ]


@given(st.lists(st.one_of(st.integers(0, 300), st.none()), max_size=60))
@generated(200)
def test_a_ring(steps):
    """Frames come out as they went in; one that does not fit leaves no trace. None takes all frames out."""
    rings = Rings(1, 1024)
    ring = rings.ring(0)
    expected, total = [], 0
    for length in steps:
        if length is None:
            frames = [*ring.frames()]
            assert [(frame.total, frame.payload) for frame in frames] == expected
            ring.release(frames[-1].end if frames else 0)
            expected = []
        elif ring.put(1, 0, total + 1, bytes([length % 251]) * length):
            total += 1
            expected.append((total, bytes([length % 251]) * length))
    assert [(frame.total, frame.payload) for frame in ring.frames()] == expected


def _put(ring: Ring, first: int) -> None:
    """Put frames for ever."""
    for number in range(first, 10**9):
        while not ring.put(1, 0, number, number.to_bytes(4) * (number % 50)):
            time.sleep(0.0001)


def test_a_ring_of_two_processes():
    """Frames pass from one process to another in order; when the first is killed, its successor goes on."""
    ring, total = Rings(1, 4096).ring(0), 0
    for until in (500, 1000, 1500):
        child = os.fork()
        if not child:
            _put(ring, total + 1)
        while total < until or child:
            if total >= until:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                child = 0
            for frame in ring.frames():
                assert frame.payload == frame.total.to_bytes(4) * (frame.total % 50)
                assert frame.total == total + 1
                total = frame.total
                ring.release(frame.end)
    assert total >= 1500


def test_schemas_have_numbers():
    """Every worker gets the same number for a schema; where there is no room for more, there is none."""
    rings = Rings(2, 64)
    first, second = rings.number(b"one"), rings.number(b"another")
    assert rings.number(b"one") == first != second
    assert (rings.schema(first), rings.schema(second)) == (b"one", b"another")
    assert rings.number(b"x" * 17 * 1024 * 1024) is None
    with pytest.raises(ValueError, match="no schema with the number"):
        rings.schema(2000)


def test_rows_are_written(service, tmp_path):
    """Rows of several models come to files of their own, and are counted at each step."""
    site = Site(service, tmp_path)
    first = site.post([FLOWER] * 3)
    site.post([PERSON, PERSON | {"plan": "free", "age": None}], "people")
    site.intake.drain()
    assert site.counts() == [3, 0, 0, 0, 0]
    writer = site.writer()
    assert writer.write() > 0
    assert writer.write() == site.ring.waiting == 0
    writer.rotate(everything=True)
    site.finisher.work_off()
    assert (site.counts(), site.counts("people")) == ([3, 0, 0, 0, 3], [2, 0, 0, 0, 2])
    assert journals(tmp_path) == []
    rows = logged(tmp_path)
    assert rows[0]["_prediction_id"] == first
    assert [row["_model"] for row in rows] == ["iris"] * 3 + ["people"] * 2
    assert [row["age"] for row in rows[3:]] == [41.0, None]


def test_a_writer_that_dies(service, tmp_path):
    """A writer killed between any two steps doubles and loses nothing: the next one knows what is there."""
    site = Site(service, tmp_path)
    writer, ids = site.writer(), []
    for step in ("_count", "release", "rotate", "unlink"):
        ids.append(site.post([FLOWER]))
        site.post([PERSON], "people")
        site.intake.drain()
        _die(site, writer, step)
        writer = site.writer()
    writer.write()
    writer.rotate(everything=True)
    site.finisher.work_off()
    rows = Counter((row["_model"], row["_prediction_id"]) for row in logged(tmp_path))
    assert set(rows.values()) == {1}
    assert len(rows) == 8
    assert {("iris", each) for each in ids} < rows.keys()
    assert (site.counts()[-1], site.counts("people")[-1]) == (4, 4)


def _die(site: Site, writer: Journals, step: str) -> None:
    """Have the writer work as far as it gets before a step."""
    target = {"_count": writer, "release": writer._tubes[0], "unlink": Path}.get(step)
    with pytest.MonkeyPatch.context() as patch, suppress(InterruptedError):
        if target is not None:
            patch.setattr(target, step, _raise)
        writer.write()
        writer.rotate(everything=True)
        if step == "unlink":
            site.finisher.work_off()


def _raise(*_: object, **__: object) -> None:
    raise InterruptedError


def test_a_torn_frame(service, tmp_path):
    """Half of a frame at the end of a journal is cut off; its rows are still in the ring."""
    site = Site(service, tmp_path)
    for _ in range(2):
        site.post([FLOWER])
        site.intake.drain()
        tail = site.ring._ends[1]
        site.writer().write()
    [path] = journals(tmp_path)
    os.truncate(path, path.stat().st_size - 5)
    site.ring._ends[1] = tail
    writer = site.writer()
    writer.write()
    writer.rotate(everything=True)
    site.finisher.work_off()
    assert len({row["_prediction_id"] for row in logged(tmp_path)}) == len(logged(tmp_path)) == 2


def test_a_worker_that_dies(service, tmp_path):
    """The successor of a worker counts the rows in the ring as put, and those that got nowhere as lost."""
    site = Site(service, tmp_path)
    site.post([FLOWER] * 4)
    site.intake.drain()
    site.block.series((LOGGED, "iris", "1"), 4)[PUT] = 0
    site.post([FLOWER] * 3)
    site.begin(service)
    assert site.counts() == [4, 0, 0, 3, 0]
    site.writer().write()
    site.block.series((LOGGED, "iris", "1"), 4)[PUT] = 0
    site.begin(service)
    site.begin(service)
    assert site.counts() == [4, 0, 0, 3, 4]


def test_rows_that_cannot_be_encoded(service, tmp_path):
    """Such rows are lost, counted and reported; the others among them are logged."""
    site = Site(service, tmp_path)
    [feeder] = site.intake._consumers
    iris, people = (
        Source.of(service.repository.find(name), "/predict", site.block) for name in ("iris", "people")
    )
    rows = [(41.0, 2100.5, text, "pro") for text in ("Bonn", "\ud800", "Trier")]
    with pytest.raises(ValueError, match="row 1 cannot be logged"):
        feeder.consume(lot(people, rows, ["stays"] * 3, [(0.1, 0.9)] * 3))
    feeder.consume(lot(iris, [FLOWER], [0], [(1.0, 0.0, 0.0)], number=3))
    assert (site.counts("people"), site.counts()) == ([2, 0, 0, 1, 0], [1, 0, 0, 0, 0])
    assert [frame.rows for frame in site.ring.frames()] == [1, 1, 1]


def test_shadows(service, tmp_path):
    """A shadow's answers are logged under its own version and counted apart, chosen with the client's."""
    site = Site(service, tmp_path, log_share=0.5)
    [feeder] = site.intake._consumers
    iris, forest = (service.repository.find(name) for name in ("iris", "forest"))
    source = Source.of(iris, "/predict", site.block)
    for scores, shadow in (((0.9, 0.1, 0.0), None), ((0.8, 0.2, 0.0), forest)):
        feeder.consume(lot(source, [FLOWER] * 100, [0] * 100, [scores] * 100, shadow=shadow))
    counts = site.memory.read()
    put, *_ = counts[(LOGGED, "iris", "1")]
    assert counts[(LOGGED, "iris", "1")] == counts[(LOGGED_SHADOW, "forest", "1")] == [put, 0, 100 - put, 0]
    writer = site.writer()
    writer.write()
    writer.rotate(everything=True)
    site.finisher.work_off()
    rows = {name: [row for row in logged(tmp_path) if row["_model"] == name] for name in ("iris", "forest")}
    assert {row["_shadow"] for row in rows["iris"]} == {None}
    assert {row["_shadow"] for row in rows["forest"]} == {1}
    assert len({*map(id_of, rows["iris"])} & {*map(id_of, rows["forest"])}) == put > 45


def id_of(row: dict[str, Any]) -> str:
    return str(row["_prediction_id"])


def test_a_full_ring(service, tmp_path):
    """Rows that find no room are dropped and counted, each of them; those before and after are written."""
    site = Site(service, tmp_path, size=4096)
    for _ in range(30):
        site.post([FLOWER] * 10)
        site.intake.drain()
    put, dropped, *_ = site.counts()
    assert put > 0 < dropped == 300 - put
    writer = site.writer()
    writer.write()
    site.post([FLOWER] * 200)
    site.intake.drain()
    assert sum(site.counts()[:2]) == 500
    assert site.memory.read()[(TAKEN, "iris", "1")] == [500, 0, 0]


def test_rows_that_wait(service, tmp_path):
    """With when_full = "wait", rows wait until the writer takes others out."""
    site = Site(service, tmp_path, size=4096, log_when_full="wait")
    writer, over = site.writer(), threading.Event()
    thread = threading.Thread(target=lambda: [writer.write() for _ in iter(lambda: over.wait(0.01), True)])
    thread.start()
    for _ in range(30):
        site.post([FLOWER] * 10)
        site.intake.drain()
    over.set()
    thread.join()
    assert site.counts()[:2] == [300, 0]


@pytest.mark.long
def test_rows_that_wait_in_vain(service, tmp_path):
    """After 10 seconds without a writer, rows are dropped and counted; once it takes some, they wait."""
    site = Site(service, tmp_path, size=4096, log_when_full="wait")
    writer = site.writer()
    for _ in range(30):
        site.post([FLOWER] * 10)
        site.intake.drain()
    put, dropped = site.counts()[:2]
    assert put + dropped == 300
    assert dropped > 0
    writer.write()
    site.post([FLOWER] * 10)
    site.intake.drain()
    writer.write()
    assert site.counts()[:2] == [put + 10, dropped]


def test_a_share(service, tmp_path):
    """A share of the rows is logged, close to it over any stretch, and the others are counted."""
    site = Site(service, tmp_path, log_share=0.3)
    for rows in (1, 999):
        for _ in range(1000 // rows):
            site.post([FLOWER] * rows)
        site.intake.drain()
        put, _, unchosen, _, _ = site.counts()
        assert abs(put / (put + unchosen) - 0.3) < 0.005
    assert put + unchosen == 1999


def test_columns_and_hashes(service, tmp_path):
    """Features that are not kept never leave the worker, and those to be hashed never reach the disk."""
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    settings = {"log_columns": ("city", "plan"), "log_hash": ("city",), "log_key": str(key)}
    site = Site(service, tmp_path / "log", **settings)
    site.post([PERSON], "people")
    site.intake.drain()
    [frame] = site.ring.frames()
    assert b"Bonn" in frame.payload
    assert b"2100" not in frame.payload
    writer = site.writer()
    writer.write()
    [path] = journals(tmp_path / "log")
    assert b"Bonn" not in path.read_bytes()
    writer.rotate(everything=True)
    site.finisher.work_off()
    [row] = logged(tmp_path / "log")
    assert (len(row["city"]), row["plan"]) == (32, "pro")
    assert {"age", "income"}.isdisjoint(row)


def test_nothing_is_logged(models):
    """With a share of 0 there is neither memory nor a process for it."""
    config = Config(models=str(models.path))
    assert Records.of(config, places=2).log is None
    service = Service(config)
    assert service._attendant is None
    assert not [each for each in service.consumers.intake._consumers if isinstance(each, Feeder)]


def test_a_folder_that_cannot_be_written(models, tmp_path):
    """A server whose log cannot be written to does not start, and says why."""
    (tmp_path / "log").write_text("no folder")
    with pytest.raises(ConfigError, match=r"cannot be written to .*log: .*(Not a directory|File exists)"):
        Service(Config.of(models=str(models.path), log_share=1.0, log_folder=str(tmp_path / "log")))
    program = [sys.executable, "-m", "unpickled", "serve", "--log-share", "1", "--log-folder", "log"]
    flags = ["--models", str(models.path), "--port", str(free_port())]
    completed = run([*program, *flags], cwd=tmp_path, env=environment())
    assert completed.returncode == 1
    assert completed.stderr.startswith("error: the payload log cannot be written to log")


def test_journals_that_no_part_can_be_made_of(service, tmp_path, caplog):
    """A damaged journal is put aside; one on which this program fails stays for another one to finish."""
    claim = Claim(str(tmp_path))
    site = Site(service, tmp_path)
    for name in ("iris", "people"):
        site.post([FLOWER] if name == "iris" else [PERSON], name)
    site.intake.drain()
    site.writer(claim.token).write()
    os.close(claim.descriptor)
    iris, people = sorted(journals(tmp_path))
    iris.write_bytes(b"x" * 100)
    content = people.read_bytes()
    schema = schema_of(people)
    Journal.begin(people, schema, 0.0).append([(0, Frame(8, 1, 0, 1, b"no row"))])
    other = Finisher(site.log, "bbbbbbbb", site.block)
    other._adopt()
    assert "journals of another server cannot be finished" in caplog.text
    assert {*journals(tmp_path)} == {iris.with_suffix(".damaged"), people}
    people.write_bytes(content)
    Finisher(site.log, "cccccccc", site.block)._adopt()
    assert [row["_model"] for row in logged(tmp_path)] == ["people"]


@pytest.mark.parametrize("place", [0, 3, 4, 12, 30])
@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_damaged_frame(service, tmp_path, caplog, place, is_resumed):
    """A journal with a damaged frame amid others is finished as far as it goes, once, and kept."""
    site = Site(service, tmp_path)
    writer, starts = site.writer(), []
    for _ in range(4):
        starts += [path.stat().st_size for path in journals(tmp_path)]
        site.post([FLOWER])
        site.intake.drain()
        tail = site.ring._ends[1]
        writer.write()
    [path] = journals(tmp_path)
    content = bytearray(path.read_bytes())
    content[starts[0] + place] ^= 0x80
    path.write_bytes(content)
    if is_resumed:
        # Its writer died before it took the last frame out of the ring.
        site.ring._ends[1] = tail
        writer = site.writer()
        writer.write()
    writer.rotate(everything=True)
    site.finisher.work_off()
    rows = {row["_prediction_id"] for row in logged(tmp_path)}
    assert len(logged(tmp_path)) == len(rows) == (1 + is_resumed if place < 4 else 3)
    assert journals(tmp_path) == [path.with_suffix(".damaged")]
    assert path.with_suffix(".damaged").read_bytes() == content
    assert "bytes of a journal cannot be read" in caplog.text


def test_what_another_server_has_left(service, tmp_path):
    """The journals of a server that has ended are finished by another; those of one that lives are not."""
    claim = Claim(str(tmp_path))
    site = Site(service, tmp_path)
    site.post([FLOWER])
    site.intake.drain()
    site.writer(claim.token).write()
    other = Finisher(site.log, "bbbbbbbb", site.block)
    other._adopt()
    assert len(journals(tmp_path)) == 1
    os.close(claim.descriptor)
    other._adopt()
    assert journals(tmp_path) == [*(tmp_path / ".servers").iterdir()] == []
    assert len(logged(tmp_path)) == 1


def test_what_is_killed_loses_what_is_counted(models, tmp_path):
    """Writers and workers are killed under load: the rows in the files and those counted are all."""
    flags = (*LOGGING, "--log-rotate-rows", "500", "--workers", "2")
    with serving(tmp_path, *flags, models=models.path) as server, Traffic(server, 4, 0.001) as traffic:
        for victims in (server.writers, server.workers, server.writers):
            before = len(traffic.ids)
            eventually(lambda before=before: len(traffic.ids) > before + 300)
            eventually(lambda victims=victims: victims())
            os.kill(victims()[0], signal.SIGKILL)
        before = len(traffic.ids)
        eventually(lambda: len(traffic.ids) > before + 300 and len(server.workers()) == 2)
        traffic.__exit__()
        eventually(lambda: settled(server))
        rows = fates(server)
        end(server.process)
        ids = [row["_prediction_id"] for row in logged(tmp_path / "log")]
        assert len(ids) == len({*ids}) == rows["written"]
        assert len({*traffic.ids} - {*ids}) <= rows["lost"] + rows["dropped"]
        assert not journals(tmp_path / "log")


def test_a_server_that_ends_at_once(models, tmp_path):
    """A server that ends before its writer has begun writes what it has answered."""
    with serving(tmp_path, *LOGGING, models=models.path) as server:
        assert server.ask("/models/iris/predict", GOOD)[0] == 200
        end(server.process)
        assert len(logged(tmp_path / "log")) == 1


@pytest.mark.long
def test_a_server_that_is_killed(models, tmp_path):
    """The rows of a server that was killed are written all the same, or by the next one."""
    with serving(tmp_path, *LOGGING, models=models.path) as server:
        for _ in range(5):
            server.ask("/models/iris/predict", GOOD)
        eventually(lambda: fates(server)["written"] == 5)
        processes = server.children()
        halt(server.writers()[0])
        server.process.kill()
        eventually(lambda: not any(map(lives, processes)) or lives_alone(processes))
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.process.wait()
    assert len(journals(tmp_path / "log")) == 1
    with serving(tmp_path, *LOGGING, models=models.path):
        eventually(lambda: len(logged(tmp_path / "log")) == 5)
        # A journal is removed after its file is there.
        eventually(lambda: not journals(tmp_path / "log"), 60)


@pytest.mark.long
def test_the_writer_outlives_its_server(models, tmp_path):
    """When the main process is killed, the writer writes what is left, and ends."""
    with serving(tmp_path, *LOGGING, models=models.path) as server:
        for _ in range(5):
            server.ask("/models/iris/predict", GOOD)
        eventually(lambda: fates(server)["written"] == 5)
        processes = server.children()
        server.process.kill()
        eventually(lambda: not any(map(lives, processes)))
        assert len(logged(tmp_path / "log")) == 5
        assert not journals(tmp_path / "log")


def test_a_full_disk(models, tmp_path):
    """While the disk takes nothing, requests go on and rows wait; then they are written, each once."""
    with serving(tmp_path, *LOGGING, models=models.path) as server:
        server.ask("/models/iris/predict", GOOD)
        eventually(lambda: fates(server)["written"] == 1)
        [writer] = server.writers()
        [path] = journals(tmp_path / "log")
        unlimited = resource.prlimit(writer, resource.RLIMIT_FSIZE)
        resource.prlimit(writer, resource.RLIMIT_FSIZE, (path.stat().st_size + 100, unlimited[1]))
        for _ in range(20):
            server.ask("/models/iris/predict", GOOD)
        eventually(lambda: "the payload log cannot be written (File too large)" in server.printed())
        # A row is in the ring before its worker has counted it.
        eventually(lambda: fates(server)["log_rows_waiting"] > 0, 60)
        resource.prlimit(writer, resource.RLIMIT_FSIZE, unlimited)
        eventually(lambda: "the payload log is written again" in server.printed())
        eventually(lambda: fates(server)["written"] == 21)
        end(server.process)
        assert len({row["_prediction_id"] for row in logged(tmp_path / "log")}) == 21


def blocked(folder: Path) -> Path:
    """A folder of a model in which no file can be finished: plain files are where its days belong."""
    home = folder / "iris"
    home.mkdir(parents=True)
    for day in range(2):
        date = datetime.now(UTC).date() + timedelta(days=day)
        (home / f"date={date.isoformat()}").write_text("no folder")
    return home


def disk(server: Serving) -> dict[str, float]:
    """The metrics of the disk and the files, by name."""
    found = re.findall(r"(?m)^unpickled_log_(\w+) (\S+)$", exposed(server))
    return {"failing": 0.0} | {name: float(count) for name, count in found}


def test_files_that_cannot_be_finished(models, tmp_path):
    """While no file can be finished, metrics tell; later all rows are in files."""
    home = blocked(tmp_path / "log")
    with serving(tmp_path, *LOGGING, "--log-rotate-rows", "3", models=models.path) as server:
        for _ in range(9):
            server.ask("/models/iris/predict", GOOD)
        eventually(lambda: disk(server)["failing"] == 1 and disk(server)["failures_total"] > 0)
        assert fates(server)["written"] > 0
        assert disk(server)["parts_total"] == 0
        for path in home.glob("date=*"):
            path.unlink()
        eventually(lambda: disk(server)["failing"] == 0 and disk(server)["parts_total"] > 0)
        end(server.process)
        assert len(logged(tmp_path / "log")) == 9


def complete(service: Service, tmp_path: Path) -> Site:
    """A site with a complete journal of iris, and one of people behind it."""
    site = Site(service, tmp_path)
    writer = site.writer()
    for name, row in (("iris", FLOWER), ("people", PERSON)):
        site.post([row], name)
        site.intake.drain()
        writer.write()
        writer.rotate(everything=True)
    return site


def test_one_model_holds_up_no_other(service, tmp_path):
    """While no file of one model can be finished, those of others are."""
    blocked(tmp_path)
    site = complete(service, tmp_path)
    site.finisher.start()
    eventually(lambda: [row["_model"] for row in logged(tmp_path)] == ["people"])
    assert site.finisher.is_failing
    assert site.finisher.end(time.monotonic() + 60) == len(journals(tmp_path)) == 1


def test_a_removed_journal(service, tmp_path, caplog):
    """A journal that somebody has removed is left out with an error, and holds up nothing."""
    site = complete(service, tmp_path)
    shutil.rmtree(tmp_path / "iris")
    site.finisher.start()
    assert site.finisher.end(time.monotonic() + 60) == 0
    assert [row["_model"] for row in logged(tmp_path)] == ["people"]
    assert "journal was removed before it was finished: its rows are lost" in caplog.text
    assert not site.finisher.is_failing


def test_an_open_journal_that_is_removed(service, tmp_path, caplog):
    """The rows that come after that get a journal of their own."""
    site = Site(service, tmp_path)
    writer = site.writer()
    for _ in range(2):
        shutil.rmtree(tmp_path / "iris", ignore_errors=True)
        identity = site.post([FLOWER])
        site.intake.drain()
        writer.write()
    assert "was removed while it was open: its 1 rows are lost" in caplog.text
    writer.rotate(everything=True)
    site.finisher.work_off()
    assert [row["_prediction_id"] for row in logged(tmp_path)] == [identity]


def test_old_files_are_removed_while_none_can_be_finished(service, tmp_path):
    """The folder is looked after between two attempts, too."""
    home = blocked(tmp_path)
    site = Site(service, tmp_path)
    site.post([FLOWER])
    site.intake.drain()
    writer = site.writer()
    writer.write()
    writer.rotate(everything=True)
    old = home / "date=2020-01-01" / "a.parquet"
    old.parent.mkdir()
    old.write_text("")
    os.utime(old, (0, 0))
    site.finisher.start()
    eventually(lambda: not old.exists() and site.finisher.is_failing)
    assert site.finisher.end(time.monotonic() + 60) == len(journals(tmp_path)) == 1


def test_journals_that_have_all_the_room(models, tmp_path):
    """Where journals that cannot be finished have all the room, rows wait as for a full disk."""
    home = blocked(tmp_path / "log")
    (home / ".open").mkdir()
    (home / ".open" / "zzzzzzzz-1.journal").write_bytes(b"x" * 1_048_576)
    flags = ("--log-rotate-rows", "3", "--log-keep-bytes", "1048576")
    with serving(tmp_path, *LOGGING, *flags, models=models.path) as server:
        for _ in range(3):
            server.ask("/models/iris/predict", GOOD)
        eventually(lambda: disk(server)["failing"] == 1)
        server.ask("/models/iris/predict", GOOD)
        eventually(lambda: "written (journals that cannot be finished have more than" in server.printed())
        eventually(lambda: fates(server)["log_rows_waiting"] == 1)
        for path in home.glob("date=*"):
            path.unlink()
        eventually(lambda: fates(server)["written"] == 4 and disk(server)["failing"] == 0)


def test_one_process(models, tmp_path):
    """An application in a process of its own has its own writer, which writes what is left at its end."""
    (tmp_path / "key").write_text("0123456789abcdef")
    settings = {"models": str(models.path), "log_share": 1.0, "log_hash": ["petal_width"], "log_key": "key"}
    program = f"""
from unpickled import Config, create_app
client = create_app(Config.of(**{settings}, shutdown_timeout=600)).test_client()
for _ in range(7):
    assert client.post("/models/iris/predict", json={{"features": {FLOWER}}}).status_code == 200
"""
    completed = run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, env=environment())
    assert (completed.returncode, completed.stderr) == (0, "")
    assert [len(row["petal_width"]) for row in logged(tmp_path / "log")] == [32] * 7
    assert not journals(tmp_path / "log")


def lives(pid: int) -> bool:
    """Whether a process runs."""
    return bool(command_line(pid))


def lives_alone(processes: list[int]) -> bool:
    """Whether the writer is the only one that runs."""
    return all(b"payloads.writer" in command_line(pid) for pid in processes if lives(pid))
