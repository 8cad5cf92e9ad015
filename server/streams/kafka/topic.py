"""Questions to a cluster about a topic: whether it is there, its partitions and their offsets."""

import time
from typing import Any

from confluent_kafka import TopicPartition

from unpickled.server.streams.address import Address
from unpickled.server.streams.kafka.refusals import NO_TOPIC, REMEDIES, refusal, translated

# Seconds for one question to the cluster.
PATIENCE = 5.0
# Librdkafka's names of the first and of the last offset, in the place of a time.
FIRST, LAST = -2, -1
# Seconds that a topic is asked for again: a cluster that creates it says at first that it is not there.
_CREATION = 3.0


def check(client: Any, address: Address) -> None:
    """Raise where the cluster does not answer, or does not have the topic of the address.

    Args:
        client: A consumer or a producer.
        address: The address.

    Raises:
        BrokerAway: The cluster does not answer.
        ConfigError: It does not have the topic, or refuses it.
    """
    end = time.monotonic() + _CREATION
    with translated(address):
        error = _topic(client, address.path).error
        while error and error.code() in NO_TOPIC and time.monotonic() < end:
            time.sleep(0.2)
            error = _topic(client, address.path).error
    # Others pass: a partition without a leader, say.
    if error and error.code() in REMEDIES:
        raise refusal(address, error)


def partitions(client: Any, topic: str) -> list[TopicPartition]:
    """The partitions of a topic; KafkaException."""
    return [TopicPartition(topic, number) for number in _topic(client, topic).partitions]


def offsets(client: Any, parts: list[TopicPartition], end: int) -> dict[int, int]:
    """The first or the last offset of each partition, by its number; KafkaException.

    Args:
        client: A consumer.
        parts: The partitions.
        end: FIRST or LAST.
    """
    asked = [TopicPartition(part.topic, part.partition, end) for part in parts]
    return {part.partition: part.offset for part in client.offsets_for_times(asked, timeout=PATIENCE)}


def _topic(client: Any, name: str) -> Any:
    return client.list_topics(name, timeout=PATIENCE).topics[name]
