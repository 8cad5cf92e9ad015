"""Sources and targets of real brokers: delivery, acknowledgement, members that leave, a broker that goes."""

import time

import pytest
from brokers import FLOWER_BODY, Broker, Consuming, Nats, brokers, consuming, running
from conftest import eventually

from unpickled.server.errors import ConfigError
from unpickled.server.streams.address import parsed
from unpickled.server.streams.broker import Answer, BrokerAway, Message, Source, SourceOptions, Target
from unpickled.server.streams.registry import broker_of

OPTIONS = SourceOptions(group="scorers", member="one", idle=2.0)
# Brokers that need seconds to start, or to let a member join.
SLOW = {"amqp", "kafka"}


def names() -> list:
    """The brokers of these tests: Redis has its own."""
    others = [each for each in brokers() if "redis" not in each.values]
    slow = [pytest.mark.long]
    return [
        pytest.param(*each.values, marks=[*each.marks, *(slow if SLOW & {*each.values} else [])])
        for each in others
    ]


@pytest.fixture(scope="module", params=names())
def broker(request, tmp_path_factory):
    """A broker that lives as long as the tests here."""
    with running(request.param, tmp_path_factory.mktemp(request.param)) as broker:
        yield broker


def source(address: str, options: SourceOptions = OPTIONS) -> Source:
    return broker_of(parsed(address)).source(parsed(address), options)


def target(address: str) -> Target:
    return broker_of(parsed(address)).target(parsed(address))


def taken(source: Source, count: int) -> list[Message]:
    """So many messages."""
    messages: list[Message] = []
    eventually(lambda: messages.extend(source.receive(count - len(messages), 0.2)) or len(messages) == count)
    return messages


def attempted(action) -> bool:
    """Whether the broker is there."""
    try:
        action()
    except BrokerAway:
        return False
    return True


def test_what_is_not_acknowledged_goes_to_the_next_member(broker: Broker):
    """A member that leaves gives back what it holds; what it has acknowledged is not delivered again."""
    address = broker.address("leaving")
    broker.send("leaving", [b"%d" % number for number in range(20)], keys=[f"k{n}" for n in range(20)])
    first = source(address)
    messages = taken(first, 20)
    assert {(message.body, message.key) for message in messages} == {(b"%d" % n, f"k{n}") for n in range(20)}
    first.acknowledge(messages[:12])
    assert first.lag() == 8
    first.close()
    second = source(address)
    again = taken(second, 8)
    assert {(message.id, message.body) for message in again} == {(m.id, m.body) for m in messages[12:]}
    second.acknowledge(again)
    assert second.lag() == 0
    second.close()


def test_messages_are_acknowledged_in_any_order(broker: Broker):
    """A message that is acknowledged late keeps none that was acknowledged before it from its end."""
    address = broker.address("order")
    broker.send("order", [b"%d" % number for number in range(6)])
    member = source(address)
    messages = taken(member, 6)
    for message in (messages[3], messages[0], messages[5]):
        member.acknowledge([message])
    member.acknowledge([messages[1], messages[2], messages[4]])
    assert member.lag() == 0
    member.close()


def test_answers_arrive_with_their_keys(broker: Broker):
    """An answer is written when write returns; its key is the one of its message."""
    writer = target(broker.address("answers"))
    writer.write([Answer(id=f"a-{n}", body=b'{"n": %d}' % n, key="ä") for n in range(200)])
    writer.write([])
    assert sorted(document["n"] for document in broker.read("answers")) == [*range(200)]
    reader = source(broker.address("answers"))
    assert {message.key for message in taken(reader, 200)} == {"ä"}
    reader.close()
    writer.close()


def test_a_missing_place_is_refused(broker: Broker):
    """A stream, queue or topic that does not exist is an error with its remedy, and is not waited for."""
    address = broker.address("there").replace("there", "missing")
    reader = source(address)
    with pytest.raises(ConfigError, match=r"missing.*(create|declare)"):
        reader.receive(1, 0.1)
    reader.close()


def test_unknown_options_are_refused(broker: Broker):
    """An option that the broker does not have is named."""
    address = broker.address("there").partition("?")[0]
    with pytest.raises(ConfigError, match="colour"):
        source(f"{address}?colour=red")


@pytest.mark.long
def test_a_broker_that_goes_and_comes(broker: Broker):
    """While the broker is away each call says so; afterwards the same objects go on, and nothing is lost."""
    address = broker.address("away")
    broker.send("away", [b"%d" % number for number in range(10)])
    reader, writer = source(address), target(broker.address("back"))
    messages = taken(reader, 5)
    writer.write([Answer(id="a", body=b"{}")])
    broker.kill()
    # A cluster that stands still is not noticed at once.
    eventually(lambda: not attempted(lambda: writer.write([Answer(id="b", body=b"{}")])))
    broker.start()
    eventually(lambda: attempted(lambda: writer.write([Answer(id="c", body=b"{}")])))
    eventually(lambda: attempted(lambda: reader.acknowledge(messages)))
    bodies = {message.body for message in messages}
    deadline = time.monotonic() + 60
    while len(bodies) < 10 and time.monotonic() < deadline:
        if attempted(lambda: messages.extend(reader.receive(5, 0.2))):
            bodies |= {message.body for message in messages}
    assert bodies == {b"%d" % number for number in range(10)}
    reader.close()
    writer.close()


@pytest.mark.long
@pytest.mark.parametrize("victim", ["consumer", "broker"])
def test_nothing_is_lost(victim: str, broker: Broker, models, tmp_path):
    """kill -9 amid 100,000 messages: each is answered, and only two batches may be answered twice."""
    if not isinstance(broker, Nats):
        pytest.skip("only NATS has been run to its end")
    count, batch, queue = 100_000, 256, tmp_path.name
    broker.address(f"{queue}-flowers")
    broker.send(f"{queue}-flowers", [FLOWER_BODY] * count)
    with consuming(tmp_path, models.path, broker, "--batch", str(batch), "--idle", "5") as consumer:
        eventually(lambda: consumer.answered() > count // 4)
        if victim == "broker":
            broker.kill()
            time.sleep(1)
            broker.start()
            eventually(lambda: consumer.answered() > count // 2)
        consumer.process.kill()
    with consuming(tmp_path, models.path, broker, "--batch", str(batch), "--idle", "5") as consumer:
        eventually(lambda: consumer.answered() >= count // 2 - 4 * batch and is_done(consumer))
        assert consumer.finish() == 0
    identities = [document["id"] for document in broker.read(f"{queue}-scored")]
    assert len(set(identities)) == count
    assert len(identities) - count <= 2 * batch * (1 + (victim == "broker"))


def is_done(consumer: Consuming) -> bool:
    return consumer.figures().get(("unpickled_stream_lag",)) == 0
