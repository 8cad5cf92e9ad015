"""unpickled consume with real brokers: answers, dead letters, groups, and ends in the middle of work.

Each test with the fixture ``broker`` runs with every broker of tests/brokers.py.
"""

import base64
import json
import re
import shutil
import socket
import sys
from collections import Counter
from contextlib import ExitStack

import pytest
from brokers import FLOWER_BODY, Kafka, Nats, RabbitMQ, Redis, brokers, consuming, running
from conftest import BIN, PATIENCE, environment, eventually, free_port, run, shelve, started
from msgspec.structs import replace

from unpickled.server.app import flask_app
from unpickled.server.config import Config
from unpickled.server.errors import ConfigError
from unpickled.server.observe.streamed import SOURCE, Streamed
from unpickled.server.service import Service
from unpickled.server.streams.address import parsed
from unpickled.server.streams.answering import Answering, routes
from unpickled.server.streams.attempts import Attempts
from unpickled.server.streams.broker import Answer, BrokerAway, Message, SourceOptions
from unpickled.server.streams.consumer import Consumer
from unpickled.server.streams.ends import Ends
from unpickled.server.streams.pace import Pace
from unpickled.server.streams.registry import broker_of

CONSUME = (BIN / "unpickled", "consume")
NAMES = ("id", "model", "version")
REDIS = [parameter for parameter in brokers() if parameter.values == ("redis",)]
needs_redis = pytest.mark.skipif(
    shutil.which(Redis.PROGRAM) is None, reason=f"{Redis.PROGRAM} is not installed"
)


def flowers(count: int) -> list[bytes]:
    """Messages of one row each."""
    return [b'{"features": [%d.%d, 3.5, 1.4, 0.2]}' % (4 + n % 4, n % 10) for n in range(count)]


def ids(documents: list[dict]) -> set[str]:
    return {document["id"] for document in documents}


@pytest.fixture(scope="module", params=brokers("quorum"))
def broker(request, tmp_path_factory):
    """A broker for tests that do it no harm; their queues have names of their own.

    Quorum queues differ from the others of RabbitMQ in the source and the target alone.
    """
    with running(request.param, tmp_path_factory.mktemp(request.param)) as broker:
        yield broker


@pytest.fixture(scope="module", params=REDIS)
def redis(request, tmp_path_factory):
    """A server for the tests of Redis alone."""
    with running(request.param, tmp_path_factory.mktemp("redis")) as broker:
        yield broker


def test_a_message_is_answered_as_predict_does(broker, models, client, tmp_path):
    """The answer has the members of that of /predict, then the id, the model and its version."""
    record = b'{"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}'
    bodies = [FLOWER_BODY, record, b'{"instances": [%b, [6, 3, 5, 2]]}' % record]
    broker.send(f"{tmp_path.name}-flowers", bodies)
    with consuming(tmp_path, models.path, broker):
        eventually(lambda: len(broker.read(f"{tmp_path.name}-scored")) == 3)
    documents = broker.read(f"{tmp_path.name}-scored")
    assert len(ids(documents)) == 3
    assert {tuple(document)[-3:] for document in documents} == {NAMES}
    answers = [{key: document[key] for key in document if key not in NAMES} for document in documents]
    assert all(client.post("/predict", data=body).json in answers for body in bodies)


def test_dead_letters_have_the_reason_and_the_message(broker, models, client, tmp_path):
    """A message that is refused, or is no JSON, goes to the dead letters and stops no other."""
    bodies = [b'{"features": [5.1, "x", 1.4, 0.2]}', b"oops", b"\xff\x00", FLOWER_BODY]
    broker.send(f"{tmp_path.name}-flowers", bodies)
    with consuming(tmp_path, models.path, broker) as consumer:
        eventually(lambda: len(broker.read(f"{tmp_path.name}-dead")) == 3)
        eventually(lambda: consumer.answered() == 1)
    letters = broker.read(f"{tmp_path.name}-dead")
    texts = [letter.get("body", "").encode() for letter in letters if "body" in letter]
    texts += [base64.b64decode(letter["body_base64"]) for letter in letters if "body_base64" in letter]
    assert sorted(texts) == sorted(bodies[:3])
    refused = next(letter for letter in letters if letter["code"] == "invalid_input")
    assert refused["error"] == client.post("/predict", data=bodies[0]).json["error"]
    source = str(parsed(broker.address(f"{tmp_path.name}-flowers")))
    assert (refused["feature"], refused["source"]) == ("sepal_width", source)


