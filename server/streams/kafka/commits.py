"""Commits of offsets that take a bounded time.

The library waits for a cluster that goes away as long as a session lasts, 45 seconds by default, and nothing
ends its wait. So a thread waits, and its caller goes on without it.
"""

import threading
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import BrokerAway
from unpickled.server.streams.kafka.refusals import MOVED, refusal, translated
from unpickled.server.streams.kafka.topic import PATIENCE


class Commits:
    """Commits for one consumer, one after the other.

    Args:
        consumer: The consumer.
        address: The address of its topic.
    """

    def __init__(self, consumer: Consumer, address: Address) -> None:
        self._consumer = consumer
        self._address = address
        self._thread: threading.Thread | None = None
        self._failure: KafkaException | None = None

    def commit(self, offsets: list[TopicPartition]) -> bool:
        """Commit these offsets.

        Returns:
            Whether the cluster has them; not where a partition is another member's by now.

        Raises:
            BrokerAway: The cluster has not answered in time; it may have the offsets later.
            ConfigError: It refuses for good.
        """
        self.wait(0)
        self._run(lambda: self._consumer.commit(offsets=offsets, asynchronous=False))
        if self._is_busy():
            raise BrokerAway(f"a commit has no answer in {PATIENCE:.0f} s")
        failure, self._failure = self._failure, None
        if failure is None:
            return True
        if failure.args[0].code() in MOVED:
            return False
        raise refusal(self._address, failure.args[0]) from failure

    def send(self, offsets: list[TopicPartition]) -> None:
        """Commit these offsets without waiting, in a callback: no other thread may call the library then."""
        if offsets:
            with translated(self._address):
                self._consumer.commit(offsets=offsets, asynchronous=True)

    def wait(self, seconds: float) -> None:
        """Wait for an earlier commit, before whose answer the library lets no other call in; BrokerAway."""
        if self._thread is not None:
            self._thread.join(seconds)
        if self._is_busy():
            raise BrokerAway("an earlier commit has no answer yet")

    def close(self) -> None:
        """Leave the group. Where the cluster is away, this goes on behind, or ends with the process."""
        earlier = self._thread

        def leave() -> None:
            if earlier is not None:
                earlier.join()
            self._consumer.close()

        self._run(leave)

    def _run(self, action: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                action()
            except KafkaException as error:
                self._failure = error

        self._failure = None
        self._thread = threading.Thread(target=run, name="commit", daemon=True)
        self._thread.start()
        self._thread.join(PATIENCE)

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()
