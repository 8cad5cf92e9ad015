"""Targets that note which request they run: made only after a worker has crashed.

A request is known by a digest of its path and of what was read of its body. The one that ends workers again
and again is refused once its body is read, and so before it runs. Each line of a stream is a request.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Protocol

from unpickled.server.errors import Quarantined, RequestError
from unpickled.server.inference.prediction import Predict, Prediction
from unpickled.server.message.answer import Answer, Environ, Target


class Notes(Protocol):
    """Shared memory for the requests under way."""

    def refuses(self, digest: bytes) -> bool:
        """Whether the request with this digest is refused now."""

    def enter(self) -> int | None:
        """A place for the note of one request; None where all are taken."""

    def write(self, place: int, digest: bytes) -> None:
        """Note that the request with this digest is under way."""

    def leave(self, place: int, digest: bytes, harmless: bool) -> None:
        """Note that the request is over, and whether it has been run without harm."""


class Noted:
    """A target that notes its requests while they run."""

    def __init__(self, target: Target, notes: Notes) -> None:
        self._target = target
        self._notes = notes

    def __call__(self, environ: Environ) -> Answer:
        """The answer of the target; that to a request which is refused says so."""
        place = self._notes.enter()
        if place is None:
            return self._target(environ)
        noted, harmless = _Input(environ, self._notes, place), False
        # No copy: the layers around this one read what an endpoint leaves there.
        environ["wsgi.input"] = noted
        try:
            answer = self._target(environ)
            # One that is refused for want of time has not been run.
            harmless = answer[0] < "500"
            return answer
        finally:
            noted.end(harmless)


def noted(predict: Predict, notes: Notes) -> Predict:
    """The same predictions for the lines of a stream: each line is noted as a request while it runs."""

    def predict_noted(line: bytes, environ: Environ) -> Prediction:
        digest = blake2b(line, digest_size=16, key=_path(environ).digest()).digest()
        if notes.refuses(digest):
            raise _quarantined()
        place = notes.enter()
        if place is None:
            return predict(line, environ)
        notes.write(place, digest)
        harmless = False
        try:
            prediction = predict(line, environ)
            harmless = True
            return prediction
        except RequestError as error:
            harmless = error.status < 500
            raise
        finally:
            notes.leave(place, digest, harmless)

    return predict_noted


def _quarantined() -> Quarantined:
    return Quarantined(
        "this request was under way whenever a worker of the server crashed: it is refused for an hour, and "
        "the server's log has the crashes"
    )


def _path(environ: Mapping[str, Any]) -> blake2b:
    """The hash of a request's path."""
    return blake2b(environ["PATH_INFO"].encode("latin-1", "replace"), digest_size=16)


class _Input:
    """The body of a request; each part that is read changes the request's note."""

    def __init__(self, environ: Mapping[str, Any], notes: Notes, place: int) -> None:
        self._input = environ["wsgi.input"]
        self._notes = notes
        self._place = place
        self._hash = _path(environ)
        self._open = True

    def read(self, *size: int) -> bytes:
        """Read on. Raises Quarantined where the whole that was read has ended workers before."""
        content: bytes = self._input.read(*size)
        if self._open and content:
            self._hash.update(content)
            digest = self._hash.digest()
            if self._notes.refuses(digest):
                raise _quarantined()
            self._notes.write(self._place, digest)
        return content

    def end(self, harmless: bool) -> None:
        """Note nothing more: a stream goes on reading after its answer has begun."""
        self._open = False
        self._notes.leave(self._place, self._hash.digest(), harmless)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._input, name)


# The function that waits for bytes: the watchdog looks for threads inside it.
READING = (_Input.read.__code__,)
