"""Locust's statistics with three digits below a millisecond; Locust itself keeps whole milliseconds."""

from typing import Any

from locust import stats

_to_dict = stats.StatsEntry.to_dict


def bucket(milliseconds: float) -> float:
    """A time with three significant digits and no more than three decimals: 0.087, 1.23, 45.6, 789, 1230."""
    if milliseconds < 1:
        return round(milliseconds, 3)
    if milliseconds < 10:
        return round(milliseconds, 2)
    if milliseconds < 100:
        return round(milliseconds, 1)
    return float(round(milliseconds, 0 if milliseconds < 1000 else -1))


def digits(milliseconds: float) -> str:
    """A time in milliseconds as text: 0.087; 1.23; 45.6; 789; 1230."""
    value = bucket(milliseconds)
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def install() -> None:
    """Replace the functions of Locust that cut times to whole milliseconds."""
    # Locust documents that bucket_response_time may be replaced, and annotates the times as integers.
    changed: Any = stats
    changed.bucket_response_time = bucket
    changed.StatsEntry.to_string = _to_string
    changed.StatsEntry.percentile = _percentile
    changed.StatsEntry.to_dict = _as_dict
    changed.StatsCSV._percentile_fields = _percentile_fields


def _to_string(entry: stats.StatsEntry, current: bool = True) -> str:
    """A line of the table that is printed every two seconds."""
    width = stats.STATS_NAME_WIDTH - stats.STATS_TYPE_WIDTH + 4
    failed = f"{entry.num_failures}({entry.fail_ratio * 100:.2f}%)"
    times = (
        entry.avg_response_time, entry.min_response_time or 0,
        entry.max_response_time, entry.median_response_time or 0,
    )  # fmt: skip
    average, least, most, median = map(digits, times)
    rate = entry.current_rps if current else entry.total_rps
    failures = entry.current_fail_per_sec if current else entry.total_fail_per_sec
    return (
        f"{entry.method or '':<{stats.STATS_TYPE_WIDTH}} {entry.name:<{width}} "
        f"{entry.num_requests:>7} {failed:>12} |{average:>7} {least:>7} {most:>7}{median:>7} | "
        f"{rate or 0:>7.2f} {failures or 0:>11.2f}"
    )


def _percentile(entry: stats.StatsEntry) -> str:
    """A line of the table of percentiles that is printed at the end."""
    values = [digits(entry.get_response_time_percentile(share)) for share in stats.PERCENTILES_TO_REPORT]
    columns = " ".join(f"{value:>6}" for value in (*values, entry.num_requests))
    # Locust gives the first percentile eight columns.
    kind = f"{entry.method or '':<{stats.STATS_TYPE_WIDTH}}"
    return f"{kind} {entry.name:<{stats.STATS_NAME_WIDTH}}   {columns}"


def _as_dict(entry: stats.StatsEntry, escape_string_values: bool = False) -> dict[str, Any]:
    """The times for the web page and the HTML report."""
    exact = {
        "min_response_time": bucket(entry.min_response_time or 0),
        "max_response_time": bucket(entry.max_response_time),
    }
    return {**_to_dict(entry, escape_string_values), **exact}


def _percentile_fields(
    table: stats.StatsCSV, entry: stats.StatsEntry, use_current: bool = False
) -> list[Any]:
    """The percentiles of one line of a CSV file, in ms."""
    if not entry.num_requests:
        return list(table.percentiles_na)
    current = use_current and entry.use_response_times_cache
    percentile = entry.get_current_response_time_percentile if current else entry.get_response_time_percentile
    return [percentile(share) or 0 for share in table.percentiles_to_report]
