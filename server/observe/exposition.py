"""The counts of all processes of a server, as Prometheus reads them."""

import os
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe import shadow
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.tally import BUCKETS, OF_VERSIONS, PHASES, Answered, Failed, outdated

# Values of a metric's labels, in their order -> what it measures.
_Totals = Mapping[tuple[str, ...], float]
# What follows the kind in the key of a series, and its numbers.
_Series = list[tuple[Key, list[float]]]

_LONGEST_REASON = 200


def exposition(memory: Memory, repository: Repository, accept: str | None = None) -> tuple[str, bytes]:
    """Content type and text; OpenMetrics for an Accept header that asks for it.

    The figures are those of all processes, what is refused and how traffic is split is as this
    one's ``repository`` has it.
    """
    try:
        encode, content_type = choose_encoder(accept or "")
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return content_type, encode(_Figures(memory, repository.deployments))


class _Figures(Collector):
    """Every metric, read when it is asked for."""

    def __init__(self, memory: Memory, deployments: Mapping[str, Deployment]) -> None:
        self._memory = memory
        self._deployments = list(deployments.values())

    def collect(self) -> Iterator[Metric]:
        kinds = self._kinds()
        workers = self._memory.workers()
        yield from _requests(kinds["answered"], kinds["failed"], kinds["other"])
        yield from _predictions(kinds["answered"])
        yield from _processes(workers, kinds["in_flight"])
        yield from _models(self._deployments, kinds, len(workers))
        yield from _plans(self._deployments)
        yield from _comparisons(kinds[shadow.PAIR])
        yield from _losses(kinds[shadow.LOST])
        yield from _observer_failures(kinds["observer_failures"])

    def _kinds(self) -> Mapping[str, _Series]:
        """Series by their kind, without those of versions that have long been out of use."""
        kinds: dict[str, _Series] = defaultdict(list)
        series = self._memory.read()
        hidden = outdated(series, time.monotonic())
        for (kind, *rest), numbers in series.items():
            if kind not in OF_VERSIONS or tuple(rest[:2]) not in hidden:
                kinds[kind].append((tuple(rest), numbers))
        return kinds


def _requests(answered: _Series, failed: _Series, other: _Series) -> Iterator[Metric]:
    requests: defaultdict[tuple[str, ...], float] = defaultdict(float)
    durations: defaultdict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * Failed.size())
    for (model, version, route, *_), numbers in answered:
        ok = Answered.of(numbers)
        requests[model, version, route, "200"] += sum(ok.buckets)
        # The four phases add up to the whole request, so their sum is the duration.
        _add(durations[model, version], [*ok.buckets, sum(ok.phases)])
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
        ("model", "version"),
        BUCKETS,
        durations,
    )


def _predictions(answered: _Series) -> Iterator[Metric]:
    phases: defaultdict[tuple[str, ...], float] = defaultdict(float)
    rows: defaultdict[tuple[str, ...], float] = defaultdict(float)
    classes: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for (model, version, _, *names), numbers in answered:
        ok = Answered.of(numbers)
        for phase, seconds in zip(PHASES, ok.phases, strict=True):
            phases[model, version, phase] += seconds
        rows[model, version] += sum(ok.classes)
        for name, count in zip(names, ok.classes, strict=True):
            classes[model, version, name] += count
    version_of = ("model", "version")
    yield _counter(
        "phase_seconds", "Time spent in each phase of answered requests.", (*version_of, "phase"), phases
    )
    yield _counter("rows", "Rows predicted.", version_of, rows)
    yield _counter("predictions", "Rows predicted, by their class.", (*version_of, "class"), classes)


def _processes(workers: Mapping[int, int], in_flight: _Series) -> Iterator[Metric]:
    requests = sum(numbers[0] for _, numbers in in_flight)
    yield _gauge("requests_in_flight", "Requests being answered, at the last look.", (), {(): requests})
    yield _gauge("workers", "Worker processes that live.", (), {(): len(workers)})
    resident = {(str(number),): _resident(process) for number, process in workers.items()}
    known: _Totals = {labels: size for labels, size in resident.items() if size is not None}
    yield _gauge("worker_resident_memory_bytes", "Memory that a worker process holds.", ("worker",), known)


def _models(
    deployments: Sequence[Deployment], kinds: Mapping[str, _Series], workers: int
) -> Iterator[Metric]:
    serving = {key: numbers[0] for key, numbers in kinds["ready"]}
    ready: _Totals = {
        (found.name,): float(serving.get((found.name,), 0.0) >= workers) for found in deployments
    }
    yield _gauge("model_ready", "Whether every worker process serves a model.", ("model",), ready)
    loaded: _Totals = {key: numbers[0] for key, numbers in kinds["loaded"]}
    version_of = ("model", "version")
    yield _gauge("model_loaded", "Worker processes that have a version loaded.", version_of, loaded)
    failures: _Totals = {key: numbers[0] for key, numbers in kinds["load_failures"]}
    yield _counter("model_load_failures", "Versions that could not be loaded.", version_of, failures)


