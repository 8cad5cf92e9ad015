"""Errors of Kafka: those that no pause mends, with their remedies, and the others."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.quote import shortened
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import BrokerAway

NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.TOPIC_EXCEPTION}
# Errors that no pause mends -> the remedy.
REMEDIES = {
    **dict.fromkeys(NO_TOPIC, "create the topic, or correct its name"),
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
MOVED = {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS}


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn the library's errors into ours: BrokerAway, or ConfigError where waiting would not help."""
    try:
        yield
    except KafkaException as error:
        raise refusal(address, error.args[0]) from error


def refusal(address: Address, error: KafkaError) -> UnpickledError:
    """The error to raise: ConfigError where there is a remedy, else BrokerAway."""
    reason = shortened(error.str(), 200)
    remedy = REMEDIES.get(error.code())
    if remedy is None:
        return BrokerAway(reason)
    return ConfigError(f"{address} is refused: {reason}: {remedy}")
