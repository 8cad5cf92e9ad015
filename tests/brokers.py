"""Real brokers for the tests of unpickled consume, each a process of its own.

A broker is an object with the methods of Broker. ``BROKERS`` has them by name: an entry adds one to all tests
that take the fixture ``broker`` or are parametrized by ``brokers()``.
"""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import nats
import pika
import pytest
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from conftest import BIN, PATIENCE, are_threads, end, environment, eventually, free_port, halt
from prometheus_client.parser import text_string_to_metric_families as parse

from unpickled.server.streams.address import parsed
from unpickled.server.streams.amqp import target as amqp
from unpickled.server.streams.broker import Answer

FLOWER_BODY = b'{"features": [5.1, 3.5, 1.4, 0.2]}'


class Broker(Protocol):
    """A broker of a test. A queue is whatever the broker calls the place of messages."""

    def address(self, queue: str) -> str:
        """The address of a queue, as the command takes it."""

    def start(self) -> None:
        """Start the process, on the files that an earlier one has left, and wait until it answers."""

    def kill(self) -> None:
        """End the process as kill -9 does."""

    def stop(self) -> None:
        """End the process in order."""

    def send(self, queue: str, bodies: Sequence[bytes], keys: Sequence[str] = ()) -> None:
        """Append messages; each is on disk when this returns."""

    def read(self, queue: str) -> list[dict[str, Any]]:
        """The documents of all messages that a queue has, in any order; the queue keeps them."""


@dataclass(frozen=True)
class Certificate:
    """A certificate of a broker with its key and authority, and the port that speaks TLS with it."""

    path: Path
    key: Path
    authority: Path
    port: int


@dataclass
class Redis:
    """A redis-server that writes each command to its disk before it answers."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    password: str = ""
    certificate: Certificate | None = None

    PROGRAM = "redis-server"

    def address(self, queue: str) -> str:
        user = f":{self.password}@" if self.password else ""
        return placed(f"redis://{user}127.0.0.1:{self.port}/{queue}", self.certificate)

    def start(self) -> None:
        command = [self.PROGRAM, "--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--bind", "127.0.0.1"]
        command += ["--requirepass", self.password] if self.password else []
        if self.certificate:
            files = {"cert": self.certificate.path, "key": self.certificate.key}
            files["ca-cert"] = self.certificate.authority
            command += [word for name, path in files.items() for word in (f"--tls-{name}-file", str(path))]
            command += ["--tls-port", str(self.certificate.port), "--tls-auth-clients", "no"]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually(self.answers)

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, password=self.password or None, protocol=2)

    def send(self, queue: str, bodies: Sequence[bytes], keys: Sequence[str] = ()) -> None:
        with self.client() as client:
            for first in range(0, len(bodies), 1000):
                pipeline = client.pipeline(transaction=False)
                for number, body in enumerate(bodies[first : first + 1000], first):
                    fields = {"data": body} | ({"key": keys[number]} if keys else {})
                    pipeline.xadd(queue, fields)
                pipeline.execute()

    def read(self, queue: str) -> list[dict[str, Any]]:
        with self.client() as client:
            return [json.loads(fields[b"data"]) for _, fields in client.xrange(queue)]


@dataclass
class Nats:
    """A nats-server with JetStream on disk; each queue is a stream with one subject."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    certificate: Certificate | None = None

    def address(self, queue: str) -> str:
        asyncio.run(self.created(queue))
        return placed(f"nats://127.0.0.1:{self.port}/{queue}", self.certificate)

    async def created(self, queue: str) -> None:
        async with await nats.connect(f"nats://127.0.0.1:{self.port}") as client:
            await client.jetstream().add_stream(name=queue, subjects=[queue])

    def start(self) -> None:
        command = ["nats-server", "-js", "-sd", str(self.folder), "-a", "127.0.0.1", "-p", str(self.port)]
        if self.certificate:
            # One port has both: the tests themselves do without TLS.
            self.port = self.certificate.port
            (self.folder / "nats.conf").write_text("allow_non_tls: true")
            command = [*command[:-1], str(self.port), "-c", str(self.folder / "nats.conf"), "--tls"]
            command += ["--tlscert", str(self.certificate.path), "--tlskey", str(self.certificate.key)]
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: listens(self.port))

    def kill(self) -> None:
        kill(self.process)

    def stop(self) -> None:
        kill(self.process)

    def send(self, queue: str, bodies: Sequence[bytes], keys: Sequence[str] = ()) -> None:
        # A message for a subject without a stream is lost.
        self.address(queue)
        asyncio.run(self.sent(queue, bodies, keys))

    async def sent(self, queue: str, bodies: Sequence[bytes], keys: Sequence[str]) -> None:
        async with await nats.connect(f"nats://127.0.0.1:{self.port}") as client:
            stream = client.jetstream()
            answers = []
            for number, body in enumerate(bodies):
                headers = {"key": keys[number]} if keys else None
                answers.append(await stream.publish_async(queue, body, headers=headers))
            await asyncio.gather(*answers)

    def read(self, queue: str) -> list[dict[str, Any]]:
        return asyncio.run(self.found(queue))

    async def found(self, queue: str) -> list[dict[str, Any]]:
        async with await nats.connect(f"nats://127.0.0.1:{self.port}") as client:
            stream = client.jetstream()
            count = (await stream.stream_info(queue)).state.messages
            messages = await stream.subscribe(queue, ordered_consumer=True)
            return [json.loads((await messages.next_msg(PATIENCE)).data) for _ in range(count)]


