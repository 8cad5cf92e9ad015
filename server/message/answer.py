"""An HTTP answer (status, headers, body), and the answer for an error."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import msgspec
import orjson

from unpickled.server.errors import InternalError, RequestError
from unpickled.server.message import requestid
from unpickled.server.message.environ import REQUEST_ID

logger = logging.getLogger("unpickled")

JSON = ("Content-Type", "application/json")
# Ends the connection once the client has the answer: https://www.rfc-editor.org/rfc/rfc9112#section-9.6.
CLOSE = ("Connection", "close")

# OPT_SERIALIZE_NUMPY writes an array's doubles with the fewest digits that read back as the same value.
OPTIONS = orjson.OPT_SERIALIZE_NUMPY
dumps = orjson.dumps
# JSON that is written already, as part of a document.
Fragment = orjson.Fragment


# The WSGI environment, a dictionary by the standard.
Environ = dict[str, Any]
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


def failure(error: Exception, environ: Environ | None = None) -> Whole:
    """The answer ``{"error": sentence, "code": word, ...details}`` for any exception.

    An exception that is no RequestError becomes a 500. Its answer has no more than the id of the request,
    under which the log explains it. Every answer of status 5xx has that id, in its body and its headers.
    ``environ`` is the request, where there is one.
    """
    if not isinstance(error, RequestError):
        error = _unexpected(error)
    details, headers = error.details, (JSON, *error.headers.items())
    if error.status >= 500:
        identity = requestid.of(environ or {})
        details = {**details, "request_id": identity}
        if not environ or REQUEST_ID not in environ:
            # Otherwise the layer that noted the id adds the header.
            headers = (*headers, (requestid.HEADER, identity))
        if error.__cause__ is not None:
            _log(identity, error.__cause__ if isinstance(error, InternalError) else error, error.__cause__)
    body = dumps({"error": str(error), "code": error.code, **details}, option=OPTIONS)
    return status_line(error.status), headers, body


def _unexpected(cause: Exception) -> InternalError:
    error = InternalError("an unexpected error occurred: the server's log has it under this request_id")
    error.__cause__ = cause
    return error


def _log(identity: str, error: BaseException, cause: BaseException) -> None:
    # The client gets its answer, whatever a handler of the log raises.
    with suppress(Exception):
        logger.error("request %s: %s", identity, error, exc_info=cause)
