"""Sources and targets of real brokers: delivery, acknowledgement, members that leave, a broker that goes."""

import asyncio
from dataclasses import replace

import nats
import pika
import pytest
from brokers import Broker, Quorum, RabbitMQ, brokers, running
from conftest import eventually
from nats.js.api import AckPolicy, ConsumerConfig

from unpickled.server.errors import ConfigError
from unpickled.server.streams.address import parsed
from unpickled.server.streams.broker import Answer, BrokerAway, Message, Source, SourceOptions, Target
from unpickled.server.streams.registry import broker_of

OPTIONS = SourceOptions(group="scorers", member="one", idle=30.0)


@pytest.fixture(scope="module", params=brokers("redis"))
def broker(request, tmp_path_factory):
    """A broker that lives as long as the tests here; Redis has its own."""
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


@pytest.mark.parametrize("name", [each for each in brokers() if each.values == ("nats",)])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ack_wait": 0.5}, r"silent for 0.5 s: choose --idle 1, or another group"),
        ({"max_deliver": 3}, "drops messages after max_deliver = 3: delete it"),
        ({"ack_policy": AckPolicy.NONE}, "is no pull consumer with explicit acknowledgement"),
        ({"filter_subject": "given.*"}, r"reads given.\* of given, not given.flowers"),
    ],
    ids=["soon", "dropped", "unacknowledged", "another subject"],
)
def test_a_group_with_other_settings_is_refused(name, change, reason, tmp_path):
    """A group that somebody else has created must not lose messages, nor give them to two members."""

    async def create() -> None:
        async with await nats.connect(f"nats://127.0.0.1:{broker.port}") as client:
            await client.jetstream().add_stream(name="given", subjects=["given.*"])
            config = {"durable_name": "scorers", "filter_subject": "given.flowers"} | change
            await client.jetstream().add_consumer("given", ConsumerConfig(**config))

    with running(name, tmp_path) as broker:
        asyncio.run(create())
        reader = source(f"nats://127.0.0.1:{broker.port}/given.flowers")
        with pytest.raises(ConfigError, match=reason):
            reader.receive(1, 0.1)
        reader.close()


@pytest.fixture(scope="module", params=[each for each in brokers() if each.values == ("amqp",)])
def rabbit(request, tmp_path_factory):
    """A server for the tests of RabbitMQ alone, one of which starts it anew."""
    with running(request.param, tmp_path_factory.mktemp("rabbit")) as broker:
        yield broker


def test_a_wrong_virtual_host_is_refused(rabbit: RabbitMQ):
    """A virtual host that does not exist is no server that is away: source and target name the remedy."""
    address = f"{rabbit.address('there')}?vhost=nowhere"
    reader, writer = source(address), target(address)
    with pytest.raises(ConfigError, match=r"nowhere.*: create the virtual host"):
        reader.receive(1, 0.1)
    with pytest.raises(ConfigError, match=r"nowhere.*: create the virtual host"):
        writer.write([Answer(id="a", body=b"{}")])
    reader.close()
    writer.close()


def test_messages_without_a_name_are_told_apart_from_others(rabbit: RabbitMQ):
    """Equal messages without a message_id share an id, and say that it is not theirs alone."""
    address = rabbit.address("nameless")
    with rabbit.channel() as channel:
        for name in (None, None, "order-1"):
            channel.basic_publish("", "nameless", b"{}", pika.BasicProperties(message_id=name))
    reader = source(address)
    first, second, named = taken(reader, 3)
    assert first.id == second.id != named.id == "order-1"
    assert [message.unique for message in (first, second, named)] == [False, False, True]
    reader.acknowledge([second])
    assert reader.lag() == 2
    reader.close()


def test_a_server_that_starts_anew_slows_nobody(rabbit: RabbitMQ):
    """It says of all messages that they were delivered before; only the first count as such."""
    address = rabbit.address("anew")
    rabbit.send("anew", [b"%d" % number for number in range(20)])
    rabbit.kill()
    rabbit.start()
    reader = source(address, SourceOptions(group="scorers", member="one", batch=2))
    messages: list[Message] = []
    while len(messages) < 20:
        received = taken(reader, 1)
        messages += received
        reader.acknowledge(received)
    assert [message.deliveries for message in messages[4:]] == [1] * 16
    reader.close()


def test_a_quorum_queue_counts_deliveries(rabbit: RabbitMQ):
    """Each member that leaves without an acknowledgement adds one, and the count outlives the server."""
    queues = replace(rabbit, arguments=Quorum.ARGUMENTS)
    address = queues.address("counted")
    queues.send("counted", [b"1"])
    for count in (1, 2, 3):
        reader = source(address)
        [message] = taken(reader, 1)
        assert message.deliveries == count
        reader.close()
    rabbit.kill()
    rabbit.start()
    reader = source(address)
    [message] = taken(reader, 1)
    assert message.deliveries >= 4
    reader.acknowledge([message])
    eventually(lambda: reader.lag() == 0)
    reader.close()


@pytest.mark.long
def test_a_commit_does_not_wait_for_a_cluster_that_goes(tmp_path):
    """An acknowledgement says within seconds that the cluster does not answer, and so ends the member."""
    with running("kafka", tmp_path) as broker:
        address = broker.address("going")
        broker.send("going", [b"1", b"2"])
        reader = source(address)
        messages = taken(reader, 2)
        broker.kill()
        for _ in range(2):
            with pytest.raises(BrokerAway, match="commit has no answer"):
                reader.acknowledge(messages)
        reader.close()


def acknowledge(reader: Source, messages: list[Message]) -> None:
    """Acknowledge messages, or those that are delivered in their place as their connection was lost."""
    try:
        reader.acknowledge(messages)
    except BrokerAway:
        later = {message.id: message for message in reader.receive(10, 0.2)}
        messages[:] = ({message.id: message for message in messages} | later).values()
        raise


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
    eventually(lambda: attempted(lambda: acknowledge(reader, messages)))

    def is_complete() -> bool:
        attempted(lambda: messages.extend(reader.receive(5, 0.2)))
        return {message.body for message in messages} == {b"%d" % number for number in range(10)}

    eventually(is_complete)
    reader.close()
    writer.close()
