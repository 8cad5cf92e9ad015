"""What is sent and what the right answer is: encoded once, before the first request."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.traffic.checks import Expected, check_expected, check_sound
from benchmarks.traffic.connection import Address, Response
from benchmarks.traffic.contracts import Contract, Predictions, WrongAnswer
from benchmarks.traffic.subject import Subject

SINGLE, RECORD = "array", "record"
# How many payloads a mix is shuffled from.
DECK = 4096


@dataclass
class Payload:
    """One request, whole, and what is known of its answer. ``kind`` is its name in the statistics."""

    kind: str
    message: bytes
    rows: int
    contract: Contract
    classes: Sequence[Any] | None
    expected: Expected | None
    # An answer that was found right: the same bytes need no second look, and cost next to nothing.
    right: bytes | None = field(default=None, repr=False)

    def check(self, response: Response) -> None:
        """Raises WrongAnswer."""
        if response.status != 200:
            raise WrongAnswer(f"status {response.status}", response.content[:200].decode("utf-8", "replace"))
        if response.content == self.right or not self.contract.checked:
            return
        predictions = self._read(response.content)
        try:
            check_sound(predictions, self.rows, self.classes)
            if self.expected is not None:
                check_expected(predictions, self.expected)
        except (TypeError, ValueError, AttributeError):
            raise WrongAnswer("the answer has predictions of another form") from None
        self.right = response.content

    def _read(self, content: bytes) -> Predictions:
        if self.kind == RECORD and self.contract.read_record:
            return self.contract.read_record(content)
        return self.contract.read(content)


def batch(rows: int) -> str:
    """The kind of payload with so many rows."""
    return f"batch of {rows}"


@dataclass(frozen=True)
class Encoder:
    """Payloads for one server and one model."""

    address: Address
    contract: Contract
    model: str
    subject: Subject

    def deck(self, kinds: Mapping[str, float], seed: int = 0) -> Iterator[Payload]:
        """Payloads without end: of each kind by its weight, each the next of its kind."""
        made = {kind: self._of(kind) for kind in kinds}
        if len(made) == 1:
            return cycle(*made.values())
        sources = {kind: cycle(payloads) for kind, payloads in made.items()}
        drawn = random.Random(seed).choices(list(kinds), list(kinds.values()), k=DECK)
        return cycle([next(sources[kind]) for kind in drawn])

    def _of(self, kind: str) -> list[Payload]:
        if kind == RECORD:
            return self._records()
        size = 1 if kind == SINGLE else int(kind.split()[-1])
        starts = range(0, max(len(self.subject.rows) - size, 0) + 1, size)
        return [self._payload(kind, start, size) for start in starts]

    def _records(self) -> list[Payload]:
        encode = self.contract.record
        if encode is None:
            raise BenchmarkError("rows by name exist in the native contract only: name another user class")
        names = self.subject.names
        return [
            self._enclosed(RECORD, encode(dict(zip(names, row, strict=True))), index, 1)
            for index, row in enumerate(self.subject.rows)
        ]

    def _payload(self, kind: str, start: int, size: int) -> Payload:
        return self._enclosed(kind, self.contract.request(self.subject.some(start, size)), start, size)

    def _enclosed(self, kind: str, body: bytes, start: int, size: int) -> Payload:
        message = self.address.message("POST", self.contract.path_of(self.model), body)
        expected = self.subject.answers(start, size)
        return Payload(kind, message, size, self.contract, self.subject.classes, expected)
