"""A long list of rows in JSON, cut into slices: no other request waits until all of it is decoded.

A slice ends behind a bracket that a comma follows. If that bracket is part of a text, the slice ends inside
the text, and is no JSON: the caller then reads the body in another way. If all slices are JSON arrays of
rows, they are what the list holds, because each begins where the one before has ended.
"""

import re
from collections.abc import Iterator

# Longest body that is decoded at once, and the bytes of a slice, roughly.
LONG = 128 * 1024
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
        cut = _CUT.search(request, start + _SLICE, end)
        stop, after = (end, end + 1) if cut is None else (cut.start() + 1, cut.end())
        yield b"[" + request[start:stop] + b"]"
        start = after
