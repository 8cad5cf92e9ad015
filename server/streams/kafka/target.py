"""A topic of Kafka as a target."""

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, Producer

from unpickled.server.errors import UnpickledError
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import Answer, BrokerAway
from unpickled.server.streams.kafka import topic
from unpickled.server.streams.kafka.refusals import REMEDIES, refusal, translated
from unpickled.server.streams.kafka.settings import Log, settings

# Milliseconds after which an answer that is not confirmed counts as not written.
_CONFIRMATION = "15000"
# Bytes of a message, librdkafka's own, and those of its headers without the key and the id.
_LARGEST, _HEADERS = 1_000_000, 256


def target(address: Address) -> "KafkaTarget":
    """The target of an address such as kafka://host:9092,host2/topic; ConfigError."""
    return KafkaTarget(address)


class KafkaTarget:
    """Writes to a topic, once each while one producer lives: the cluster drops what it sends again."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._settings = {"client.id": "unpickled", "acks": "all", "enable.idempotence": True}
        self._settings |= settings(address) | {"error_cb": self._failed}
        self._settings.setdefault("message.timeout.ms", _CONFIRMATION)
        self._largest = address.number("message.max.bytes", 1) or _LARGEST
        self._failures: list[KafkaError] = []
        self._ready = False
        self._producer = self._made()

    def write(self, answers: Sequence[Answer]) -> None:
        """See Target."""
        self._failures.clear()
        try:
            with translated(self._address):
                self._check()
                for answer in answers:
                    self._produce(answer)
                self._producer.flush()
            if self._failures:
                raise refusal(self._address, self._failures[0])
        except UnpickledError:
            self._renew()
            raise

    def takes(self, answer: Answer) -> bool:
        """See Target."""
        return answer.size + _HEADERS <= self._largest

    def close(self) -> None:
        """See Target."""
        self._producer.purge()
        self._producer.flush(topic.PATIENCE)

    def _made(self) -> Producer:
        with translated(self._address):
            return Producer(self._settings, logger=Log("librdkafka"))

    def _renew(self) -> None:
        """Go on with another producer: what this one still has must not be written behind our back."""
        self.close()
        self._producer, self._ready = self._made(), False

    def _check(self) -> None:
        if self._ready:
            return
        try:
            topic.check(self._producer, self._address)
        except BrokerAway:
            self._producer.poll(0)
            if self._failures:
                raise refusal(self._address, self._failures[0]) from None
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
        if error.code() in REMEDIES:
            self._failures.append(error)
