"""The application of each worker: built after the fork, and retried while the models folder is away."""

import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from copy import copy
from functools import partial
from typing import Any, NoReturn

from msgspec.structs import replace

from unpickled.server import app, heap, machine
from unpickled.server.config import Config
from unpickled.server.errors import ConfigError
from unpickled.server.lifecycle.repository import Beginning
from unpickled.server.lifecycle.root import folders
from unpickled.server.observe import log
from unpickled.server.observe.connected import Connected
from unpickled.server.process import address, banner, descriptors
from unpickled.server.process.common import Common
from unpickled.server.process.connections import Connections, told
from unpickled.server.process.departures import Departures
from unpickled.server.process.keep import Keeper, is_served, is_whole, restored
from unpickled.server.process.orders import Orders
from unpickled.server.process.pulse import Pulse
from unpickled.server.process.quarantine import Notes
from unpickled.server.process.running import Running
from unpickled.server.process.watchdog import Watchdog
from unpickled.server.service import Service

logger = logging.getLogger("unpickled")

# Beginnings of variables that WSGI takes for parts of a request; and the one that is a setting of clients.
_OF_REQUESTS, _PROXY = ("HTTP_", "CONTENT_", "REMOTE_"), "HTTP_PROXY"


class Loader:
    """Builds the application in each worker, after the fork: the threads of ONNX Runtime survive none."""

    def __init__(self, config: Config, common: Common) -> None:
        self._config = config
        self._common = common
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
        if self._config.load != "on demand":
            # Otherwise the next worker would have to load all models that this one has loaded.
            Keeper(self._common.keep, repository).start()
        if self._common.start.announce(repository.default or ""):
            descriptors.tell(self._config.listening.max_connections)
            arguments = (self._config, banner.text(repository))
            threading.Thread(target=_announce, args=arguments, daemon=True).start()
        pulse = Pulse(service, self._common.heartbeat, Notes(self._common.quarantine, self._slot), self._slot)
        pulse.beat()
        _watch(service, pulse.beat, partial(self._common.heartbeat.wear, self._slot))
        orders.obey_for(service)
        application = app.flask_app(service, announces_length=False)
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
                return self._attempt()
            except ConfigError as error:
                if not self._common.start.announced:
                    self._end_server(error)
                if str(error) != logged:
                    logged = str(error)
                    logger.error("worker %d cannot start, and tries again: %s", os.getpid(), error)
            time.sleep(1)

    def _attempt(self) -> Service:
        """The service; of the files that the server has kept in memory where the models folder lacks one."""
        config = self._config
        if not self._common.start.announced or is_whole(self._common.keep, config.models):
            # The folder may have changed meanwhile, and another worker has kept what was there before.
            service = self._built(config)
            if is_served(self._common.keep, service.repository.deployments):
                return service
        try:
            service = self._restored(config)
            if is_served(self._common.keep, service.repository.deployments):
                return service
            reason = "the copies do not fit together"
        except ConfigError as error:
            if not _names(config):
                raise
            reason = str(error)
        # The other models are served all the same.
        logger.error("worker %d goes without what is lacking: %s", os.getpid(), reason)
        return self._built(config)

    def _restored(self, config: Config) -> Service:
        """A service that begins with the copies; without any, one of the models folder as it is."""
        with restored(self._common.keep, config.models) as folder:
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
        beginning = Beginning(names=self._names, default=self._common.start.default or None)
        common = self._common
        return Service(config, common.memory, beginning, common.trials, common.copies, common.records)

    def _end_server(self, error: ConfigError) -> NoReturn:
        """Stop the whole server: a worker that only ended itself would be replaced, and fail again."""
        if self._common.start.fail():
            print(f"error: {error}", file=sys.stderr, flush=True)
        else:
            # Another worker is about to print the reason, and would be ended before it has.
            time.sleep(1)
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
    listening = service.config.listening
    connections = Connections(listening) if told() else None
    connected = Connected(service.block, descriptors.connections(listening.max_connections))
    running = Running(listening.threads)
    if connections is not None:
        service.admission.departed = Departures(connections, running)
    Watchdog(service, running, connections, connected, beat, wear).start()


def _announce(config: Config, text: str) -> None:
    """Print the text once the address answers, which is after granian has got the application."""
    address.wait(config.listening)
    print(text, flush=True)
