"""The most requests that a server answers, and their CPU time."""

from dataclasses import dataclass

from benchmarks.measuring import generators
from benchmarks.measuring.generators import Load, Target
from benchmarks.servers.process import Server


@dataclass(frozen=True)
class Saturation:
    """The result of a closed loop; ``cpu_us`` is the time of all processes of the server, per request."""

    load: Load
    cpu_us: float


def saturated(server: Server, generator: str, target: Target, seconds: float, connections: int) -> Saturation:
    """A closed loop of ``seconds``, after one that warms up; BenchmarkError if a request fails."""
    generators.closed_loop(generator, target, 1.0, connections)
    before = server.cpu_seconds()
    load = generators.closed_loop(generator, target, seconds, connections)
    cpu_s = server.cpu_seconds() - before
    return Saturation(load, round(1e6 * cpu_s / load.requests, 2))