def _plans(deployments: Sequence[Deployment]) -> Iterator[Metric]:
    refused = [
        (found.name, str(version), _cut(reason))
        for found in deployments
        for version, reason in found.refused.items()
    ]
    mistakes = [(found.name, _cut(found.mistake)) for found in deployments if found.mistake]
    shares: _Totals = {
        (found.name, str(version)): share for found in deployments for version, share in found.traffic.items()
    }
    labels = [
        (found.name, label, str(version)) for found in deployments for label, version in found.labels.items()
    ]
    version_of = ("model", "version")
    yield _gauge("model_refused", "Versions that are not served.", (*version_of, "reason"), _ones(refused))
    yield _gauge(
        "model_mistake", "Models whose serving.toml is not followed.", ("model", "reason"), _ones(mistakes)
    )
    yield _gauge("model_traffic", "Share of plain requests that a version answers.", version_of, shares)
    yield _gauge("model_label", "Labels and their versions.", ("model", "label", "version"), _ones(labels))


def _comparisons(pairs: _Series) -> Iterator[Metric]:
    rows: dict[tuple[str, ...], float] = {}
    distances: dict[tuple[str, ...], list[float]] = {}
    for key, numbers in pairs:
        rows[*key, "same"], rows[*key, "different"] = numbers[shadow.SAME], numbers[shadow.DIFFERENT]
        # None is beyond the last bound.
        distances[key] = [*numbers[shadow.BUCKETS :], 0.0, numbers[shadow.DISTANCE]]
    names = ("model", "version", "shadow", "class")
    yield _counter("shadow_rows", "Rows that a shadow answered too.", (*names, "agreement"), rows)
    yield _histogram(
        "shadow_distance",
        "Total variation distance between a shadow's probabilities and those answered.",
        names,
        shadow.BOUNDS,
        distances,
    )


def _losses(lost: _Series) -> Iterator[Metric]:
    names = ("model", "shadow")
    dropped = {key: numbers[shadow.DROPPED] for key, numbers in lost}
    refused = {key: numbers[shadow.REFUSED] for key, numbers in lost}
    yield _counter("shadow_dropped", "Requests that a shadow had no time for.", names, dropped)
    yield _counter("shadow_refused_rows", "Rows that a shadow does not take.", names, refused)


def _observer_failures(failures: _Series) -> Iterator[Metric]:
    """Nothing while there are none, which is always but for a defect."""
    if failures:
        totals = {key: numbers[0] for key, numbers in failures}
        names = ("model", "version", "observer")
        yield _counter("observer_failures", "Predictions that an observer failed on.", names, totals)


def _counter(name: str, meaning: str, labels: Sequence[str], totals: _Totals) -> Metric:
    family = CounterMetricFamily(f"unpickled_{name}", meaning, labels=labels)
    for values, total in sorted(totals.items()):
        family.add_metric(_shown(values), total)
    return family


def _gauge(name: str, meaning: str, labels: Sequence[str], totals: _Totals) -> Metric:
    family = GaugeMetricFamily(f"unpickled_{name}", meaning, labels=labels)
    for values, total in sorted(totals.items()):
        family.add_metric(_shown(values), total)
    return family


def _histogram(
    name: str,
    meaning: str,
    labels: Sequence[str],
    bounds: Sequence[float],
    counts: Mapping[tuple[str, ...], list[float]],
) -> Metric:
    """Of the count in each bucket, beyond the last too, and then the sum of all that was measured."""
    family = HistogramMetricFamily(f"unpickled_{name}", meaning, labels=labels)
    limits = [*map(str, bounds), "+Inf"]
    for values, (*found, total) in sorted(counts.items()):
        buckets = list(zip(limits, accumulate(found), strict=True))
        family.add_metric(_shown(values), buckets, total)
    return family


def _add(totals: list[float], numbers: Iterable[float]) -> None:
    totals[:] = [total + number for total, number in zip(totals, numbers, strict=True)]


def _ones(found: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    return dict.fromkeys(found, 1.0)


def _shown(values: Iterable[str]) -> list[str]:
    # A folder's name may hold what is no UTF-8.
    return [value.encode("utf-8", "replace").decode() for value in values]


def _cut(reason: str) -> str:
    return reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 3]}..."


def _resident(process: int) -> float | None:
    """Bytes of memory; None where the system does not tell."""
    try:
        with open(f"/proc/{process}/statm") as statm:
            return float(int(statm.read().split()[1]) * resource.getpagesize())
    except OSError:
        if process != os.getpid():
            return None
        unit = 1 if sys.platform == "darwin" else 1024
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