def test_without_dead_letters_errors_are_answers(broker, models, tmp_path):
    """Where no stream takes dead letters, an error goes where answers go: nothing is lost silently."""
    broker.send(f"{tmp_path.name}-flowers", [b"oops", FLOWER_BODY])
    with consuming(tmp_path, models.path, broker, dead=False):
        eventually(lambda: len(broker.read(f"{tmp_path.name}-scored")) == 2)
    documents = broker.read(f"{tmp_path.name}-scored")
    [error] = [document for document in documents if "code" in document]
    sentence = "the message is not JSON: Expecting value at line 1, column 1; it begins with 'oops'"
    assert (error["code"], error["error"]) == ("malformed_json", sentence)


@pytest.mark.parametrize("name", brokers("amqp", "quorum", "redis"))
def test_what_is_too_large_stops_nothing(name, models, tmp_path):
    """A dead letter that is too large goes without the message; an answer that is, becomes an error."""
    rows = b'{"features": [%b]}' % b",".join([b"[5, 3, 1, 0]"] * 40_000)
    with running(name, tmp_path / "broker") as broker:
        broker.send("large-flowers", [b"\xff" * 900_000, rows, FLOWER_BODY])
        with consuming(tmp_path, models.path, broker, name="large") as consumer:
            eventually(lambda: len(broker.read("large-dead")) == 2)
            eventually(lambda: consumer.answered() == 1)
            assert consumer.finish() == 0
        letters = {letter["code"]: letter for letter in broker.read("large-dead")}
    assert letters["malformed_json"]["body_bytes"] == 900_000
    assert letters["answer_too_large"]["body"].encode() == rows


