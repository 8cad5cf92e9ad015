"""Kafka: a topic is a source or a target, a group a consumer group. librdkafka connects anew by itself.

Messages are acknowledged by committing offsets: the one of a partition before which nothing is held.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.quote import shortened
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Answer, BrokerAway, Message, SourceOptions

logger = logging.getLogger("unpickled")

# Seconds for one question to the cluster.
_PATIENCE = 5.0
# Seconds that a topic is asked for again: a cluster that creates it says at first that it is not there.
_CREATION = 3.0
# Milliseconds after which an answer that is not confirmed counts as not written.
_CONFIRMATION = "15000"
# Milliseconds, librdkafka's own.
_SILENCE = 300_000
# Librdkafka's names of the first and of the last offset, in the place of a time.
_FIRST, _LAST = -2, -1

# Options that decide what is lost or written twice.
_OURS = {
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "sasl.password",
    "sasl.username",
}
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.TOPIC_EXCEPTION}
# Errors that no pause mends -> the remedy.
_REMEDIES = {
    **dict.fromkeys(_NO_TOPIC, "create the topic, or correct its name"),
    KafkaError._AUTHENTICATION: "correct the user, the password or sasl.mechanism",
    KafkaError.SASL_AUTHENTICATION_FAILED: "correct the user or the password",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "set sasl.mechanism to one that the cluster has",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "give the user the right to this topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "give the user the right to this group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "give the user the right to write",
    KafkaError.MSG_SIZE_TOO_LARGE: "raise message.max.bytes here and at the topic",
    KafkaError._SSL: "correct the certificates, or the port",
    KafkaError._INVALID_ARG: "correct this option",
}
# The partition is another member's now, or will be in a moment.
_MOVED = {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS}


def source(address: Address, options: SourceOptions) -> "KafkaSource":
    """The source of an address such as kafka://host:9092,host2/topic?security.protocol=SSL."""
    return KafkaSource(address, options)


def target(address: Address) -> "KafkaTarget":
    """The target of an address, as for a source."""
    return KafkaTarget(address)


