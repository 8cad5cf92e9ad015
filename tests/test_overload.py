"""The open loop counts every request once, from when it was due, whatever the server does."""

import contextlib
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle

import msgspec
import pytest
from conftest import FLOWER, ROOT, run, serving

from benchmarks.errors import BenchmarkError
from benchmarks.overload.campaign import split_flags
from benchmarks.overload.outcome import quantile_ms
from benchmarks.overload.schedule import arrivals
from benchmarks.overload.surge import PROBE, Probe, Step, Surge
from benchmarks.reporting import markdown, report
from benchmarks.reporting import overload as reporting
from benchmarks.traffic.checks import Expected
from benchmarks.traffic.connection import Address
from benchmarks.traffic.contracts import CONTRACTS
from benchmarks.traffic.payloads import SINGLE, Payload

OK = b'{"prediction":[0],"probabilities":[[1.0,0.0]]}'
Handler = Callable[[socket.socket], None]


def answer(status: int, *, body: bytes = OK, head: str = "") -> bytes:
    """The bytes of an answer with a length."""
    return f"HTTP/1.1 {status} Any\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


def always(content: bytes, closes: bool = False) -> Handler:
    """A server that answers every request with the same bytes, and may then close without a word."""

    def handle(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(content)
            if closes:
                return

    return handle


def silent(connection: socket.socket) -> None:
    """A server that takes requests and answers none."""
    while connection.recv(65536):
        pass


@contextlib.contextmanager
def listening(handle: Handler) -> Iterator[Address]:
    """The address of a server of a few lines, each connection in a thread."""

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            handle(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield Address.of(f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def payload(address: Address, expected: Expected | None = None) -> Payload:
    """One flower, and the answer to it."""
    contract = CONTRACTS["native"]
    message = address.message("POST", contract.path, contract.request([FLOWER]))
    return Payload(SINGLE, message, 1, contract, None, expected)


def surged(address: Address, *, limit: float = 30.0, most: int = 50, probe: Probe | None = None) -> Step:
    """A hundred requests within a fifth of a second."""
    surge = Surge(address, {SINGLE: cycle([payload(address)])}, limit, most, probe)
    with contextlib.closing(surge):
        return surge.open_loop(arrivals(500, 0.2, {SINGLE: 1.0}, poisson=False), 0.2)


def test_arrivals():
    """Poisson arrivals have the rate and the shares asked for, and the same seed makes the same."""
    plan = arrivals(1000, 20, {"a": 0.95, "b": 0.05})
    assert len(plan) == pytest.approx(20_000, rel=0.05)
    assert Counter(kind for _, kind in plan)["b"] == pytest.approx(1000, rel=0.2)
    assert plan == sorted(plan) == arrivals(1000, 20, {"a": 0.95, "b": 0.05})
    assert plan != arrivals(1000, 20, {"a": 0.95, "b": 0.05}, seed=1)
    assert [due for due, _ in arrivals(4, 1, {"a": 1.0}, poisson=False)] == [0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("handle", "counts"),
    {
        "answers": (always(answer(200)), {"good": 100}),
        "answers in chunks": (
            always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2e\r\n" + OK + b"\r\n0\r\n\r\n"),
            {"good": 100},
        ),
        "closes after each answer": (always(answer(200, head="Connection: close\r\n"), True), {"good": 100}),
        "closes without a word": (always(answer(200), closes=True), {"good": 100}),
        "refuses": (always(answer(503, body=b"{}")), {"shed": 100}),
        "fails": (always(answer(500, body=b"{}")), {"failed": 100}),
        "answers nonsense": (always(answer(200, body=b"{}")), {"failed": 100}),
    }.values(),
    ids=["answers", "chunks", "closes", "closes silently", "refuses", "fails", "nonsense"],
)
def test_every_end_is_counted(handle, counts):
    """Each request ends in one of the ways, with the time since it was due."""
    with listening(handle) as address:
        step = surged(address)
    outcome = step.outcomes[SINGLE]
    assert outcome.counts == counts
    assert (len(outcome.good), len(outcome.shed)) == (counts.get("good", 0), counts.get("shed", 0))
    assert bool(outcome.wrong) == outcome.first.startswith("the answer")


def test_a_silent_server_is_given_up():
    """Clients give up at the limit, and those that found no connection do, too."""
    with listening(silent) as address:
        step = surged(address, limit=0.3, most=20)
    assert step.outcomes[SINGLE].counts == {"unanswered": 100}
    assert step.lines == 20


def test_nobody_listens():
    """Refused connections are failures, in an open and in a closed loop."""
    with socket.socket() as holder:
        # Bound, so that no other process listens there meanwhile.
        holder.bind(("127.0.0.1", 0))
        address = Address.of(f"http://127.0.0.1:{holder.getsockname()[1]}")
        assert surged(address).outcomes[SINGLE].counts == {"failed": 100}
        with contextlib.closing(Surge(address, {SINGLE: cycle([payload(address)])}, 1.0, 4)) as surge:
            step = surge.closed_loop([SINGLE], 2, 0.1)
    assert set(step.outcomes[SINGLE].counts) == {"failed"}


def test_probes_have_connections_of_their_own():
    """A probe needs no free connection, and its answer counts apart."""
    with listening(silent) as busy, listening(always(answer(200))) as free:
        probe = Probe(free, free.message("GET", "/livez"), rate=50)
        step = surged(busy, limit=10.0, most=1, probe=probe)
    assert step.outcomes[PROBE].counts == {"good": 10}
    assert step.outcomes[SINGLE].counts == {"unanswered": 100}


def test_a_wrong_answer_is_told():
    """An answer that is not scikit-learn's is no right one, and named."""
    expected = Expected([1], [[0.0, 1.0]])
    with listening(always(answer(200))) as address:
        surge = Surge(address, {SINGLE: cycle([payload(address, expected)])}, 30.0, 4)
        with contextlib.closing(surge):
            step = surge.closed_loop([SINGLE], 1, 0.05)
    assert set(step.outcomes[SINGLE].counts) == {"failed"}
    assert "scikit-learn" in step.outcomes[SINGLE].wrong


def test_a_real_server(models, tmp_path):
    """Every request to a server that keeps up is answered rightly, probes too."""
    with serving(tmp_path, "--default-model", "iris", models=models.path) as server:
        address = Address.of(server.url)
        step = surged(address, probe=Probe(address, address.message("GET", "/livez")))
    assert {kind: outcome.counts for kind, outcome in step.outcomes.items()} == {
        SINGLE: {"good": 100},
        PROBE: {"good": 2},
    }


def test_quantiles():
    """A quantile stands only where there are enough requests for it."""
    assert quantile_ms([0.001] * 99, 0.99) is None
    assert quantile_ms([*[0.001] * 99, 0.5], 0.99) == 500
    assert quantile_ms([0.001, 0.002, 0.003], 0.5) == 2


def test_flags():
    """Flags for the server are words without braces, which mark places in the catalogue."""
    assert split_flags("--max-queue-ms 50  --threads 8") == "--max-queue-ms 50 --threads 8"
    with pytest.raises(BenchmarkError, match="no space and no brace"):
        split_flags("--models {work}")


@pytest.mark.skipif(not reporting.LATEST.is_stored(), reason="nothing is measured yet")
def test_the_page_shows_what_is_stored():
    """The tables of the page and the picture are those of the stored figures."""
    page = markdown.holder(ROOT, reporting.LATEST.name)
    assert page.read_text("utf-8") == reporting.LATEST.page_text(page)
    picture = (report.RESULTS / "overload" / reporting.PICTURE).read_text("utf-8")
    assert picture.count("<path") == reporting.picture(reporting.LATEST.stored()).count("<path")


def figure(**members) -> reporting.Figure:
    """The figure of one step; members that are not given are 0, or empty."""
    types = {name: kind for name, kind in msgspec.structs.asdict(EMPTY).items() if name not in members}
    return reporting.Figure(**types | members)


EMPTY = reporting.Figure(
    model="wide", server="unpickled", mix="single rows", kind=SINGLE, repeat=0, times=1.0, capacity=100.0,
    seconds=10.0, requests=1000, good=1000, shed=0, unanswered=0, failed=0, failure="", p50_ms=1.0,
    p99_ms=5.0, p999_ms=None, shed_p99_ms=None, probe_p99_ms=2.0, probes=100, probes_failed=0, cpu=0.9,
    late_p99_ms=0.2, generator_busy=0.1, connections=8, recovered_s=0.1,
)  # fmt: skip


def test_repetitions_are_medians():
    """A figure is the median of its repetitions; a load at which the generator was late is marked."""
    figures = [figure(repeat=repeat, good=good) for repeat, good in enumerate((900, 950, 100))]
    step = reporting.Step(1.0, figures)
    assert step.per_s("good") == 90
    assert step.median("p99_ms") == 5.0
    assert step.median("p999_ms") is None


@pytest.mark.long
def test_the_command(tmp_path):
    """The command measures a real server, and prints a line for each load."""
    options = (
        "--models iris --servers unpickled --times 0.5 2 --seconds 1 --repeats 1 --unpinned --main-probes"
    )
    completed = run([sys.executable, "-m", "benchmarks", "overload", *options.split()], cwd=ROOT)
    assert completed.returncode == 0, completed.stderr
    assert "Unpickled, logistic regression on iris, single rows: capacity" in completed.stdout
    assert "Unpickled, logistic regression on iris, 5% batches, batch of 1000: capacity" in completed.stdout
    assert {"x0.5", "x2"} <= set(completed.stdout.split())
