"""The end of a body without a length, where the HTTP server cannot tell it from a broken connection.

granian hands out a chunked body that is cut off, or goes on with something else than a chunk, as one that
ends there; so it does with HTTP/2. JSON has an end of its own, and so have compressed bodies and Arrow
streams. A table as text, and lines, might go on. Other servers raise an error themselves.
"""

from collections.abc import Mapping
from typing import Any

from unpickled.server.errors import BadRequest, IncompleteBody, LengthRequired
from unpickled.server.message import media
from unpickled.server.message.environ import is_multiplexed
from unpickled.server.quote import quoted

# Formats without an end of their own.
_OPEN = frozenset({media.CSV, *media.JSON_LINES})
# https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format. The mark may be left out where the
# end of the stream is known otherwise.
_MARKS = {media.ARROW: b"\xff\xff\xff\xff\0\0\0\0"}


def is_hidden(environ: Mapping[str, Any]) -> bool:
    """Whether the end of the body, as far as it has no end of its own, could be a broken connection."""
    if environ.get("SERVER_SOFTWARE") != "Granian" or environ.get("CONTENT_LENGTH"):
        return False
    return environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() in {"", "identity"}


def is_spun_out(environ: Mapping[str, Any]) -> bool:
    """Whether the body comes in a way in which granian's reads by size never return once it breaks off.

    Over HTTP/2 such a read asks again and again for what does not come, and keeps a thread and a processor
    until the worker is replaced. A read without a size returns nothing instead.
    """
    return is_multiplexed(environ) and environ.get("SERVER_SOFTWARE") == "Granian"


def check_coding(environ: Mapping[str, Any]) -> None:
    """BadRequest where the body comes in another transfer coding than chunks, which nothing has undone."""
    coding = environ.get("HTTP_TRANSFER_ENCODING", "chunked")
    if coding.strip().lower() != "chunked":
        raise BadRequest(f"Transfer-Encoding is {quoted(coding)}: send chunked alone, or none", status=400)


def check_format(kind: str) -> None:
    """LengthRequired where a body of this media type might go on behind any of its lines."""
    if kind in _OPEN:
        raise length_required(f"a body of {kind}")


def length_required(body: str) -> LengthRequired:
    """The error for a body whose end shows in its length alone."""
    return LengthRequired(
        f"{body} without a Content-Length may be cut off unnoticed: send its length, or compress it "
        "(Content-Encoding: gzip), which marks its end"
    )


def check_mark(kind: str, body: bytes) -> None:
    """IncompleteBody where the mark that ends a body of this media type is missing."""
    if not body.endswith(_MARKS.get(kind, b"")):
        raise IncompleteBody(
            f"the body ends without the mark of {kind}'s end: send the whole stream, or its length "
            "(Content-Length)"
        )


def cut_line() -> IncompleteBody:
    """The error for a last line without its line end, which may be the half of a line."""
    return IncompleteBody("the last line may be cut off: end it with a line end, or send a Content-Length")
