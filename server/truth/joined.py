"""Predictions beside what turned out to be true, joined and counted in windows of time.

Each row is counted in the window in which it was predicted, whenever its truth comes, so that the rows with a
truth are a part of those predicted then.

    (ACCURACY, model, version, digest)                          a Scoreboard: rows predicted, rows with truth
    (PAIRED, model, version, digest, shadow, shadow's digest)   the counts of a Pairing: rows with truth that
                                                                a shadow has answered too

A digest is the beginning of the sha256 of the version's file.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from unpickled.server.accuracy.layout import Floats
from unpickled.server.accuracy.pairs import Pairing
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model.outputs import Outputs
from unpickled.server.observe.counters import Block, Key, Memory
from unpickled.server.observe.windows import WINDOWS, Windows
from unpickled.server.truth.recent import Known

logger = logging.getLogger("unpickled")

ACCURACY, PAIRED = "accuracy", "paired"
# Names the comparison with shadows among the observers that fail.
COMPARISON = "accuracy of shadows"
# Seconds: rows that were predicted in the same multiple of them are in the same buckets of all windows.
_WIDTH = min(span.width for span in WINDOWS.values())
# Seconds by which rows may be out of order: threads queue what they have answered a moment later.
_DISORDER = 1.0
# Versions whose scoreboards a process keeps, and pairs of them.
_MOST = 1000


class Join(NamedTuple):
    """A row whose truth is known, and the answer of a shadow to it, where there is one."""

    known: Known
    truth: Any
    shadow: Known | None


# Rows of one bucket, one version and one shadow, () for none, by these three.
_Groups = dict[tuple[int, Key, Key], list[Join]]


class Joined:
    """Counts for one process, from any of its threads.

    Args:
        memory: One of windows.shared.
        block: Counts the rows on which the comparison with a shadow fails.
    """

    def __init__(self, memory: Memory, block: Block) -> None:
        own = memory.claim()
        self._answers = Windows(own, ACCURACY)
        self._pairs = Windows(own, PAIRED)
        self._block = block
        self._scoreboards: dict[Key, Scoreboard] = {}
        self._pairings: dict[Key, Pairing] = {}
        # The pairs whose comparison has failed.
        self._failing: set[Key] = set()

    def predict(self, served: Served, labels: Sequence[Any], times: Sequence[float]) -> None:
        """Count rows that a version has answered with these labels (rows,) at these times (rows,)."""
        key = served.key
        scoreboard = self._scoreboard(key, served.model.outputs)
        for moment, part in _by_bucket(labels, times):
            self._answers.add(key, scoreboard.predicted(part), moment)

    def count(self, joins: Sequence[Join]) -> None:
        """Count rows whose truth has become known; a comparison that fails is logged and counted."""
        groups = _groups(joins)
        for (bucket, key, _), group in groups.items():
            self._answers.add(key, self._counts(group), bucket * _WIDTH)
        # Afterwards: whatever becomes of a comparison, no row is missing from the figures of its version.
        for (bucket, key, shadow), group in groups.items():
            if shadow:
                self._compare((*key, *shadow[1:]), group, bucket * _WIDTH)

    def _counts(self, group: Sequence[Join]) -> Floats:
        version = group[0].known.version
        labels, scores = _answers(join.known for join in group)
        return self._scoreboard(version.key, version.outputs).count(labels, scores, _truths(group))

    def _compare(self, key: Key, group: Sequence[Join], moment: float) -> None:
        try:
            self._pairs.add(key, self._differences(key, group), moment)
        except Exception as error:
            rows = len(group)
            self._block.series(("observer_failures", *key[:2], COMPARISON), 1)[0] += rows
            if key not in self._failing:
                self._failing.add(key)
                logger.error("%s fails; truth is counted without it", COMPARISON, exc_info=error)

    def _differences(self, key: Key, group: Sequence[Join]) -> Floats:
        """The counts of a pair; zeros where it is not comparable, so that reports can say so."""
        shadows = [join.shadow for join in group if join.shadow is not None]
        pairing = self._pairing(key, group[0].known.version.outputs, shadows[0].version.outputs)
        return pairing.count(_answers(join.known for join in group), _answers(shadows), _truths(group))

    def _scoreboard(self, key: Key, outputs: Outputs) -> Scoreboard:
        scoreboard = self._scoreboards.get(key)
        if scoreboard is None:
            if len(self._scoreboards) >= _MOST:
                self._scoreboards.clear()
            scoreboard = self._scoreboards[key] = Scoreboard(outputs)
        return scoreboard

    def _pairing(self, key: Key, version: Outputs, shadow: Outputs) -> Pairing:
        pairing = self._pairings.get(key)
        if pairing is None:
            if len(self._pairings) >= _MOST:
                self._pairings.clear()
            pairing = self._pairings[key] = Pairing(version, shadow)
        return pairing


def _groups(joins: Sequence[Join]) -> _Groups:
    groups: defaultdict[tuple[int, Key, Key], list[Join]] = defaultdict(list)
    for join in joins:
        shadow = () if join.shadow is None else join.shadow.version.key
        groups[_bucket(join.known.time), join.known.version.key, shadow].append(join)
    return groups


def _by_bucket(labels: Sequence[Any], times: Sequence[float]) -> Iterable[tuple[float, Sequence[Any]]]:
    """The labels (rows,) of each bucket, and a time in it."""
    if _bucket(times[0] - _DISORDER) == _bucket(times[-1] + _DISORDER):
        return ((times[-1], labels),)
    parts: defaultdict[int, list[Any]] = defaultdict(list)
    for label, time in zip(labels, times, strict=True):
        parts[_bucket(time)].append(label)
    return [(bucket * _WIDTH, part) for bucket, part in parts.items()]


def _bucket(time: float) -> int:
    return int(time // _WIDTH)


def _answers(answers: Iterable[Known]) -> tuple[list[Any], Floats]:
    """The labels (rows,) and scores (rows, width) of answers."""
    labels, scores = zip(*((answer.label, answer.scores) for answer in answers), strict=True)
    return list(labels), np.stack(scores)


def _truths(group: Sequence[Join]) -> list[Any]:
    return [join.truth for join in group]
