"""How many messages of a topic wait for a group."""

from typing import Any

from confluent_kafka import Consumer

from unpickled.server.streams.address import Address
from unpickled.server.streams.kafka.refusals import translated
from unpickled.server.streams.kafka.settings import Log
from unpickled.server.streams.kafka.topic import FIRST, LAST, PATIENCE, offsets, partitions


class Lag:
    """Asks by a connection of its own: a cluster would have a question wait for messages, its other task.

    Args:
        address: The address of the topic.
        settings: The settings of the group's members.
    """

    def __init__(self, address: Address, settings: dict[str, Any]) -> None:
        self._address = address
        self._settings = settings
        self._consumer: Consumer | None = None

    def count(self) -> int:
        """Messages of all partitions that the group has not acknowledged; BrokerAway, ConfigError."""
        with translated(self._address):
            self._consumer = self._consumer or Consumer(self._settings, logger=Log("librdkafka"))
            parts = partitions(self._consumer, self._address.path)
            ends = offsets(self._consumer, parts, LAST)
            starts = offsets(self._consumer, parts, FIRST)
            committed = self._consumer.committed(parts, timeout=PATIENCE)
            # Without a commit the offset is below 0; one that the topic no longer has is below its start.
            behind = {part.partition: max(part.offset, starts[part.partition]) for part in committed}
        return sum(max(0, ends[partition] - offset) for partition, offset in behind.items())

    def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            self._consumer.close()
