"""Writing long answers a slice at a time, so that no other request waits until all of one is written."""

from collections.abc import Iterator, Sized
from typing import Any

import numpy as np

from unpickled.server.inference.turn import paced
from unpickled.server.message.answer import OPTIONS, dumps

# Numbers up to which an answer is written at once, which takes less than a millisecond.
_FEW = 4096
# Bytes that are written at a time.
_SLICE = 64 * 1024


def written(document: Any, numbers: int) -> bytes:
    """The JSON of an answer with so many numbers, as ``dumps`` writes it."""
    if numbers <= _FEW:
        return dumps(document, option=OPTIONS)
    return b"".join(paced(_parts(document), 1))


def slices(values: Sized, first: int) -> Iterator[slice]:
    """Slices of values of which the first is written with ``first`` bytes."""
    size = max(1, _SLICE // max(1, first))
    return (slice(start, start + size) for start in range(0, len(values), size))


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        for index, (name, member) in enumerate(value.items()):
            yield (b"," if index else b"{") + dumps(name) + b":"
            yield from _parts(member)
        yield b"}" if value else b"{}"
    elif isinstance(value, list) and len(value) < _FEW and any(isinstance(item, dict) for item in value[:1]):
        for index, item in enumerate(value):
            yield b"," if index else b"["
            yield from _parts(item)
        yield b"]"
    elif isinstance(value, list | np.ndarray) and len(value) > 1:
        first = len(dumps(value[:1], option=OPTIONS))
        for index, part in enumerate(slices(value, first)):
            yield (b"," if index else b"[") + dumps(value[part], option=OPTIONS)[1:-1]
        yield b"]"
    else:
        yield dumps(value, option=OPTIONS)
