"""Real brokers for the tests of unpickled consume, each a process of its own.

A broker is an object with the methods of Broker. ``BROKERS`` has them by name: an entry adds one to all tests
that take the fixture ``broker`` or are parametrized by ``brokers()``.
"""

import contextlib
import json
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis
from conftest import BIN, PATIENCE, end, environment, eventually, free_port
from prometheus_client.parser import text_string_to_metric_families as parse

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


@dataclass
class Redis:
    """A redis-server that writes each command to its disk before it answers."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    password: str = ""

    PROGRAM = "redis-server"

    def address(self, queue: str) -> str:
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/{queue}"

    def start(self) -> None:
        command = [self.PROGRAM, "--port", str(self.port), "--dir", str(self.folder), "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--bind", "127.0.0.1"]
        command += ["--requirepass", self.password] if self.password else []
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


# Name -> the function that makes one from a folder, and the program without which it is skipped.
BROKERS: dict[str, tuple[Callable[[Path], Broker], str]] = {"redis": (Redis, "redis-server")}


def brokers() -> list[Any]:
    """The parameters of a test for each broker; one whose program is missing is skipped."""
    return [
        pytest.param(
            name,
            marks=pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed"),
        )
        for name, (_, program) in BROKERS.items()
    ]


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[Broker]:
    """A broker that answers; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    broker = BROKERS[name][0](folder)
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

    def printed(self) -> str:
        return self.log.read_text()

    def finish(self) -> int:
        """Its exit status after a SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


@contextlib.contextmanager
def consuming(
    folder: Path, models: Path, broker: Broker, *flags: str, name: str = "", dead: bool = True
) -> Iterator[Consuming]:
    """``unpickled consume``, once it has begun; it ends with the block.

    Its queues are flowers, scored and dead behind the name, which by default is that of the folder.
    """
    port, name = free_port(), name or folder.name
    words = ["--to", broker.address(f"{name}-scored"), "--model", "iris", "--models", str(models)]
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