@pytest.mark.parametrize(
    "scheme", ["redis", *(pytest.param(name, marks=pytest.mark.long) for name in ("amqp", "kafka", "nats"))]
)
def test_a_server_that_says_nothing_is_told(scheme, models, tmp_path):
    """It is away as one that refuses connections is; a SIGTERM ends the command, and no password shows."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"{scheme}://me:hidden@127.0.0.1:{silent.getsockname()[1]}"
        words = [f"{place}/a", "--to", f"{place}/b", "--models", str(models.path), "--model", "iris"]
        log = tmp_path / "log"
        with log.open("wb") as output, started([*CONSUME, *words], stdout=output, stderr=output) as process:
            eventually(lambda: "is away" in log.read_text())
            process.terminate()
            assert process.wait() == 0
    assert "trying again" in log.read_text()
    assert "hidden" not in log.read_text()


@pytest.mark.parametrize("scheme", ["amqp", pytest.param("kafka", marks=pytest.mark.long), "nats", "redis"])
@pytest.mark.parametrize("host", ["127.0.0.1:{}", "nowhere.invalid"], ids=["no server", "no host"])
def test_a_host_that_is_away_is_waited_for(scheme, host):
    """A server that does not listen is away, and so is a name that is unknown for a while."""
    place = parsed(f"{scheme}://{host.format(free_port())}/flowers")
    source = broker_of(place).source(place, SourceOptions(group="scorers", member="one"))
    target = broker_of(place).target(place)
    for attempt in (source.lag, lambda: target.write([])):
        with pytest.raises(BrokerAway) as caught:
            attempt()
        # The reason is that of the system; librdkafka has one for all.
        assert re.search(r"refused|failed|not known|failure", str(caught.value))
    source.close()
    target.close()


@pytest.mark.parametrize("wait", ["0", pytest.param("3000", marks=pytest.mark.long)])
def test_a_batch_that_is_not_full_is_answered(broker, models, tmp_path, wait):
    """One message does not wait for a thousand: it is answered when --wait-ms are over, or at once."""
    broker.send(f"{tmp_path.name}-flowers", [FLOWER_BODY])
    with consuming(tmp_path, models.path, broker, "--batch", "1000", "--wait-ms", wait) as consumer:
        eventually(lambda: consumer.figures().get(("unpickled_stream_batches_total",)) == 1)
        assert consumer.answered() == 1
        assert consumer.finish() == 0
    assert len(broker.read(f"{tmp_path.name}-scored")) == 1


def test_pauses_grow_until_the_end_is_there(service):
    """Each failed attempt doubles the pause, give or take a fifth, up to half a minute; success resets it."""
    attempts = Attempts(SOURCE, "redis://host", Streamed(service.block), lambda: False)
    for _ in range(2):
        pauses = [attempts.failed(BrokerAway("gone")) for _ in range(20)]
        middles = [min(0.5 * 2**number, 30.0) for number in range(20)]
        assert all(0.8 * m <= pause <= 1.2 * m for pause, m in zip(pauses, middles, strict=True))
        assert len(set(pauses[10:])) > 1
        attempts.worked()
        assert not attempts.is_away


def test_sigterm_finishes_what_is_held(broker, models, tmp_path):
    """After a SIGTERM in the middle, every message is answered once: by this consumer or by the next."""
    broker.send(f"{tmp_path.name}-flowers", flowers(1000))
    with consuming(tmp_path, models.path, broker, "--batch", "20") as consumer:
        eventually(lambda: consumer.answered() > 0)
        assert consumer.finish() == 0
        assert "ended: " in consumer.printed()
    with consuming(tmp_path, models.path, broker):
        eventually(lambda: len(ids(broker.read(f"{tmp_path.name}-scored"))) == 1000)
    assert len(broker.read(f"{tmp_path.name}-scored")) == 1000


def test_members_of_a_group_share_messages(broker, models, tmp_path):
    """Two consumers of a group answer each message once; another group gets all of them again.

    All who read a queue of RabbitMQ are one group. NATS writes two equal answers of one id once.
    """
    groups = 1 if isinstance(broker, RabbitMQ | Nats) else 2
    broker.send(f"{tmp_path.name}-flowers", flowers(400))
    with ExitStack() as stack:
        for group in ("first", "first", "second"):
            flags = ("--group", group, "--batch", "10")
            stack.enter_context(consuming(tmp_path, models.path, broker, *flags))
        eventually(lambda: len(broker.read(f"{tmp_path.name}-scored")) >= 400 * groups)
    counts = Counter(document["id"] for document in broker.read(f"{tmp_path.name}-scored"))
    assert min(counts.values()) == groups
    # In Kafka, a batch in hand when its partition moves to the second member.
    assert sum(counts.values()) - 400 * groups <= (10 if isinstance(broker, Kafka) else 0)


def test_a_key_stays_on_one_version(broker, models, tmp_path):
    """Traffic is split by the key of a message as by that of a request."""
    shelve(models, tmp_path / "models" / "iris", "iris", "forest")
    (tmp_path / "models" / "iris" / "serving.toml").write_text('load = "all"\n[traffic]\n1 = 0.5\n2 = 0.5\n')
    keys = [f"customer {number}" for number in range(20)]
    app = flask_app(Service(Config(models=str(tmp_path / "models")))).test_client()
    answers = [app.post("/predict", data=FLOWER_BODY, headers={"X-Request-Key": key}) for key in keys]
    broker.send(f"{tmp_path.name}-flowers", [FLOWER_BODY] * 20, keys)
    with consuming(tmp_path, tmp_path / "models", broker, "--batch", "1"):
        eventually(lambda: len(broker.read(f"{tmp_path.name}-scored")) == 20)
    versions = Counter(document["version"] for document in broker.read(f"{tmp_path.name}-scored"))
    assert versions == Counter(int(answer.headers["Model-Version"]) for answer in answers)
    assert len(versions) == 2


def test_models_are_followed(redis, models, tmp_path):
    """A version that appears while messages come answers those that come later."""
    home = shelve(models, tmp_path / "models" / "iris", "iris")
    with consuming(tmp_path, tmp_path / "models", redis, "--reload-seconds", "0.1") as consumer:
        shelve(models, home, "iris", first=2)

        def is_answered_by_the_second() -> bool:
            redis.send(f"{tmp_path.name}-flowers", [FLOWER_BODY])
            return 2 in {document["version"] for document in redis.read(f"{tmp_path.name}-scored")}

        eventually(is_answered_by_the_second)
        line = "model iris: version 2 answers (before: version 1 answers); labels: none"
        eventually(lambda: line in consumer.log.read_text())


def test_messages_are_logged(redis, models, tmp_path):
    """With a payload log, an answer has the id of its prediction, and a consumer that ends has written it."""
    redis.send(f"{tmp_path.name}-flowers", [FLOWER_BODY])
    flags = ("--log-share", "1", "--log-folder", str(tmp_path / "log"))
    with consuming(tmp_path, models.path, redis, *flags) as consumer:
        eventually(lambda: consumer.answered() == 1)
        assert consumer.finish() == 0
    [document] = redis.read(f"{tmp_path.name}-scored")
    assert list(document)[-1] == "prediction_id"
    command = [BIN / "unpickled", "log", "list", "--folder", str(tmp_path / "log"), "--json"]
    [day] = json.loads(run(command, env=environment()).stdout)
    assert day["rows"] == 1


@needs_redis
def test_a_broker_that_is_away_is_waited_for(models, tmp_path):
    """A consumer says that the broker is away, is not ready, and goes on once the broker is there."""
    broker = Redis(tmp_path)
    with consuming(tmp_path, models.path, broker) as consumer:
        eventually(lambda: "is away (connection refused): trying again" in consumer.printed())
        assert consumer.figures()["unpickled_stream_away", "source"] == 1
        broker.start()
        try:
            broker.send(f"{tmp_path.name}-flowers", [FLOWER_BODY])
            eventually(lambda: consumer.answered() == 1)
            assert "is back after" in consumer.printed()
            assert consumer.figures()["unpickled_stream_away", "source"] == 0
            assert consumer.figures()["unpickled_stream_retries_total", "source"] >= 1
            assert consumer.finish() == 0
        finally:
            broker.stop()


def test_messages_of_a_dead_member_are_taken_over(redis, models, tmp_path):
    """Messages that a member received and never acknowledged are answered by another one."""
    stream = f"{tmp_path.name}-flowers"
    redis.send(stream, flowers(10))
    with redis.client() as client:
        client.xgroup_create(stream, "unpickled", "0")
        client.xreadgroup("unpickled", "gone", {stream: ">"}, 7)
    with consuming(tmp_path, models.path, redis, "--idle", "1") as consumer:
        eventually(lambda: consumer.answered() == 10)
        # They are counted once their batch is done.
        eventually(lambda: consumer.figures()["unpickled_stream_redelivered_total",] == 7)
        eventually(lambda: consumer.figures().get(("unpickled_stream_lag",)) == 0)


class Again:
    """A source in memory that cannot take an acknowledgement, and delivers such messages once more."""

    def __init__(self, *batches: list[Message]) -> None:
        self.batches, self.acknowledged = list(batches), []
        self.consumer = None

    def receive(self, most, seconds):
        if len(self.batches) == 1:
            self.consumer.stop()
        return self.batches.pop(0)

    def acknowledge(self, messages):
        if self.batches:
            raise BrokerAway("gone")
        self.acknowledged += messages

    def lag(self):
        return None

    def close(self):
        return


class Written:
    """A target in memory."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def write(self, answers):
        self.answers += answers

    def takes(self, answer):
        return True

    def close(self):
        return


