"""Choosing the version that answers a request: at random by weight, or by a key, always the same one."""

import math
from bisect import bisect
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from random import random

from unpickled.server.message.answer import Answer, Environ, Target


class Split:
    """Answers each request with one of several versions; a choice is (version, target, weight).

    The key in a request's ``header`` always leads to the same version, in every process and on every
    machine. Raising a weight moves keys to its version only, and no others. Without a key, or with an
    empty one, the choice is random. ``salt`` distributes the keys differently for each model.
    """

    def __init__(self, choices: Sequence[tuple[int, Target, float]], header: str, salt: str) -> None:
        self._variable = "HTTP_" + header.upper().replace("-", "_")
        weighted = [choice for choice in choices if choice[2] > 0]
        self._targets = [target for _, target, _ in weighted]
        # The last target takes the rest, so that no rounding leaves a gap at the end.
        self._bounds = list(accumulate(weight for _, _, weight in weighted))[:-1]
        self._keyed = [
            (blake2b(f"{salt}\0{version}\0".encode(), digest_size=8), weight, target)
            for version, target, weight in weighted
        ]

    def __call__(self, environ: Environ) -> Answer:
        """The answer of the chosen version."""
        key = environ.get(self._variable)
        if key:
            return self._of_key(key)(environ)
        return self._targets[bisect(self._bounds, random())](environ)

    def _of_key(self, key: str) -> Target:
        """Weighted rendezvous hashing: each version has a number for the key, and the highest wins.

        -log(uniform) / weight is the waiting time for an event that happens ``weight`` times a second on
        average: of several such events, each comes first in proportion to its weight. The number of a
        version depends on no other version, so keys move only where weights change.
        """
        content = key.encode("latin-1", "replace")
        best, chosen = -math.inf, self._targets[0]
        for salted, weight, target in self._keyed:
            digest = salted.copy()
            digest.update(content)
            number = math.log((int.from_bytes(digest.digest()) + 1) * 2.0**-64) / weight
            if number > best:
                best, chosen = number, target
        return chosen
