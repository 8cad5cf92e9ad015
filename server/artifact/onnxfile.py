"""Metadata of an ONNX file, and checks that it is safe, before ONNX Runtime sees it.

An ONNX Runtime session opens other files that a model names, and a serving installation has no onnx package:
this module walks the protobuf itself and knows just enough of it. Field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto); a field that is not known here is refused.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from unpickled.server.artifact import protobuf, trees
from unpickled.server.artifact.operators import OPERATORS
from unpickled.server.artifact.protobuf import FLOATS, INTS, STRINGS, TEXTS, Walk
from unpickled.server.artifact.trees import Run
from unpickled.server.errors import ArtifactError

# The longest message of protobuf, in bytes.
LONGEST = 2**31 - 1


def _keys(
    numbers: Iterable[int] = (), parts: Iterable[int] = (), others: Iterable[int] = ()
) -> frozenset[int]:
    """Keys of the fields that hold a varint, bytes, and anything else."""
    varints, bytes_ = (field << 3 for field in numbers), (field << 3 | 2 for field in parts)
    return frozenset([*varints, *bytes_, *others])


_MODEL = _keys(numbers=(1, 5), parts=(2, 3, 4, 6, 7, 8, 14, 20, 25, 26))
_GRAPH = _keys(parts=(1, 2, 5, 10, 11, 12, 13, 14, 15, 16))
_NODE = _keys(parts=(1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
_ATTRIBUTE = _keys(
    numbers=(3, 20),
    parts=(1, 4, 5, 6, 10, 11, 13, 14, 15, 21, 22, 23),
    others=(2 << 3 | 5, FLOATS, INTS, STRINGS),
)
_TENSOR = _keys(numbers=(1, 2, 14), parts=(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16))
_ENTRY = _keys(parts=(1, 2))
_ATTRIBUTE_RUNS = frozenset((FLOATS, INTS, STRINGS))
_TENSOR_RUNS = frozenset((TEXTS,))


class Contents(NamedTuple):
    """A checked file: its ``metadata_props``, and the sha256 of everything else, in hex.

    The digest is that of the fields of the ModelProto but metadata_props, as they stand in the file, in their
    order.
    """

    properties: dict[bytes, bytes]
    sha256: str


def check_size(size: int) -> None:
    """Raise ArtifactError where a file has more bytes than an ONNX file can have."""
    if size > LONGEST:
        raise ArtifactError(f"it has {size:,} bytes, and an ONNX file has less than 2 GiB")


def contents(data: bytes) -> Contents:
    """The contents of an ONNX file; ArtifactError when the file is malformed or unsafe."""
    check_size(len(data))
    walk, properties, digest = Walk(data), {}, hashlib.sha256()
    graphs = position = 0
    whole = memoryview(data)
    for key, value, end in walk.fields(0, len(data), _MODEL):
        field = protobuf.number(key)
        if field == 14:
            entry = {part: data[start:stop] for part, start, stop in walk.fields(value, end, _ENTRY)}
            properties[entry.get(0x0A, b"")] = entry.get(0x12, b"")
        else:
            digest.update(whole[position:end])
        position = end
        if field == 7:
            graphs += 1
            _check_graph(walk, value, end, outermost=True)
        elif field in (20, 25):
            raise ArtifactError("it has model-local functions or training graphs, which are refused")
    if graphs != 1:
        raise ArtifactError("it is not an ONNX file" if graphs == 0 else "it holds more than one graph")
    return Contents(properties, digest.hexdigest())


def _check_graph(walk: Walk, start: int, end: int, outermost: bool) -> None:
    for key, value, stop in walk.fields(start, end, _GRAPH):
        field = protobuf.number(key)
        if field == 1:
            _check_node(walk, value, stop, outermost)
        elif field == 5:
            _check_tensor(walk, value, stop)
        elif field == 15:
            raise ArtifactError(_SPARSE)


_SPARSE = "it has sparse tensors, which are refused"


def _check_node(walk: Walk, start: int, end: int, outermost: bool) -> None:
    kind = domain = ""
    attributes = []
    for key, value, stop in walk.fields(start, end, _NODE):
        field = protobuf.number(key)
        if field == 4:
            kind = walk.text(value, stop)
        elif field == 7:
            domain = walk.text(value, stop)
        elif field == 5:
            attributes.append((value, stop))
    _check_operator(domain, kind)
    runs: dict[str, Run] = {}
    for value, stop in attributes:
        name, run = _check_attribute(walk, value, stop, outermost)
        if name in runs:
            raise ArtifactError(protobuf.DAMAGED)
        runs[name] = run
    trees.check(walk, kind, runs)


def _check_operator(domain: str, kind: str) -> None:
    if domain not in OPERATORS:
        raise ArtifactError(
            f"operator {f'{domain}.{kind}'!r} is not one of ONNX's own, and only those are run"
        )
    if kind not in OPERATORS[domain]:
        name = f"{domain}.{kind}" if domain else kind
        raise ArtifactError(f"operator {name!r} is none that an export writes, and only those are run")


def _check_attribute(walk: Walk, start: int, end: int, outermost: bool) -> tuple[str, Run]:
    """The name of an attribute, and its numbers or texts."""
    name, run = "", (INTS, start, start)
    for key, value, stop in walk.fields(start, end, _ATTRIBUTE, _ATTRIBUTE_RUNS):
        field = protobuf.number(key)
        if field == 1:
            name = walk.text(value, stop)
        elif key in _ATTRIBUTE_RUNS:
            run = _joined(run, (key, value, stop))
        elif field in (5, 10):
            _check_tensor(walk, value, stop)
        elif field in (6, 11):
            if not outermost:
                raise ArtifactError("its graphs are nested too deep")
            _check_graph(walk, value, stop, outermost=False)
        elif field in (22, 23):
            raise ArtifactError(_SPARSE)
    return name, run


def _joined(run: Run, more: Run) -> Run:
    """Two runs as one. An attribute has one kind of values, and they follow one another."""
    if run[1] == run[2]:
        return more
    if (run[0], run[2]) != more[:2]:
        raise ArtifactError(protobuf.DAMAGED)
    return (run[0], run[1], more[2])


def _check_tensor(walk: Walk, start: int, end: int) -> None:
    for key, value, _ in walk.fields(start, end, _TENSOR, _TENSOR_RUNS):
        field = protobuf.number(key)
        if field == 13 or (field == 14 and value != 0):
            raise ArtifactError("it keeps weights in other files (external data), which is refused")