class KafkaSource:
    """Reads a topic as a member of a consumer group."""

    def __init__(self, address: Address, options: SourceOptions) -> None:
        self._address = address
        self._first = options.first
        self._joined = False
        # The cluster answers one connection in turn, and would have a question wait for messages.
        self._asking: Consumer | None = None
        self._failure: KafkaError | None = None
        # Seconds without a call after which the cluster takes the member for dead.
        self._silence = (address.number("max.poll.interval.ms", 1) or _SILENCE) / 1000
        self._called = time.monotonic()
        self._ahead: list[Any] = []
        self._held: dict[int, _Held] = {}
        settings = _settings(address) | {
            "group.id": options.group,
            "client.id": options.member,
            "enable.auto.commit": False,
            # A group that begins with what comes from now on has offsets before it reads.
            "auto.offset.reset": "earliest",
            "error_cb": self._failed,
        }
        settings.setdefault("partition.assignment.strategy", "cooperative-sticky")
        self._settings = settings
        with _translated(address):
            self._consumer = Consumer(settings, logger=_Log("librdkafka"))

    def receive(self, most: int, seconds: float) -> list[Message]:
        """See Source."""
        self._join()
        with _translated(self._address):
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
        with _translated(self._address):
            assigned = self._consumer.assignment()
            self._consumer.pause(assigned)
            record = self._consumer.poll(0)
            self._ahead += [record] if record else []
            self._consumer.resume(self._consumer.assignment())
        self._called = time.monotonic()

    def lag(self) -> int:
        """Messages of all partitions that the group has not acknowledged."""
        self._join()
        with _translated(self._address):
            self._asking = self._asking or Consumer(self._settings, logger=_Log("librdkafka"))
            partitions = _partitions(self._asking, self._address.path)
            ends = _offsets(self._asking, partitions, _LAST)
            starts = _offsets(self._asking, partitions, _FIRST)
            committed = self._asking.committed(partitions, timeout=_PATIENCE)
            # Without a commit the offset is below 0; one that the topic no longer has is below its start.
            behind = {part.partition: max(part.offset, starts[part.partition]) for part in committed}
        return sum(max(0, ends[partition] - offset) for partition, offset in behind.items())

    def close(self) -> None:
        """See Source."""
        # Where the cluster is away, a commit would wait for it.
        if self._failure is None:
            with suppress(UnpickledError):
                self._commit()
        self._consumer.close()
        if self._asking is not None:
            self._asking.close()

    def _join(self) -> None:
        if self._joined:
            return
        self._check_topic()
        with _translated(self._address):
            if not self._first:
                self._skip()
            self._consumer.subscribe([self._address.path], on_revoke=self._revoked, on_lost=self._lost)
        self._joined = True

    def _skip(self) -> None:
        """Let a group without offsets begin behind the last message."""
        partitions = _partitions(self._consumer, self._address.path)
        committed = self._consumer.committed(partitions, timeout=_PATIENCE)
        if any(part.offset >= 0 for part in committed):
            return
        offsets = _offsets(self._consumer, partitions, _LAST)
        ends = [TopicPartition(self._address.path, *pair) for pair in offsets.items()]
        try:
            self._consumer.commit(offsets=ends, asynchronous=False)
        except KafkaException as error:
            # The group has a member, which has done the same.
            if error.args[0].code() not in _MOVED:
                raise

    def _message(self, record: Any) -> Message:
        partition, offset = record.partition(), record.offset()
        held = self._held.setdefault(partition, _Held())
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
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.code() in _REMEDIES:
            self._failure = error

    def _check(self) -> None:
        if self._failure is None:
            return
        failure, self._failure = self._failure, None
        if failure.code() in _REMEDIES:
            raise _error(self._address, failure)
        # It remains until the cluster has answered.
        self._failure = failure
        self._check_topic()
        self._failure = None

    def _check_topic(self) -> None:
        """Raise where the cluster does not answer, or does not have the topic."""
        try:
            _check_topic(self._consumer, self._address)
        except BrokerAway:
            # The reason for silence comes apart from it.
            self._consumer.poll(0) if not self._joined else None
            if self._failure and self._failure.code() in _REMEDIES:
                raise _error(self._address, self._failure) from None
            raise

    def _commit(self) -> None:
        """Commit the offsets of acknowledged messages; it may take 45 s where the cluster goes away."""
        held = {partition: held for partition, held in self._held.items() if held.committed != held.free}
        offsets = [
            TopicPartition(self._address.path, partition, part.free) for partition, part in held.items()
        ]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() in _MOVED:
                return
            raise _error(self._address, error.args[0]) from error
        for part in held.values():
            part.committed = part.free

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        with suppress(UnpickledError):
            self._commit()
        self._lost(_, partitions)

    def _lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for partition in partitions:
            self._held.pop(partition.partition, None)


