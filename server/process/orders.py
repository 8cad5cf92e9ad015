"""The signals that a worker follows: end, drain, scan the models."""

import os
import signal
import sys
import threading
import time
from collections.abc import Collection

from unpickled.server.process import listeners
from unpickled.server.service import Service

# From the main process, or from a terminal to every process.
_END = (signal.SIGTERM, signal.SIGINT)
# From the main process alone.
SCAN, DRAIN = signal.SIGHUP, signal.SIGUSR1
# Seconds that TLS handshakes under way have to end.
_HANDSHAKE = 0.5
# Longest time, in seconds, that connections have to be taken before the sockets of TLS close.
_TAKING = 3.0


class Orders:
    """Takes the signals to this worker in a thread of its own.

    All threads block these signals, so that this one gets them. Were they open to the main thread, which
    waits for a lock, the kernel would now and then run the handler in another thread that is just being
    made: Python then notes the signal and wakes nobody, and the worker serves on until it is killed.
    """

    def __init__(self) -> None:
        self._service: Service | None = None
        # Whether a scan was ordered before there was anything to scan.
        self._scans = False
        self._ended = False

    def start(self) -> None:
        """Follow the signals until the process ends; called before any other thread starts."""
        numbers = (*_END, SCAN, DRAIN)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        threading.Thread(target=self._follow, args=(numbers,), name="orders", daemon=True).start()

    def obey_for(self, service: Service) -> None:
        """From now on there are models to scan, and requests to drain."""
        self._service = service
        if self._scans:
            # The service may have read the folder before the change that the order was about.
            service.reloader.wake()

    def _follow(self, numbers: tuple[signal.Signals, ...]) -> None:
        while True:
            number, sender = _received(numbers)
            if number in _END:
                self._end(number)
            elif number == SCAN:
                self._scan()
            elif self._service is None:
                continue
            elif sender in (None, os.getppid()):
                # From anybody else, it would drain for ever.
                self._service.drain()

    def _scan(self) -> None:
        # Noted before the look: obey_for, in another thread, goes the other way round.
        self._scans = True
        if self._service is not None:
            self._service.reloader.wake()

    def _end(self, number: int) -> None:
        """Have granian end the worker, once: its third call would wait for ever, and hold the GIL."""
        handler = signal.getsignal(number)
        if not callable(handler):
            # granian has not begun to serve.
            os._exit(0)
        if self._ended:
            return
        self._ended = True
        if self._service is not None:
            # granian means to end each connection with its next answer, and now and then forgets one.
            self._service.drain()
            listening = self._service.config.listening
            if listening.tls_cert is not None:
                # granian drops the connections whose TLS handshake is under way when it stops to listen.
                listeners.close_all(min(_TAKING, listening.shutdown_timeout / 2))
                time.sleep(_HANDSHAKE)
        handler(number, None)


def _received(numbers: Collection[signal.Signals]) -> tuple[int, int | None]:
    """The next of these signals, and the process that has sent it; None where the system does not tell."""
    if sys.platform == "linux":
        received = signal.sigwaitinfo(numbers)
        return received.si_signo, received.si_pid
    return signal.sigwait(numbers), None
