"""Payload logs as tests read them, traffic for servers that write one, and the fates of its rows."""

import json
import re
import threading
import urllib.request
from collections import Counter
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from conftest import FLOWER, PATIENCE, Serving

from unpickled.server.observe.ids import Id
from unpickled.server.payloads import parts
from unpickled.server.payloads.journals import OPEN

GOOD = json.dumps({"features": FLOWER}).encode()
LOGGING = ("--log-share", "1", "--log-folder", "log", "--shutdown-timeout", "600")


def logged(folder: Path) -> list[dict[str, Any]]:
    """The rows in the finished files."""
    rows = []
    for part in parts.find(folder):
        schema = part.schema
        cells = parts.reader(part.path).rows(part.path, schema, 10_000)
        rows += [dict(zip(schema.names, each, strict=True)) for each in cells]
    return rows


def journals(folder: Path) -> list[Path]:
    """The journals, whatever server they belong to."""
    return [*folder.glob(f"*/{OPEN}/*")]


def exposed(server: Serving) -> str:
    """The metrics, as Prometheus gets them."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def fates(server: Serving) -> dict[str, float]:
    """The rows that were answered, and what became of those for the log, by fate."""
    text = exposed(server)
    rows = re.findall(r'unpickled_log_rows_total{answer="sent",fate="(\w+)".*} (\S+)', text)
    sums = re.findall(r"unpickled_(rows_total|log_rows_waiting|taken_rows_total){.*} (\S+)", text)
    totals: Counter[str] = Counter()
    for name, count in (*rows, *sums):
        totals[name] += float(count)
    return totals


class Traffic:
    """Clients that send one request after the other, until the block ends.

    ``ids`` are those of the rows whose answers have come.
    """

    def __init__(self, server: Serving, clients: int, pause: float = 0.0, rows: int = 1) -> None:
        self.ids: list[str] = []
        self._server, self._pause, self._rows = server, pause, rows
        self._body = GOOD if rows == 1 else json.dumps({"features": [FLOWER] * rows}).encode()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.wait(self._pause):
            # A connection may be to a worker that is just killed.
            with suppress(OSError, HTTPException), closing(self._connection()) as connection:
                while not self._over.wait(self._pause):
                    connection.request("POST", "/models/iris/predict", self._body)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        first = Id.read(answer.headers["Prediction-Id"])
                        numbers = range(first.number, first.number + self._rows)
                        self.ids += [str(first._replace(number=number)) for number in numbers]

    def _connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self._server.port, timeout=PATIENCE)


def settled(server: Serving) -> bool:
    """Whether each row that was answered has its fate, and none waits."""
    rows = fates(server)
    return rows["log_rows_waiting"] == 0 and rows["rows_total"] == sum(
        rows[fate] for fate in ("written", "dropped", "lost", "unchosen")
    )
