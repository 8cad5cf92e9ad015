"""The HTTP server: granian's processes and threads, which run the application."""

import gc
import logging
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server
from msgspec.structs import replace

from unpickled.server import app, heap, machine
from unpickled.server.config import Config
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle.repository import Beginning, folders
from unpickled.server.observe.counters import Memory
from unpickled.server.process import address, banner, stalled
from unpickled.server.process.orders import DRAIN, SCAN, Orders
from unpickled.server.process.start import Start
from unpickled.server.process.watchdog import Watchdog
from unpickled.server.service import Service

logger = logging.getLogger("unpickled")

# granian's messages go to stderr with ours.
_LOGGING = {"loggers": {"_granian": {"handlers": [], "propagate": True}}}


def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    A worker that ends by itself is replaced. The whole server ends with 1 if its settings are wrong, or if
    a worker ends within seconds of replacing another.
    """
    config = replace(config, listening=address.claim(config.listening))
    os.register_at_fork(before=_hold_signals, after_in_parent=_release_signals, after_in_child=_start_worker)
    # Twice as many blocks as workers: a replacement may start while the old worker still ends.
    memory = Memory(blocks=2 * config.listening.workers)
    start = Start()
    try:
        _server(config).serve(target_loader=Loader(config, memory, start), wrap_loader=False)
    except SystemExit:
        return 1
    return 1 if start.failed else 0


_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def _hold_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _start_worker() -> None:
    """Reset the handlers inherited from the main process, which would swallow the signals to this one."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _release_signals()


class Loader:
    """Builds the application in each worker, after the fork: the threads of ONNX Runtime survive none."""

    def __init__(self, config: Config, memory: Memory, start: Start) -> None:
        self._config = config
        self._memory = memory
        self._start = start
        self._names = _names(config)

    def __call__(self) -> Any:
        heap.bound(max(2, machine.processors() // self._config.listening.workers))
        # A brief request waits so long for the interpreter beside a batch: a tenth of what is usual.
        sys.setswitchinterval(0.0005)
        # Objects that live long are visited a hundred times less often: a batch has very many of them.
        gc.set_threshold(*gc.get_threshold()[:2], 1000)
        orders = Orders()
        orders.start()
        service = self._service()
        repository = service.repository
        if self._start.announce(repository.default or ""):
            arguments = (self._config, banner.text(repository))
            threading.Thread(target=_announce, args=arguments, daemon=True).start()
        _watch(service)
        orders.obey_for(service)
        application = app.flask_app(service)
        service.start()
        # All objects up to here live as long as the process: keep the garbage collector from visiting them.
        gc.collect()
        gc.freeze()
        return application.wsgi_app

    def _service(self) -> Service:
        """The service of this worker; retried if an earlier worker could start with the same settings."""
        logged = ""
        while True:
            try:
                return Service(self._config, self._memory, self._beginning())
            except ConfigError as error:
                if not self._start.announced:
                    self._end_server(error)
                if str(error) != logged:
                    logged = str(error)
                    logger.error("worker %d cannot start, and tries again: %s", os.getpid(), error)
            time.sleep(1)

    def _beginning(self) -> Beginning:
        """The models at the start of the server, and the default model that its first worker chose."""
        return Beginning(names=self._names, default=self._start.default or None)

    def _end_server(self, error: ConfigError) -> NoReturn:
        """Stop the whole server: a worker that only ended itself would be replaced, and fail again."""
        if not self._start.failed:
            self._start.fail()
            print(f"error: {error}", file=sys.stderr, flush=True)
        # Not SIGTERM, which would wait for drain_delay.
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(1)
        os._exit(0)


def _names(config: Config) -> frozenset[str] | None:
    """Names in the models folder; None where it cannot be read, which ends the first worker with a reason."""
    with suppress(ConfigError):
        return frozenset(folder.name for folder in folders(config))
    return None


def _watch(service: Service) -> None:
    config, slots = service.config, service.slots
    clients = stalled.clients(slots.cuts)
    Watchdog(config.listening.threads, config.limits.body_timeout, slots, service.in_flight, clients).start()


def _announce(config: Config, text: str) -> None:
    """Print the text once the address answers, which is after granian has got the application."""
    address.wait(config.listening)
    print(text, flush=True)


class _Server(Server):  # type: ignore[misc,valid-type]
    """granian's server, except for two signals.

    SIGHUP does not replace the workers: it makes them scan the models. SIGTERM makes them drain for
    ``drain_delay`` seconds before they end; a second signal, or SIGINT in its place, ends that wait.
    """

    def __init__(self, *arguments: Any, drain_delay: float, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._drain_delay = drain_delay
        self._hurried = threading.Event()

    def signal_handler_reload(self, *arguments: object) -> None:
        self._order(SCAN)

    def signal_handler_interrupt(self, number: int, *arguments: object) -> None:
        if self.interrupt_signal or number == signal.SIGINT:
            self._hurried.set()
        super().signal_handler_interrupt()

    def shutdown(self, exit_code: int = 0) -> None:
        if self.interrupt_signal and self._drain_delay and not self._hurried.is_set():
            self._order(DRAIN)
            self._hurried.wait(self._drain_delay)
        super().shutdown(exit_code)

    def _order(self, number: signal.Signals) -> None:
        for worker in self.wrks:
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, number)


def _server(config: Config) -> Any:
    listening, log_level = config.listening, config.observing.log_level
    logging.basicConfig(level=log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    return _Server(
        "unpickled.server:create_app",
        address=listening.host,
        port=listening.port,
        uds=Path(listening.uds) if listening.uds else None,
        uds_permissions=int(listening.uds_mode, 8) if listening.uds_mode else None,
        interface=Interfaces.WSGI,
        workers=listening.workers,
        blocking_threads=listening.threads,
        # This one time bounds both the wait for a request's head and the silence between two requests.
        http1_settings=HTTP1Settings(header_read_timeout=1000 * listening.keep_alive),
        websockets=False,
        # granian warns of settings that are deliberate here, and logs a line at every start.
        log_level=LogLevels.debug if log_level == "debug" else LogLevels.error,
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=listening.shutdown_timeout,
        drain_delay=listening.drain_delay,
    )
