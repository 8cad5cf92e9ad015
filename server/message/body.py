"""Reading one request body, and decompressing it, within bounds."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
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

# Bytes that are read or expanded at a time. A body up to this length is read at once, and counts for nothing.
BLOCK = 256 * 1024
# Bytes of a compressed body that are expanded at a time.
_PIECE = 16 * 1024
# The function that is told of bytes before they are held, and may raise; the one that is called now and then.
Take = Callable[[int], None]
Pace = Callable[[], None]


def _free(size: int) -> None:
    """A Take without a bound."""


def _at_once() -> None:
    """A Pace without a pause."""


def read(environ: Mapping[str, Any], limit: int) -> bytes:
    """The whole body of a WSGI request, at most ``limit`` bytes, decompressed.

    Raises:
        BodyTooLarge, IncompleteBody: As ``received``.
        UnsupportedEncoding, InvalidInput: As ``expanded``.
    """
    body = received(environ, limit)
    encoding = environ.get("HTTP_CONTENT_ENCODING")
    return expanded(body, encoding, limit) if encoding else body


def received(environ: Mapping[str, Any], limit: int, take: Take = _free) -> bytes:
    """The whole body of a WSGI request as it was sent, at most ``limit`` bytes.

    Chunked bodies announce no length: they are read if the server marks their end itself
    (``wsgi.input_terminated``). ``take`` is told of the bytes of a long body before they are read; it may
    raise.

    Raises:
        BadRequest: The body comes in a transfer coding other than chunks.
        BodyTooLarge: The body is longer than ``limit``; known before reading if the length is announced.
        IncompleteBody: The client stopped early.
        LengthRequired: The body has no length, and nothing else would show that it was cut off.
    """
    announced = environ.get("CONTENT_LENGTH")
    if not announced:
        return _read_unannounced(environ, limit, take)
    if not (announced.isascii() and announced.isdigit()):
        raise no_length(announced)
    length = int(announced)
    if length > limit:
        raise _too_large(limit)
    # Compared here first, as each request comes by: a call would cost it more.
    if environ.get("SERVER_PROTOCOL") == "HTTP/2" and ending.is_spun_out(environ):
        body = _whole(environ, length, take)
    else:
        body = environ["wsgi.input"].read(length) if length <= BLOCK else _blocks(environ, length, take)
    if len(body) != length:
        raise incomplete(len(body), length)
    return body


def _blocks(environ: Mapping[str, Any], length: int, take: Take) -> bytes:
    """A body of ``length`` bytes in blocks: the HTTP server would hold all of it a second time."""
    take(length)
    read, body = environ["wsgi.input"].read, BytesIO()
    while left := length - body.tell():
        block = read(min(left, BLOCK))
        body.write(block)
        if len(block) < min(left, BLOCK):
            break
    return body.getvalue()


def _whole(environ: Mapping[str, Any], length: int, take: Take) -> bytes:
    """A body of ``length`` bytes in one read; nothing if it breaks off. The HTTP server holds it twice."""
    if length > BLOCK:
        take(2 * length)
    return _read_whole(environ)


def _read_whole(environ: Mapping[str, Any]) -> bytes:
    whole: bytes = environ["wsgi.input"].read()
    return whole


def _read_unannounced(environ: Mapping[str, Any], limit: int, take: Take) -> bytes:
    if not environ.get("wsgi.input_terminated"):
        return b""
    ending.check_coding(environ)
    kind, hidden = media_type(environ)[0], ending.is_hidden(environ)
    if hidden:
        ending.check_format(kind)
    body = _all_blocks(environ, limit, take)
    if hidden:
        ending.check_mark(kind, body)
    return body


def _all_blocks(environ: Mapping[str, Any], limit: int, take: Take) -> bytes:
    read, body, more = environ["wsgi.input"].read, BytesIO(), True
    while more:
        block = read(BLOCK)
        more = len(block) == BLOCK
        if body.tell() + len(block) > limit:
            raise _too_large(limit)
        if more:
            take(BLOCK)
        body.write(block)
    return body.getvalue()


def pass_over(environ: Mapping[str, Any], length: int) -> None:
    """Wait for a short body that nobody needs, so that its bytes are no surprise behind the answer."""
    if ending.is_spun_out(environ):
        _read_whole(environ)
    else:
        environ["wsgi.input"].read(length)


# The functions that wait for bytes: the watchdog looks for threads inside them.
READING = (
    received.__code__,
    _read_whole.__code__,
    _blocks.__code__,
    _all_blocks.__code__,
    pass_over.__code__,
)


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


def expanded(body: bytes, encoding: str, limit: int, take: Take = _free, pace: Pace = _at_once) -> bytes:
    """The body decompressed; never to more than ``limit`` bytes and a block, whatever it claims to hold.

    ``take`` is told of each block beyond the first; ``pace`` is called between two.

    Raises:
        UnsupportedEncoding: The encoding is not gzip or deflate.
        InvalidInput: The body is not what the encoding says.
        BodyTooLarge: It becomes longer than ``limit``.
    """
    expand = expander(encoding)
    if expand is None:
        return body
    coding = f"its Content-Encoding ({shortened(encoding)})"
    whole = BytesIO()
    try:
        for block in _expansion(expand, body):
            if whole.tell() + len(block) > limit:
                raise _too_large(limit)
            if whole.tell():
                take(len(block))
                pace()
            whole.write(block)
    except zlib.error:
        raise InvalidInput(f"the body is not what {coding} says: it is damaged, or something else") from None
    if not expand.eof:
        raise InvalidInput(f"the body ends in the middle of {coding}")
    if expand.unused_data:
        raise InvalidInput(
            f"{len(expand.unused_data)} bytes follow the end of {coding}: send it in one piece"
        )
    return whole.getvalue()


def _expansion(expand: Any, body: bytes) -> Iterator[bytes]:
    """The blocks to which a body expands. It is fed in pieces: zlib copies whatever it has not read yet."""
    for start in range(0, len(body), _PIECE):
        if expand.eof:
            # It collects what follows the end.
            expand.decompress(body[start:])
            return
        piece, more = body[start : start + _PIECE], True
        while more:
            block = expand.decompress(piece, BLOCK)
            yield block
            piece = expand.unconsumed_tail
            more = not expand.eof and (bool(piece) or len(block) == BLOCK)


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
