"""Picks the version that answers a request: at random by weight, or for a key always the same one."""

import math
from bisect import bisect
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from random import random

from unpickled.server.message.answer import Answer, Environ, Target


class Split:
    """Answers each request by one of several versions; a choice is (version, target, weight).

    A request whose ``header`` holds a key is answered by the same version in every process and on
    every machine; a weight that is raised draws keys to its version and moves no others. Without
    a key, or an empty one, chance decides. ``salt`` makes keys fall differently for each model.
    """

    def __init__(self, choices: Sequence[tuple[int, Target, float]], header: str, salt: str) -> None:
        self._variable = "HTTP_" + header.upper().replace("-", "_")
        drawn = [(version, choice, weight) for version, choice, weight in choices if weight > 0]
        self._choices = [choice for _, choice, _ in drawn]
        # The last choice takes the rest, so that no rounding leaves a gap at the end.
        self._bounds = list(accumulate(weight for _, _, weight in drawn))[:-1]
        self._keyed = [
            (blake2b(f"{salt}\0{version}\0".encode(), digest_size=8), weight, choice)
            for version, choice, weight in drawn
        ]

    def __call__(self, environ: Environ) -> Answer:
        """The answer of the version that the request falls to."""
        key = environ.get(self._variable)
        if key:
            return self._of_key(key)(environ)
        return self._choices[bisect(self._bounds, random())](environ)

    def _of_key(self, key: str) -> Target:
        """Weighted rendezvous hashing: each version draws a number for the key, the highest wins.

        -log(uniform) / weight is the time until an event that happens ``weight`` times a second on
        average: the first of several is that of each in proportion to its weight. A version's
        number depends on no other version, so keys move only where weights change.
        """
        content = key.encode("latin-1", "replace")
        best, target = -math.inf, self._choices[0]
        for hasher, weight, choice in self._keyed:
            drawn = hasher.copy()
            drawn.update(content)
            number = math.log((int.from_bytes(drawn.digest()) + 1) * 2.0**-64) / weight
            if number > best:
                best, target = number, choice
        return target
