"""A target of the generators: a server, and the rows of a fitted pipeline as the bodies for it."""

from pathlib import Path

from benchmarks.measuring.generators import Target
from benchmarks.measuring.pipelines import Fitted
from benchmarks.servers.process import Server
from benchmarks.traffic.contracts import CONTRACTS

BODIES = 2000


def target(server: Server, contract: str, fitted: Fitted, size: int = 1) -> Target:
    """``size`` rows in each request; Locust compares all answers with scikit-learn's."""
    flags = ("--contract", contract, "--sample", str(fitted.sample))
    host = f"http://127.0.0.1:{server.port}"
    return Target(host, CONTRACTS[contract].path, _bodies(contract, fitted, size), flags)


def _bodies(contract: str, fitted: Fitted, size: int) -> Path:
    """A file with a body of ``size`` rows per line, all different; written once."""
    file = fitted.pickle.with_name(f"{contract}-{size}.txt")
    if not file.exists():
        rows, request = fitted.rows, CONTRACTS[contract].request
        starts = range(0, min(BODIES, len(rows) // size) * size, size)
        file.write_bytes(b"\n".join(request(rows[at : at + size]) for at in starts))
    return file
