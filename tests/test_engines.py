"""Batch jobs on Ray, Spark and Dask: the same files as on one machine, also where a process is killed."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BIN, FLOWERS, environment, eventually, free_port, halt, run, started

from unpickled.__main__ import main
from unpickled.server.batch.engines import address, registry, sight
from unpickled.server.batch.engines.outcome import Orders, score
from unpickled.server.batch.log.beginning import begun
from unpickled.server.batch.task import Part, Task
from unpickled.server.batch.worker import Worker
from unpickled.server.config import Log
from unpickled.server.errors import ServingError

PARTS, ROWS = 10, 40_000
# Ray's nodes would listen on every address of the machine.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
# Two nodes with a processor each, until the standard input ends.
NODES = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": 1, "object_store_memory": 80_000_000, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
cluster.add_node(**node)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


# A worker of Dask in one process, which nothing replaces.
LONELY = ["--no-nanny", "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard"]
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
# The command, which waits for a worker of Dask for seconds, not minutes.
IMPATIENT = """
import sys
from unpickled.__main__ import main
from unpickled.server.batch.engines import dask
dask.PATIENCE = 6.0
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A folder of tables, each with a row that is refused."""
    folder = tmp_path_factory.mktemp("tables") / "big"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(PARTS):
        table = pd.DataFrame(generator.uniform(0.1, 7, (ROWS, 4)).round(1), columns=FLOWERS)
        table.loc[number, "petal_width"] = np.nan
        table.insert(0, "id", range(number * ROWS, (number + 1) * ROWS))
        table.to_csv(folder / f"part-{number:02}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def expected(models, big, tmp_path_factory):
    """The files that this machine alone writes."""
    out = tmp_path_factory.mktemp("local")
    assert main([*map(str, command(models, big, out)[1:])]) == 0
    return written(out)


def command(models, big, out, *options):
    flags = ["--out", out, "--only", "id", "--models", models.path, *options]
    return [BIN / "unpickled", "predict", "iris", f"{big}/*.csv", *flags]


@contextmanager
def ray_nodes():
    """The options for a cluster of two nodes, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-c", NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(**LOOPBACK),
        start_new_session=True,
    ) as process:
        # At the end of the block, its input ends.
        yield ["--engine-address", process.stdout.readline().strip()]


@pytest.fixture(scope="module", params=["ray", "spark", "dask"])
def engine(request):
    """The options of an engine with two processes: Ray's are two nodes, the others start on this machine."""
    with ray_nodes() if request.param == "ray" else nullcontext([]) as options:
        yield ["--engine", request.param, "--workers", "2", *options]


@contextmanager
def scheduler():
    """The address of a scheduler of Dask without a worker, and its process."""
    port = free_port()
    words = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    with started([BIN / "dask", "scheduler", *words], **SILENT) as process:
        eventually(lambda: listens(port) or process.poll() is not None)
        yield f"tcp://127.0.0.1:{port}", process