@dataclass
class RabbitMQ:
    """A RabbitMQ node of its own, with its own port mapper; queues are durable."""

    folder: Path
    port: int = field(default_factory=free_port)
    mapper_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    mapper: subprocess.Popen[bytes] | None = None
    arguments: dict[str, str] = field(default_factory=dict)
    certificate: Certificate | None = None

    # A classic queue writes acknowledgements down by so many, and forgets the others when it is killed.
    FORGETS = 32_768
    # Messages that one channel holds, below its greatest bound.
    PART = 50_000
    PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"

    def address(self, queue: str) -> str:
        with self.channel() as channel:
            channel.queue_declare(queue, durable=True, arguments=self.arguments)
        return placed(f"amqp://127.0.0.1:{self.port}/{queue}", self.certificate)

    def start(self) -> None:
        names = {"HOME": self.folder, "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": self.mapper_port}
        rabbit = {"NODENAME": f"t{self.port}@localhost", "NODE_IP_ADDRESS": "127.0.0.1"}
        rabbit |= {"NODE_PORT": self.port, "DIST_PORT": free_port()}
        rabbit |= dict.fromkeys(["MNESIA_BASE", "LOG_BASE"], self.folder)
        files = ["PID_FILE", "ENABLED_PLUGINS_FILE", "CONFIG_FILE", "ADVANCED_CONFIG_FILE", "CONF_ENV_FILE"]
        rabbit |= {name: self.folder / name.lower() for name in files}
        (self.folder / "enabled_plugins_file").write_text("[].")
        if self.certificate:
            lines = {"listeners.ssl.default": f"127.0.0.1:{self.certificate.port}"}
            files = {"certfile": self.certificate.path, "keyfile": self.certificate.key}
            lines |= {f"ssl_options.{name}": str(path) for name, path in files.items()}
            text = "\n".join(f"{name} = {value}" for name, value in lines.items())
            (self.folder / "config_file.conf").write_text(text)
        names |= {f"RABBITMQ_{name}": value for name, value in rabbit.items()}
        given = environment(**{name: str(value) for name, value in names.items()})
        with (self.folder / "rabbit.log").open("ab") as log:
            options: dict[str, Any] = {"stdout": log, "stderr": log, "env": given, "start_new_session": True}
            if self.mapper is None:
                # The node would start one that outlives it.
                self.mapper = subprocess.Popen(["epmd", "-port", str(self.mapper_port)], **options)
                eventually(lambda: listens(self.mapper_port))
            self.process = subprocess.Popen([self.PROGRAM], **options)
        eventually(self.answers)

    def answers(self) -> bool:
        try:
            with self.channel():
                return True
        except pika.exceptions.AMQPError:
            return False

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port)) as connection:
            yield connection.channel()

    def kill(self) -> None:
        # The node writes what it knows of its queues, their names too, within two seconds.
        time.sleep(3)
        kill(self.process)

    def stop(self) -> None:
        kill(self.process)
        kill(self.mapper)

    def send(self, queue: str, bodies: Sequence[bytes], keys: Sequence[str] = ()) -> None:
        # A message for a queue that does not exist is lost.
        self.address(queue)
        # Quorum queues have no transactions, and the library's own channel confirms one message at a time.
        writer = amqp.target(parsed(f"amqp://127.0.0.1:{self.port}/{queue}"))
        for first in range(0, len(bodies), 1000):
            part = enumerate(bodies[first : first + 1000], first)
            writer.write(
                [
                    Answer(id=f"{queue}-{number}", body=body, key=keys[number] if keys else "")
                    for number, body in part
                ]
            )
        writer.close()

    def read(self, queue: str) -> list[dict[str, Any]]:
        with self.channel() as channel:
            count = channel.queue_declare(queue, passive=True).method.message_count
            documents: list[dict[str, Any]] = []
            while len(documents) < count:
                # A quorum queue gives 2,000 messages to a reader that sets no bound.
                part = min(count - len(documents), self.PART)
                reader = channel.connection.channel()
                reader.basic_qos(prefetch_count=part)
                messages = itertools.islice(reader.consume(queue), part)
                documents += [json.loads(body) for _, _, body in messages]
        with self.channel() as channel:
            # They return to the queue when the connection has ended.
            eventually(lambda: channel.queue_declare(queue, passive=True).method.message_count >= count)
        return documents