@pytest.mark.parametrize(
    ("change", "count"),
    [({}, 1), ({"body": b"oops"}, 2), ({"key": "other"}, 2), ({"unique": False}, 2)],
    ids=["the same", "another body", "another key", "an id of several"],
)
def test_only_the_same_message_is_not_answered_again(models, change, count):
    """After a failed acknowledgement the message is acknowledged alone; another with its id is answered."""
    service = Service(Config(models=str(models.path), default_model="iris"), protocols=routes())
    message = Message(id="1", body=FLOWER_BODY)
    source, target = Again([message], [replace(message, deliveries=2, **change)]), Written()
    place = parsed("redis://host/flowers")
    ends = Ends((place, source), (place, target), None)
    source.consumer = Consumer(ends, Answering(service), Streamed(service.block), Pace())
    source.consumer.run()
    assert (len(target.answers), len(source.acknowledged), source.consumer.left) == (count, 1, 0)


def test_a_member_that_leaves_takes_no_message_along(redis, tmp_path):
    """The group forgets a member that ends, but not while one of this name holds messages."""
    place = parsed(redis.address(f"{tmp_path.name}-flowers"))
    options = SourceOptions(group="scorers", member="one")
    redis.send(place.path, flowers(2))
    first, other = broker_of(place).source(place, options), broker_of(place).source(place, options)
    assert first.lag() == other.lag() == 2
    messages = first.receive(2, 1.0)
    other.close()
    with redis.client() as client:
        assert client.xpending(place.path, "scorers")["pending"] == 2
        first.acknowledge(messages)
        first.close()
        assert not client.xinfo_consumers(place.path, "scorers")


