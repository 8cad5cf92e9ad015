"""The shared memory in which the observers of one server keep what they see."""

import time
from typing import NamedTuple, Self

from unpickled.server.config import Config
from unpickled.server.observe import windows
from unpickled.server.observe.counters import Memory
from unpickled.server.payloads.transport import Transport
from unpickled.server.truth.recent import Recent


class Records(NamedTuple):
    """To be created before the workers, which inherit it; a process without others creates its own.

    ``places`` are the blocks of the workers, twice as many as there are workers. ``drift`` has the counts of
    drift; None where it is off. ``recent`` has the rows that wait for their truth, and ``truth`` the counts
    of those that have it; None where none are remembered. ``log`` carries rows to the payload log; None where
    that is off.
    """

    places: int
    drift: Memory | None = None
    recent: Recent | None = None
    truth: Memory | None = None
    log: Transport | None = None

    @classmethod
    def of(cls, config: Config, places: int) -> Self:
        """New memory for what these settings ask for.

        Raises:
            ConfigError: The folder of the payload log cannot be written to, or a key or library is missing.
        """
        rows, now = config.truth.truth_rows, time.time()
        return cls(
            places,
            drift=windows.shared(places, now) if config.observing.drift else None,
            recent=Recent(places, rows) if rows else None,
            truth=windows.shared(places, now) if rows else None,
            log=Transport.of(config.log, places),
        )
