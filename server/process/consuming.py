"""A process that consumes messages: the command's loop, its signals, and its probes at the admin port."""

import gc
import logging.config
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

from msgspec import Struct

from unpickled.server.config import Config, Listening
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle.deployment import Deployment, percent
from unpickled.server.message.answer import Whole, document
from unpickled.server.observe import log
from unpickled.server.observe.exposition import exposition
from unpickled.server.observe.outlines import outlines
from unpickled.server.observe.streamed import ANSWERED, OUTCOMES, Streamed
from unpickled.server.process import address, banner
from unpickled.server.process.admin import AdminPort, chosen
from unpickled.server.quote import listed
from unpickled.server.service import Service
from unpickled.server.streams.address import Addresses
from unpickled.server.streams.answering import Answering, routes
from unpickled.server.streams.broker import SourceOptions
from unpickled.server.streams.consumer import Consumer
from unpickled.server.streams.ends import ends_of
from unpickled.server.streams.pace import Pace

# Seconds without a sign of life after which the consumer counts as stuck: no message takes that long.
_STUCK = 60.0
_ENDING = signal.SIGTERM, signal.SIGINT


class Live(Struct, frozen=True, kw_only=True):
    """Whether the consumer shows signs of life."""

    live: bool


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether messages are answered. A consumer that is ``draining`` is about to end."""

    ready: bool
    draining: bool


class Probes:
    """Answers the paths of the admin port of a consumer."""

    def __init__(self, consumer: Consumer, service: Service) -> None:
        self._consumer = consumer
        self._service = service

    def answer(self, method: str, path: str, accept: str | None) -> Whole:
        """The answer to a request; UnknownPath, MethodNotAllowed."""
        answers: dict[str, Callable[[], Whole]] = {
            "/livez": self._live,
            "/readyz": self._ready,
            "/metrics": partial(self._metrics, accept),
        }
        return chosen(answers, method, path)

    def _live(self) -> Whole:
        live = time.monotonic() - self._consumer.beat < _STUCK
        return document(Live(live=live), 200 if live else 503)

    def _ready(self) -> Whole:
        ready, draining = self._consumer.is_ready, self._consumer.stopping
        return document(Readiness(ready=ready, draining=draining), 200 if ready else 503)

    def _metrics(self, accept: str | None) -> Whole:
        service = self._service
        models = outlines(service.repository.deployments.values())
        kind, text = exposition(service.memory, models, accept, service.records.drift, service.records.truth)
        return "200 OK", (("Content-Type", kind),), text


def consume(settings: Config, addresses: Addresses, options: SourceOptions, pace: Pace) -> int:
    """Consume until a signal comes; the exit status, 1 where messages are left that were held.

    Raises:
        ConfigError: A setting or an address is wrong, there is no model to answer with, or a broker refuses
            for good.
        UnpickledError: The library of a broker is missing.
    """
    logging.config.dictConfig(log.settings(settings.observing.log_level))
    ends = ends_of(addresses, options)
    listener = _listener(settings.listening)
    service = Service(settings, protocols=routes())
    if service.repository.default is None:
        raise ConfigError(_undecided(service))
    log.count_in(service.block)
    streamed = Streamed(service.block)
    consumer = Consumer(ends, Answering(service), streamed, pace)
    _follow_signals(consumer, service)
    service.start()
    if listener is not None:
        _attend(listener, Probes(consumer, service))
    _tell(*_beginning(service, addresses, options))
    # All objects up to here live as long as the process: keep the garbage collector from visiting them.
    gc.collect()
    gc.freeze()
    consumer.run()
    _tell(_end(streamed))
    return 1 if consumer.left else 0


def _undecided(service: Service) -> str:
    """The reason why no model is chosen, and the remedy."""
    names, folder = sorted(service.repository.names), service.config.models
    if not names:
        return (
            f"there is no model in {folder}: `unpickled train iris` makes one, and --models names its folder"
        )
    return f"{folder} has {listed(names)}: choose the one that answers by --model"


def _listener(listening: Listening) -> socket.socket | None:
    """Listens at the admin port; None without one."""
    if listening.admin_port is None:
        return None
    host = listening.admin_host or listening.host
    return address.listener(host, listening.admin_port, "--admin-host or --admin-port")


def _attend(listener: socket.socket, probes: Probes) -> None:
    """Answer at the admin port from a thread, until the process ends."""
    selector = selectors.DefaultSelector()
    AdminPort(listener, selector, probes.answer)
    threading.Thread(target=_answer, args=(selector,), name="admin port", daemon=True).start()


def _answer(selector: selectors.BaseSelector) -> None:
    while True:
        for key, events in selector.select():
            key.data(events)


def _follow_signals(consumer: Consumer, service: Service) -> None:
    """Let SIGTERM and Ctrl-C stop the consumer; the second of them ends the process at once.

    SIGHUP has the models folder scanned.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        consumer.stop()
        for each in _ENDING:
            signal.signal(each, signal.SIG_DFL)

    for number in _ENDING:
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, lambda number, frame: service.reloader.wake())


def _beginning(service: Service, addresses: Addresses, options: SourceOptions) -> Iterator[str]:
    """Lines for the person who starts the consumer."""
    deployment = service.repository.deployments[service.repository.default or ""]
    yield f"Unpickled consumes {addresses.source} as {options.member}, a member of the group {options.group}"
    yield f"  {deployment.name} answers with {_versions(deployment)}, to {addresses.target}"
    if addresses.letters is not None:
        yield f"  messages without an answer go to {addresses.letters}"
    yield from banner.admin(service.config.listening)
    yield from banner.logged(service.config.log)
    yield from banner.unrecorded(service.config.models)


def _versions(deployment: Deployment) -> str:
    if not deployment.versions:
        return f"no version yet (not served: {deployment.reason})"
    shares = [f"version {number} ({percent(share)})" for number, share in deployment.traffic.items() if share]
    return ", ".join(shares) if len(shares) > 1 else f"version {deployment.main.version}"


def _end(streamed: Streamed) -> str:
    """The line at the end, with what has become of messages."""
    totals = {outcome: streamed.total(outcome) for outcome in OUTCOMES}
    words = [f"{count:,} {outcome}" for outcome, count in totals.items() if count or outcome == ANSWERED]
    return f"ended: {', '.join(words)}"


def _tell(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)