def test_a_message_that_ends_processes_is_given_up(redis, models, tmp_path):
    """A message that was delivered too often goes to the dead letters without an attempt; others do not."""
    stream = f"{tmp_path.name}-flowers"
    redis.send(stream, flowers(10))
    with redis.client() as client:
        client.xgroup_create(stream, "unpickled", "0")
        [[_, entries]] = client.xreadgroup("unpickled", "gone", {stream: ">"}, 10)
        client.xclaim(stream, "unpickled", "gone", 0, [entries[4][0]], retrycount=5)
    with consuming(tmp_path, models.path, redis, "--idle", "1") as consumer:
        eventually(lambda: consumer.answered() == 9)
        eventually(lambda: redis.read(f"{tmp_path.name}-dead"))
    [letter] = redis.read(f"{tmp_path.name}-dead")
    assert (letter["id"], letter["code"]) == (entries[4][0].decode(), "delivered_too_often")


@pytest.mark.parametrize("place", ["scored", "dead"])
def test_a_place_that_is_something_else_is_told_at_the_start(redis, models, tmp_path, place):
    """A target that is no stream ends the command before any message comes."""
    with redis.client() as client:
        client.set(f"{tmp_path.name}-{place}", "a text")
    with consuming(tmp_path, models.path, redis) as consumer:
        assert consumer.process.wait() == 1
    address = redis.address(f"{tmp_path.name}-{place}")
    assert f"error: {address} is a string, not a stream: choose another name" in consumer.printed()


def test_a_full_broker_is_waited_for(redis, models, tmp_path):
    """A broker whose memory is full takes no answers for a while; the command goes on once it does."""
    with redis.client() as client, consuming(tmp_path, models.path, redis) as consumer:
        eventually(lambda: client.exists(f"{tmp_path.name}-flowers"))
        filling = client.pipeline().xadd(f"{tmp_path.name}-flowers", {"data": FLOWER_BODY})
        filling.config_set("maxmemory", "100kb").execute()
        try:
            eventually(lambda: "scored is away (command not allowed when used" in consumer.printed())
        finally:
            client.config_set("maxmemory", "0")
        eventually(lambda: consumer.answered() == 1)
        assert consumer.finish() == 0


@pytest.mark.parametrize("beginning", ["start", "end"])
def test_a_group_that_is_deleted_goes_on_where_it_was(redis, models, tmp_path, beginning):
    """Messages that come before the group is created again are answered, those of another stream, too."""
    stream = f"{tmp_path.name}-flowers"
    with redis.client() as client, consuming(tmp_path, models.path, redis, "--from", beginning) as consumer:
        eventually(lambda: consumer.figures().get(("unpickled_stream_lag",)) == 0)
        redis.send(stream, flowers(10))
        eventually(lambda: consumer.answered() == 10)
        deleting = client.pipeline().xgroup_destroy(stream, "unpickled")
        deleting.xadd(stream, {"data": FLOWER_BODY}).execute()
        eventually(lambda: "is back after" in consumer.printed())
        eventually(lambda: len(ids(redis.read(f"{tmp_path.name}-scored"))) == 11)
        client.delete(stream)
        client.xadd(stream, {"data": FLOWER_BODY}, id="5-1")
        eventually(lambda: "5-1" in ids(redis.read(f"{tmp_path.name}-scored")))


