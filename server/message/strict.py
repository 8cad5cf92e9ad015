"""Strict reading of JSON in Python: it remembers duplicate names, and its errors have a place.

Compiled decoders read valid bodies many times faster; this parser is for the bodies that they refuse.
"""

import codecs
import json
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from json import decoder, scanner
from typing import Any, AnyStr

from unpickled.server.errors import BodyTooLarge, MalformedJSON
from unpickled.server.quote import quoted

# Most arrays and objects in a body: in Python, empty ones take thirty times their bytes.
MOST = 1_000_000
# Characters of a body that an error quotes.
_BEGIN = 30
# The ends of errors, for clients over HTTP alone.
ENCODED = "say Content-Encoding: gzip"
SENT = ", and a table is sent to /predict or /invocations as Content-Type: text/csv"
# Characters of a document that is read at once, and bytes of a piece of a longer one.
_LONG, _PIECE = 128 * 1024, 256 * 1024
# Characters in which the compiled decoder tries to read an array or object of it: most rows are short.
_WINDOWS = (1024, 16 * 1024)
# Characters of a slice of an array, and where it is cut: behind any value, or behind an array or object.
_SLICE = 16 * 1024
_CUTS = re.compile(","), re.compile(r"[\]}][ \t\r\n]*,")
# Arrays and objects inside one another that are read in Python, and between two calls of ``pace``.
_DEEPEST, _OFTEN = 4, 16
# Numbers that are kept.
_KEPT = 10_000
# An escape in a JSON text, and the halves of pairs, by the first two digits of their code.
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_HALVES = {f"d{digit}": "first" if digit < "c" else "second" for digit in "89abcdef"}
_GZIP = b"\x1f\x8b"


class Members(dict[str, Any]):
    """A JSON object that remembers the names it was given twice."""

    repeated: tuple[str, ...] = ()


def parse(body: bytes, pace: Callable[[], None] | None = None) -> Any:
    """The JSON document; each object is a Members, each number a float.

    It takes the tokens NaN, Infinity and -Infinity, which Python and pandas clients send, so that the caller
    can name the feature that holds one. Raises MalformedJSON with the place, BodyTooLarge.

    A long document is read in pieces, so that other threads get on; ``pace`` is called between them.
    """
    if not body or body.isspace():
        raise _malformed("it is empty", 0)
    if _containers(body) > MOST:
        raise BodyTooLarge(f"the body holds more than {MOST} arrays and objects: split it", limit=MOST)
    # Windows programs begin files with a byte order mark. The compiled decoders refuse it, so it comes here.
    body = body.removeprefix(BOM_UTF8)
    try:
        text = _text(body)
    except UnicodeDecodeError as error:
        compressed = body.startswith(_GZIP) and f"it is compressed: {ENCODED}"
        raise _malformed(compressed or f"byte {error.start} is not UTF-8", error.start) from None
    try:
        document = _short.decode(text) if len(text) <= _LONG else _Pieces(pace).decode(text)
    except json.JSONDecodeError as error:
        place = f"at line {error.lineno}, column {error.colno}"
        reason = f"{error.msg.removesuffix(' at')} {place}{_foreign(text)}"
        raise _malformed(reason, error.pos) from None
    except RecursionError:
        raise _malformed("it is nested too deep", None) from None
    if _escapes(text) and _has_half_pair(text):
        raise _malformed("it escapes half of a surrogate pair, which is no character", None)
    return document


class _Numbers(dict[str, float]):
    """The numbers that texts stand for. Equal ones are one object, of a few thousand that come first."""

    def __missing__(self, text: str) -> float:
        number = float(text)
        if len(self) < _KEPT:
            self[text] = number
        return number


