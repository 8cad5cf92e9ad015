"""The memory of one server: its main process makes it, and the workers inherit it by the fork."""

from typing import NamedTuple, Self

from unpickled.server.config import Config
from unpickled.server.lifecycle.trials import Trials
from unpickled.server.observe.counters import Memory
from unpickled.server.process.copies import SharedCopies
from unpickled.server.process.heartbeat import Heartbeat
from unpickled.server.process.keep import Keep
from unpickled.server.process.quarantine import Quarantine
from unpickled.server.process.start import Start
from unpickled.server.records import Records


class Common(NamedTuple):
    """Everything that all processes of one server read and write.

    memory: counts of requests.
    start: how the server has started.
    heartbeat: shows that each worker lives, and asks for another one.
    quarantine: the requests that were under way when workers crashed.
    trials: what is known of the contents of model files.
    keep: copies of the files that are served.
    copies: copies of the files that say who may ask.
    records: what the observers of the workers keep.
    """

    memory: Memory
    start: Start
    heartbeat: Heartbeat
    quarantine: Quarantine
    trials: Trials
    keep: Keep
    copies: SharedCopies
    records: Records

    @classmethod
    def of(cls, config: Config) -> Self:
        """New memory for a server with these settings."""
        listening = config.listening
        # Twice as many places as workers: a replacement starts, and writes, while the old worker still ends.
        places = 2 * listening.workers
        return cls(
            memory=Memory(blocks=places),
            start=Start(),
            heartbeat=Heartbeat(places),
            quarantine=Quarantine(places, listening.threads),
            trials=Trials(),
            keep=Keep(),
            copies=SharedCopies(),
            records=Records.of(config, places),
        )
