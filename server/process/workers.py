"""The HTTP server: granian's processes and threads, which run the application."""

import gc
import logging
import logging.config
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from copy import copy
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server import Server
from msgspec.structs import replace

from unpickled.server import app, heap, machine
from unpickled.server.config import Config
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle.repository import Beginning, folders
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.observe import log
from unpickled.server.observe.connected import Connected
from unpickled.server.observe.counters import Memory
from unpickled.server.process import address, banner, certificates, descriptors, output, threads
from unpickled.server.process.admin import AdminPort
from unpickled.server.process.certificates import Certificates, Paths
from unpickled.server.process.connections import Connections, told
from unpickled.server.process.copies import SharedCopies
from unpickled.server.process.departures import Departures
from unpickled.server.process.heartbeat import Heartbeat
from unpickled.server.process.keep import Keep, Keeper, is_whole, restored
from unpickled.server.process.orders import Orders
from unpickled.server.process.probes import Probes
from unpickled.server.process.pulse import Pulse
from unpickled.server.process.quarantine import Notes, Quarantine
from unpickled.server.process.running import Running
from unpickled.server.process.start import Start
from unpickled.server.process.supervisor import Supervisor
from unpickled.server.process.watchdog import Watchdog
from unpickled.server.service import Service

logger = logging.getLogger("unpickled")

# Connections that the kernel keeps until a worker takes them; it has a limit of its own, net.core.somaxconn.
_BACKLOG = 4096
# Bytes that the head of a request may have.
_LONGEST_HEAD = 128 * 1024
# Beginnings of variables that WSGI takes for parts of a request; and the one that is a setting of clients.
_OF_REQUESTS, _PROXY = ("HTTP_", "CONTENT_", "REMOTE_"), "HTTP_PROXY"