class _Pieces(json.JSONDecoder):
    """A decoder whose compiled part reads short arrays and objects only: it lets no other thread run.

    Longer ones are read by the same rules in Python, down to a depth that no form of a request exceeds.
    """

    def __init__(self, pace: Callable[[], None] | None) -> None:
        number = _Numbers().__getitem__
        super().__init__(object_pairs_hook=_members, parse_int=number, parse_float=number)
        self._compiled: Callable[[str, int], tuple[Any, int]] = scanner.make_scanner(self)  # type: ignore[arg-type]
        self._pace = pace
        self._depth = self._count = 0
        self.scan_once = self._value

    def _value(self, text: str, start: int) -> tuple[Any, int]:
        """The value that begins at ``start``, and the place behind it."""
        opening = text[start : start + 1]
        if opening not in ("[", "{") or self._depth == _DEEPEST:
            return self._compiled(text, start)
        self._count += 1
        if not self._count % _OFTEN:
            self._breathe()
        for size in _WINDOWS:
            with suppress(StopIteration, json.JSONDecodeError):
                value, length = self._compiled(text[start : start + size], 0)
                return value, start + length
        self._depth += 1
        value, end = self._container(text, start + 1, opening)
        self._depth -= 1
        return value, end

    def _container(self, text: str, start: int, opening: str) -> tuple[Any, int]:
        if opening == "[":
            return self._array(text, start)
        return decoder.JSONObject((text, start), True, self._value, None, _members)  # type: ignore[attr-defined, no-any-return]

    def _array(self, text: str, start: int) -> tuple[list[Any], int]:
        """The values of an array, the first of which begins at ``start``, and the place behind it.

        Slices of it are read as arrays of their own. The cut may be inside a text or a value: the slice is
        then none, and the rest is read value by value.
        """
        values: list[Any] = []
        cut, place = _CUTS[text[start : start + _SLICE].lstrip()[:1] in ("[", "{")], start
        while found := search(cut, text, place + _SLICE, len(text)):
            part = f"[{text[place : found.end() - 1]}]"
            with suppress(StopIteration, json.JSONDecodeError):
                read, end = self._compiled(part, 0)
                if end == len(part) and read:
                    values += read
                    place = found.end()
                    self._breathe()
                    continue
            break
        if values and text[place : place + _SLICE].lstrip(" \t\r\n")[:1] in ("", "]"):
            # A comma without a value behind it, most likely: the whole array is read for the error.
            values, place = [], start
        rest, end = decoder.JSONArray((text, place), self._value)  # type: ignore[attr-defined]
        values += rest
        return values, end

    def _breathe(self) -> None:
        if self._pace is not None:
            self._pace()


def search(pattern: re.Pattern[AnyStr], text: AnyStr, start: int, end: int) -> re.Match[AnyStr] | None:
    """The first match in a long text, which is searched in pieces: a match across two of them is missed."""
    for place in range(start, end, _PIECE):
        if (found := pattern.search(text, place, min(place + _PIECE, end))) is not None:
            return found
    return None


def _escapes(text: str) -> bool:
    """Whether a text may hold an escape by code."""
    return any(text.find("\\u", start, start + _PIECE + 1) >= 0 for start in range(0, len(text), _PIECE))


def _containers(body: bytes) -> int:
    """How many arrays and objects begin in a body, those in its texts included."""
    starts = range(0, len(body), _PIECE)
    return sum(body.count(sign, start, start + _PIECE) for start in starts for sign in (b"[", b"{"))


def _text(body: bytes) -> str:
    """The text of a body, decoded in pieces; UnicodeDecodeError with the place in the body."""
    if body.isascii() or len(body) <= _PIECE:
        return body.decode("utf-8")
    decode = codecs.getincrementaldecoder("utf-8")().decode
    starts = range(0, len(body), _PIECE)
    try:
        return "".join([decode(body[start : start + _PIECE], start == starts[-1]) for start in starts])
    except UnicodeDecodeError:
        return body.decode("utf-8")


def _has_half_pair(text: str) -> bool:
    """Whether a JSON text escapes one half of a surrogate pair without the other."""
    first, place = -1, text.find("\\")
    while place >= 0 and (escape := _ESCAPE.match(text, place)) is not None:
        place = text.find("\\", escape.end())
        half = escape[1] and _HALVES.get(escape[1][:2].lower())
        if half == "second" and first == escape.start():
            first = -1
        elif half == "second" or first >= 0:
            return True
        elif half:
            first = escape.end()
    return first >= 0


def _foreign(text: str) -> str:
    """A clause about a body that does not begin as a document of rows does."""
    begun = text[: _BEGIN + 1].lstrip()
    if not begun or begun[0] in "{[":
        return ""
    return f"; it begins with {quoted(begun[:_BEGIN])}{SENT}"


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


_short = json.JSONDecoder(object_pairs_hook=_members, parse_int=float)
