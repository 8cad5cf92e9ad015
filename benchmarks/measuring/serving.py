"""A server of the catalogue with a fitted pipeline: its places, and the process until the block ends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring.pipelines import Fitted
from benchmarks.servers import process
from benchmarks.servers.catalogue import Entry, Places, own_bin
from benchmarks.servers.ports import free_ports
from benchmarks.servers.process import Server
from benchmarks.traffic.contracts import CONTRACTS


def places(
    fitted: Fitted, folder: Path, work: Path, programs: Path | None = None, models: Path | None = None
) -> Places:
    """Free ports, and the files of a pipeline.

    Args:
        fitted: The pipeline.
        folder: The folder for files of the server; it is made.
        work: The folder for files of the whole run.
        programs: The folder of its programs; by default that of this environment.
        models: The folder that it serves; by default that of the pipeline.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, *spare = free_ports(4)
    return Places(
        bin=programs or own_bin(), folder=folder, work=work, models=models or fitted.models,
        pickle=fitted.pickle, onnx=fitted.onnx, port=port, spare=tuple(spare),
    )  # fmt: skip


@contextmanager
def serving(
    entry: Entry, placed: Places, fitted: Fitted, core: int | None, flags: Sequence[str] = ()
) -> Iterator[Server]:
    """A server that has answered its first row; ``flags`` are more of its own. Raises BenchmarkError."""
    contract = CONTRACTS[entry.contract]
    command = [*entry.started(placed), *flags]
    log = placed.folder / "log"
    with process.running(command, entry.variables(placed), core, placed.port, log) as server:
        process.wait(server, contract.path, contract.request(fitted.rows[:1]))
        yield server
