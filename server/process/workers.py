"""The HTTP server: granian's processes and threads, which run the application."""

import logging.config
import multiprocessing
import socket
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.http import HTTP1Settings, HTTP2Settings
from granian.log import LogLevels
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server import Server
from msgspec.structs import replace

from unpickled.server.config import Config
from unpickled.server.observe import log
from unpickled.server.payloads.attendant import Attendant
from unpickled.server.process import address, certificates, descriptors, output, threads
from unpickled.server.process.admin import AdminPort
from unpickled.server.process.certificates import Certificates, Paths
from unpickled.server.process.common import Common
from unpickled.server.process.loader import Loader
from unpickled.server.process.probes import Probes
from unpickled.server.process.running import REST
from unpickled.server.process.supervisor import Supervisor

# Connections that the kernel keeps until a worker takes them; it has a limit of its own, net.core.somaxconn.
_BACKLOG = 4096
# Bytes that the head of a request may have.
_LONGEST_HEAD = 128 * 1024


def serve(config: Config, handed: socket.socket | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    ``handed`` is the socket of a service manager that listens for this server.

    A worker that ends by itself, or hangs, is replaced, however often. The whole server ends with 1 if its
    settings are wrong, or if no worker could start.
    """
    output.settle()
    if sys.platform == "linux":
        # Since Python 3.14 it is not the default, and each worker would import and load everything by itself.
        multiprocessing.set_start_method("fork", force=True)
    descriptors.raise_limit(config.listening.workers)
    logging.config.dictConfig(log.settings(config.observing.log_level))
    files = certificates.of(config.listening)
    claim = address.claim(threads.affordable(config.listening), handed)
    config = replace(config, listening=claim.listening)
    listening = config.listening
    common = Common.of(config)
    server = _server(config)
    server.handed = handed
    loader = Loader(config, common)

    def spawn(slot: int) -> BaseProcess:
        process: BaseProcess = server.worker(slot % listening.workers, loader.of(slot))
        return process

    block = common.memory.reserve()
    transport = common.records.log
    attendant = None if transport is None else Attendant(config, transport, common.memory, block)
    with claim:
        supervisor = Supervisor(listening, spawn, common.heartbeat, common.start, common.quarantine, block)
        if claim.admin is not None:
            probes = Probes(supervisor, common.memory, common.records)
            AdminPort(claim.admin, supervisor.selector, probes.answer)
        if files is not None:
            server.secure(files.paths)
            supervisor.chores.append(partial(_renew, files, server, supervisor))
        if attendant is not None:
            supervisor.chores.append(attendant.look)
        served = server.serve_with(supervisor.run)
    if attendant is not None:
        attendant.finish()
    return 0 if served and not common.start.failed else 1


def _renew(files: Certificates, server: Any, supervisor: Supervisor) -> None:
    """Replace the workers, one by one, once the files of TLS have changed."""
    if files.refresh():
        server.secure(files.paths)
        supervisor.renewal.begin()


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
        blocking_threads_idle_timeout=REST,
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