@needs_redis
def test_answers_do_not_wait_for_dead_letters(redis, models, tmp_path):
    """While dead letters cannot be written, what has an answer is acknowledged: a SIGTERM doubles none."""
    other = Redis(tmp_path)
    other.start()
    try:
        flags = ("--dead", other.address("dead"))
        with consuming(tmp_path, models.path, redis, *flags, dead=False) as consumer:
            eventually(lambda: consumer.figures().get(("unpickled_stream_lag",)) == 0)
            other.kill()
            redis.send(f"{tmp_path.name}-flowers", [FLOWER_BODY, b"oops"])
            eventually(lambda: "dead is away (connection refused)" in consumer.printed())
            eventually(lambda: consumer.answered() == 1)
            assert consumer.finish() == 1
            assert "dead is away: 1 message held at the end will be delivered again" in consumer.printed()
        with redis.client() as client:
            assert client.xpending(f"{tmp_path.name}-flowers", "unpickled")["pending"] == 1
    finally:
        other.stop()


@needs_redis
def test_a_wrong_password_ends_the_command(models, tmp_path):
    """A broker that refuses is no broker that is away: the command ends and says so, without the password."""
    broker = Redis(tmp_path, password="right")
    broker.start()
    try:
        address = broker.address("flowers").replace("right", "wrong")
        words = ["--to", broker.address("scored"), "--models", str(models.path), "--model", "iris"]
        completed = run([BIN / "unpickled", "consume", address, *words], cwd=tmp_path, env=environment())
        assert completed.returncode == 1
        reason = f"error: redis://127.0.0.1:{broker.port} refuses the user"
        assert completed.stderr.splitlines()[-1].startswith(reason)
        assert ":wrong" not in completed.stderr
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("redis://:secret@h --to redis://h/b", "redis://h names no stream: write redis://h/NAME"),
        ("h/a --to redis://h/b", "'h/a' is no address of a broker: write SCHEME://HOST/NAME"),
        (
            "redist://:secret@h/a --to redis://h/b",
            "'redist' of redist://h/a is no broker: did you mean 'redis'?",
        ),
        ("redis://h/a --to redis://h/a", "--to is redis://h/a, where the messages come from: choose another"),
        ("redis://h/a --to redis://h:6379/a?db=0", "--to is redis://h:6379/a, where the messages come from"),
        ("redis://127.0.0.1/a --to redis://[::1]/a", "--to is redis://[::1]/a, where the messages come from"),
        ("nats://h/a.* --to nats://h/a.b", "--to is nats://h/a.b, where the messages come from"),
        (
            "nats://h/a.> --to nats://h/b --dead nats://h/a.b.c",
            "--dead is nats://h/a.b.c, where the messages come",
        ),
        ("kafka://h,g/a --to kafka://g:9092/a", "--to is kafka://g:9092/a, where the messages come from"),
        (
            "redis://h/a --to redis://h/b?field=id",
            "two fields of redis://h/b have one name: give field, key and id three names",
        ),
        (
            "redis://h/a --to redis://h/b?maxlen=x",
            "maxlen of redis://h/b is 'x': write a whole number from 1 on",
        ),
        (
            "redis://:secret@h/a?dbb=1 --to redis://h/b",
            "'dbb' is no option of redis://h/a: did you mean 'db",
        ),
        ("redis://h,g/a --to redis://h/b", "redis://h,g/a has several hosts, and redis takes one"),
        ("redis://h/a?ca=x --to redis://h/b", "ca is for rediss://, and redis://h/a is not encrypted"),
        ("rediss://h/a?ca=x --to redis://h/b", "ca of rediss://h/a is 'x': No such file or directory"),
    ],
)
def test_wrong_addresses_are_refused(words, reason, capsys):
    """The sentence names the mistake and the remedy, and never the password."""
    from unpickled.__main__ import main

    assert main(["consume", *words.split()]) == 1
    error = capsys.readouterr().err
    assert f"error: {reason}" in error
    assert "secret" not in error


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "there is no model in {}: `unpickled train iris` makes one, and --models names its folder"),
        (("iris", "forest"), "{} has forest, iris: choose the one that answers by --model"),
    ],
)
def test_the_model_has_to_be_clear(models, tmp_path, capsys, names, reason):
    """Without a model, or with several, the command ends and says how to choose one."""
    from unpickled.__main__ import main

    for name in names:
        shelve(models, tmp_path / name, name)
    words = ["redis://host/a", "--to", "redis://host/b", "--models", str(tmp_path)]
    assert main(["consume", *words]) == 1
    assert f"error: {reason.format(tmp_path)}\n" in capsys.readouterr().err


