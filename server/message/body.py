"""One request body: read and expanded within bounds, and parsed strictly where a message is owed."""

import json
import zlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from unpickled.server.errors import (
    BodyTooLarge,
    IncompleteBody,
    InvalidInput,
    MalformedJSON,
    UnsupportedEncoding,
)

# Content-Encoding -> what zlib calls it. "deflate" is the zlib format: RFC 9110, section 8.4.1.
ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def read(environ: Mapping[str, Any], limit: int) -> bytes:
    """The whole body of a WSGI request, at most ``limit`` bytes, its Content-Encoding undone.

    Raises BodyTooLarge before reading where the length is announced, IncompleteBody when the
    client stopped early, UnsupportedEncoding. Chunked bodies announce no length: they are read where
    the server ends the stream itself (``wsgi.input_terminated``).
    """
    announced = environ.get("CONTENT_LENGTH")
    if not announced:
        return _read_unannounced(environ, limit)
    if not (announced.isascii() and announced.isdigit()):
        raise no_length(announced)
    length = int(announced)
    if length > limit:
        raise _too_large(limit)
    body: bytes = environ["wsgi.input"].read(length)
    if len(body) != length:
        raise incomplete(len(body), length)
    if "HTTP_CONTENT_ENCODING" in environ:
        return _expanded(body, environ["HTTP_CONTENT_ENCODING"], limit)
    return body


def _read_unannounced(environ: Mapping[str, Any], limit: int) -> bytes:
    if not environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = environ["wsgi.input"].read(limit + 1)
    if len(body) > limit:
        raise _too_large(limit)
    if "HTTP_CONTENT_ENCODING" in environ:
        return _expanded(body, environ["HTTP_CONTENT_ENCODING"], limit)
    return body


# The code that waits for bytes, for the watchdog to recognise.
READING = (read.__code__, _read_unannounced.__code__)


def expander(encoding: str) -> Any:
    """A decompressor for a Content-Encoding, None for "identity"; UnsupportedEncoding."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    if name not in ENCODINGS:
        raise UnsupportedEncoding(
            f"Content-Encoding is {encoding[:60]!r}: send gzip, deflate or no encoding",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return zlib.decompressobj(ENCODINGS[name])


def _expanded(body: bytes, encoding: str, limit: int) -> bytes:
    """Never more than ``limit`` bytes come to be, whatever the body claims to hold."""
    expand = expander(encoding)
    if expand is None:
        return body
    named = f"its Content-Encoding ({encoding[:60]})"
    try:
        expanded: bytes = expand.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput(f"the body is not what {named} says: it is damaged, or something else") from None
    if len(expanded) > limit:
        raise _too_large(limit)
    if not expand.eof:
        raise InvalidInput(f"the body ends in the middle of {named}")
    if expand.unused_data:
        raise InvalidInput(f"{len(expand.unused_data)} bytes follow the end of {named}: send it in one piece")
    return expanded


def media_type(environ: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Content-Type in lower case, without its parameters, and these; "" where there is none."""
    kind, *parameters = (environ.get("CONTENT_TYPE") or "").split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def no_length(announced: str) -> InvalidInput:
    """A Content-Length that is none."""
    return InvalidInput(f"Content-Length is {announced[:60]!r}, not a number of bytes")


def incomplete(received: int, announced: int) -> IncompleteBody:
    """A body that ended early."""
    return IncompleteBody(
        f"the body ended after {received} of the {announced} bytes that Content-Length announced",
        received=received,
        announced=announced,
    )


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is longer than {limit} bytes: send fewer rows per request, or raise max_body_bytes",
        limit=limit,
    )


# Arrays and objects in a body that Python reads: empty ones take thirty times their bytes.
MOST = 1_000_000


class Members(dict[str, Any]):
    """A JSON object that remembers the names it was given twice."""

    repeated: tuple[str, ...] = ()


def parse(body: bytes) -> Any:
    """The JSON document, every object a Members, every number a float.

    Takes the tokens NaN, Infinity and -Infinity, which Python and pandas clients send, so that
    the caller can name the feature that holds one. Raises MalformedJSON with the place, BodyTooLarge.
    """
    if not body.strip():
        raise _malformed("it is empty", 0)
    if body.count(b"{") + body.count(b"[") > MOST:
        raise BodyTooLarge(f"the body holds more than {MOST} arrays and objects: split it", limit=MOST)
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
