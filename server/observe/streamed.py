"""Counts of a process that consumes the messages of a broker, and the layout of their series.

("stream_messages", outcome)          messages whose answer or dead letter is written, by OUTCOMES
("stream_batches",)                   messages that were received together
("stream_redelivered",)               messages that were delivered before
("stream_retries", end)               attempts after a failed one, by ENDS
("stream_away", end)                  gauges: 1.0 while attempts fail
("stream_lag",) ("stream_last",)      gauges: messages that wait; when one was acknowledged, since 1970
"""

from unpickled.server.observe.counters import Block, Numbers

MESSAGES, BATCHES, REDELIVERED = "stream_messages", "stream_batches", "stream_redelivered"
RETRIES, AWAY, LAG, LAST = "stream_retries", "stream_away", "stream_lag", "stream_last"

# Answered as /predict does with 200; refused with 4xx; failed with 5xx; no JSON; given up after too many
# deliveries.
OUTCOMES = ANSWERED, REFUSED, FAILED, UNREADABLE, ABANDONED = (
    "answered", "refused", "failed", "unreadable", "abandoned",
)  # fmt: skip
# Where messages come from, where answers and dead letters go, and the model.
ENDS = SOURCE, TARGET, LETTERS, MODEL = "source", "target", "letters", "model"


class Streamed:
    """Counts for one process, in its block. One thread counts."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._messages = self._series(MESSAGES, OUTCOMES)
        self._retries = self._series(RETRIES, ENDS)
        self._batches = block.series((BATCHES,), 1)
        self._redelivered = block.series((REDELIVERED,), 1)
        self._away = {end: block.series((AWAY, end), 1, gauge=True) for end in ENDS}
        self._last = block.series((LAST,), 1, gauge=True)

    def message(self, outcome: str) -> None:
        """Count a message whose answer or dead letter is written."""
        self._messages[outcome][0] += 1.0

    def batch(self, redelivered: int) -> None:
        """Count a batch, and those of its messages that were delivered before."""
        self._batches[0] += 1.0
        self._redelivered[0] += redelivered

    def retry(self, end: str) -> None:
        """Count an attempt that follows a failed one."""
        self._retries[end][0] += 1.0

    def set_away(self, end: str, away: bool) -> None:
        """Publish whether attempts fail."""
        self._away[end][0] = float(away)

    def acknowledged(self, now: float) -> None:
        """Note that messages were acknowledged at ``now``, in seconds since 1970."""
        self._last[0] = now

    def set_lag(self, messages: int | None) -> None:
        """Publish how many messages wait; None where the broker does not tell."""
        if messages is None:
            self._block.forget((LAG,))
        else:
            self._block.series((LAG,), 1, gauge=True)[0] = float(messages)

    def total(self, outcome: str) -> int:
        """How many messages had an outcome."""
        return int(self._messages[outcome][0])

    def _series(self, kind: str, words: tuple[str, ...]) -> dict[str, Numbers]:
        return {word: self._block.series((kind, word), 1) for word in words}
