"""Metadata of an ONNX file, and checks that it is safe, before ONNX Runtime sees it.

An ONNX Runtime session opens other files that a model names, and a serving installation has no onnx package:
this module walks the protobuf itself and knows just enough of it. Field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

import re
from collections.abc import Iterator
from typing import Any

from unpickled.server.errors import ArtifactError

# Operators of any other domain would be native code from elsewhere.
OPERATOR_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 32

# A run of an attribute's `ints`, `floats` and short `strings`, one field each. A forest has millions of
# them: skipping them one by one would take seconds.
_PLAIN = re.compile(
    rb"(?:\x40[\x80-\xff]{0,9}+[\x00-\x7f]|\x3d[\s\S]{4}|\x4a(?:%b))++"
    % b"|".join(rb"\x%02x[\s\S]{%d}" % (size, size) for size in range(16))
)


def metadata(data: bytes) -> dict[bytes, bytes]:
    """``metadata_props`` of an ONNX file; ArtifactError when the file is malformed or unsafe."""
    properties = {}
    graphs = 0
    try:
        for field, value in _fields(data):
            if field == 7:
                graphs += 1
                _check_graph(value, _MAX_DEPTH)
            elif field == 14:
                entry = dict(_fields(value))
                properties[entry.get(1, b"")] = entry.get(2, b"")
            elif field in (20, 25):
                raise ArtifactError("it has model-local functions or training graphs, which are refused")
    except (IndexError, TypeError) as error:
        raise ArtifactError("it is not a complete ONNX file: truncated or damaged") from error
    if graphs != 1:
        raise ArtifactError("it is not an ONNX file" if graphs == 0 else "it holds more than one graph")
    return properties


def _check_graph(graph: bytes, depth: int) -> None:
    if depth == 0:
        raise ArtifactError("its graphs are nested too deep")
    for field, value in _fields(graph):
        if field == 1:
            _check_node(value, depth)
        elif field == 5:
            _check_tensor(value)
        elif field == 15:
            _check_sparse(value)


def _check_node(node: bytes, depth: int) -> None:
    kind = domain = b""
    for field, value in _fields(node):
        if field == 4:
            kind = memoryview(value).tobytes()
        elif field == 7:
            domain = memoryview(value).tobytes()
        elif field == 5:
            _check_attribute(value, depth)
    if domain.decode("utf-8", "replace") not in OPERATOR_DOMAINS:
        operator = b".".join((domain, kind)).decode("utf-8", "replace")
        raise ArtifactError(f"operator {operator!r} is not one of ONNX's own, and only those are run")


def _check_attribute(attribute: bytes, depth: int) -> None:
    for field, value in _fields(attribute, _PLAIN):
        if field in (5, 10):
            _check_tensor(value)
        elif field in (6, 11):
            _check_graph(value, depth - 1)
        elif field in (22, 23):
            _check_sparse(value)


def _check_sparse(sparse: bytes) -> None:
    for field, value in _fields(sparse):
        if field in (1, 2):
            _check_tensor(value)


def _check_tensor(tensor: bytes) -> None:
    for field, value in _fields(tensor):
        if field == 13 or (field == 14 and value != 0):
            raise ArtifactError("it keeps weights in other files (external data), which is refused")


def _fields(message: bytes, skipped: re.Pattern[bytes] | None = None) -> Iterator[tuple[int, Any]]:
    """Field number and value of each field: an int for varints, bytes for everything else.

    Runs of fields that match ``skipped`` are left out.
    Raises IndexError where the message ends early, TypeError at a wire type that protobuf does not have.
    """
    position, end = 0, len(message)
    while position < end:
        if skipped is not None and (run := skipped.match(message, position)):
            position = run.end()
            continue
        key, position = _varint(message, position)
        if key >> 32:
            raise TypeError("a field number above 32 bits, which other readers would cut")
        wire = key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            size, position = _varint(message, position)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise TypeError(wire)
        if position + size > end:
            raise IndexError(position)
        yield key >> 3, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise TypeError("varint")
