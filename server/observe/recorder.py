"""The work after each prediction, for requests and for the lines of streams alike.

The prediction is counted, an intake numbers it and takes it for drift, truth and the payload log, and
observers see it. They all work off the request's path: on it, they may only put the prediction into a bounded
queue, or drop and count it if the queue is full.
"""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

from unpickled.server.inference.prediction import Prediction
from unpickled.server.lifecycle.deployment import Deployment
from unpickled.server.lifecycle.versions import Served
from unpickled.server.message.answer import Environ, Whole, failure
from unpickled.server.observe.intake import Intake, Take
from unpickled.server.observe.source import Source
from unpickled.server.observe.tally import Tally

logger = logging.getLogger("unpickled")


Headers = tuple[tuple[str, str], ...]


class Observer(Protocol):
    """Sees predictions after they are counted and before they are sent."""

    @property
    def name(self) -> str:
        """Names the observer in the log and in the counters."""

    def observe(self, served: Served, prediction: Prediction) -> None:
        """Take note of a prediction; called on the request's path.

        It never blocks: it puts the prediction into a bounded queue, or drops it and counts that in a
        series of the observer. An exception fails no request: it is logged once and counted.

        Args:
            served: The version that answered.
            prediction: The answer, which the observer must not change. ``rows`` may be views that keep the
                request's body in memory; ``labels`` (rows,) and ``scores``, (rows, classes) or (rows,
                targets), may share the memory of the answer.
        """

    def close(self) -> None:
        """Take no more predictions, and release the model once those that wait are dealt with."""


class Watch(Protocol):
    """Provides the observers of one kind, as models and versions come and go.

    They see the requests whose version the server chooses; a request that names its version is seen by
    none.
    """

    def follow(self, deployments: Iterable[Deployment]) -> Sequence[Observer]:
        """Start what these deployments ask for, and return the observers that none asks for any more.

        The caller closes them once no new request reaches them.
        """

    def of(self, name: str) -> Sequence[Observer]:
        """The observers of a model."""


class Recorder:
    """Records the answers of one version on one route.

    Attributes:
        served: The version.
        identity: The headers of every answer: those that name the version, then ``more``.
        answered: Records an answer of status 200; arguments and result are those of Tally.answered.
        take: Takes each recorded answer for drift, truth and the payload log; None where all are off.
    """

    __slots__ = ("_tally", "answered", "identity", "served", "take")

    def __init__(
        self,
        served: Served,
        tally: Tally,
        observers: Sequence[Observer] = (),
        more: Headers = (),
        intake: tuple[Intake, Source] | None = None,
    ) -> None:
        self.served = served
        self.identity = (("Model-Name", served.name), ("Model-Version", str(served.version)), *more)
        self._tally = tally
        self.take = intake and intake[0].taker(intake[1], marks=bool(observers))
        # Most routes have no observer: they call the tally directly.
        self.answered = tally.answered
        if observers:
            self.answered = _Observed(served, tally, observers, self.take).answered
            self.take = intake and partial(_identity, intake[0])

    def failed(self, error: Exception, started: float, environ: Environ) -> Whole:
        """Record a request that fails, and write its answer.

        Args:
            error: Any exception.
            started: When the request began, in seconds of time.perf_counter().
            environ: The request.

        Returns:
            The answer, with the version in its headers.
        """
        status, headers, content = failure(error, environ)
        self._tally.failed(int(status[:3]), started)
        return status, (*headers, *self.identity), content


def _identity(intake: Intake, prediction: Prediction, ended: float) -> Headers:
    """The header with the id of a prediction that is taken already."""
    assert prediction.taken is not None
    return intake.identity(prediction.taken[0])


class _Observed:
    """A tally that passes each prediction on to observers."""

    __slots__ = ("_failing", "_observers", "_served", "_take", "_tally")

    def __init__(
        self, served: Served, tally: Tally, observers: Sequence[Observer], take: Take | None
    ) -> None:
        self._served = served
        self._tally = tally
        # Observers see a prediction once it is taken: a shadow passes on its own answers by the same number.
        self._take = take
        self._observers = tuple(observers)
        self._failing: set[str] = set()

    def answered(self, started: float, read: float, prediction: Prediction, waited: float = 0.0) -> float:
        ended = self._tally.answered(started, read, prediction, waited)
        if self._take is not None:
            self._take(prediction, ended)
        for observer in self._observers:
            try:
                observer.observe(self._served, prediction)
            except Exception as error:
                self._count_failure(observer.name, error)
        return ended

    def _count_failure(self, name: str, error: Exception) -> None:
        self._tally.observer_failed(name)
        if name not in self._failing:
            self._failing.add(name)
            logger.error("observer %s fails; requests go on without it", name, exc_info=error)
