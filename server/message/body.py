"""Reading one request body, and decompressing it, within bounds."""

import zlib
from collections.abc import Mapping
from typing import Any

from unpickled.server.errors import (
    BodyTooLarge,
    IncompleteBody,
    InvalidInput,
    UnsupportedEncoding,
)
from unpickled.server.message import ending
from unpickled.server.quote import quoted, shortened

# Content-Encoding -> zlib's window bits for it. "deflate" is the zlib format: RFC 9110, section 8.4.1.
ENCODINGS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def read(environ: Mapping[str, Any], limit: int) -> bytes:
    """The whole body of a WSGI request, at most ``limit`` bytes, decompressed.

    Chunked bodies announce no length: they are read if the server marks their end itself
    (``wsgi.input_terminated``).

    Raises:
        BadRequest: The body comes in a transfer coding other than chunks.
        BodyTooLarge: The body is longer than ``limit``; known before reading if the length is announced.
        IncompleteBody: The client stopped early.
        LengthRequired: The body has no length, and nothing else would show that it was cut off.
        UnsupportedEncoding: The Content-Encoding is not gzip or deflate.
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
    ending.check_coding(environ)
    encoding, kind = environ.get("HTTP_CONTENT_ENCODING", ""), media_type(environ)[0]
    hidden = ending.is_hidden(environ)
    if hidden:
        ending.check_format(kind)
    body: bytes = environ["wsgi.input"].read(limit + 1)
    if len(body) > limit:
        raise _too_large(limit)
    if hidden:
        ending.check_mark(kind, body)
    return _expanded(body, encoding, limit)


def pass_over(environ: Mapping[str, Any], length: int) -> None:
    """Wait for a short body that nobody needs, so that its bytes are no surprise behind the answer."""
    environ["wsgi.input"].read(length)


# The functions that wait for bytes: the watchdog looks for threads inside them.
READING = (read.__code__, _read_unannounced.__code__, pass_over.__code__)


def expander(encoding: str) -> Any:
    """A decompressor for a Content-Encoding; None for "identity". Raises UnsupportedEncoding."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    if name not in ENCODINGS:
        raise UnsupportedEncoding(
            f"Content-Encoding is {quoted(encoding)}: send gzip, deflate or no encoding",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return zlib.decompressobj(ENCODINGS[name])


def _expanded(body: bytes, encoding: str, limit: int) -> bytes:
    """The body decompressed; never to more than ``limit`` bytes and one, whatever it claims to hold."""
    expand = expander(encoding)
    if expand is None:
        return body
    coding = f"its Content-Encoding ({shortened(encoding)})"
    try:
        expanded: bytes = expand.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput(f"the body is not what {coding} says: it is damaged, or something else") from None
    if len(expanded) > limit:
        raise _too_large(limit)
    if not expand.eof:
        raise InvalidInput(f"the body ends in the middle of {coding}")
    if expand.unused_data:
        raise InvalidInput(
            f"{len(expand.unused_data)} bytes follow the end of {coding}: send it in one piece"
        )
    return expanded


def media_type(environ: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The media type of Content-Type in lower case ("" without one), and its parameters."""
    kind, *parameters = (environ.get("CONTENT_TYPE") or "").split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def no_length(announced: str) -> InvalidInput:
    """The error for a Content-Length that is no number."""
    return InvalidInput(f"Content-Length is {quoted(announced)}, not a number of bytes")


def incomplete(received: int, announced: int) -> IncompleteBody:
    """The error for a body that ended early."""
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
