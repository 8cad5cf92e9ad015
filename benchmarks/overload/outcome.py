"""The outcome of every request of one step, by kind."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

GOOD, SHED, UNANSWERED, FAILED = "good", "shed", "unanswered", "failed"
# The statuses of a server that has more to do than it can.
REFUSALS = (429, 503, 504)


@dataclass
class Outcome:
    """The requests of one kind: how they ended, and how long they took (s) from when they were due.

    ``good`` were answered rightly within the time limit, ``shed`` refused by one of REFUSALS. ``unanswered``
    got nothing within the limit, and ``failed`` anything else: ``first`` is the first such failure, and
    ``wrong`` the first wrong answer with status 200.
    """

    counts: Counter[str] = field(default_factory=Counter)
    good: list[float] = field(default_factory=list)
    shed: list[float] = field(default_factory=list)
    first: str = ""
    wrong: str = ""

    @property
    def requests(self) -> int:
        """The number of all requests."""
        return self.counts.total()

    def answered(self, seconds: float) -> None:
        """Count a right answer."""
        self.counts[GOOD] += 1
        self.good.append(seconds)

    def refused(self, seconds: float) -> None:
        """Count a refusal."""
        self.counts[SHED] += 1
        self.shed.append(seconds)

    def unanswered(self) -> None:
        """Count a request whose client has given up."""
        self.counts[UNANSWERED] += 1

    def failed(self, reason: str) -> None:
        """Count any other end."""
        self.counts[FAILED] += 1
        self.first = self.first or reason


def quantile_ms(times: list[float], share: float) -> float | None:
    """The time (ms) within which a share of the requests ended; None where they are too few to tell."""
    if len(times) * (1 - share) < 1 - 1e-9:
        return None
    return round(1000 * float(np.quantile(times, share, method="higher")), 3)
