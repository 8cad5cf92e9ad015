"""The counts of all processes of a server, as Prometheus reads them."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from unpickled.server.observe import connected, log, logged, shadow, source, streamed, traces
from unpickled.server.observe.accuracies import ACCURACIES, VersionAccuracies
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.drifts import DRIFTS, Part, VersionDrifts
from unpickled.server.observe.keyed import KEYED
from unpickled.server.observe.outlines import Outline
from unpickled.server.observe.tally import BUCKETS, OF_VERSIONS, OUTSIDE, PHASES, Answered, Failed, outdated
from unpickled.server.observe.values import PREDICTED, Histogram, histograms
from unpickled.server.quote import shortened
from unpickled.server.system import resource

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
    return [family for family, _ in _metrics(defaultdict(list), {}, [], [], [])]


def exposition(
    memory: Memory,
    outlines: Sequence[Outline],
    accept: str | None = None,
    drift: Memory | None = None,
    joined: Memory | None = None,
    model: str | None = None,
) -> tuple[str, bytes]:
    """The metrics of a server, as text for Prometheus.

    Args:
        memory: The counts of all processes of the server.
        outlines: The models of a worker: which versions are refused, and how traffic is split.
        accept: The request's Accept header; OpenMetrics is written where it asks for that.
        drift: The memory in whose notice the drift of the models stands.
        joined: The memory in whose notice their accuracy stands.
        model: The name of the only model that is shown, without the series of the server itself.

    Returns:
        Content type and text.
    """
    try:
        encode, content_type = choose_encoder(accept or "")
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    metrics = _Metrics(memory, outlines, drift, joined)
    return content_type, encode(metrics if model is None else _OfModel(metrics, model))


class _Metrics(Collector):
    """Reads the counts when Prometheus scrapes."""

    def __init__(
        self,
        memory: Memory,
        outlines: Sequence[Outline],
        drift: Memory | None,
        joined: Memory | None,
    ) -> None:
        self._memory = memory
        self._outlines = outlines
        self._drift = drift
        self._joined = joined

    def collect(self) -> Iterator[Metric]:
        drifted = DRIFTS.posted(self._drift, time.time()).versions
        right = ACCURACIES.posted(self._joined, time.time()).versions
        metrics = _metrics(self._kinds(), self._memory.workers(), self._outlines, drifted, right)
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


class _OfModel(Collector):
    """The series of one model."""

    def __init__(self, metrics: _Metrics, model: str) -> None:
        self._metrics = metrics
        self._model = model

    def collect(self) -> Iterator[Metric]:
        for metric in self._metrics.collect():
            metric.samples = [each for each in metric.samples if each.labels.get("model") == self._model]
            if metric.samples:
                yield metric


def _metrics(
    kinds: defaultdict[str, _Series],
    workers: Mapping[int, int],
    outlines: Sequence[Outline],
    drifted: Sequence[VersionDrifts],
    right: Sequence[VersionAccuracies],
) -> Iterator[_Described]:
    """Every metric; ``kinds`` are the series by kind, ``workers`` the process ids by block."""
    yield from _requests(kinds["answered"], kinds["failed"], kinds["other"])
    yield from _predictions(kinds["answered"])
    yield _values(kinds[PREDICTED])
    yield _outside(kinds[OUTSIDE])
    yield from _processes(workers, kinds["in_flight"])
    yield from _supervision(kinds)
    yield from _connections(kinds[connected.OPEN], kinds[connected.FULL])
    yield _lost(kinds["lost"])
    yield from _models(outlines, kinds, len(workers))
    yield from _plans(outlines)
    yield from _comparisons(kinds[shadow.PAIR])
    yield from _differences(kinds[shadow.NUMBERS])
    yield from _losses(kinds[shadow.LOST])
    yield from _drifts(drifted)
    yield from _accuracies(right)
    yield from _observer_failures(kinds["observer_failures"])
    yield _truth(kinds["truth"])
    yield from _taken(kinds[source.TAKEN], kinds["intake_failures"])
    yield from _logged(kinds)
    yield from _log(kinds)
    yield from _streamed(kinds)
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


def _outside(rows: _Series) -> _Described:
    return _counter(
        "outside_training",
        "Rows with a value outside the training range of a feature, those of refused requests too.",
        (*_VERSION_LABELS, "feature"),
        _firsts(rows),
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


def _drifts(versions: Sequence[VersionDrifts]) -> Iterator[_Described]:
    """The last 24 hours beside the training rows; of each part only where there were rows enough to judge."""
    rows: _Values = {(each.model, each.version): float(each.rows) for each in versions}
    sampled: _Values = {(each.model, each.version): each.sampled for each in versions}
    parts: dict[tuple[str, ...], Part] = {
        (each.model, each.version, part.part, part.name): part for each in versions for part in each.parts
    }
    yield _gauge("drift_rows", "Rows of 24 hours that were compared with training.", _VERSION_LABELS, rows)
    meaning = "Share of the rows answered in 24 hours that was compared."
    yield _gauge("drift_sampled", meaning, _VERSION_LABELS, sampled)
    meanings = {
        "psi": "Population stability index between training and 24 hours.",
        "alarm": "Whether a feature or a prediction has drifted, beyond chance.",
        "missing": "Share of the rows of 24 hours without a value.",
        "outside": "Share of the rows of 24 hours outside the training range, or of an unknown category.",
    }
    for name, meaning in meanings.items():
        values = {key: getattr(part, name) for key, part in parts.items()}
        present: _Values = {key: float(value) for key, value in values.items() if value is not None}
        yield _gauge(f"drift_{name}", meaning, (*_VERSION_LABELS, "part", "feature"), present)


def _accuracies(versions: Sequence[VersionAccuracies]) -> Iterator[_Described]:
    """The rows predicted in the last 24 hours whose truth is known; no figure that is not defined."""
    rows: _Values = {(each.model, each.version): float(each.rows) for each in versions}
    coverage: _Values = {(each.model, each.version): each.coverage for each in versions}
    yield _gauge("truth_rows", "Rows predicted in 24 hours whose truth is known.", _VERSION_LABELS, rows)
    meaning = "Share of the rows predicted in 24 hours whose truth is known."
    yield _gauge("truth_coverage", meaning, _VERSION_LABELS, coverage)
    meanings = {
        "accuracy": "Share of the answers of 24 hours that were right, by the truth that is known.",
        "accuracy_training": "Accuracy when the model was exported, beside the one of 24 hours.",
        "log_loss": "Mean log loss of 24 hours.",
        "calibration_error": "Expected calibration error of 24 hours, in ten bins.",
    }
    for name, meaning in meanings.items():
        figures: _Values = {
            (each.model, each.version): each.figures[name] for each in versions if name in each.figures
        }
        yield _gauge(name, meaning, _VERSION_LABELS, figures)
    meanings = {
        "mean_absolute_error": "Mean of |prediction - truth| of 24 hours.",
        "root_mean_squared_error": "Root of the mean of (prediction - truth)^2 of 24 hours.",
        "prediction_bias": "Mean of prediction - truth of 24 hours.",
    }
    for name, meaning in meanings.items():
        errors: _Values = {
            (each.model, each.version, target): values[name]
            for each in versions
            for target, values in each.targets.items()
        }
        yield _gauge(name, meaning, (*_VERSION_LABELS, "target"), errors)
    alarms: _Values = {
        (each.model, each.version, kind): float(alarm)
        for each in versions
        for kind, alarm in each.alarms.items()
    }
    meaning = "Whether 24 hours are worse than training (fallen), or their probabilities off, beyond chance."
    yield _gauge("accuracy_alarm", meaning, (*_VERSION_LABELS, "kind"), alarms)


def _observer_failures(failures: _Series) -> Iterator[_Described]:
    names = ("model", "version", "observer")
    yield _counter(_OBSERVER_FAILURES, "Predictions that an observer failed on.", names, _firsts(failures))


def _truth(reports: _Series) -> _Described:
    meaning = "Reports of what turned out to be true of a prediction, by what became of them."
    return _counter("truth", meaning, ("model", "status"), _firsts(reports))


def _taken(taken: _Series, failures: _Series) -> Iterator[_Described]:
    fates = ("consumed", "dropped", "lost")
    rows = {(*key, fate): count for key, numbers in taken for fate, count in zip(fates, numbers, strict=True)}
    yield _counter(
        "taken_rows",
        "Rows answered, by whether drift, truth and the payload log got them.",
        (*_VERSION_LABELS, "fate"),
        rows,
    )
    yield _counter(
        "consumer_failures",
        "Failures of what gets the rows answered: drift, truth or the payload log.",
        ("consumer",),
        _firsts(failures),
    )


def _logged(kinds: Mapping[str, _Series]) -> Iterator[_Described]:
    """The fates of rows in the payload log; those that the intake has dropped are dropped, too."""
    rows: defaultdict[tuple[str, ...], float] = defaultdict(float)
    waiting: defaultdict[tuple[str, ...], float] = defaultdict(float)
    key: tuple[str, ...]
    for kind, answer in ((logged.LOGGED, "sent"), (logged.LOGGED_SHADOW, "shadow")):
        for (model, version), numbers in kinds[kind]:
            key = model, version, answer
            rows[*key, "dropped"] += numbers[logged.DROPPED]
            rows[*key, "unchosen"] += numbers[logged.UNCHOSEN]
            rows[*key, "lost"] += numbers[logged.LOST]
            waiting[key] += numbers[logged.PUT]
    for (model, version, kind, _), (count,) in kinds[logged.WRITTEN]:
        key = model, version, "shadow" if kind == logged.LOGGED_SHADOW else "sent"
        rows[*key, "written"] += count
        waiting[key] = max(0.0, waiting[key] - count)
    for key, numbers in kinds[source.TAKEN]:
        if (*key, "sent") in waiting:
            rows[*key, "sent", "dropped"] += numbers[source.DROPPED_ROWS]
    names = (*_VERSION_LABELS, "answer")
    meaning = "Rows for the payload log: written, dropped as it was full, lost with a worker, or not chosen."
    yield _counter("log_rows", meaning, (*names, "fate"), rows)
    yield _gauge("log_rows_waiting", "Rows that wait to be written to the payload log.", names, waiting)


def _log(kinds: Mapping[str, _Series]) -> Iterator[_Described]:
    """The process that writes the payload log, and its disk."""
    for name, series, meaning in (
        ("log_bytes", logged.BYTES, "Bytes of rows written to the payload log, before they are packed."),
        ("log_parts", logged.PARTS, "Finished files of the payload log."),
        (
            "log_failures",
            logged.FAILURES,
            "Attempts to write the payload log, or to finish a file of it, that failed.",
        ),
        ("log_writer_exits", logged.EXITS, "Ends of the process that writes it, while the server went on."),
    ):
        yield _counter(name, meaning, (), _firsts(kinds[series]))
    done, failed, waiting = ({key: numbers[i] for key, numbers in kinds[logged.UPLOADS]} for i in range(3))
    yield _counter("log_uploads", "Files of the payload log that an object store took.", (), done)
    yield _counter("log_upload_failures", "Attempts to upload a file that failed.", (), failed)
    yield _gauge("log_uploads_waiting", "Files of the payload log that wait to be uploaded.", (), waiting)
    for name, series, meaning in (
        ("log_writer_alive", logged.ALIVE, "Whether the process that writes the payload log runs."),
        (
            "log_failing",
            logged.FAILING,
            "Whether the payload log cannot be written, or its files not be finished.",
        ),
        ("log_waiting_bytes", logged.WAITING, "Bytes of rows that wait in memory for the payload log."),
        ("log_last_write_timestamp_seconds", logged.LAST, "When rows were last written, since 1970."),
    ):
        yield _gauge(name, meaning, (), _firsts(kinds[series]))


def _streamed(kinds: Mapping[str, _Series]) -> Iterator[_Described]:
    """The messages of a process that consumes them, and the brokers at its ends."""
    for name, series, meaning, labels in (
        (
            "stream_messages",
            streamed.MESSAGES,
            "Messages of a broker whose answer or dead letter is written, by outcome.",
            ("outcome",),
        ),
        ("stream_batches", streamed.BATCHES, "Batches of messages that were received.", ()),
        ("stream_redelivered", streamed.REDELIVERED, "Messages that had been delivered before.", ()),
        (
            "stream_retries",
            streamed.RETRIES,
            "Attempts after a failed one: at the source, the target, the letters, or the model.",
            ("end",),
        ),
    ):
        yield _counter(name, meaning, labels, _firsts(kinds[series]))
    yield _gauge(
        "stream_away", "Whether attempts at an end fail now.", ("end",), _firsts(kinds[streamed.AWAY])
    )
    for name, series, meaning in (
        ("stream_lag", streamed.LAG, "Messages that wait for the group, or are not acknowledged."),
        (
            "stream_last_message_timestamp_seconds",
            streamed.LAST,
            "When messages were last acknowledged, since 1970.",
        ),
    ):
        yield _gauge(name, meaning, (), _firsts(kinds[series]))


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
