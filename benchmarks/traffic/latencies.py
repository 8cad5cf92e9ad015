"""The result of a run: one entry per statistics name, as text and as JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import orjson
from locust.stats import RequestStats, StatsEntry

from benchmarks.traffic.arrivals import Phase
from benchmarks.units import duration, number, percent

METHOD = "POST"
NOTHING = "-"
COLUMNS = [
    "name", "requests", "failed", "requests/s", "p50", "p90", "p99", "p99.9", "slowest",
    "late p50", "late p99", "busy",
]  # fmt: skip


@dataclass(frozen=True)
class Latency:
    """One statistics name in one phase. A quantile p is None for fewer than 1/(1-p) requests.

    ``rate``: intended requests/s, None in a closed loop. ``achieved``: right answers/s. ``late``: the delay
    between the moment a request was due, or a user was free for it, and the moment it was sent.
    ``generator_busy``: CPU share of this Locust process, None where workers sent.
    """

    name: str
    rate: float | None
    seconds: float
    requests: int
    failures: int
    failure: str | None
    achieved: float
    p50_us: float | None
    p90_us: float | None
    p99_us: float | None
    p999_us: float | None
    max_us: float
    late_p50_us: float | None
    late_p99_us: float | None
    generator_busy: float | None


def measured(stats: RequestStats, phases: Sequence[Phase], alone: bool) -> list[Latency]:
    """The latencies of all phases. ``alone`` is true where this process, and no worker, sent the requests."""
    return list(_measured(stats, phases, alone))


def _measured(stats: RequestStats, phases: Sequence[Phase], alone: bool) -> Iterator[Latency]:
    for phase in phases:
        for (name, method), entry in sorted(stats.entries.items()):
            kind = name.partition(" @ ")[0]
            if phase.name(kind) == name and entry.num_requests:
                yield _latency(entry, _failure(stats, name, method), phase, phase.lateness[kind], alone)


def _latency(
    entry: StatsEntry, failure: str | None, phase: Phase, late: Mapping[float, int], alone: bool
) -> Latency:
    # Locust annotates int, but stores what bucket_response_time returns.
    times = cast(Mapping[float, int], entry.response_times)
    return Latency(
        name=entry.name,
        rate=phase.rate,
        seconds=round(phase.seconds, 3),
        requests=entry.num_requests,
        failures=entry.num_failures,
        failure=failure,
        achieved=round((entry.num_requests - entry.num_failures) / phase.seconds, 1)
        if phase.seconds > 0
        else 0.0,
        p50_us=quantile_us(times, 0.5),
        p90_us=quantile_us(times, 0.9),
        p99_us=quantile_us(times, 0.99),
        p999_us=quantile_us(times, 0.999),
        max_us=round(entry.max_response_time * 1000, 1),
        late_p50_us=quantile_us(late, 0.5),
        late_p99_us=quantile_us(late, 0.99),
        generator_busy=round(phase.busy / phase.seconds, 3) if alone and phase.seconds > 0 else None,
    )


def quantile_us(times: Mapping[float, int], share: float) -> float | None:
    """The time (us) within which a share of the requests was answered; ``times``: ms -> requests."""
    count = sum(times.values())
    if count * (1 - share) < 1 - 1e-9:
        return None
    ordered = sorted(times)
    rank = math.ceil(count * share)
    sums = accumulate(times[time] for time in ordered)
    return next(round(time * 1000, 1) for time, so_far in zip(ordered, sums, strict=True) if so_far >= rank)


def _failure(stats: RequestStats, name: str, method: str) -> str | None:
    """The first error under a statistics name."""
    errors = [error for error in stats.errors.values() if (error.name, error.method) == (name, method)]
    first = min(errors, key=lambda error: error.first_seen or 0, default=None)
    return first.to_name().removeprefix(f"{method} {name}: ") if first else None


def write(latencies: Sequence[Latency], path: Path) -> None:
    """Write the latencies as JSON; raises OSError."""
    path.write_bytes(orjson.dumps([asdict(latency) for latency in latencies], option=orjson.OPT_INDENT_2))


def table(latencies: Sequence[Latency]) -> list[str]:
    """The latencies as lines of text."""
    rows = [COLUMNS, *map(_cells, latencies)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths) for row in rows]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
    return "  ".join([f"{row[0]:<{len(first)}}", *rest])


def _cells(latency: Latency) -> list[str]:
    quantiles = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p999_us, latency.max_us]
    late = [latency.late_p50_us, latency.late_p99_us]
    return [
        latency.name,
        f"{latency.requests:,}",
        f"{latency.failures:,}",
        number(latency.achieved),
        *(_cell(value) for value in [*quantiles, *late]),
        NOTHING if latency.generator_busy is None else percent(latency.generator_busy),
    ]


def _cell(value: Any) -> str:
    return NOTHING if value is None else duration(value)
