"""Batch jobs on Ray, Spark and Dask: the same files as on one machine, also where a process is killed."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BIN, FLOWERS, environment, eventually, free_port, run, started

from unpickled.server.batch.engines import address, registry
from unpickled.server.batch.engines.outcome import Orders, score
from unpickled.server.batch.task import Part, Task
from unpickled.server.errors import ServingError

PARTS, ROWS = 20, 20_000
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
        if pid != driver and reads(pid, folder):
            os.kill(pid, signal.SIGSTOP)
            if reads(pid, folder):
                return [pid]
            os.kill(pid, signal.SIGCONT)
    return []


@pytest.mark.long
@pytest.mark.parametrize("engine", ["ray", "spark", "dask"])
def test_a_killed_process(engine, models, big, tmp_path):
    """Every row is answered or refused once where a process is killed in the middle of a part."""
    expected, out = tmp_path / "local", tmp_path / "out"
    assert run(command(models, big, expected)).returncode == 0
    with ray_nodes() if engine == "ray" else nullcontext([]) as options:
        flags = ["--engine", engine, "--workers", "2", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        job = command(models, big, out, *flags)
        with started(job, env=environment(**LOOPBACK), **pipes) as process:
            victims = []
            eventually(lambda: written(out) or process.poll() is not None)
            eventually(
                lambda: victims.extend(stopped(big, process.pid)) or victims or process.poll() is not None
            )
            os.kill(victims[0], signal.SIGKILL)
            output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert output.startswith(f"{PARTS * (ROWS - 1):,} rows scored by iris version 1: {PARTS} parts")
    assert f"{PARTS} rows refused" in output
    assert written(out) == written(expected)
    assert "20 of them earlier" in run(command(models, big, out)).stdout


@pytest.mark.long
@pytest.mark.parametrize("engine", ["ray", "spark", "dask"])
def test_a_table_that_cannot_be_read(engine, models, big, tmp_path):
    """The error of a part is one sentence that names the part, and the machine that had it."""
    (tmp_path / "part.csv").write_text("id,sepal_length\n1,2\n")
    completed = run(command(models, tmp_path, tmp_path / "out", "--engine", engine))
    assert completed.returncode == 1
    error = completed.stderr.splitlines()[-1]
    assert error.startswith("error: ")
    assert f"{tmp_path}/part.csv" in error
    assert f"(on node {socket.gethostname()})" in error
    assert "Traceback" not in completed.stderr


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


def orders(models, big, tmp_path, **changes):
    """The orders for a job of one part."""
    data = (models.path / "iris" / "1" / "model.onnx").read_bytes()
    facts = {
        "model": str(models.path / "iris" / "1" / "model.onnx"),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    task = Task(**({"name": "iris", "version": 1} | facts | changes.pop("task", {})))
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
