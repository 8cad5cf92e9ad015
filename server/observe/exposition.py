"""The counts of all processes of a server, as Prometheus reads them."""

import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from unpickled.server.observe import connected, log, shadow, traces
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.keyed import KEYED
from unpickled.server.observe.outlines import Outline
from unpickled.server.observe.tally import BUCKETS, OF_VERSIONS, PHASES, Answered, Failed, outdated
from unpickled.server.observe.values import PREDICTED, Histogram, histograms
from unpickled.server.quote import shortened

# The values of a metric's labels, in the order of the labels -> the value of the metric.
_Values = Mapping[tuple[str, ...], float]
# The series of one kind: the rest of the key, behind the kind, and the numbers.
_Series = list[tuple[Key, list[float]]]

_VERSION_LABELS = ("model", "version")
# Only a defect makes an observer fail: while none has, GET /metrics leaves this metric out.
_OBSERVER_FAILURES = "observer_failures"
# Longest text in a label, in characters; three dots may follow it.
_LONGEST_REASON = 197


class Family(NamedTuple):
    """A metric as Prometheus knows it, without its values."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


# prometheus_client keeps the names of a family's labels private.
_Described = tuple[Family, Metric]


def families() -> list[Family]:
    """Every metric that GET /metrics can serve, in the order in which it serves them."""
    return [family for family, _ in _metrics(defaultdict(list), {}, [])]


def exposition(memory: Memory, outlines: Sequence[Outline], accept: str | None = None) -> tuple[str, bytes]:
    """The metrics of a server, as text for Prometheus.

    Args:
        memory: The counts of all processes of the server.
        outlines: The models of a worker: which versions are refused, and how traffic is split.
        accept: The request's Accept header; OpenMetrics is written where it asks for that.

    Returns:
        Content type and text.
    """
    try:
        encode, content_type = choose_encoder(accept or "")
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return content_type, encode(_Metrics(memory, outlines))


class _Metrics(Collector):
    """Reads the counts when Prometheus scrapes."""

    def __init__(self, memory: Memory, outlines: Sequence[Outline]) -> None:
        self._memory = memory
        self._outlines = outlines

    def collect(self) -> Iterator[Metric]:
        metrics = _metrics(self._kinds(), self._memory.workers(), self._outlines)
        hidden = f"unpickled_{_OBSERVER_FAILURES}"
        return (metric for _, metric in metrics if metric.samples or metric.name != hidden)

    def _kinds(self) -> defaultdict[str, _Series]:
        """Series by their kind, without those of versions that have long been out of use."""
        kinds: defaultdict[str, _Series] = defaultdict(list)
        series = self._memory.read()
        hidden = outdated(series, time.monotonic())
        for (kind, *rest), numbers in series.items():
            if kind not in OF_VERSIONS or tuple(rest[:2]) not in hidden:
                kinds[kind].append((tuple(rest), numbers))
        return kinds


def _metrics(
    kinds: defaultdict[str, _Series], workers: Mapping[int, int], outlines: Sequence[Outline]
) -> Iterator[_Described]:
    """Every metric; ``kinds`` are the series by kind, ``workers`` the process ids by block."""
    yield from _requests(kinds["answered"], kinds["failed"], kinds["other"])
    yield from _predictions(kinds["answered"])
    yield _values(kinds[PREDICTED])
    yield from _processes(workers, kinds["in_flight"])
    yield from _supervision(kinds)
    yield from _connections(kinds[connected.OPEN], kinds[connected.FULL])
    yield _lost(kinds["lost"])
    yield from _models(outlines, kinds, len(workers))
    yield from _plans(outlines)
    yield from _comparisons(kinds[shadow.PAIR])
    yield from _differences(kinds[shadow.NUMBERS])
    yield from _losses(kinds[shadow.LOST])
    yield from _observer_failures(kinds["observer_failures"])
    yield _keys(kinds[KEYED])
    lines = _firsts(kinds[log.LOST])
    yield _counter("log_lines_lost", "Lines of a log that were not written.", ("log",), lines)
    yield _counter("spans_sent", "Spans that the collector took.", (), _firsts(kinds[traces.SENT]))
    yield _counter("spans_lost", "Spans that no collector got.", (), _firsts(kinds[traces.LOST]))


def _requests(answered: _Series, failed: _Series, other: _Series) -> Iterator[_Described]:
    requests: defaultdict[tuple[str, ...], float] = defaultdict(float)
    durations: defaultdict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * Failed.size())
    for (model, version, route, *_), numbers in answered:
        counts = Answered.of(numbers)
        requests[model, version, route, "200"] += sum(counts.buckets)
        # The phases add up to the whole request, so their sum is the duration.
        _add(durations[model, version], [*counts.buckets, sum(counts.phases)])
    for (model, version, route, status), numbers in failed:
        requests[model, version, route, status] += sum(Failed.of(numbers).buckets)
        _add(durations[model, version], numbers)
    for (route, status), (count,) in other:
        requests["", "", route, status] += count
    names = ("model", "version", "route", "status")
    yield _counter("requests", "Requests answered.", names, requests)
    yield _histogram(
        "request_duration_seconds",
        "Time from the first look at a request to its whole answer.",
        _VERSION_LABELS,
        {key: (BUCKETS, numbers) for key, numbers in durations.items()},
    )


def _predictions(answered: _Series) -> Iterator[_Described]:
    phases: defaultdict[tuple[str, ...], float] = defaultdict(float)
    rows: defaultdict[tuple[str, ...], float] = defaultdict(float)
    classes: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for (model, version, _, *names), numbers in answered:
        counts = Answered.of(numbers)
        for phase, seconds in zip(PHASES, counts.phases, strict=True):
            phases[model, version, phase] += seconds
        rows[model, version] += sum(counts.classes)
        for name, count in zip(names, counts.classes, strict=True):
            classes[model, version, name] += count
    yield _counter(
        "phase_seconds", "Time spent in each phase of answered requests.", (*_VERSION_LABELS, "phase"), phases
    )
    yield _counter("rows", "Rows predicted.", _VERSION_LABELS, rows)
    yield _counter("predictions", "Rows predicted, by their class.", (*_VERSION_LABELS, "class"), classes)


def _values(predicted: _Series) -> _Described:
    return _histogram(
        "predicted_value",
        "Numbers that regressors predicted, between the deciles of their predictions in training.",
        (*_VERSION_LABELS, "target"),
        histograms(predicted),
    )


def _processes(workers: Mapping[int, int], in_flight: _Series) -> Iterator[_Described]:
    requests = sum(numbers[0] for _, numbers in in_flight)
    yield _gauge("requests_in_flight", "Requests being answered, at the last look.", (), {(): requests})
    yield _gauge("workers", "Worker processes that live.", (), {(): len(workers)})
    sizes = {(str(number),): _resident(process) for number, process in workers.items()}
    resident: _Values = {labels: size for labels, size in sizes.items() if size is not None}
    yield _gauge("worker_resident_memory_bytes", "Memory that a worker process holds.", ("worker",), resident)


def _connections(held: _Series, full: _Series) -> Iterator[_Described]:
    yield _gauge(
        "connections",
        "Connections that a worker process holds, at the last look.",
        ("worker",),
        _firsts(held),
    )
    times = sum(numbers[0] for _, numbers in full)
    yield _counter(
        "connections_full", "Times that a worker held as many as max_connections.", (), {(): times}
    )


def _supervision(kinds: Mapping[str, _Series]) -> Iterator[_Described]:
    """How the main process finds its workers, and replaces them."""
    yield _gauge(
        "worker_ready", "Whether a worker process is ready.", ("worker",), _firsts(kinds["worker_ready"])
    )
    waiting = sum(numbers[0] for _, numbers in kinds["workers_waiting"])
    yield _gauge("workers_waiting", "Workers that ended, and wait to be started again.", (), {(): waiting})
    yield _counter(
        "worker_exits",
        "Workers that ended while the server did not, by the signal or status.",
        ("cause",),
        _firsts(kinds["worker_exits"]),
    )


def _lost(lost: _Series) -> _Described:
    meaning = "Requests that were not run: too much work (shed), too late (expired), no client (abandoned)."
    return _counter("requests_lost", meaning, ("model", "reason"), _firsts(lost))


def _models(outlines: Sequence[Outline], kinds: Mapping[str, _Series], workers: int) -> Iterator[_Described]:
    serving = _firsts(kinds["ready"])
    # The names of all workers: one may serve from memory what another, which started later, never found.
    names = {(outline.name,) for outline in outlines} | serving.keys()
    ready: _Values = {name: float(serving.get(name, 0.0) >= workers) for name in names}
    yield _gauge("model_ready", "Whether every worker process serves a model.", ("model",), ready)
    yield _gauge(
        "model_loaded",
        "Worker processes that have a version loaded.",
        _VERSION_LABELS,
        _firsts(kinds["loaded"]),
    )
    yield _counter(
        "model_load_failures",
        "Versions that could not be loaded.",
        _VERSION_LABELS,
        _firsts(kinds["load_failures"]),
    )


def _plans(outlines: Sequence[Outline]) -> Iterator[_Described]:
    refused = [
        (outline.name, str(version), shortened(reason, _LONGEST_REASON))
        for outline in outlines
        for version, reason in outline.refused.items()
    ]
    mistakes = [
        (outline.name, shortened(outline.mistake, _LONGEST_REASON)) for outline in outlines if outline.mistake
    ]
    shares: _Values = {
        (outline.name, str(version)): share
        for outline in outlines
        for version, share in outline.traffic.items()
    }
    labels = [
        (outline.name, label, str(version))
        for outline in outlines
        for label, version in outline.labels.items()
    ]
    yield _gauge(
        "model_refused", "Versions that are not served.", (*_VERSION_LABELS, "reason"), _ones(refused)
    )
    yield _gauge(
        "model_mistake", "Models whose serving.toml is not followed.", ("model", "reason"), _ones(mistakes)
    )
    yield _gauge("model_traffic", "Share of plain requests that a version answers.", _VERSION_LABELS, shares)
    yield _gauge("model_label", "Labels and their versions.", ("model", "label", "version"), _ones(labels))


def _comparisons(pairs: _Series) -> Iterator[_Described]:
    rows: dict[tuple[str, ...], float] = {}
    distances: dict[tuple[str, ...], Histogram] = {}
    for key, numbers in pairs:
        rows[*key, "same"], rows[*key, "different"] = numbers[shadow.SAME], numbers[shadow.DIFFERENT]
        if len(numbers) == shadow.SIZE:
            # No distance is above 1, the last bound: nothing is in the bucket behind it.
            counts = [*numbers[shadow.BUCKETS :], 0.0, numbers[shadow.DISTANCE]]
            distances[key] = shadow.BOUNDS, counts
    names = ("model", "version", "shadow", "class")
    yield _counter("shadow_rows", "Rows that a shadow answered too.", (*names, "agreement"), rows)
    yield _histogram(
        "shadow_distance",
        "Total variation distance between a shadow's probabilities and those answered.",
        names,
        distances,
    )


def _differences(pairs: _Series) -> Iterator[_Described]:
    absolute: dict[tuple[str, ...], Histogram] = {}
    relative: dict[tuple[str, ...], Histogram] = {}
    for (model, version, shadow_version, target, *bounds), numbers in pairs:
        key, end = (model, version, shadow_version, target), len(bounds) + 2
        absolute[key] = tuple(map(float, bounds)), numbers[:end]
        relative[key] = shadow.RELATIVE, numbers[end:]
    names = (*_VERSION_LABELS, "shadow", "target")
    yield _histogram(
        "shadow_absolute_difference",
        "Difference between a shadow's number and the one answered, in the unit of the target.",
        names,
        absolute,
    )
    yield _histogram(
        "shadow_relative_difference",
        "The same, relative to max(1, |number answered|).",
        names,
        relative,
    )


def _losses(lost: _Series) -> Iterator[_Described]:
    names = ("model", "shadow")
    dropped = {key: numbers[shadow.DROPPED] for key, numbers in lost}
    refused = {key: numbers[shadow.REFUSED] for key, numbers in lost}
    yield _counter("shadow_dropped", "Requests that a shadow had no time for.", names, dropped)
    yield _counter("shadow_refused_rows", "Rows that a shadow does not take.", names, refused)


def _observer_failures(failures: _Series) -> Iterator[_Described]:
    names = ("model", "version", "observer")
    yield _counter(_OBSERVER_FAILURES, "Predictions that an observer failed on.", names, _firsts(failures))


def _keys(series: _Series) -> _Described:
    requests: _Values = {
        (name, f"{digit}xx"): count
        for (name,), counts in series
        for digit, count in enumerate(counts)
        if count
    }
    return _counter(
        "key_requests", "Requests with the key or token of a name, by status.", ("key", "status"), requests
    )


def _counter(name: str, meaning: str, labels: tuple[str, ...], values: _Values) -> _Described:
    metric = CounterMetricFamily(f"unpickled_{name}", meaning, labels=labels)
    for label_values, value in sorted(values.items()):
        metric.add_metric(_encodable(label_values), value)
    return Family(f"unpickled_{name}_total", "counter", labels, meaning), metric


def _gauge(name: str, meaning: str, labels: tuple[str, ...], values: _Values) -> _Described:
    metric = GaugeMetricFamily(f"unpickled_{name}", meaning, labels=labels)
    for label_values, value in sorted(values.items()):
        metric.add_metric(_encodable(label_values), value)
    return Family(metric.name, "gauge", labels, meaning), metric


def _histogram(
    name: str, meaning: str, labels: tuple[str, ...], series: Mapping[tuple[str, ...], Histogram]
) -> _Described:
    """A histogram whose series may have bounds of their own.

    Where the lowest bound is negative, the library leaves ``_sum`` and ``_count`` out: a sum that may fall is
    no counter.
    """
    metric = HistogramMetricFamily(f"unpickled_{name}", meaning, labels=labels)
    for label_values, (bounds, (*counts, total)) in sorted(series.items()):
        limits = [*map(str, bounds), "+Inf"]
        buckets = list(zip(limits, accumulate(counts), strict=True))
        metric.add_metric(_encodable(label_values), buckets, total)
    return Family(metric.name, "histogram", labels, meaning), metric


def _add(totals: list[float], numbers: Iterable[float]) -> None:
    totals[:] = [total + number for total, number in zip(totals, numbers, strict=True)]


def _firsts(series: _Series) -> _Values:
    """The values of series of one number each."""
    return {key: numbers[0] for key, numbers in series}


def _ones(label_values: Iterable[tuple[str, ...]]) -> _Values:
    return dict.fromkeys(label_values, 1.0)


def _encodable(label_values: Iterable[str]) -> list[str]:
    # The name of a folder may hold bytes that are not UTF-8.
    return [value.encode("utf-8", "replace").decode() for value in label_values]


def _resident(process: int) -> float | None:
    """Bytes of memory that a process holds; None where the system does not tell."""
    try:
        with open(f"/proc/{process}/statm") as statm:
            return float(int(statm.read().split()[1]) * resource.getpagesize())
    except OSError:
        if process != os.getpid():
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
