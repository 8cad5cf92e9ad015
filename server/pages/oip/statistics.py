"""The statistics extension of the Open Inference Protocol, counted over all processes of this server.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

import time
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.tally import Answered, Failed
from unpickled.server.pages.annotations import Count
from unpickled.server.pages.page import Page

_Counts = dict[Key, list[float]]


class Duration(Struct, frozen=True, kw_only=True):
    """A number of requests, and the nanoseconds that they took together."""

    count: Count
    ns: Count


class InferenceStatistics(Struct, frozen=True, kw_only=True):
    """Phases of the requests. ``queue`` is the time in which bodies were read and requests waited."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class ModelStatistics(Struct, frozen=True, kw_only=True):
    """Counts of one version, over all protocols and routes."""

    name: str
    version: str
    last_inference: Annotated[Count, Meta(description="milliseconds since 1970; 0 for never")]
    inference_count: Annotated[Count, Meta(description="rows")]
    execution_count: Annotated[Count, Meta(description="requests")]
    inference_stats: InferenceStatistics
    response_stats: dict[str, Any]
    batch_stats: list[Any]
    memory_usage: list[Any]


class Statistics(Struct, frozen=True, kw_only=True):
    """Statistics of each version."""

    model_stats: list[ModelStatistics]


def pages(repository: Repository, memory: Memory) -> list[Page]:
    """GET .../stats, for every version, for the versions of a model, and for one version."""

    def every(_: Environ) -> Answer:
        deployments = repository.deployments.values()
        versions = [served for deployment in deployments for served in deployment.versions.values()]
        return _document(versions, memory)

    def model(_: Environ, name: str) -> Answer:
        repository.find(name)
        return _document([*repository.deployment(name).versions.values()], memory)

    def version(_: Environ, name: str, version: str) -> Answer:
        return _document([repository.find(name, version)], memory)

    rules = (
        ("/v2/models/stats", "Counts and times of every version (Triton)", every),
        ("/v2/models/<name>/stats", "Counts and times of a model's versions (Triton)", model),
        ("/v2/models/<name>/versions/<version>/stats", "Counts and times of a version (Triton)", version),
    )
    return [Page("GET", rule, summary, handle, Statistics) for rule, summary, handle in rules]


def _document(versions: Sequence[Served], memory: Memory) -> Answer:
    counts = memory.read()
    return document(Statistics(model_stats=[_statistics(served, counts) for served in versions]))


def _statistics(served: Served, counts: _Counts) -> ModelStatistics:
    version = (served.name, str(served.version))
    size = Answered.size(len(served.model.outputs.counted))
    answered = Answered.of(_sum(version, "answered", counts, size))
    failed = Failed.of(_sum(version, "failed", counts, Failed.size()))
    return ModelStatistics(
        name=served.name,
        version=str(served.version),
        last_inference=_last(version, counts),
        inference_count=int(sum(answered.classes)),
        execution_count=int(sum(answered.buckets)),
        inference_stats=_phases(answered, failed),
        response_stats={},
        batch_stats=[],
        memory_usage=[],
    )


def _phases(answered: Answered, failed: Failed) -> InferenceStatistics:
    requests = sum(answered.buckets)
    reading, waiting, *computing = answered.phases
    decoding, running, encoding = (_duration(requests, seconds) for seconds in computing)
    return InferenceStatistics(
        success=_duration(requests, sum(answered.phases)),
        fail=_duration(sum(failed.buckets), failed.seconds),
        queue=_duration(requests, reading + waiting),
        compute_input=decoding,
        compute_infer=running,
        compute_output=encoding,
        cache_hit=_duration(0, 0),
        cache_miss=_duration(0, 0),
    )


def _sum(version: tuple[str, str], kind: str, counts: _Counts, size: int) -> list[float]:
    """The series of all routes added up number by number: each class has the same index in all of them."""
    series = [values for key, values in counts.items() if key[0] == kind and key[1:3] == version]
    whole = [values for values in series if len(values) == size]
    return [sum(values) for values in zip([0.0] * size, *whole, strict=True)]


def _last(version: tuple[str, str], counts: _Counts) -> int:
    """The time of the last answer, in milliseconds since 1970; 0 if there was none."""
    ends = [values[0] for key, values in counts.items() if key[0] == "last" and key[1:3] == version]
    last = max(ends, default=0.0)
    return round(1000 * (time.time() - (time.perf_counter() - last))) if last else 0


def _duration(count: float, seconds: float) -> Duration:
    return Duration(count=int(count), ns=round(1e9 * seconds))
