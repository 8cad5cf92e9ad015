"""The statistics extension: what all processes of this server have counted of each version.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

import time
from typing import Any

from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Answer, Environ, document
from unpickled.server.message.page import Page
from unpickled.server.observe.counters import Key, Memory
from unpickled.server.observe.tally import CLASS, PHASE, SECONDS

# What stands in inference_stats for reading, decoding, running and encoding: to wait for a body is the
# nearest to a queue that there is here.
_PHASES = ("queue", "compute_input", "compute_infer", "compute_output")

_Counts = dict[Key, list[float]]


def pages(repository: Repository, memory: Memory) -> list[Page]:
    """GET .../stats of all models, one, and a version of it."""

    def every(_: Environ) -> Answer:
        found = [served for model in repository.deployments.values() for served in model.versions.values()]
        return _document(found, memory)

    def model(_: Environ, name: str) -> Answer:
        repository.find(name)
        return _document([*repository.deployment(name).versions.values()], memory)

    def version(_: Environ, name: str, version: str) -> Answer:
        return _document([repository.find(name, version)], memory)

    return [
        Page("GET", "/v2/models/stats", every),
        Page("GET", "/v2/models/<name>/stats", model),
        Page("GET", "/v2/models/<name>/versions/<version>/stats", version),
    ]


def _document(found: list[Served], memory: Memory) -> Answer:
    counts = memory.read()
    return document({"model_stats": [_statistics(served, counts) for served in found]})


def _statistics(served: Served, counts: _Counts) -> dict[str, Any]:
    """Those of one version, whatever the protocol and route; durations in nanoseconds."""
    who = (served.name, str(served.version))
    answered = _sum(who, "answered", counts, CLASS + len(served.model.manifest.classes))
    failed = _sum(who, "failed", counts, SECONDS + 1)
    requests, phases = sum(answered[:PHASE]), answered[PHASE:CLASS]
    stats = dict(zip(_PHASES, (_duration(requests, seconds) for seconds in phases), strict=True))
    return {
        "name": served.name,
        "version": str(served.version),
        "last_inference": _last(who, counts),
        "inference_count": int(sum(answered[CLASS:])),
        "execution_count": int(requests),
        "inference_stats": {
            "success": _duration(requests, sum(phases)),
            "fail": _duration(sum(failed[:SECONDS]), failed[SECONDS]),
            **stats,
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def _sum(who: tuple[str, str], kind: str, counts: _Counts, size: int) -> list[float]:
    """Over all routes; the same classes have the same place."""
    series = [values for key, values in counts.items() if key[0] == kind and key[1:3] == who]
    return [
        sum(values) for values in zip([0.0] * size, *(one for one in series if len(one) == size), strict=True)
    ]


def _last(who: tuple[str, str], counts: _Counts) -> int:
    """When an answer last ended, in milliseconds since 1970; 0 for never."""
    ends = [values[0] for key, values in counts.items() if key[0] == "last" and key[1:3] == who]
    last = max(ends, default=0.0)
    return round(1000 * (time.time() - (time.perf_counter() - last))) if last else 0


def _duration(count: float, seconds: float) -> dict[str, int]:
    return {"count": int(count), "ns": round(1e9 * seconds)}
