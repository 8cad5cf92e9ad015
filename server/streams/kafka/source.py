"""A topic of Kafka as a source, read by a consumer group. librdkafka connects anew by itself.

Messages are acknowledged by committing offsets: the one of a partition before which nothing is held.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from unpickled.server.errors import UnpickledError
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import BrokerAway, Message, SourceOptions
from unpickled.server.streams.kafka import topic
from unpickled.server.streams.kafka.commits import Commits
from unpickled.server.streams.kafka.held import Held
from unpickled.server.streams.kafka.lag import Lag
from unpickled.server.streams.kafka.refusals import REMEDIES, refusal, translated
from unpickled.server.streams.kafka.settings import Log, settings

# Milliseconds, librdkafka's own.
_SILENCE = 300_000
# Seconds between two commits while a group moves partitions.
_AGAIN = 0.1


def source(address: Address, options: SourceOptions) -> "KafkaSource":
    """The source of an address such as kafka://host:9092,host2/topic?security.protocol=SSL; ConfigError."""
    return KafkaSource(address, options)


class KafkaSource:
    """Reads a topic as a member of a consumer group."""

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._address = address
        self._first = options.first
        self._joined = False
        self._failure: KafkaError | None = None
        # Seconds without a call after which the cluster takes the member for dead.
        self._silence = (address.number("max.poll.interval.ms", 1) or _SILENCE) / 1000
        self._called = time.monotonic()
        self._ahead: list[Any] = []
        self._held: dict[int, Held] = {}
        # Whether the cluster has refused the last commit, as the group moves partitions.
        self._moves = False
        given = settings(address) | {
            "group.id": options.group,
            "client.id": options.member,
            "enable.auto.commit": False,
            # A group that begins with what comes from now on has offsets before it reads.
            "auto.offset.reset": "earliest",
            "error_cb": self._failed,
        }
        given.setdefault("partition.assignment.strategy", "cooperative-sticky")
        with translated(address):
            self._consumer = Consumer(given, logger=Log("librdkafka"))
        self._commits = Commits(self._consumer, address)
        self._lag = Lag(address, given)

    def receive(self, most: int, seconds: float) -> list[Message]:
        """See Source.

        There are no messages while the cluster refuses commits, as the group moves partitions: what this
        member answered then, another one would answer once more if this one ended before it can commit.
        """
        self._join()
        if self._moves and not self._settle():
            return []
        self._commits.wait(seconds)
        with translated(self._address):
            records = self._ahead or self._consumer.consume(most, seconds)
        self._ahead, self._called = [], time.monotonic()
        messages = [self._message(record) for record in records if self._is_message(record)]
        # An error must not hide messages: the cluster would not deliver them to this member again.
        if not messages:
            self._commit()
            self._check()
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """See Source. Messages of a partition that another member has by now are left to it."""
        for message in messages:
            held, offset = message.receipt
            held.release(offset)
        self._commit()

    def hold(self, messages: Sequence[Message]) -> None:
        """See Holder. The cluster sees that the member lives, and may give partitions to others."""
        if time.monotonic() - self._called < self._silence / 2:
            return
        self._poll(0)

    def lag(self) -> int:
        """Messages of all partitions that the group has not acknowledged."""
        self._join()
        return self._lag.count()

    def close(self) -> None:
        """See Source."""
        # Where the cluster is away, a commit would wait for it.
        if self._failure is None:
            with suppress(UnpickledError):
                self._commit()
                end = time.monotonic() + topic.PATIENCE
                while self._moves and time.monotonic() < end:
                    self._settle()
        self._commits.close()
        self._lag.close()

    def _join(self) -> None:
        if self._joined:
            return
        self._commits.wait(0)
        self._check_topic()
        with translated(self._address):
            if not self._first:
                self._skip()
            self._consumer.subscribe([self._address.path], on_revoke=self._revoked, on_lost=self._lost)
        self._joined = True

    def _skip(self) -> None:
        """Let a group without offsets begin behind the last message."""
        parts = topic.partitions(self._consumer, self._address.path)
        committed = self._consumer.committed(parts, timeout=topic.PATIENCE)
        if any(part.offset >= 0 for part in committed):
            return
        ends = topic.offsets(self._consumer, parts, topic.LAST)
        # A group that has a member refuses: that one has done the same.
        self._commits.commit([TopicPartition(self._address.path, *pair) for pair in ends.items()])

    def _message(self, record: Any) -> Message:
        partition, offset = record.partition(), record.offset()
        held = self._held.setdefault(partition, Held())
        held.take(offset)
        return Message(
            id=f"{self._address.path}-{partition}-{offset}",
            # A record without a value deletes its key; it is no JSON, and is refused.
            body=record.value() or b"",
            key=_text(record.key() or b""),
            receipt=(held, offset),
        )

    def _is_message(self, record: Any) -> bool:
        if error := record.error():
            self._failed(error)
        return not error

    def _failed(self, error: KafkaError) -> None:
        """Remember an error that concerns the whole cluster, or that no pause mends."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.code() in REMEDIES:
            self._failure = error

    def _check(self) -> None:
        if self._failure is None:
            return
        failure, self._failure = self._failure, None
        if failure.code() in REMEDIES:
            raise refusal(self._address, failure)
        # It remains until the cluster has answered.
        self._failure = failure
        self._check_topic()
        self._failure = None

    def _check_topic(self) -> None:
        """Raise where the cluster does not answer, or does not have the topic."""
        try:
            topic.check(self._consumer, self._address)
        except BrokerAway:
            # The reason for silence comes apart from it.
            self._consumer.poll(0) if not self._joined else None
            if self._failure and self._failure.code() in REMEDIES:
                raise refusal(self._address, self._failure) from None
            raise

    def _poll(self, seconds: float) -> None:
        """Let the library see to the group, and keep aside a message that comes meanwhile; BrokerAway."""
        self._commits.wait(seconds)
        with translated(self._address):
            assigned = self._consumer.assignment()
            self._consumer.pause(assigned)
            record = self._consumer.poll(seconds)
            self._ahead += [record] if record else []
            # Also those that have been taken away meanwhile: they would return as paused ones.
            self._consumer.resume(assigned)
        self._called = time.monotonic()

    def _settle(self) -> bool:
        """Commit what a cluster that moves partitions has refused; whether nothing of it is left."""
        self._poll(_AGAIN)
        self._commit()
        return not self._moves

    def _commit(self) -> None:
        """Commit the offsets of acknowledged messages; BrokerAway, ConfigError."""
        free = self._free()
        self._moves = bool(free) and not self._commits.commit(self._offsets(free))
        if not self._moves:
            for number, offset in free.items():
                self._held[number].committed = offset

    def _free(self) -> dict[int, int]:
        """The offset to commit of each partition whose last one is another."""
        return {number: held.free for number, held in self._held.items() if held.committed != held.free}

    def _offsets(self, free: Mapping[int, int]) -> list[TopicPartition]:
        return [TopicPartition(self._address.path, *pair) for pair in free.items()]

    def _revoked(self, _: Consumer, parts: list[TopicPartition]) -> None:
        with suppress(UnpickledError):
            self._commits.send(self._offsets(self._free()))
        self._lost(_, parts)

    def _lost(self, _: Consumer, parts: list[TopicPartition]) -> None:
        for part in parts:
            self._held.pop(part.partition, None)
        moved = {part.partition for part in parts}
        self._ahead = [record for record in self._ahead if record.partition() not in moved]


def _text(key: bytes) -> str:
    """The key as a text; one that is no UTF-8 in hexadecimal digits."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key.hex()