def listens(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def under_way(job, out, folder):
    """A job whose first part is done, and the id of its process that is stopped in the middle of another."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    while True:
        with started(job, env=environment(**LOOPBACK), **pipes) as process:
            eventually(lambda: written(out) or process.poll() is not None)
            if pids := caught(folder, process):
                yield process, pids[0]
                return
            _, errors = process.communicate()
        # It was faster than this process: once more.
        assert process.returncode == 0, errors
        shutil.rmtree(out)


def written(out):
    """The content of every file of answers, of refused rows too, by its name."""
    paths = [path for path in Path(out).rglob("*") if path.is_file() and not path.name.startswith("_")]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def reads(pid, folder):
    """Whether a process has a file of the folder open."""
    try:
        links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return any(link.startswith(f"{folder}/") for link in links)


def stopped(folder, driver):
    """A process of the job, stopped in the middle of a part; none if all are between two parts."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        # One that has ended meanwhile is none.
        with suppress(ProcessLookupError):
            if pid != driver and reads(pid, folder):
                halt(pid)
                if reads(pid, folder):
                    return [pid]
                os.kill(pid, signal.SIGCONT)
    return []


def caught(folder, process):
    """The id of a process of the job, stopped in the middle of a part; none if the job has ended before."""
    pids = []
    eventually(lambda: pids.extend(stopped(folder, process.pid)) or pids or process.poll() is not None)
    return pids


@pytest.mark.long
def test_a_killed_process(engine, models, big, expected, tmp_path, capsys):
    """Every row is answered or refused once where a process is killed in the middle of a part."""
    out = tmp_path / "out"
    with under_way(command(models, big, out, *engine), out, big) as (process, victim):
        os.kill(victim, signal.SIGKILL)
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output.startswith(f"{PARTS * (ROWS - 1):,} rows scored by iris version 1: {PARTS} parts")
    assert f"{PARTS} rows refused" in output
    assert written(out) == expected
    assert main([*map(str, command(models, big, out)[1:])]) == 0
    assert f"{PARTS} of them earlier" in capsys.readouterr().out


@pytest.mark.long
def test_a_table_that_cannot_be_read(engine, models, tmp_path):
    """The error of a part is one sentence that names the part, and the machine that had it."""
    (tmp_path / "part.csv").write_text("id,sepal_length\n1,2\n")
    completed = run(command(models, tmp_path, tmp_path / "out", *engine), env=environment(**LOOPBACK))
    assert completed.returncode == 1
    error = completed.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert f"{tmp_path}/part.csv" in error
    assert f"(on node {socket.gethostname()})" in error
    assert "Traceback" not in completed.stderr


@pytest.mark.long
def test_an_interrupt(models, big, expected, tmp_path):
    """Ctrl-C, which all processes of a terminal get, ends the job; this machine alone goes on with it."""
    out = tmp_path / "out"
    job = command(models, big, out, "--engine", "dask", "--workers", "2")
    with under_way(job, out, big) as (process, victim):
        os.killpg(process.pid, signal.SIGINT)
        os.kill(victim, signal.SIGCONT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "the same command goes on with the others" in errors
    assert "Traceback" not in errors
    assert main([*map(str, command(models, big, out)[1:])]) == 0
    assert written(out) == expected


@pytest.mark.long
def test_a_killed_scheduler(models, big, expected, tmp_path):
    """A job whose cluster is gone ends with a sentence; what it has scored is kept."""
    out = tmp_path / "out"
    with scheduler() as (address, killed), started([BIN / "dask", "worker", *LONELY, address], **SILENT):
        job = command(models, big, out, "--engine", "dask", "--engine-address", address)
        with under_way(job, out, big) as (process, victim):
            killed.kill()
            _, errors = process.communicate()
            os.kill(victim, signal.SIGKILL)
    assert process.returncode == 1, errors
    assert "the cluster is gone, or has cancelled it" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert main([*map(str, command(models, big, out)[1:])]) == 0
    assert written(out) == expected


@pytest.mark.long
def test_no_worker(models, big, tmp_path):
    """A cluster without a worker is waited for, though not for ever."""
    with scheduler() as (address, _):
        job = command(models, big, tmp_path, "--engine", "dask", "--engine-address", address)
        completed = run([sys.executable, "-c", IMPATIENT, *job[1:]])
    assert completed.returncode == 1
    assert f"the Dask cluster at {address} has no worker: start one" in completed.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("engine", "scheme"),
    [("ray", ""), ("spark", "spark://"), ("dask", "tcp://")],
    ids=["ray", "spark", "dask"],
)
def test_nothing_listens(engine, scheme, models, big, tmp_path):
    """Where no cluster is, the command says so at once."""
    place = f"{scheme}127.0.0.1:{free_port()}"
    completed = run(command(models, big, tmp_path, "--engine", engine, "--engine-address", place))
    assert completed.returncode == 1
    start = f"error: no {engine.capitalize()} cluster can be reached at {place}: connection refused: start it"
    assert completed.stderr.splitlines()[-1].startswith(start)


def test_addresses():
    """An address that is none is told apart from one where nothing listens; one of several will do."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        address.check(f"tcp://127.0.0.1:{port}", "Dask", "tcp://10.0.0.1:8786")
        address.check(f"spark://127.0.0.1:{free_port()},127.0.0.1:{port}", "Spark", "spark://10.0.0.1:7077")
    with pytest.raises(
        ServingError, match=r"at 10.0.0.1: '10.0.0.1' is not a host and a port: .* such as x:1$"
    ):
        address.check("10.0.0.1", "Ray", "x:1")


def test_a_missing_library(monkeypatch):
    """An engine whose library is missing says what to install."""
    monkeypatch.delitem(sys.modules, "unpickled.server.batch.engines.dask", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(
        ServingError, match=r"^the engine dask needs distributed: pip install 'unpickled\[dask\]'$"
    ):
        registry.chosen("dask", None, None, {})


def task_of(models, **changes):
    """A job of the flowers' model."""
    path = models.path / "iris" / "1" / "model.onnx"
    facts = {"model": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    return Task(**({"name": "iris", "version": 1} | facts | changes))


def orders(models, big, tmp_path, **changes):
    """The orders for a job of one part."""
    task = task_of(models, **changes.pop("task", {}))
    paths = {"source": f"{big}/part-00.csv", "target": f"{tmp_path}/a.csv", "refused": f"{tmp_path}/r.jsonl"}
    return Orders(task, [Part(**(paths | {"size": 1} | changes))])


def outcomes(ordered):
    """The texts that the processes of a cluster send back."""
    return (score(part, ordered.task) for part in ordered.parts)


def test_a_part_from_a_folder(models, big, tmp_path, monkeypatch):
    """Paths that are relative to the driver's folder are found by a process with another one."""
    monkeypatch.chdir(big)
    ordered, rows = orders(models, big, tmp_path, source="part-00.csv"), []
    monkeypatch.chdir(tmp_path)
    [result] = ordered.settled(outcomes(ordered), rows.append)
    assert (result.part.source, result.rows, result.refused, rows) == ("part-00.csv", ROWS - 1, 1, [ROWS])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": "/nowhere/a.csv"}, "^/nowhere/a.csv is not there: every node must see the same files"),
        ({"task": {"model": "/nowhere"}}, "^/nowhere is not there: every node must see the same files"),
        ({"task": {"sha256": "0" * 64}}, "is not the file of version 1 of iris"),
    ],
    ids=["source", "model", "digest"],
)
def test_a_node_with_other_files(changes, sentence, models, big, tmp_path):
    """A node that does not see the same files refuses, and the error names it."""
    ordered = orders(models, big, tmp_path, **changes)
    with pytest.raises(ServingError, match=rf"{sentence}.*\(on node {socket.gethostname()}\)$"):
        list(ordered.settled(outcomes(ordered), print))
    assert not (tmp_path / "a.csv").exists()


