"""The pulse of a worker: at each beat it shows how it is, and follows what the main process asks."""

from unpickled.server.observe import tally
from unpickled.server.process import listeners
from unpickled.server.process.heartbeat import Heartbeat, State
from unpickled.server.process.quarantine import Notes
from unpickled.server.service import Service


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

    def beat(self) -> None:
        """Show that this worker runs, whether it is ready and listens; begin or end to note requests."""
        ready = self._repository.ready
        self._ready[0] = float(ready)
        state = State.READY if ready else State.NOT_READY
        self._heartbeat.beat(self._slot, State.DRAINING if self._repository.draining else state)
        if not self._listens and listeners.listens():
            self._listens = True
            self._heartbeat.listen(self._slot)
        noting = self._notes.wanted()
        if noting != self._noting:
            self._noting = noting
            self._routes.note(self._notes if noting else None)
