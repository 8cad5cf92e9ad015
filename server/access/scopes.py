"""Scopes: the words that say what a key or a token is for.

predict:<model>   predictions of one model, over every protocol; predict:* of all models
read              the pages: models and their metadata, statistics, OpenAPI
metrics           GET /metrics
truth             reporting what turned out to be true
"""

from collections.abc import Iterable
from typing import NamedTuple

from unpickled.server.errors import ConfigError
from unpickled.server.quote import hint, quoted

READ, METRICS, TRUTH = "read", "metrics", "truth"
PREDICT = "predict:"
EVERY_MODEL = f"{PREDICT}*"
# Words as a person chooses among them.
CHOICES = ("predict:<model>", EVERY_MODEL, READ, METRICS, TRUTH)


class Scopes(NamedTuple):
    """All that a caller may do.

    every: predictions of all models.
    models: those whose predictions it may have.
    words: the other scopes.
    """

    every: bool
    models: frozenset[str]
    words: frozenset[str]

    @classmethod
    def of(cls, words: Iterable[str]) -> "Scopes":
        """The scopes that these words stand for; words of other systems are left out."""
        words = frozenset(words)
        names = frozenset(word.removeprefix(PREDICT) for word in words if word.startswith(PREDICT))
        return cls(EVERY_MODEL in words, names - {"*"}, words & {READ, METRICS, TRUTH})

    def allow(self, scope: str) -> bool:
        """Whether these scopes include the one that a request needs."""
        if scope.startswith(PREDICT):
            return self.every or scope.removeprefix(PREDICT) in self.models
        return scope in self.words


# Without keys everybody may do everything.
ALL = Scopes.of((EVERY_MODEL, READ, METRICS, TRUTH))


def check(words: Iterable[str], place: str) -> None:
    """ConfigError where a word is no scope."""
    for word in words:
        if word not in CHOICES[1:] and not (word.startswith(PREDICT) and word != PREDICT):
            suggestion = hint(word, (EVERY_MODEL, READ, METRICS, TRUTH))
            raise ConfigError(
                f"{place} has the scope {quoted(word)}, which there is not: {suggestion}"
                f"The scopes are {', '.join(CHOICES)}"
            )
