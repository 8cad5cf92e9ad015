"""The requests and their right answers: encoded once, before the first request."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.traffic.checks import Expected, judge
from benchmarks.traffic.connection import Address, Response
from benchmarks.traffic.contracts import Contract, WrongAnswer
from benchmarks.traffic.subject import Subject

SINGLE, RECORD = "array", "record"
# The number of payloads in a shuffled mix.
DECK = 4096


@dataclass
class Payload:
    """The bytes of one request, and the rules for its answer. ``kind`` is its name in the statistics."""

    kind: str
    message: bytes
    rows: int
    contract: Contract
    classes: Sequence[Any] | None
    expected: Expected | None
    # The last right answer: the same bytes are not parsed again.
    right: bytes | None = field(default=None, repr=False)

    def check(self, response: Response) -> None:
        """Check a response; raises WrongAnswer."""
        if response.status != 200:
            raise WrongAnswer(f"status {response.status}", response.content[:200].decode("utf-8", "replace"))
        if response.content != self.right:
            judge(self.contract, response.content, self.rows, self.classes, self.expected)
            self.right = response.content


def batch(rows: int) -> str:
    """The kind of a payload with so many rows."""
    return f"batch of {rows}"


@dataclass(frozen=True)
class Encoder:
    """Payloads for one server and one model."""

    address: Address
    contract: Contract
    model: str
    subject: Subject

    def deck(self, kinds: Mapping[str, float], seed: int = 0) -> Iterator[Payload]:
        """Endless payloads: the kinds are drawn by weight, the payloads of a kind in turn."""
        payloads = {kind: self._of(kind) for kind in kinds}
        if len(payloads) == 1:
            return cycle(*payloads.values())
        sources = {kind: cycle(batch) for kind, batch in payloads.items()}
        sequence = random.Random(seed).choices(list(kinds), list(kinds.values()), k=DECK)
        return cycle([next(sources[kind]) for kind in sequence])

    def _of(self, kind: str) -> list[Payload]:
        if kind == RECORD:
            return self._records()
        size = 1 if kind == SINGLE else int(kind.split()[-1])
        starts = range(0, max(len(self.subject.rows) - size, 0) + 1, size)
        return [self._payload(kind, start, size) for start in starts]

    def _records(self) -> list[Payload]:
        encode, read = self.contract.record, self.contract.read_record
        if encode is None or read is None:
            raise BenchmarkError("rows by name exist in the native contract only: name another user class")
        names, by_name = self.subject.names, replace(self.contract, read=read)
        return [
            self._enclosed(by_name, RECORD, encode(dict(zip(names, row, strict=True))), index, 1)
            for index, row in enumerate(self.subject.rows)
        ]

    def _payload(self, kind: str, start: int, size: int) -> Payload:
        body = self.contract.request(self.subject.batch(start, size))
        return self._enclosed(self.contract, kind, body, start, size)

    def _enclosed(self, contract: Contract, kind: str, body: bytes, start: int, size: int) -> Payload:
        message = self.address.message("POST", contract.path_of(self.model), body)
        expected = self.subject.answers(start, size)
        return Payload(kind, message, size, contract, self.subject.classes, expected)
