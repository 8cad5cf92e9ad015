"""Every error this project raises on purpose, in one tree. Imports nothing.

UnpickledError
├── ConfigError          a setting is wrong: the server does not start
│   └── ProviderError    strict mode, and the first execution provider runs no node
├── ArtifactError        a model file is refused: the versions in service stay
├── ServingError         a serving.toml is not followed, or a command fails: the versions in service stay
├── RemoteError          a model elsewhere cannot be fetched: what is here stays
├── ExportError          a pipeline is not exported: export/errors.py
└── RequestError         a client gets it as the answer; carries status and code
    ├── BadRequest       4xx  HTTP that the framework refuses
    ├── MalformedJSON    400  the body is not JSON
    ├── InvalidInput     400  JSON, but not what the model takes
    │   └── OutsideTraining 400  a value outside the training range, where these are refused
    ├── IncompleteBody   400  fewer bytes arrived than were announced
    ├── Unauthorized     401  no key, or one that is unknown or has expired
    ├── Forbidden        403  the key is not for this
    ├── UnknownModel     404
    ├── UnknownPath      404
    ├── TruthOff         404  nothing here takes truth
    ├── NotMeasured      404  a page about something that the settings have switched off
    ├── MethodNotAllowed 405
    ├── BodyTimeout      408  the body did not arrive in time
    ├── LengthRequired   411  a chunked body whose end cannot be told from a broken connection
    ├── BodyTooLarge     413
    ├── TooManyRows      413
    ├── UnsupportedMedia 415  a content type that is not read here
    ├── UnsupportedEncoding 415  a content encoding that is not decoded
    ├── Quarantined      422  the same request has ended a worker before
    ├── RateLimited      429  more requests than the key may send
    ├── InferenceFailed  500  the graph failed; the log has the reason
    ├── InternalError    500
    ├── NotSupported     501  a part of a protocol that this server does not have
    ├── NotReady         503
    ├── TruthNotStored   503  the disk does not take the truth that is reported, or has no more room for it
    ├── Busy             503  the limit of open streams is reached: ask again
    ├── Overloaded       503  more work waits than the server can do in time: ask again
    └── DeadlineExceeded 504  the request's time is over, or too short
"""

from collections.abc import Mapping
from typing import ClassVar


class UnpickledError(Exception):
    """Base of the tree. ``str(error)`` is a sentence that says what to do."""


class ConfigError(UnpickledError):
    """A setting is unknown or has a wrong value."""


class ProviderError(ConfigError):
    """Strict mode, and the first execution provider was not obtained or runs none of a model's nodes."""


class ArtifactError(UnpickledError):
    """A model file cannot be served: corrupt, foreign, unsafe or wrong."""


class ServingError(UnpickledError):
    """A serving.toml is not followed, or a command fails; the versions in service stay."""


class RemoteError(UnpickledError):
    """A model that lies elsewhere cannot be found or fetched, or is not the one that it should be."""


