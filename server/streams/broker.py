"""The interface of all brokers: messages come from a source, answers and refused messages go to targets."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from unpickled.server.errors import UnpickledError


class BrokerAway(UnpickledError):
    """The broker does not answer, or has closed the connection: try again after a pause.

    Its text is the reason alone, a clause: who catches it names the broker.
    """


# The reason where a question has no answer.
SILENT = "no answer in time"


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message as the broker delivered it.

    Attributes:
        id: The idempotency key: names the message among all of its source, the same at each delivery.
        unique: Whether no other message can have this id. Not where the sender has given none and equal
            messages share one: each of them is answered, at each delivery.
        body: Its content.
        key: The key by which it is kept on one version while traffic is split; empty for none.
        deliveries: How often it has been delivered, this time included; 1 where the broker does not tell.
        receipt: The broker's own handle of this delivery, by which it is acknowledged.
        fault: The reason why the broker's form of it cannot be read, a clause; empty where it can.
    """

    id: str
    body: bytes
    key: str = ""
    deliveries: int = 1
    unique: bool = True
    receipt: Any = None
    fault: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message to write: the answer to a message, or a dead letter.

    Attributes:
        id: The id of the message that it answers; a broker that drops doubles is told it.
        body: JSON.
        key: The key of the message that it answers.
    """

    id: str
    body: bytes
    key: str = ""

    @property
    def size(self) -> int:
        """The bytes that a broker has to take, at most: key and id may stand in it twice."""
        return len(self.body) + 8 * (len(self.key) + len(self.id))


class SourceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a source that each broker has in one form or another.

    Attributes:
        group: The group whose members share the messages; it is created where it does not exist.
        member: The name of this member, which no other living one has.
        first: Whether a group that is created begins with the first message that is still there; otherwise
            with the first that comes from now on.
        batch: The most messages that are asked for at a time, thus the most that need be fetched ahead.
        idle: Seconds after which a message that another member holds is taken over, where the broker does
            not see by itself that a member is gone.
    """

    group: str
    member: str
    first: bool = True
    batch: int = 256
    idle: float = 60.0


class Source(Protocol):
    """Delivers the messages of one stream to one member of a group. One thread calls it."""

    def receive(self, most: int, seconds: float) -> Sequence[Message]:
        """At most so many messages; what has come when the seconds are over, perhaps nothing.

        Messages that a member received and never acknowledged, as it died, are delivered to others.

        Raises:
            BrokerAway: The broker is away; the source connects anew at the next call.
            ConfigError: The broker refuses for good: a wrong password, a name that is something else.
        """

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Let the broker forget these messages: their answers are written.

        Raises:
            BrokerAway: The broker is away, or delivers some of them again, as their connection was lost.
        """

    def lag(self) -> int | None:
        """How many messages wait for the group; None where the broker does not tell. Raises BrokerAway."""

    def close(self) -> None:
        """Leave the group: what is not acknowledged goes to its other members."""


@runtime_checkable
class Holder(Protocol):
    """A source whose broker takes a member that is silent for a while for dead."""

    def hold(self, messages: Sequence[Message]) -> None:
        """Keep these messages, which take long: called every few seconds meanwhile. Raises BrokerAway."""


class Target(Protocol):
    """Takes answers. One thread calls it."""

    def write(self, answers: Sequence[Answer]) -> None:
        """Write the answers; returns once the broker has all of them. Without any, look for the place alone.

        Raises:
            BrokerAway: The broker is away, or has not confirmed; any of the answers may have been written.
            ConfigError: The broker refuses for good: there is no such place, or it is something else.
        """

    def takes(self, answer: Answer) -> bool:
        """Whether the broker takes an answer of this size, as far as is known. Asked after ``write``."""

    def close(self) -> None:
        """Close the connection."""
