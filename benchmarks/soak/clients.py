"""Clients that ask in every form without a pause, and keep account of each answer."""

import random
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse

from benchmarks.soak.faults import Fault
from benchmarks.soak.forms import Form
from benchmarks.soak.truth import Truth

# The most rows in one request; every so many-th is wrong on purpose, or comes on a new connection.
ROWS, WRONG, FRESH = 40, 8, 50
PATIENCE = 60.0


@dataclass(frozen=True)
class Lost:
    """A request without an answer: when (s, monotonic), by which route, how many rows, and the error."""

    at: float
    route: str | None
    requests: int
    rows: int
    reason: str


@dataclass
class Account:
    """The answers of all clients. ``requests``: (route, status, version) -> count; ``rows`` by version.

    ``shed`` are the requests that were refused as too many at once, which a busy machine makes them.
    """

    requests: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    forms: Counter[str] = field(default_factory=Counter)
    lost: list[Lost] = field(default_factory=list)
    shed: int = 0
    wrong: list[str] = field(default_factory=list)
    # Every client adds to the same account.
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def answers(self) -> int:
        """The number of right answers, refusals of wrong requests among them."""
        return self.forms.total()


class Clients:
    """Threads that ask until they are told to stop."""

    def __init__(
        self, port: int, truth: Truth, forms: Mapping[str, Form], faults: Mapping[str, Fault], count: int
    ) -> None:
        self.account = Account()
        self.count = count
        self._port = port
        self._truth = truth
        self._forms = list(forms.items())
        self._faults = list(faults.items())
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(seed,)) for seed in range(count)]

    def start(self) -> None:
        """Start all of them."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each finish its request."""
        self._done.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)

    def _work(self, seed: int) -> None:
        chance = random.Random(seed)
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._done.is_set():
            if not chance.randrange(FRESH):
                connection.close()
            if chance.randrange(WRONG):
                self._ask(connection, chance)
            else:
                self._offend(connection, *chance.choice(self._faults))
        connection.close()

    def _ask(self, connection: HTTPConnection, chance: random.Random) -> None:
        name, form = chance.choice(self._forms)
        count = 1 if form.one else chance.randint(1, ROWS)
        first = chance.randrange(len(self._truth.rows) - count)
        body = form.write(self._truth.rows[first : first + count])
        headers = {"Content-Type": form.kind, **form.headers(body)}
        requests = count if form.by_row else 1
        try:
            connection.request("POST", form.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            self._lose(Lost(time.monotonic(), form.route, requests, count, f"{name}: {error!r}"))
            return
        is_shed = answer.status == 503 and b"overloaded" in content
        fault = None if is_shed else self._fault(form, answer, content, first, count)
        with self.account.lock:
            if is_shed:
                self.account.shed += 1
                self.account.requests[form.route, 503, ""] += 1
                return
            if fault:
                self.account.wrong.append(f"{name}: {fault}")
                return
            version = answer.headers["Model-Version"]
            self.account.requests[form.route, 200, version] += requests
            self.account.rows[version] += count
            self.account.forms[name] += 1

    def _fault(self, form: Form, answer: HTTPResponse, content: bytes, first: int, count: int) -> str | None:
        """The reason why an answer is wrong; None where it is its pipeline's own."""
        if answer.status != 200:
            return f"status {answer.status}: {content[:200]!r}"
        try:
            labels, shares = form.read(content)
        except Exception as error:  # any answer of another form is a wrong one
            return f"{error!r}: {content[:200]!r}"
        version = int(answer.headers["Model-Version"])
        if self._truth.of(version).fits(first, labels, shares, count):
            return None
        return f"rows {first} to {first + count}, version {version}: {content[:200]!r}"

    def _offend(self, connection: HTTPConnection, name: str, fault: Fault) -> None:
        try:
            connection.request(fault.method, fault.path, fault.body or None, {"Content-Type": fault.kind})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            self._lose(Lost(time.monotonic(), fault.route, 1, 0, f"{name}: {error!r}"))
            return
        with self.account.lock:
            if answer.status != fault.status:
                self.account.wrong.append(f"{name}: status {answer.status}: {content[:200]!r}")
                return
            self.account.forms[name] += 1
            if fault.route:
                self.account.requests[fault.route, fault.status, ""] += 1

    def _lose(self, lost: Lost) -> None:
        with self.account.lock:
            self.account.lost.append(lost)
