"""The state that the users, the ladder and the summary of one Locust process share."""

import gc
from argparse import Namespace
from collections.abc import Iterator, Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import orjson

from benchmarks.errors import BenchmarkError
from benchmarks.traffic.arrivals import CLOSED, POISSON, Arrivals, Phase, Share
from benchmarks.traffic.connection import FAULTS, Address, Connection
from benchmarks.traffic.contracts import CONTRACTS
from benchmarks.traffic.payloads import RECORD, Encoder, Payload, batch
from benchmarks.traffic.subject import Subject, published, sampled, saved

Kinds = Mapping[str, float]
# The option in which the master sends its workers their number.
SENDERS = "senders"


class Load:
    """The load of this process. ``problem``: the reason why it cannot start, one sentence, or "".

    ``faults``: the first error for each fault of an answer; all errors with that fault count under it.
    """

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.share = Share()
        self.problem = ""
        self.faults: dict[str, str] = {}
        self._address = Address(secure=False, host="", port=0, prefix="")
        self._decks: dict[str, Iterator[Payload]] = {}
        self._in_turn: Iterator[str] = iter(())
        self._prepared: object = None

    def payload(self, user: str) -> Payload:
        """The next payload of a class of users."""
        return next(self._decks[user])

    def kind(self) -> str:
        """The kind of a request that no user took; the classes take turns."""
        return self.payload(next(self._in_turn)).kind

    def connection(self) -> Connection:
        """A new connection to the server, not open yet."""
        return Connection(self._address)

    def prepare(self, host: str | None, options: Namespace, users: Mapping[str, Kinds]) -> None:
        """Encode the payloads of ``users`` (class -> kinds), unless they are ready; sets ``problem``."""
        source = (options.contract, options.model, options.sample, options.features)
        key = (host, *source, options.rows, sorted(users))
        self.faults.clear()
        try:
            check_arrival(options)
            _check_rows(options, users)
            if key != self._prepared:
                self._encode(host, options, users)
        except BenchmarkError as error:
            self.problem = str(error)
        else:
            self.problem, self._prepared = "", key

    def _encode(self, host: str | None, options: Namespace, users: Mapping[str, Kinds]) -> None:
        if not host:
            raise BenchmarkError("--host is missing: give the server's address, like http://127.0.0.1:8000")
        address, contract = Address.of(host), CONTRACTS[options.contract]
        subject = _subject(host, address, options)
        if not 1 <= options.rows <= len(subject.rows):
            raise BenchmarkError(
                f"--rows {options.rows} is more than there are, or none: give 1 to {len(subject.rows)}"
            )
        encoder = Encoder(address, contract, options.model, subject)
        self._decks = {name: encoder.deck(_supported(kinds, options)) for name, kinds in users.items()}
        self._in_turn = cycle(self._decks)
        # A collection that visits thousands of payloads would show as latency.
        self._address = address
        gc.collect()
        gc.freeze()

    def take_share(self, runner: Any, options: Mapping[str, Any]) -> None:
        """Give a worker its share of the requests, by the options that the master sent."""
        senders = max(options.get(SENDERS, 1), 1)
        self.share = Share(runner.worker_index % senders, senders)

    def phase(self, rate: float | None, label: str, options: Namespace) -> Phase:
        """A phase with the share of this process."""
        return Phase(rate, label, options.arrival == POISSON, self.share)


# One per process: Locust loads each file of the command line as a module of its own.
LOAD = Load()


def check_arrival(options: Namespace) -> None:
    """Check that --arrival and --rate agree; raises BenchmarkError."""
    rungs = getattr(options, "rungs", "")
    if options.arrival == CLOSED and options.rate:
        raise BenchmarkError("--rate needs --arrival constant or poisson: users in a closed loop set no rate")
    if options.arrival != CLOSED and not rungs and not 0 < options.rate < float("inf"):
        raise BenchmarkError(f"--arrival {options.arrival} needs --rate, in requests per second")
    if options.arrival != CLOSED and rungs and options.rate:
        raise BenchmarkError("--rate and --rungs exclude each other: the rungs are the rates")


def _check_rows(options: Namespace, users: Mapping[str, Kinds]) -> None:
    kind = batch(options.rows)
    if options.rows > 1 and not any(kind in kinds for kinds in users.values()):
        raise BenchmarkError(f"--rows {options.rows} is for the user class Array: name it")


def _supported(kinds: Kinds, options: Namespace) -> Kinds:
    """The kinds of a user that the contract supports."""
    by_name = CONTRACTS[options.contract].record is not None
    supported = {kind: weight for kind, weight in kinds.items() if kind != RECORD or by_name}
    if not supported:
        raise BenchmarkError(
            f"--contract {options.contract} has no rows by name: name another user class than Record"
        )
    return supported


def _subject(host: str, address: Address, options: Namespace) -> Subject:
    document = None if options.sample or options.features else _models(host, address)
    if document is None:
        _reach(host, address)
    if options.sample:
        return sampled(Path(options.sample))
    if options.features:
        return saved(Path(options.features), options.model)
    return published(document, options.model, f"{host}/models")


def _reach(host: str, address: Address) -> None:
    connection = Connection(address)
    try:
        connection.open()
    except OSError as error:
        raise BenchmarkError(_unreachable(host, error)) from None
    finally:
        connection.close()


def _models(host: str, address: Address) -> Any:
    """The answer of GET /models."""
    connection = Connection(address)
    try:
        status, content = connection.exchange(address.message("GET", "/models"))
        document = orjson.loads(content) if status == 200 else None
    except orjson.JSONDecodeError:
        document = None
    except FAULTS as error:
        raise BenchmarkError(_unreachable(host, error)) from None
    finally:
        connection.close()
    if not isinstance(document, dict):
        raise BenchmarkError(
            f"{host}/models says nothing about models (status {status}): "
            "give --sample, or --features with an answer of GET /models"
        )
    return document


def _unreachable(host: str, error: Exception) -> str:
    return f"--host {host} cannot be reached: {error}"
