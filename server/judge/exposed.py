"""The figures of a running server about two versions, read from the text that Prometheus gets."""

import math
import re
from typing import NamedTuple

# Parts of the pattern of a route by which a client has chosen the version, so that chance has not.
CHOSEN = ("<version>", "<label>")
_SAMPLE = re.compile(r"(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class Work(NamedTuple):
    """The work of one version since its server started.

    Attributes:
        requests: Those whose client has not chosen the version.
        failed: Those of them that were answered with a status of 400 or more.
        answered: All requests with a prediction.
        rows: The rows predicted.
        seconds: The time that the model ran for these.
    """

    requests: int
    failed: int
    answered: int
    rows: int
    seconds: float

    @property
    def share(self) -> float:
        """The share of requests that failed; 0 without any."""
        return self.failed / self.requests if self.requests else 0.0


class Shadowed(NamedTuple):
    """The rows that a shadow got beside one version: answered alike or not, and refused."""

    same: int
    different: int
    refused: int


class Exposed:
    """The samples in the text of ``GET /metrics``.

    Example:
        >>> Exposed('unpickled_rows_total{model="iris",version="2"} 3.0').work("iris", 2).rows
        3
    """

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for line in text.splitlines():
            sample = _SAMPLE.match(line)
            if sample is not None and (value := _number(sample[3])) is not None:
                self._samples.setdefault(sample[1], []).append((_labels(sample[2]), value))

    def serves(self, model: str, version: int) -> bool:
        """Whether a worker of the server has a version loaded."""
        return self._sum("unpickled_model_loaded", {"model": model, "version": str(version)}) > 0

    def work(self, model: str, version: int) -> Work:
        """The work of one version."""
        key = {"model": model, "version": str(version)}
        requests = self._found("unpickled_requests_total", key)
        plain = [
            (labels.get("status", ""), value)
            for labels, value in requests
            if not any(part in labels.get("route", "") for part in CHOSEN)
        ]
        run = self._sum("unpickled_phase_seconds_total", key | {"phase": "run"})
        return Work(
            requests=round(sum(value for _, value in plain)),
            failed=round(sum(value for status, value in plain if status >= "400")),
            answered=round(sum(value for labels, value in requests if labels.get("status") == "200")),
            rows=round(self._sum("unpickled_rows_total", key)),
            seconds=run,
        )

    def shadowed(self, model: str, version: int, shadow: int) -> Shadowed:
        """The rows of a shadow beside one version."""
        key = {"model": model, "shadow": str(shadow)}
        pair = key | {"version": str(version)}
        same, different = (
            round(self._sum("unpickled_shadow_rows_total", pair | {"agreement": agreement}))
            for agreement in ("same", "different")
        )
        return Shadowed(same, different, round(self._sum("unpickled_shadow_refused_rows_total", key)))

    def _found(self, name: str, key: dict[str, str]) -> list[tuple[dict[str, str], float]]:
        samples = self._samples.get(name, [])
        return [(labels, value) for labels, value in samples if key.items() <= labels.items()]

    def _sum(self, name: str, key: dict[str, str]) -> float:
        return sum(value for _, value in self._found(name, key))


def _number(text: str) -> float | None:
    """The value of a sample; None where it is none that can be counted, as that of another server may be."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _labels(text: str) -> dict[str, str]:
    return {name: _ESCAPED.sub(_unescaped, value) for name, value in _LABEL.findall(text)}


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]