class KafkaTarget:
    """Writes to a topic, once each while one producer lives: the cluster drops what it sends again."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._settings = {"client.id": "unpickled", "acks": "all", "enable.idempotence": True}
        self._settings |= _settings(address) | {"error_cb": self._failed}
        self._settings.setdefault("message.timeout.ms", _CONFIRMATION)
        self._failures: list[KafkaError] = []
        self._ready = False
        self._producer = self._made()

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        self._failures.clear()
        try:
            with _translated(self._address):
                self._check()
                for answer in answers:
                    self._produce(answer)
                self._producer.flush()
            if self._failures:
                raise _error(self._address, self._failures[0])
        except UnpickledError:
            self._renew()
            raise

    def close(self) -> None:
        """See Target."""
        self._producer.purge()
        self._producer.flush(_PATIENCE)

    def _made(self) -> Producer:
        with _translated(self._address):
            return Producer(self._settings, logger=_Log("librdkafka"))

    def _renew(self) -> None:
        """Go on with another producer: what this one still has must not be written behind our back."""
        self.close()
        self._producer, self._ready = self._made(), False

    def _check(self) -> None:
        if self._ready:
            return
        try:
            _check_topic(self._producer, self._address)
        except BrokerAway:
            self._producer.poll(0)
            if self._failures:
                raise _error(self._address, self._failures[0]) from None
            raise
        self._ready = True

    def _produce(self, answer: Answer) -> None:
        headers: list[tuple[str, str | bytes | None]] = [("id", answer.id.encode())]
        key = answer.key.encode() or None
        while True:
            try:
                self._producer.produce(
                    self._address.path, answer.body, key, headers=headers, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        if error is not None:
            self._failures.append(error)

    def _failed(self, error: KafkaError) -> None:
        if error.code() in _REMEDIES:
            self._failures.append(error)


class _Held:
    """The messages of one partition that were received and are not acknowledged."""

    def __init__(self) -> None:
        self._offsets: dict[int, None] = {}
        self._next = -1
        self.committed = -1

    @property
    def free(self) -> int:
        """The offset before which nothing is held; -1 where nothing was received."""
        return next(iter(self._offsets), self._next)

    def take(self, offset: int) -> None:
        if self._next < 0:
            # The group has this offset, or none.
            self.committed = offset
        self._offsets[offset] = None
        self._next = offset + 1

    def release(self, offset: int) -> None:
        self._offsets.pop(offset, None)


class _Log(logging.Logger):
    """Takes the lines of librdkafka, which tell of each attempt to connect: errors are told otherwise."""

    def handle(self, record: logging.LogRecord) -> None:
        logger.debug("librdkafka: %s", record.getMessage())


def _settings(address: Address) -> dict[str, Any]:
    """The settings of librdkafka that an address has."""
    for option in address.options:
        if option in _OURS:
            raise ConfigError(f"{option} of {address} is not to be set: leave it out")
    settings: dict[str, Any] = {
        "bootstrap.servers": ",".join(str(type(host)(host.name, host.port or 9092)) for host in address.hosts)
    }
    secure = address.scheme == "kafkas"
    if address.user:
        settings |= {"sasl.username": address.user, "sasl.password": address.password}
        settings |= {
            "sasl.mechanism": "PLAIN",
            "security.protocol": "SASL_SSL" if secure else "SASL_PLAINTEXT",
        }
    elif secure:
        settings["security.protocol"] = "SSL"
    return settings | dict(address.options)


def _check_topic(client: Any, address: Address) -> None:
    """Raise where the cluster does not answer, or does not have the topic of the address."""
    end = time.monotonic() + _CREATION
    with _translated(address):
        error = _topic(client, address.path).error
        while error and error.code() in _NO_TOPIC and time.monotonic() < end:
            time.sleep(0.2)
            error = _topic(client, address.path).error
    # Others pass: a partition without a leader, say.
    if error and error.code() in _REMEDIES:
        raise _error(address, error)


def _topic(client: Any, name: str) -> Any:
    return client.list_topics(name, timeout=_PATIENCE).topics[name]


def _partitions(client: Any, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in _topic(client, topic).partitions]


def _offsets(client: Any, partitions: list[TopicPartition], end: int) -> dict[int, int]:
    """Partition -> its first or last offset."""
    asked = [TopicPartition(part.topic, part.partition, end) for part in partitions]
    found = client.offsets_for_times(asked, timeout=_PATIENCE)
    return {part.partition: part.offset for part in found}


@contextmanager
def _translated(address: Address) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise _error(address, error.args[0]) from error


def _error(address: Address, error: KafkaError) -> UnpickledError:
    reason = shortened(error.str(), 200)
    remedy = _REMEDIES.get(error.code())
    if remedy is None:
        return BrokerAway(f"{address.server} is away: {reason}")
    return ConfigError(f"{address} is refused: {reason}: {remedy}")


def _text(key: bytes) -> str:
    """The key as a text; one that is no UTF-8 in hexadecimal digits."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key.hex()
