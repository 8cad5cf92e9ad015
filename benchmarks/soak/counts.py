"""The server's own counts, beside those of the clients."""

import re
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import TypeVar

from benchmarks.soak.clients import Account

Key = TypeVar("Key", bound=Hashable)

_REQUESTS = re.compile(
    r'^unpickled_requests_total\{model="[^"]*",route="([^"]*)",status="(\d+)",version="(\d*)"\} (\S+)$', re.M
)
_ROWS = re.compile(r'^unpickled_rows_total\{model="[^"]*",version="(\d+)"\} (\S+)$', re.M)


def differences(account: Account, metrics: str) -> list[str]:
    """Sentences about counts that differ, but for requests whose answers were lost.

    A worker that is killed may have counted a request whose answer never left: the server's counts may be
    higher by as many as were lost, in all, and never lower.
    """
    routes = {route for route, _, _ in account.requests}
    asked = Counter(
        {(route, status, version): number for (route, status, version), number in account.requests.items()}
    )
    counted: Counter[tuple[str, int, str]] = Counter()
    for route, status, version, number in _REQUESTS.findall(metrics):
        if route in routes:
            # The client of a refused request is not told which version refused it.
            counted[route, int(status), version if status == "200" else ""] += int(float(number))
    rows = Counter({version: int(float(number)) for version, number in _ROWS.findall(metrics)})
    requests = sum(lost.requests for lost in account.lost)
    lines = list(_apart("requests", asked, counted, requests))
    return lines + list(_apart("rows", account.rows, rows, sum(lost.rows for lost in account.lost)))


def _apart(name: str, asked: Counter[Key], counted: Counter[Key], lost: int) -> Iterator[str]:
    more = {key: counted[key] - asked[key] for key in {*asked, *counted}}
    for key, difference in more.items():
        if difference < 0:
            yield f"{name} of {key}: {-difference} fewer than the clients' {asked[key]}"
    surplus = {key: difference for key, difference in more.items() if difference > 0}
    if sum(surplus.values()) > lost:
        yield f"{name}: {surplus} more than the clients', who lost {lost}"
