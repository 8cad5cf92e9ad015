"""From which size of a batch on scikit-learn catches up."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import units
from benchmarks.reporting.figures import Figures
from benchmarks.results import OURS, Batch, Compute


def computing(figures: Figures, model: str) -> list[tuple[float, float, float]]:
    """Rows, and for one call with so many the time (us) of ONNX Runtime and of scikit-learn."""
    found = []
    for at in figures.points(Compute, model):
        ours = figures.middle(Compute, "us", model, "onnxruntime", at)
        theirs = figures.middle(Compute, "us", model, "scikit-learn", at)
        if ours and theirs and at:
            found.append((float(at), ours, theirs))
    return found


@dataclass(frozen=True)
class Crossover:
    """The other is faster from ``rows`` on, not yet with ``below``; no more than ``most`` were measured."""

    rows: float | None
    below: float | None
    most: float
    server: str = ""

    def __str__(self) -> str:
        if self.rows is None:
            return f"no crossover up to {units.number(self.most)} rows"
        who = self.server or "scikit-learn"
        if self.below is None:
            return f"{who} is faster from {rows(self.rows)} on"
        return f"{who} catches up between {units.number(self.below)} and {units.number(self.rows)} rows"


def rows(count: float) -> str:
    return f"{units.number(count)} row" + ("" if count == 1 else "s")


def compute_crossover(figures: Figures, model: str) -> Crossover | None:
    """Where scikit-learn catches up with ONNX Runtime, in process."""
    points = [(size, theirs < ours, "") for size, ours, theirs in computing(figures, model)]
    return crossover(points)


def batch_crossover(figures: Figures, model: str) -> Crossover | None:
    """Where the first server with scikit-learn in it catches up with Unpickled, through HTTP and JSON."""
    points = []
    for at in figures.points(Batch, model, OURS):
        ours = figures.middle(Batch, "rows_per_s", model, OURS, at) or 0
        theirs = {
            figures.title(name): figures.middle(Batch, "rows_per_s", model, name, at) or 0
            for name in figures.others(model, Batch)
            if figures.server(name).artifact == "pickle"
        }
        best = max(theirs, key=lambda name: theirs[name], default="")
        if best and at:
            points.append((float(at), theirs[best] > ours, best))
    return crossover(points)


def crossover(points: Sequence[tuple[float, bool, str]]) -> Crossover | None:
    """The size after which the other stays ahead; points are (rows, whether the other is ahead, who)."""
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
