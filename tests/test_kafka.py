"""Members of a group of Kafka, while the group moves partitions and while the cluster does not answer."""

import pytest
from brokers import FLOWER_BODY, running
from conftest import eventually

from unpickled.server.streams.address import parsed
from unpickled.server.streams.broker import BrokerAway, SourceOptions
from unpickled.server.streams.kafka.source import source

pytestmark = pytest.mark.long


@pytest.fixture
def kafka(tmp_path):
    with running("kafka", tmp_path) as broker:
        yield broker


def member(broker, name):
    return source(parsed(broker.address("flowers")), SourceOptions(group="scorers", member=name))


def test_nothing_waits_behind_a_commit_without_an_answer(kafka):
    """A member says that its cluster is away at each call: it can end, and does not hang for a minute."""
    kafka.send("flowers", [FLOWER_BODY])
    first, messages = member(kafka, "first"), []
    eventually(lambda: messages.extend(first.receive(1, 0.1)) or messages)
    kafka.kill()
    with pytest.raises(BrokerAway, match="a commit has no answer in 5 s"):
        first.acknowledge(messages)
    for ask in (lambda: first.receive(1, 0.1), lambda: first.acknowledge(messages)):
        with pytest.raises(BrokerAway, match="an earlier commit has no answer yet"):
            ask()
    kafka.start()
    first.close()


def test_partitions_are_handed_over_with_what_is_acknowledged(kafka):
    """A commit that was refused, as a group moves partitions, is made while a partition is given up."""
    kafka.send("flowers", [FLOWER_BODY])
    first, messages = member(kafka, "first"), []
    eventually(lambda: messages.extend(first.receive(1, 0.1)) or messages)
    # A refusal leaves this behind.
    held, offset = messages[0].receipt
    held.release(offset)
    assert first.lag() == 1
    first._consumer.unsubscribe()
    eventually(lambda: not first.receive(1, 0.1) and not first._consumer.assignment())
    eventually(lambda: first.lag() == 0)
    first.close()