@dataclass
class Quorum(RabbitMQ):
    """A RabbitMQ node with quorum queues."""

    ARGUMENTS: ClassVar[dict[str, str]] = {"x-queue-type": "quorum"}

    arguments: dict[str, str] = field(default_factory=lambda: Quorum.ARGUMENTS)
    FORGETS = 0


@dataclass
class Kafka:
    """The mock cluster of librdkafka in a process of its own.

    Its messages are in its memory, so that it is not killed but made to stand still: it answers nothing until
    it is started again.
    """

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    servers: str = ""

    # A member that is gone is noticed after 6 s, not after 45; the mock waits 3 s for members of a new group.
    # It forgets the first messages of a partition behind 5 MB: compressed, 100,000 answers stay.
    OPTIONS = "session.timeout.ms=6000&heartbeat.interval.ms=1000&compression.type=zstd"
    # Messages answered twice beside those of a kill: a batch that is in hand when its partition moves, as a
    # member joins, or is taken for dead while the cluster stands still.
    FORGETS = 1000
    PROGRAM = """
import sys
from confluent_kafka import Producer
cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
print(*cluster.list_topics(timeout=60).brokers.values(), flush=True)
sys.stdin.read()
"""

    def address(self, queue: str) -> str:
        # The mock creates a topic for a producer that asks for it.
        Producer({"bootstrap.servers": self.servers, "log_level": 0}).list_topics(queue, timeout=PATIENCE)
        return f"kafka://{self.servers}/{queue}?{self.OPTIONS}"

    def start(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            return
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, "-c", self.PROGRAM], **pipes, start_new_session=True)
        assert self.process.stdout is not None
        self.servers = self.process.stdout.readline().decode().partition("/")[0].strip()

    def kill(self) -> None:
        assert self.process is not None
        halt(self.process.pid)

    def stop(self) -> None:
        kill(self.process)
        for pipe in (self.process.stdin, self.process.stdout) if self.process else ():
            assert pipe is not None
            pipe.close()

    def send(self, queue: str, bodies: Sequence[bytes], keys: Sequence[str] = ()) -> None:
        settings = {"bootstrap.servers": self.servers, "compression.type": "zstd", "log_level": 0}
        producer = Producer(settings)
        for number, body in enumerate(bodies):
            producer.produce(queue, body, keys[number] if keys else None)
            if not number % 10_000:
                producer.flush()
        assert not producer.flush(PATIENCE)

    def read(self, queue: str) -> list[dict[str, Any]]:
        reader = Consumer({"bootstrap.servers": self.servers, "group.id": "reader", "log_level": 0})
        topic = reader.list_topics(queue, timeout=PATIENCE).topics[queue]
        places = [TopicPartition(queue, number, OFFSET_BEGINNING) for number in topic.partitions]
        ranges = [reader.get_watermark_offsets(place) for place in places]
        assert not any(first for first, _ in ranges), "the mock has forgotten messages"
        count = sum(end for _, end in ranges)
        reader.assign(places)
        documents: list[dict[str, Any]] = []
        while len(documents) < count:
            documents += [json.loads(record.value()) for record in reader.consume(count - len(documents), 1)]
        reader.close()
        return documents


