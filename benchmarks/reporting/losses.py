"""Every figure in which another server, or scikit-learn, is better than Unpickled."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import units
from benchmarks.reporting.crossovers import computing
from benchmarks.reporting.figures import METRICS, P99, At, Figure, Figures, Metric
from benchmarks.results import UNPICKLED, Compute, Latency


@dataclass(frozen=True)
class Loss:
    """One such figure. ``overlap`` says whether the ranges of the repetitions do; None without a range.

    ``factor`` is the worse median divided by the better one; None where the better one is zero.
    """

    title: str
    model: str
    server: str
    other: str
    unpickled: str
    factor: float | None
    overlap: bool | None = None


def losses(figures: Figures) -> list[Loss]:
    """Every loss, by figure, model and server. The floor does nothing, so it is not compared."""
    return [*_slower(figures), *_failing(figures), *_larger(figures), *_computing(figures)]


def _slower(figures: Figures) -> Iterator[Loss]:
    for metric in METRICS:
        for model in figures.models(metric.measure):
            for at in figures.points(metric.measure, model, UNPICKLED):
                for server in figures.rivals(model, metric.measure):
                    yield from _lost(figures, metric, model, server, at)


def _lost(figures: Figures, metric: Metric, model: str, server: str, at: At) -> Iterator[Loss]:
    unpickled, other = figures.of(metric, model, UNPICKLED, at), figures.of(metric, model, server, at)
    if not unpickled or not other or not metric.better(other, unpickled):
        return
    ranges = unpickled.low < unpickled.high or other.low < other.high
    yield Loss(
        title=figures.title_at(metric, model, at),
        model=model,
        server=figures.title(server),
        other=_text(figures, metric, model, server, at),
        unpickled=_text(figures, metric, model, UNPICKLED, at),
        factor=_factor(unpickled, other),
        overlap=unpickled.overlaps(other) if ranges else None,
    )


def _text(figures: Figures, metric: Metric, model: str, server: str, at: At) -> str:
    note = figures.failed_note(model, server, at) if metric.measure is Latency else ""
    return metric.text(figures.of(metric, model, server, at)) + note


def _factor(first: Figure, second: Figure) -> float | None:
    low, high = sorted((first.median, second.median))
    return high / low if low else None


def _failing(figures: Figures) -> Iterator[Loss]:
    """Rates at which more requests of Unpickled failed than of another server."""
    for model in figures.models(Latency):
        for at in figures.points(Latency, model, UNPICKLED):
            for server in figures.rivals(model, Latency):
                unpickled, other = (figures.failed(model, name, at) for name in (UNPICKLED, server))
                if figures.of(P99, model, server, at) and unpickled > other:
                    yield Loss(
                        title=f"failed requests at {units.number(figures.rate(model, at) or 0)} requests/s",
                        model=model,
                        server=figures.title(server),
                        other=units.number(other),
                        unpickled=units.number(unpickled),
                        factor=unpickled / other if other else None,
                    )


def _larger(figures: Figures) -> Iterator[Loss]:
    """Models whose ONNX file is larger than their pickle."""
    for name, model in figures.run.models.items():
        if model.onnx_bytes > model.pickle_bytes:
            yield Loss(
                title="size of the file",
                model=name,
                server="pickle",
                other=units.size(model.pickle_bytes),
                unpickled=units.size(model.onnx_bytes),
                factor=model.onnx_bytes / model.pickle_bytes,
            )


def _computing(figures: Figures) -> Iterator[Loss]:
    """Batches that scikit-learn computes faster in process than ONNX Runtime."""
    for model in figures.models(Compute):
        for size, onnxruntime, sklearn in computing(figures, model):
            if onnxruntime > sklearn:
                yield Loss(
                    title=f"one call in process, {units.number(size)} rows",
                    model=model,
                    server="scikit-learn",
                    other=units.duration(sklearn),
                    unpickled=units.duration(onnxruntime),
                    factor=onnxruntime / sklearn,
                )