class RequestError(UnpickledError):
    """An answer other than 200.

    ``status`` is the HTTP status, ``code`` the word clients switch on and ``details`` whatever
    else locates the problem (``row``, ``feature``, ``allowed`` ...), JSON values only. The second
    paragraph of each docstring below is the remedy that the documentation shows.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"

    def __init__(self, sentence: str, /, headers: Mapping[str, str] | None = None, **details: object) -> None:
        super().__init__(sentence)
        self.headers = dict(headers or {})
        self.details = details


class BadRequest(RequestError):
    """The request is no proper HTTP, or calls the server by a name that it does not go by.

    Correct the line or header that the sentence names.
    """

    def __init__(self, sentence: str, /, status: int) -> None:
        super().__init__(sentence)
        self.status = status  # type: ignore[misc]


class MalformedJSON(RequestError):
    """The body is not JSON.

    Correct the body at ``position``.
    """

    code = "malformed_json"


class InvalidInput(RequestError):
    """The body, a header or the query can be read, but is not what the model or the page takes.

    Correct the place that the sentence, ``row`` and ``feature`` name; ``GET /models/<name>`` lists what the
    model takes.
    """

    code = "invalid_input"

    def on_line(self, line: int, remedy: str = "") -> "InvalidInput":
        """The same error with the number of the line in front of its sentence and in its details."""
        error = type(self)(f"line {line}: {self}{remedy}", line=line)
        error.details |= self.details
        return error


class OutsideTraining(InvalidInput):
    """A value lies outside the training range of its feature, and the model's serving.toml refuses these.

    Send a value inside ``range``, or ``trained`` where there is none, or let ``inputs`` in serving.toml flag
    or clip it.
    """

    code = "outside_training"


class IncompleteBody(RequestError):
    """The body ended early: before its announced length, or without the mark of its end.

    Send the whole body again.
    """

    code = "incomplete_body"


class Unauthorized(RequestError):
    """The request has no key or token, or one that is unknown or has expired.

    Send a valid key or token; ``unpickled keys add`` makes a key.
    """

    status = 401
    code = "unauthorized"


class Forbidden(RequestError):
    """The key or token of the request is not for what it asks.

    Ask for a key or token with the scope that ``scope`` names.
    """

    status = 403
    code = "forbidden"


class UnknownModel(RequestError):
    """No such model, or no such version of it.

    Name a model, version or label that ``GET /models`` lists.
    """

    status = 404
    code = "unknown_model"


class UnknownPath(RequestError):
    """Nothing is served under this path.

    Ask for a route that ``GET /`` lists.
    """

    status = 404
    code = "not_found"


class TruthOff(RequestError):
    """The settings leave no use for truth: no predicted row is remembered, and there is no payload log.

    Set ``truth_rows`` above 0, or ``log_share``.
    """

    status = 404
    code = "truth_off"


class NotMeasured(RequestError):
    """The settings have switched off what the page would show.

    Start the server with the setting that the sentence names.
    """

    status = 404
    code = "not_measured"


class MethodNotAllowed(RequestError):
    """The path exists; the method does not.

    Use a method that the header ``Allow`` lists.
    """

    status = 405
    code = "method_not_allowed"


class BodyTimeout(RequestError):
    """The body did not arrive within ``body_timeout``.

    Send the rest again, without long pauses.
    """

    status = 408
    code = "body_timeout"


class LengthRequired(RequestError):
    """The body announces no length, and its end could not be told from a broken connection.

    Send ``Content-Length``, or compress the body with gzip.
    """

    status = 411
    code = "length_required"


class BodyTooLarge(RequestError):
    """The body is longer than ``max_body_bytes``.

    Send fewer rows in a request, or raise ``max_body_bytes``.
    """

    status = 413
    code = "body_too_large"


class TooManyRows(RequestError):
    """The request has more rows than ``max_rows``.

    Split the request, or raise ``max_rows``.
    """

    status = 413
    code = "too_many_rows"


class UnsupportedMedia(RequestError):
    """The body is of a content type that is not read here.

    Send a content type that the sentence lists.
    """

    status = 415
    code = "unsupported_media_type"


class UnsupportedEncoding(RequestError):
    """The body has a content encoding other than gzip and deflate.

    Send gzip, deflate or no encoding.
    """

    status = 415
    code = "unsupported_encoding"


class Quarantined(RequestError):
    """The same request has ended a worker again and again.

    Do not send it again; report it together with the crashes in the server's log.
    """

    status = 422
    code = "quarantined"


class RateLimited(RequestError):
    """More requests have come with one key, or from one address, than may come.

    Wait for the seconds of ``Retry-After``, or have the limit raised.
    """

    status = 429
    code = "rate_limited"


class InferenceFailed(RequestError):
    """ONNX Runtime failed on a valid request.

    Send numbers of a usual size; otherwise look for ``request_id`` in the server's log.
    """

    status = 500
    code = "inference_failed"


class InternalError(RequestError):
    """An unexpected failure; the log has it under the request id.

    Look for ``request_id`` in the server's log, and report what stands there.
    """

    status = 500
    code = "internal_error"


class NotSupported(RequestError):
    """A part of a protocol that this server does not have.

    Do without it, as the sentence says.
    """

    status = 501
    code = "not_supported"


class NotReady(RequestError):
    """The model exists but is not served, or the keys that sign tokens are not known yet.

    Ask again; if it lasts, ``GET /readyz`` has the reason.
    """

    status = 503
    code = "not_ready"


class TruthNotStored(RequestError):
    """Truth could not be written beside the payload log; none of the request counts.

    Mend the disk or folder of ``log_folder``, or raise ``log_keep_bytes`` where truth has had its share of
    them, and send the same again.
    """

    status = 503
    code = "truth_not_stored"


class Busy(RequestError):
    """The limit of streams under way at once is reached.

    Ask again after ``Retry-After`` seconds, or raise ``threads``.
    """

    status = 503
    code = "busy"


class Overloaded(RequestError):
    """More work waits than the server can do in time, or more memory is asked for than it may take.

    Ask again after ``Retry-After`` seconds, or ask another server; if it lasts, add workers.
    """

    status = 503
    code = "overloaded"


class DeadlineExceeded(RequestError):
    """The time that a request has is over, or too short for its work.

    Allow more time, or send fewer rows.
    """

    status = 504
    code = "deadline_exceeded"