def test_a_node_with_another_release(models, big, tmp_path):
    """A node with another release of the package refuses: its answers may be written otherwise."""
    ordered = orders(models, big, tmp_path)
    ordered.task = ordered.task.replace('"release":"', '"release":"9')
    with pytest.raises(
        ServingError, match=r"and the job was started with 9.*: install the same release on every"
    ):
        list(ordered.settled(outcomes(ordered), print))


def logging(folder):
    """The logging of a job, and a part of it with paths that are relative to the folder."""
    logged = begun(str(folder / "out"), Log(log_folder=str(folder / "log")))
    return logged, Part(source="part.csv", target="out/part.csv", refused="out/refused.jsonl", size=1)


def test_ids_of_a_part(models, big, tmp_path, monkeypatch):
    """A part that was logged here and is scored again on a cluster, keeps its ids and its file of the log."""
    shutil.copy(big / "part-00.csv", tmp_path / "part.csv")
    monkeypatch.chdir(tmp_path)
    logged, part = logging(tmp_path)
    task = task_of(models, logged=logged)
    Worker(task).score(part)
    before = written(tmp_path)
    ordered = Orders(task, [part])
    assert len(list(ordered.settled(outcomes(ordered), print))) == 1
    after = written(tmp_path)
    assert after == before
    assert any(name.endswith(".parquet") for name in after)


def test_a_node_without_the_log(tmp_path):
    """A node whose folder of the payload log is another one refuses: its rows would not be in the log."""
    logged, _ = logging(tmp_path)
    with pytest.raises(ServingError, match=r"/log is not the payload log of the job here: every node must"):
        sight.check_log(logged, late=0)
    with sight.shown(logged):
        sight.check_log(logged, late=0)
    assert list((tmp_path / "log").iterdir()) == []


def test_a_log_is_a_folder(models, big, tmp_path, capsys):
    """An address is refused: a folder of that name would be made here."""
    words = command(models, big, tmp_path, "--log", "s3://bucket/log")[1:]
    assert main([*map(str, words)]) == 2
    assert "--log is a folder of this machine, not s3://bucket/log" in capsys.readouterr().err


def test_signatures(models, big, tmp_path, capsys):
    """Where signatures are required, no engine starts for a file without one, in a models folder or alone."""
    assert main(["sign", "--new-key", str(tmp_path / "key.pem")]) == 0
    (tmp_path / "settings.toml").write_text(f'require_signature = "{tmp_path}/key.pub"\n')
    alone = shutil.copy(models.path / "iris" / "1" / "model.onnx", tmp_path)
    options = ["--config", str(tmp_path / "settings.toml"), "--models", str(models.path), "--engine", "dask"]
    for name in ("iris", alone):
        words = ["predict", name, f"{big}/*.csv", "--out", str(tmp_path / "out"), *options]
        assert main(words) == 1
        assert "it has no signature, and one is required" in capsys.readouterr().err