def serve(config: Config, handed: socket.socket | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    ``handed`` is the socket of a service manager that listens for this server.

    A worker that ends by itself, or hangs, is replaced, however often. The whole server ends with 1 if its
    settings are wrong, or if no worker could start.
    """
    output.settle()
    descriptors.raise_limit(config.listening.workers)
    logging.config.dictConfig(log.settings(config.observing.log_level))
    files = certificates.of(config.listening)
    claim = address.claim(threads.affordable(config.listening), handed)
    config = replace(config, listening=claim.listening)
    listening = config.listening
    # Twice as many blocks as workers: a replacement may start while the old worker still ends.
    memory = Memory(blocks=2 * listening.workers)
    # A worker that takes over from another one writes beside it.
    start, heartbeat = Start(), Heartbeat(2 * listening.workers)
    quarantine = Quarantine(2 * listening.workers, listening.threads)
    server = _server(config)
    server.handed = handed
    loader = Loader(config, memory, start, heartbeat, quarantine, Trials(), Keep(), SharedCopies())

    def spawn(slot: int) -> BaseProcess:
        process: BaseProcess = server.worker(slot % listening.workers, loader.of(slot))
        return process

    with claim:
        supervisor = Supervisor(listening, spawn, heartbeat, start, quarantine, memory.reserve())
        if claim.admin is not None:
            AdminPort(claim.admin, supervisor.selector, Probes(supervisor, memory).answer)
        if files is not None:
            server.secure(files.paths)
            supervisor.chores.append(partial(_renew, files, server, supervisor))
        served = server.serve_with(supervisor.run)
    return 0 if served and not start.failed else 1


def _renew(files: Certificates, server: Any, supervisor: Supervisor) -> None:
    """Replace the workers, one by one, once the files of TLS have changed."""
    if files.refresh():
        server.secure(files.paths)
        supervisor.renewal.begin()


class Loader:
    """Builds the application in each worker, after the fork: the threads of ONNX Runtime survive none."""

    def __init__(
        self,
        config: Config,
        memory: Memory,
        start: Start,
        heartbeat: Heartbeat,
        quarantine: Quarantine,
        trials: Trials,
        keep: Keep,
        copies: SharedCopies,
    ) -> None:
        self._config = config
        self._memory = memory
        self._trials = trials
        self._start = start
        self._heartbeat = heartbeat
        self._quarantine = quarantine
        self._keep = keep
        self._copies = copies
        self._slot = 0
        self._names = _names(config)

    def of(self, slot: int) -> "Loader":
        """The same for the worker that writes to a slot of shared memory."""
        loader = copy(self)
        loader._slot = slot
        return loader

    def __call__(self) -> Any:
        heap.bound(max(2, machine.processors() // self._config.listening.workers))
        _forget_variables(os.environ)
        # A brief request waits so long for the interpreter beside a batch: a tenth of what is usual.
        sys.setswitchinterval(0.0005)
        # Objects that live long are visited a hundred times less often: a batch has very many of them.
        gc.set_threshold(*gc.get_threshold()[:2], 1000)
        orders = Orders()
        orders.start()
        service = self._service()
        log.count_in(service.block)
        repository = service.repository
        if self._start.announce(repository.default or ""):
            descriptors.tell(self._config.listening.max_connections)
            arguments = (self._config, banner.text(repository))
            threading.Thread(target=_announce, args=arguments, daemon=True).start()
        pulse = Pulse(service, self._heartbeat, Notes(self._quarantine, self._slot), self._slot)
        pulse.beat()
        _watch(service, pulse.beat, partial(self._heartbeat.wear, self._slot))
        orders.obey_for(service)
        application = app.flask_app(service)
        service.start()
        Keeper(self._keep, repository).start()
        # All objects up to here live as long as the process: keep the garbage collector from visiting them.
        gc.collect()
        gc.freeze()
        return application.wsgi_app

    def _service(self) -> Service:
        """The service of this worker; retried if an earlier worker could start with the same settings."""
        logged = ""
        while True:
            try:
                return self._attempt()
            except ConfigError as error:
                if not self._start.announced:
                    self._end_server(error)
                if str(error) != logged:
                    logged = str(error)
                    logger.error("worker %d cannot start, and tries again: %s", os.getpid(), error)
            time.sleep(1)

    def _attempt(self) -> Service:
        """The service; of the files that the server has kept in memory where the models folder lacks one."""
        config = self._config
        if not self._start.announced:
            return self._built(config)
        if is_whole(self._keep, config.models):
            service = self._built(config)
            if self._serves_all(service):
                return service
        try:
            service = self._restored(config)
            if self._serves_all(service):
                return service
            reason = "the copies do not fit together"
        except ConfigError as error:
            if not _names(config):
                raise
            reason = str(error)
        # The other models are served all the same.
        logger.error("worker %d goes without what is lacking: %s", os.getpid(), reason)
        return self._built(config)

    def _serves_all(self, service: Service) -> bool:
        """Whether a service serves each model of which files are kept, as its settings ask."""
        deployments = service.repository.deployments
        found = [deployments[name] for name in self._keep.models() if name in deployments]
        sound = [deployment for deployment in found if deployment.versions and not deployment.mistake]
        return len(sound) == len(self._keep.models())

    def _restored(self, config: Config) -> Service:
        """A service that begins with the copies; without any, one of the models folder as it is."""
        with restored(self._keep, config.models) as folder:
            service = self._built(replace(config, models=folder or config.models))
        if folder is not None:
            logger.error(
                "the models folder %r lacks files that are served, or has others: worker %d begins with the "
                "copies in memory, and follows the folder",
                config.models,
                os.getpid(),
            )
        return service

    def _built(self, config: Config) -> Service:
        """A service that agrees with earlier workers on the models at the start, and on the default model."""
        beginning = Beginning(names=self._names, default=self._start.default or None)
        return Service(config, self._memory, beginning, self._trials, self._copies)

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


def _forget_variables(environ: MutableMapping[str, str]) -> None:
    """Remove the variables of this process that would pass for headers of each request.

    granian puts all variables beside the headers, and a container may well have an HTTP_REQUEST_TIMEOUT.
    """
    for name in [name for name in environ if name.startswith(_OF_REQUESTS) and name != _PROXY]:
        del environ[name]


def _watch(service: Service, beat: Callable[[], None], wear: Callable[[], None]) -> None:
    config, listening = service.config, service.config.listening
    connections = Connections(listening) if told() else None
    connected = Connected(service.block, descriptors.connections(listening.max_connections))
    running = Running(listening.threads)
    if connections is not None:
        service.admission.departed = Departures(connections, running)
    Watchdog(
        config,
        service.slots,
        service.in_flight,
        running,
        connections,
        connected,
        service.admission,
        service.budget,
        beat,
        wear,
    ).start()


def _announce(config: Config, text: str) -> None:
    """Print the text once the address answers, which is after granian has got the application."""
    address.wait(config.listening)
    print(text, flush=True)


class _Server(Server):  # type: ignore[misc,valid-type]
    """granian's server, whose workers the Supervisor starts and ends.

    Attributes:
        handed: The socket on which somebody else listens for it; None where its workers do.
    """

    handed: socket.socket | None = None

    def worker(self, index: int, loader: Loader) -> BaseProcess:
        """The worker at an index from 0, not yet started."""
        process: BaseProcess = self._spawn_worker(index, self._target, loader).inner
        return process

    def secure(self, paths: Paths) -> None:
        """Have workers that start from now on serve TLS with these files.

        This does what build_ssl_context of granian does, which would resolve the paths: copies in memory have
        none.
        """
        cert, key, client_ca = paths
        self.ssl_ctx: Any = (True, cert, key, None, "tls1.2", client_ca, [], client_ca is not None)

    def serve_with(self, run: Callable[[Callable[[], None]], bool]) -> bool:
        """Bind, and call ``run`` with a function that ends the listening of this process."""
        self._run = run
        self.serve(target_loader=lambda: None, wrap_loader=False)
        return self._served

    def _serve(self, target: Any, _: object) -> None:
        self._target = target
        self._init_shared_socket()
        try:
            self._served = self._run(self._drop_shared_socket)
        finally:
            # The path of a socket that was handed over stays: its manager still listens there.
            if self.handed is None:
                self._unlink_pidfile()

    def _init_shared_socket(self) -> None:
        if self.handed is None:
            super()._init_shared_socket()
            return
        self._ssp, self._sso = None, self.handed
        self._sfd = self.handed.fileno()
        is_unix = self.handed.family == socket.AF_UNIX
        self._shd = SocketHolder(self._sfd, is_unix, self.backlog)  # type: ignore[call-arg]


def _server(config: Config) -> Any:
    listening, log_level = config.listening, config.observing.log_level
    return _Server(
        "unpickled.server:create_app",
        address=listening.host,
        port=listening.port,
        uds=Path(listening.uds) if listening.uds else None,
        uds_permissions=int(listening.uds_mode, 8) if listening.uds_mode else None,
        interface=Interfaces.WSGI,
        workers=listening.workers,
        blocking_threads=listening.threads,
        # granian counts connections, the silent ones too.
        backpressure=descriptors.connections(listening.max_connections),
        backlog=_BACKLOG,
        # This one time bounds both the wait for a request's head and the silence between two requests. The
        # watchdog closes what is silent from the start sooner.
        http1_settings=HTTP1Settings(
            header_read_timeout=1000 * listening.keep_alive, max_buffer_size=_LONGEST_HEAD
        ),
        http2_settings=HTTP2Settings(
            max_concurrent_streams=listening.http2_streams, max_headers_size=_LONGEST_HEAD
        ),
        websockets=False,
        # granian warns of settings that are deliberate here, and logs a line at every start.
        log_level=LogLevels.debug if log_level == "debug" else LogLevels.error,
        log_dictconfig=log.settings(log_level),
    )
