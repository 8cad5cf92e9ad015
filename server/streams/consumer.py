"""The loop of a process that consumes: receive, answer, write, and only then acknowledge."""

import logging
import random
import time
from collections.abc import Sequence

from unpickled.server.observe.streamed import (
    ABANDONED,
    ANSWERED,
    LETTERS,
    MODEL,
    SOURCE,
    TARGET,
    Streamed,
)
from unpickled.server.quote import counted
from unpickled.server.streams.answering import Answering, Reply
from unpickled.server.streams.attempts import Attempts, Stopped
from unpickled.server.streams.broker import Answer, BrokerAway, Holder, Message
from unpickled.server.streams.ends import Ends
from unpickled.server.streams.letters import abandoned, letter
from unpickled.server.streams.pace import Pace

logger = logging.getLogger("unpickled")

# Seconds between two questions for the lag.
_LAG = 1.0
# Most ids of messages that are answered, and could not be acknowledged.
_MOST_WRITTEN = 100_000


class Consumer:
    """Consumes until it is stopped; for one thread, but ``stop`` and the attributes.

    Args:
        ends: The brokers.
        answering: Answers a message.
        streamed: Counts.
        pace: How messages are taken.

    Attributes:
        stopping: Whether it is to end.
        beat: time.monotonic() when it last showed a sign of life.
        left: How many messages it held at its end without an acknowledgement.
    """

    def __init__(self, ends: Ends, answering: Answering, streamed: Streamed, pace: Pace) -> None:
        address, self._source = ends.source
        self._place = str(address)
        self._holder = self._source if isinstance(self._source, Holder) else None
        self._target, self._letters = ends.target[1], ends.letters and ends.letters[1]
        self._answering = answering
        self._streamed = streamed
        self._pace = pace
        self._from = Attempts(SOURCE, address.server, streamed, self._meanwhile)
        self._to = Attempts(TARGET, str(ends.target[0]), streamed, self._meanwhile)
        self._dead = Attempts(LETTERS, str(ends.letters and ends.letters[0]), streamed, self._meanwhile)
        self._model = Attempts(MODEL, "the model", streamed, self._meanwhile)
        # Ids of messages whose answer is written, but whose acknowledgement failed: they are delivered again.
        self._written: dict[str, None] = {}
        self._held: Sequence[Message] = ()
        self._next_hold = self._next_lag = 0.0
        self.stopping = False
        self.beat = time.monotonic()
        self.left = 0

    @property
    def is_ready(self) -> bool:
        """Whether messages are answered, as far as is known."""
        ends = (self._from, self._to, self._dead, self._model)
        return not self.stopping and not any(end.is_away for end in ends)

    def stop(self) -> None:
        """Finish the messages that are held, then end; what is away then is not waited for."""
        self.stopping = True

    def run(self) -> None:
        """Consume until ``stop`` is called.

        Raises:
            ConfigError: A broker refuses for good; what is not acknowledged is delivered again.
        """
        try:
            while not self.stopping:
                self._turn()
        except Stopped as error:
            self.left = len(self._held)
            if self.left:
                count = counted(self.left, "message")
                logger.warning("%s is away: %s held at the end will be delivered again", error, count)
        finally:
            for end in (self._source, self._target, self._letters):
                if end is not None:
                    end.close()

    def _turn(self) -> None:
        self.beat = time.monotonic()
        messages = self._from.call(lambda: self._source.receive(self._pace.batch, self._pace.seconds))
        if messages:
            self._next_hold = time.monotonic() + self._pace.hold
            self._work(messages)
        if time.monotonic() >= self._next_lag:
            self._next_lag = time.monotonic() + _LAG
            self._look_at_lag()

    def _work(self, messages: Sequence[Message]) -> None:
        """Answer all of these, those that were delivered before one by one.

        One of them may end this process: then only it has not been acknowledged, and not its neighbours. They
        come in another order each time, so that it is not always the same ones that stand behind it.
        """
        written = [message for message in messages if message.id in self._written]
        if written:
            self._acknowledge(written)
            messages = [message for message in messages if message.id not in self._written]
        fresh = [message for message in messages if message.deliveries <= 1]
        again = [message for message in messages if message.deliveries > 1]
        random.shuffle(again)
        self._held = [*again, *fresh]
        for batch in (*([message] for message in again), *([fresh] if fresh else [])):
            self._handle(batch)
            self._held = self._held[len(batch) :]
        self._streamed.batch(len(again) + len(written))

    def _handle(self, messages: Sequence[Message]) -> None:
        replies = [self._reply(message) for message in messages]
        answers: list[Answer] = []
        letters: list[Answer] = []
        for message, reply in zip(messages, replies, strict=True):
            if reply.outcome == ANSWERED or self._letters is None:
                answers.append(Answer(id=message.id, body=reply.document, key=message.key))
            else:
                letters.append(letter(message, reply.document, self._place))
        if answers:
            self._to.call(lambda: self._target.write(answers))
        if letters and self._letters is not None:
            dead = self._letters
            self._dead.call(lambda: dead.write(letters))
        self._acknowledge(messages)
        for reply in replies:
            self._streamed.message(reply.outcome)

    def _reply(self, message: Message) -> Reply:
        if message.deliveries > self._pace.deliveries:
            return Reply(ABANDONED, abandoned(message))
        self._meanwhile()
        return self._model.call(lambda: self._answering.answer(message))

    def _acknowledge(self, messages: Sequence[Message]) -> None:
        """Acknowledge messages whose answers are written; where that fails, when they are delivered again."""
        try:
            self._source.acknowledge(messages)
        except BrokerAway as error:
            self._from.failed(error)
            self._written.update((message.id, None) for message in messages if message.unique)
            for identity in list(self._written)[:-_MOST_WRITTEN]:
                del self._written[identity]
            return
        self._streamed.acknowledged(time.time())
        if self._written:
            for message in messages:
                self._written.pop(message.id, None)

    def _meanwhile(self) -> bool:
        """Keep what is held, if it takes long; whether to wait no longer."""
        now = self.beat = time.monotonic()
        if self._holder is not None and self._held and now >= self._next_hold:
            self._next_hold = now + self._pace.hold
            try:
                self._holder.hold(self._held)
            except BrokerAway as error:
                self._from.failed(error)
        return self.stopping

    def _look_at_lag(self) -> None:
        try:
            self._streamed.set_lag(self._source.lag())
        except BrokerAway as error:
            self._from.failed(error)
