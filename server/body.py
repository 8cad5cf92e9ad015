"""One request body: read within bounds, and parsed strictly where a message is owed."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from server.errors import BodyTooLarge, IncompleteBody, InvalidInput, MalformedJSON


def read(environ: Mapping[str, Any], limit: int) -> bytes:
    """The whole body of a WSGI request, at most ``limit`` bytes.

    Raises BodyTooLarge before reading where the length is announced, IncompleteBody when the
    client stopped early. Chunked bodies announce none: they are read where the server ends the
    stream itself (``wsgi.input_terminated``).
    """
    announced = environ.get("CONTENT_LENGTH")
    if not announced:
        return _read_unannounced(environ, limit)
    if not (announced.isascii() and announced.isdigit()):
        raise InvalidInput(f"Content-Length is {announced[:60]!r}, not a number of bytes")
    length = int(announced)
    if length > limit:
        raise _too_large(limit)
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) != length:
        raise IncompleteBody(
            f"the body ended after {len(body)} of the {length} bytes that Content-Length announced",
            received=len(body),
            announced=length,
        )
    return body


def _read_unannounced(environ: Mapping[str, Any], limit: int) -> bytes:
    if not environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = environ["wsgi.input"].read(limit + 1)
    if len(body) > limit:
        raise _too_large(limit)
    return body


# The code that waits for bytes, for the watchdog to recognise.
READING = (read.__code__, _read_unannounced.__code__)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is longer than {limit} bytes: send fewer rows per request, or raise max_body_bytes",
        limit=limit,
    )


class Members(dict[str, Any]):
    """A JSON object that remembers the names it was given twice."""

    repeated: tuple[str, ...] = ()


def parse(body: bytes) -> Any:
    """The JSON document, every object a Members, every number a float.

    Takes the tokens NaN, Infinity and -Infinity, which Python and pandas clients send, so that
    the caller can name the feature that holds one. Raises MalformedJSON with the place.
    """
    if not body.strip():
        raise _malformed("it is empty", 0)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is not UTF-8", error.start) from None
    try:
        document = json.loads(text, object_pairs_hook=_members, parse_int=float)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        return document
    except UnicodeEncodeError:
        raise _malformed("it escapes half of a surrogate pair, which is no character", None) from None
    except json.JSONDecodeError as error:
        place = f"at line {error.lineno}, column {error.colno}"
        raise _malformed(f"{error.msg.removesuffix(' at')} {place}", error.pos) from None
    except RecursionError:
        raise _malformed("it is nested too deep", None) from None


def _malformed(reason: str, position: int | None) -> MalformedJSON:
    error = MalformedJSON(f"the body is not JSON: {reason}")
    if position is not None:
        error.details["position"] = position
    return error


def _members(pairs: list[tuple[str, Any]]) -> Members:
    members = Members(pairs)
    if len(members) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        members.repeated = tuple(name for name, count in counts.items() if count > 1)
    return members
