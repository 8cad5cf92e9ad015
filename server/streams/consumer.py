"""The loop of a process that consumes: receive, answer, write, and only then acknowledge."""

import logging
import random
import time
from collections.abc import Sequence

from unpickled.server.observe.streamed import (
    ABANDONED,
    ANSWERED,
    FAILED,
    LETTERS,
    MODEL,
    SOURCE,
    TARGET,
    Streamed,
)
from unpickled.server.quote import counted
from unpickled.server.streams.answering import Answering, Reply
from unpickled.server.streams.attempts import Attempts, Stopped
from unpickled.server.streams.broker import Answer, BrokerAway, Holder, Message, Target
from unpickled.server.streams.ends import Ends
from unpickled.server.streams.letters import abandoned, letter, too_large
from unpickled.server.streams.pace import Pace

logger = logging.getLogger("unpickled")

# Seconds between two questions for the lag.
_LAG = 1.0
# Most messages to remember that are answered, and could not be acknowledged.
_MOST_WRITTEN = 100_000

# The id of a message, and a hash of its content.
_Identity = tuple[str, int]


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
        # Messages whose answer is written, but whose acknowledgement failed: they are delivered again.
        self._written: dict[_Identity, None] = {}
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
            self._begin()
            while not self.stopping:
                self._turn()
            self._leave(self._from.place)
        except Stopped as error:
            self._leave(str(error))
        finally:
            for end in (self._source, self._target, self._letters):
                if end is not None:
                    end.close()

    def _begin(self) -> None:
        """Connect all ends, so that a place that does not exist is told before the first message comes."""
        self._from.call(self._source.lag)
        self._to.call(lambda: self._target.write([]))
        if self._letters is not None:
            letters = self._letters
            self._dead.call(lambda: letters.write([]))

    def _leave(self, place: str) -> None:
        """Say how many messages are not acknowledged, as a place is away."""
        self.left = len(self._held) + (len(self._written) if self._from.is_away else 0)
        if self.left:
            count = counted(self.left, "message")
            logger.warning("%s is away: %s held at the end will be delivered again", place, count)

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
        written: list[Message] = []
        if self._written:
            written = [message for message in messages if self._is_written(message)]
            messages = [message for message in messages if not self._is_written(message)]
        if written:
            self._acknowledge(written)
        fresh = [message for message in messages if message.deliveries <= 1]
        again = [message for message in messages if message.deliveries > 1]
        random.shuffle(again)
        self._held = [*again, *fresh]
        for batch in (*([message] for message in again), *([fresh] if fresh else [])):
            self._handle(batch)
        self._streamed.batch(len(again) + len(written))

    def _handle(self, messages: Sequence[Message]) -> None:
        """Answer a batch. Answers do not wait for a broker that is to get dead letters."""
        replies = [(message, self._fitting(message, self._reply(message))) for message in messages]
        letters = self._letters
        answered = [pair for pair in replies if letters is None or pair[1].outcome == ANSWERED]
        self._finish(answered, [_answer(*pair) for pair in answered], self._to, self._target)
        if letters is not None:
            refused = [pair for pair in replies if pair[1].outcome != ANSWERED]
            dead = [letter(message, reply.document, self._place, letters) for message, reply in refused]
            self._finish(refused, dead, self._dead, letters)

    def _fitting(self, message: Message, reply: Reply) -> Reply:
        """The reply, or an error where the target does not take that much."""
        if reply.outcome != ANSWERED or self._target.takes(_answer(message, reply)):
            return reply
        return Reply(FAILED, too_large(message, len(reply.document), self._to.place))

    def _finish(
        self,
        replies: Sequence[tuple[Message, Reply]],
        documents: Sequence[Answer],
        attempts: Attempts,
        target: Target,
    ) -> None:
        """Write, then acknowledge, then count."""
        if not documents:
            return
        attempts.call(lambda: target.write(documents))
        messages = [message for message, _ in replies]
        self._acknowledge(messages)
        done = {id(message) for message in messages}
        self._held = [message for message in self._held if id(message) not in done]
        for _, reply in replies:
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
            self._written.update((_identity(message), None) for message in messages)
            for identity in list(self._written)[:-_MOST_WRITTEN]:
                del self._written[identity]
            return
        self._streamed.acknowledged(time.time())
        if self._written:
            for message in messages:
                self._written.pop(_identity(message), None)

    def _is_written(self, message: Message) -> bool:
        return message.unique and _identity(message) in self._written

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


def _answer(message: Message, reply: Reply) -> Answer:
    return Answer(id=message.id, body=reply.document, key=message.key)


def _identity(message: Message) -> _Identity:
    """Tells a message from another that has its id, as a stream that is made anew may give ids again."""
    return message.id, hash((message.key, message.body))