def placed(address: str, certificate: Certificate | None) -> str:
    """An address, or the one over TLS of the same place."""
    if certificate is None:
        return address
    parts = urlsplit(address)
    host = f"{parts.netloc.rpartition(':')[0]}:{certificate.port}"
    return f"{parts.scheme}s://{host}{parts.path}?ca={certificate.authority}"


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def kill(process: subprocess.Popen[bytes] | None) -> None:
    """End a process and those that it has started, as kill -9 does."""
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        eventually(lambda: not lives(process.pid))


def lives(group: int) -> bool:
    """Whether a process of a group has not ended yet: it may hold its port for a second after a kill."""
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(ProcessLookupError):
            # One that has ended may be there until somebody has waited for it.
            if os.getpgid(pid) == group and not are_threads(pid, "ZX"):
                return True
    return False


# Name -> the function that makes one from a folder, and the program without which it is skipped.
BROKERS: dict[str, tuple[Callable[..., Broker], str]] = {
    "amqp": (RabbitMQ, RabbitMQ.PROGRAM),
    "kafka": (Kafka, sys.executable),
    "nats": (Nats, "nats-server"),
    "quorum": (Quorum, Quorum.PROGRAM),
    "redis": (Redis, Redis.PROGRAM),
}


# Brokers that need seconds to start, or to let a member join.
SLOW = {"amqp", "kafka", "quorum"}


def brokers(*without: str) -> list[Any]:
    """The parameters of a test for each broker but these; one whose program is missing is skipped."""
    return [
        pytest.param(name, marks=_marks(name, program))
        for name, (_, program) in BROKERS.items()
        if name not in without
    ]


def _marks(name: str, program: str) -> list[pytest.MarkDecorator]:
    missing = pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")
    return [missing, pytest.mark.long] if name in SLOW else [missing]


@contextlib.contextmanager
def running(name: str, folder: Path, **fields: Any) -> Iterator[Broker]:
    """A broker that answers, with these fields; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    broker = BROKERS[name][0](folder, **fields)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@dataclass
class Consuming:
    """A running consumer: its process, its admin port, and the file with its output."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    name: str

    def answered(self) -> float:
        """How many messages it has answered, by its metrics."""
        return self.figures().get(("unpickled_stream_messages_total", "answered"), 0.0)

    def figures(self) -> dict[tuple[str, ...], float]:
        """Every sample of /metrics by its name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=PATIENCE) as answer:
            families = parse(answer.read().decode())
            samples = [sample for family in families for sample in family.samples]
        return {(sample.name, *sample.labels.values()): sample.value for sample in samples}

    def is_done(self) -> bool:
        """Whether no message waits for its group, and nothing is away."""
        figures = self.figures()
        away = [value for (name, *_), value in figures.items() if name == "unpickled_stream_away"]
        return figures.get(("unpickled_stream_lag",)) == 0 and not any(away)

    def printed(self) -> str:
        return self.log.read_text()

    def finish(self) -> int:
        """Its exit status after a SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


@contextlib.contextmanager
def consuming(
    folder: Path,
    models: Path,
    broker: Broker,
    *flags: str,
    name: str = "",
    dead: bool = True,
    to: Broker | None = None,
) -> Iterator[Consuming]:
    """``unpickled consume``, once it has begun; it ends with the block.

    Its queues are flowers, scored and dead behind the name, which by default is that of the folder. ``to`` is
    the broker of the queue scored, if it is another one.
    """
    port, name = free_port(), name or folder.name
    words = ["--to", (to or broker).address(f"{name}-scored"), "--model", "iris", "--models", str(models)]
    words += ["--dead", broker.address(f"{name}-dead")] if dead else []
    words += ["--admin-port", str(port), *flags]
    command = [BIN / "unpickled", "consume", broker.address(f"{name}-flowers"), *words]
    log = folder / f"consumer-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=output, stderr=output, start_new_session=True
        )
    consumer = Consuming(process, port, log, name)
    try:
        eventually(lambda: process.poll() is not None or "probes and metrics" in log.read_text())
        yield consumer
    finally:
        end(process)
