"""Strict reading of JSON in Python: it remembers duplicate names, and its errors have a place.

Compiled decoders read valid bodies many times faster; this parser is for the bodies that they refuse.
"""

import json
from codecs import BOM_UTF8
from collections import Counter
from typing import Any

from unpickled.server.errors import BodyTooLarge, MalformedJSON
from unpickled.server.quote import quoted

# Most arrays and objects in a body: in Python, empty ones take thirty times their bytes.
MOST = 1_000_000
# Characters of a body that an error quotes.
_BEGIN = 30
_GZIP = b"\x1f\x8b"


class Members(dict[str, Any]):
    """A JSON object that remembers the names it was given twice."""

    repeated: tuple[str, ...] = ()


def parse(body: bytes) -> Any:
    """The JSON document; each object is a Members, each number a float.

    It takes the tokens NaN, Infinity and -Infinity, which Python and pandas clients send, so that the caller
    can name the feature that holds one. Raises MalformedJSON with the place, BodyTooLarge.
    """
    if not body.strip():
        raise _malformed("it is empty", 0)
    if body.count(b"{") + body.count(b"[") > MOST:
        raise BodyTooLarge(f"the body holds more than {MOST} arrays and objects: split it", limit=MOST)
    # Windows programs begin files with a byte order mark. The compiled decoders refuse it, so it comes here.
    body = body.removeprefix(BOM_UTF8)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        compressed = body.startswith(_GZIP) and "it is compressed: say Content-Encoding: gzip"
        raise _malformed(compressed or f"byte {error.start} is not UTF-8", error.start) from None
    try:
        document = json.loads(text, object_pairs_hook=_members, parse_int=float)
        if "\\u" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        return document
    except UnicodeEncodeError:
        raise _malformed("it escapes half of a surrogate pair, which is no character", None) from None
    except json.JSONDecodeError as error:
        place = f"at line {error.lineno}, column {error.colno}"
        reason = f"{error.msg.removesuffix(' at')} {place}{_foreign(text)}"
        raise _malformed(reason, error.pos) from None
    except RecursionError:
        raise _malformed("it is nested too deep", None) from None


def _foreign(text: str) -> str:
    """A clause about a body that does not begin as a document of rows does."""
    begun = text[: _BEGIN + 1].lstrip()
    if not begun or begun[0] in "{[":
        return ""
    return (
        f"; it begins with {quoted(begun[:_BEGIN])}, and a table is sent to /predict or /invocations as "
        "Content-Type: text/csv"
    )


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
