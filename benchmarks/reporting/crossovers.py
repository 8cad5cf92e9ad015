"""The size of a batch from which scikit-learn is faster."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import units
from benchmarks.reporting.figures import Figures
from benchmarks.results import UNPICKLED, Batch, Compute


@dataclass(frozen=True)
class Crossover:
    """The other is faster with ``rows`` and more, not yet with ``below``; ``most`` is the largest batch.

    ``rows`` is None where the other is not faster; ``server`` is its title, or "" for the library.
    """

    rows: float | None
    below: float | None
    most: float
    server: str = ""

    def __str__(self) -> str:
        if self.rows is None:
            return f"none up to {rows(self.most)}"
        server = f" ({self.server})" if self.server else ""
        if self.below is None:
            return f"from {rows(self.rows)} on{server}"
        return f"between {units.number(self.below)} and {rows(self.rows)}{server}"


def rows(count: float) -> str:
    """A number of rows, in words."""
    return f"{units.number(count)} row" + ("" if count == 1 else "s")


def computing(figures: Figures, model: str) -> list[tuple[float, float, float]]:
    """(rows, time of ONNX Runtime, time of scikit-learn) of one call in process; times in us."""
    calls = []
    for at in figures.points(Compute, model):
        onnxruntime = figures.middle(Compute, "us", model, "onnxruntime", at)
        sklearn = figures.middle(Compute, "us", model, "scikit-learn", at)
        if onnxruntime and sklearn and at:
            calls.append((float(at), onnxruntime, sklearn))
    return calls


def compute_crossover(figures: Figures, model: str) -> Crossover | None:
    """The batch from which scikit-learn is faster than ONNX Runtime, in process."""
    return crossover([(size, sklearn < onnx, "") for size, onnx, sklearn in computing(figures, model)])


def batch_crossover(figures: Figures, model: str) -> Crossover | None:
    """The batch from which the fastest server with scikit-learn beats Unpickled, over HTTP and JSON."""
    points = []
    for at in figures.points(Batch, model, UNPICKLED):
        unpickled = figures.middle(Batch, "rows_per_s", model, UNPICKLED, at) or 0
        rates = {
            figures.title(name): figures.middle(Batch, "rows_per_s", model, name, at) or 0
            for name in figures.rivals(model, Batch)
            if figures.server(name).artifact == "pickle"
        }
        fastest = max(rates, key=lambda name: rates[name], default="")
        if fastest and at:
            points.append((float(at), rates[fastest] > unpickled, fastest))
    return crossover(points)


def crossover(points: Sequence[tuple[float, bool, str]]) -> Crossover | None:
    """The size from which the other stays faster; points are (rows, is the other faster, its title)."""
    if not points:
        return None
    ahead = 0
    while ahead < len(points) and points[-1 - ahead][1]:
        ahead += 1
    most = points[-1][0]
    if not ahead:
        return Crossover(None, None, most)
    first = len(points) - ahead
    return Crossover(points[first][0], points[first - 1][0] if first else None, most, points[first][2])
