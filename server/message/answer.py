"""An HTTP answer (status, headers, body), and the answer for an error."""

import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import orjson

from unpickled.server.errors import InternalError, RequestError

logger = logging.getLogger("unpickled")

JSON = ("Content-Type", "application/json")
# Ends the connection once the client has the answer: https://www.rfc-editor.org/rfc/rfc9112#section-9.6.
CLOSE = ("Connection", "close")

# OPT_SERIALIZE_NUMPY writes an array's doubles with the fewest digits that read back as the same value.
OPTIONS = orjson.OPT_SERIALIZE_NUMPY
dumps = orjson.dumps


Environ = Mapping[str, Any]
# (status such as "200 OK", headers without Content-Length, body, perhaps in parts). A bare tuple: fields with
# names would cost 0.16 us a request.
Answer = tuple[str, tuple[tuple[str, str], ...], bytes | Iterator[bytes]]
Whole = tuple[str, tuple[tuple[str, str], ...], bytes]
# Answers a request.
Target = Callable[[Environ], Answer]


def status_line(status: int) -> str:
    """ "404 Not Found" for 404."""
    return f"{status} {HTTPStatus(status).phrase}"


def document(value: Any, status: int = 200) -> Whole:
    """A JSON document."""
    content = dumps(value, default=msgspec.to_builtins, option=OPTIONS)
    return status_line(status), (JSON,), content


def failure(error: Exception) -> Whole:
    """The answer ``{"error": sentence, "code": word, ...details}`` for any exception.

    An exception that is no RequestError becomes a 500. Its answer has no more than the id of the log entry
    that explains it.
    """
    if not isinstance(error, RequestError):
        error = _unexpected(error)
    elif error.status >= 500 and error.__cause__ is not None:
        error.details["request_id"] = _log(error, error.__cause__)
    body = dumps({"error": str(error), "code": error.code, **error.details}, option=OPTIONS)
    return status_line(error.status), (JSON, *error.headers.items()), body


def _unexpected(error: Exception) -> InternalError:
    sentence = "an unexpected error occurred: the server's log has it under this request_id"
    return InternalError(sentence, request_id=_log(error, error))


def _log(error: Exception, cause: BaseException) -> str:
    request_id = uuid.uuid4().hex
    logger.error("request %s: %s", request_id, error, exc_info=cause)
    return request_id
