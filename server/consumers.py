"""The consumers of one process's predictions, as the settings ask for them: drift, truth, the payload log."""

import os

from unpickled.server.config import Config
from unpickled.server.drift.binnings import Binnings
from unpickled.server.drift.counting import Counting
from unpickled.server.drift.publisher import Publisher
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe.counters import Block, Memory
from unpickled.server.observe.intake import Consumer, Intake
from unpickled.server.observe.shadow import Add
from unpickled.server.payloads.attendant import Attendant
from unpickled.server.payloads.feeder import Feeder
from unpickled.server.payloads.schema import warn
from unpickled.server.records import Records
from unpickled.server.truth.joined import Joined
from unpickled.server.truth.ledger import Ledger
from unpickled.server.truth.publisher import Publisher as AccuracyPublisher
from unpickled.server.truth.remembering import Remembering
from unpickled.server.truth.store import Store


class Consumers:
    """Everything that works on predictions off the path of requests.

    Args:
        config: All settings.
        repository: The models.
        memory: The counters that the processes of one server share.
        block: The part of them that this process writes.
        records: The shared memory of the consumers.

    Attributes:
        joined: Counts predictions, and those whose truth is known; None where no row is remembered.
        ledger: Takes truth.
        intake: Passes predictions on to the consumers; None where all of them are off.
        add: Takes the answers of shadows, for truth and the payload log; None where both are off.
    """

    def __init__(
        self, config: Config, repository: Repository, memory: Memory, block: Block, records: Records
    ) -> None:
        self._config = config
        self._repository = repository
        self._memory = memory
        self._block = block
        self._records = records
        self.joined = None if records.truth is None else Joined(records.truth, block)
        # As few requests may tell truth at a time as may wait in a lane of admission.
        most = max(1, config.listening.threads // 4)
        self.ledger = Ledger(block, records.recent, self.joined, self._store(), most)
        self.intake = self._intake()
        self.add: Add | None = None
        if self.intake is not None and self._shows_ids:
            self.add = self.intake.add

    def attendant(self) -> Attendant | None:
        """Attends to the writer of the payload log, where this process has one of its own."""
        if self._records.log is None:
            return None
        return Attendant(self._config, self._records.log, self._memory, self._block)

    @property
    def _shows_ids(self) -> bool:
        return self._config.log.log_share > 0 or self._config.truth.truth_rows > 0

    def _store(self) -> Store | None:
        """Keeps truth beside the payload log, where there is one."""
        log = self._config.log
        if not log.log_share:
            return None
        place = f"p{os.getpid()}" if self._block.number is None else self._block.number
        return Store(log.log_folder, f"{self._block.token}-{place}", log.log_keep_bytes)

    def _intake(self) -> Intake | None:
        consumers = [*self._drift(), *self._truth(), *self._payload_log()]
        if not consumers:
            return None
        log = self._config.log
        waits = log.log_share > 0 and log.log_when_full == "wait"
        return Intake(self._block, consumers, waits=waits, shows_ids=self._shows_ids)

    def _drift(self) -> list[Consumer]:
        memory = self._records.drift
        if memory is None:
            return []
        binnings = Binnings()
        return [Counting(memory.claim(), binnings), Publisher(memory, self._repository, binnings)]

    def _truth(self) -> list[Consumer]:
        """Remembers predictions for their truth; a process without a place among the workers does not."""
        truth, recent = self._records.truth, self._records.recent
        if truth is None or recent is None or self.joined is None or self._block.number is None:
            return []
        return [Remembering(self._block, recent, self.joined), AccuracyPublisher(truth, self._repository)]

    def _payload_log(self) -> list[Consumer]:
        if self._records.log is None:
            return []
        # The first worker speaks for all.
        if not self._block.number:
            warn(self._config.log, self._repository.features)
        rings, _, key = self._records.log
        return [Feeder(self._config.log, rings, key, self._memory, self._block)]