def test_a_password_may_be_in_a_file(tmp_path):
    """The address then shows none in a list of processes."""
    (tmp_path / "password").write_text("se cret\n")
    address = parsed(f"redis://me@host/flowers?password_file={tmp_path / 'password'}")
    assert (address.user, address.password, address.options) == ("me", "se cret", {})
    with pytest.raises(
        ConfigError, match="password_file of redis://host/a cannot be read: /nowhere: No such"
    ):
        parsed("redis://host/a?password_file=/nowhere")


def test_a_consumer_imports_no_http_server():
    """Neither Flask nor granian, nor any library of training, is imported by a process that consumes."""
    modules = "unpickled.server.process.consuming, unpickled.server.streams.redis.source"
    code = f"import sys, {modules}; print(*sys.modules)"
    modules = run([sys.executable, "-c", code], env=environment()).stdout.split()
    assert "onnxruntime" in modules
    assert not {"flask", "werkzeug", "granian", "sklearn", "skl2onnx", "pandas", "pickle5"} & set(modules)


@pytest.mark.long
def test_a_batch_whose_connection_is_lost_is_answered_once(models, tmp_path):
    """Its answers are written when both brokers are back, and it is acknowledged as it is delivered again."""
    with ExitStack() as stack:
        rabbit, redis = (stack.enter_context(running(name, tmp_path / name)) for name in ("amqp", "redis"))
        consumer = stack.enter_context(consuming(tmp_path, models.path, rabbit, name="lost", to=redis))
        rabbit.send("lost-flowers", [FLOWER_BODY])
        eventually(lambda: consumer.answered() == 1)
        redis.kill()
        rabbit.send("lost-flowers", [FLOWER_BODY] * 10)
        eventually(lambda: "is away" in consumer.printed())
        rabbit.kill()
        rabbit.start()
        redis.start()
        eventually(lambda: consumer.figures().get(("unpickled_stream_redelivered_total",)) == 10)
        assert consumer.finish() == 0
        answers = [document["id"] for document in redis.read("lost-scored")]
        assert sorted(answers) == sorted(["lost-flowers-0", *(f"lost-flowers-{n}" for n in range(10))])
        assert rabbit.read("lost-flowers") == []


@pytest.mark.long
@pytest.mark.parametrize("name", brokers())
def test_none_is_lost_whatever_is_killed(name, models, tmp_path):
    """A consumer, then the broker, is killed amid 100,000 messages: all answered, twice those in flight."""
    batch, total = 500, 100_000
    flags = ("--batch", str(batch), "--idle", "10")
    with running(name, tmp_path / "broker") as broker, ExitStack() as stack:
        broker.send("kill-flowers", flowers(total))
        first, second = (
            stack.enter_context(consuming(tmp_path, models.path, broker, *flags, name="kill"))
            for _ in range(2)
        )
        # Either of them may have been late, and the other have answered all.
        eventually(lambda: first.answered() + second.answered() > 1000)
        before = first.answered()
        first.process.kill()
        eventually(lambda: before + second.answered() > 5000)
        broker.kill()
        eventually(lambda: "is away" in second.printed())
        broker.start()
        eventually(second.is_done, 3 * PATIENCE)
        assert second.finish() == 0
        counts = Counter(document["id"] for document in broker.read("kill-scored"))
        assert len(counts) == total
        # A batch of the consumer that was killed, and one of the other when the broker was.
        assert sum(counts.values()) - total <= 2 * batch + getattr(broker, "FORGETS", 0)
        assert not broker.read("kill-dead")
