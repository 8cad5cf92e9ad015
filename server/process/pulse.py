"""The pulse of a worker: at each beat it shows how it is, and follows what the main process asks."""

from unpickled.server.observe import tally
from unpickled.server.process import listeners
from unpickled.server.process.heartbeat import Heartbeat, State
from unpickled.server.process.quarantine import Notes
from unpickled.server.service import Service

# Beats, four a second, after which a worker takes connections for certain, where its sockets do not tell.
_BEATS = 8


class Pulse:
    """Shows the state of a service.

    Args:
        service: The service of this worker.
        heartbeat: Where the main process looks for signs of life.
        notes: Where requests are noted after a crash.
        slot: The part of shared memory that this worker writes.
    """

    def __init__(self, service: Service, heartbeat: Heartbeat, notes: Notes, slot: int) -> None:
        self._repository = service.repository
        self._routes = service.routes
        self._ready = tally.worker_readiness(service.block)
        self._heartbeat = heartbeat
        self._notes = notes
        self._slot = slot
        self._noting = self._listens = False
        # A socket that other processes share listens before this worker does.
        self._shared = listeners.listens()
        self._beats = 0

    def beat(self) -> None:
        """Show that this worker runs, whether it is ready and listens; begin or end to note requests."""
        ready = self._repository.ready
        self._ready[0] = float(ready)
        state = State.READY if ready else State.NOT_READY
        self._heartbeat.beat(self._slot, State.DRAINING if self._repository.draining else state)
        if not self._listens:
            self._look_whether_it_listens()
        noting = self._notes.wanted()
        if noting != self._noting:
            self._noting = noting
            self._routes.note(self._notes if noting else None)

    def _look_whether_it_listens(self) -> None:
        self._beats += 1
        self._listens = self._beats >= _BEATS if self._shared else listeners.listens()
        if self._listens:
            self._heartbeat.listen(self._slot)
