"""A long list of rows in JSON, cut into slices: no other request waits until all of it is decoded.

A slice ends behind a bracket that a comma follows. If that bracket is part of a text, the slice ends inside
the text, and is no JSON: the caller then reads the body in another way. If all slices are JSON arrays of
rows, they are what the list holds, because each begins where the one before has ended.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.inference.turn import breathe
from unpickled.server.message.strict import search

# Longest body that is decoded at once, and the bytes of a slice, roughly.
LONG = 128 * 1024
# Longest body of which several may be Python objects at a time: these take ten times its bytes.
HEAVY = 2 * 1024 * 1024
_SLICE = 32 * 1024

_SPACE = rb"[ \t\r\n]*"
_HEADS = {
    name: re.compile(rb'%b\{%b"%b"%b:%b\[' % (_SPACE, _SPACE, name.encode(), _SPACE, _SPACE))
    for name in ("features", "instances")
}
_TAIL = re.compile(rb"\]%b\}%b\Z" % (_SPACE, _SPACE))
_CUT = re.compile(rb"[\]}]%b," % _SPACE)
# A tail is looked for in so many bytes at the end.
_LAST = 1024


def slices(request: bytes, name: str) -> Iterator[bytes] | None:
    """The slices of {name: [...]}, each a JSON array; None if the body is nothing of that kind."""
    head, tail = _HEADS[name].match(request), _TAIL.search(request, max(0, len(request) - _LAST))
    if head is None or tail is None:
        return None
    return _cut(request, head.end(), tail.start())


def _cut(request: bytes, start: int, end: int) -> Iterator[bytes]:
    while start <= end:
        cut = search(_CUT, request, start + _SLICE, end)
        stop, after = (end, end + 1) if cut is None else (cut.start() + 1, cut.end())
        yield b"[" + request[start:stop] + b"]"
        start = after


# How values and rows of a nested array are decoded, cut and ended: flat, and one array for each row.
_decode_flat = msgspec.json.Decoder(list[float | None]).decode
_decode_rows = msgspec.json.Decoder(list[list[float | None]]).decode
_ENDS = re.compile(rb"\]"), re.compile(rb"\]%b\]" % _SPACE)
_CUTS = re.compile(rb"()%b," % _SPACE), re.compile(rb"(\])%b," % _SPACE)


def numbers_at(content: bytes, start: int) -> tuple[npt.NDArray[np.float64] | None, int]:
    """The array of numbers that begins at a bracket, flat or (rows, width), and the place behind it.

    None if it holds anything else than numbers and null, which becomes NaN, or has rows of several widths.
    """
    nested = content[start + 1 : start + _LAST].lstrip(b" \t\r\n")[:1] == b"["
    decode: Any = _decode_rows if nested else _decode_flat
    parts, place, width = [], start + 1, -1
    while True:
        cut = search(_CUTS[nested], content, place + _SLICE, len(content))
        end = search(_ENDS[nested], content, place, len(content) if cut is None else cut.end())
        stop = end.start() + nested if end else cut.end(1) if cut else len(content)
        try:
            part = np.array(decode(b"[" + content[place:stop] + b"]"), dtype=np.float64)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return None, start
        if not part.size or (nested and width not in (-1, part.shape[1])):
            return None, start
        parts.append(part)
        width = part.shape[-1]
        if end:
            return np.concatenate(parts), end.end()
        if cut is None:
            return None, start
        place = cut.end()
        breathe()
