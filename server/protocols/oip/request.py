"""Reading an inference request: by a compiled decoder, or in Python if that refuses it."""

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InvalidInput
from unpickled.server.inference.turn import alone, breathe
from unpickled.server.message import ending, strict
from unpickled.server.message.strict import Members
from unpickled.server.protocols.oip.tensors import BYTES, DTYPES, LONGEST, Tensor
from unpickled.server.protocols.rows import REFUSALS
from unpickled.server.protocols.slices import HEAVY, LONG, numbers_at
from unpickled.server.quote import quoted

_EXAMPLE = '{"inputs": [{"name": ..., "shape": [rows, columns], "datatype": "FP64", "data": [...]}]}'
_KNOWN = {*DTYPES, BYTES}
_LENGTH = "HTTP_INFERENCE_HEADER_CONTENT_LENGTH"


class RequestedOutput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An output that the request selects."""

    name: str
    parameters: dict[str, float | str | bool | None] | None = None


class Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The JSON of a request; clients may leave a member out or send null in its place."""

    inputs: list[Tensor]
    outputs: list[RequestedOutput] | None = None
    id: str | None = None
    parameters: dict[str, float | str | bool | None] | None = None

    @property
    def names(self) -> int:
        """How many names its JSON has if none is a duplicate; it then has as many colons."""
        count = 1 + (self.id is not None) + _names(self.parameters) + (self.outputs is not None)
        for tensor in self.inputs:
            count += 3 + (tensor.data is not None) + _names(tensor.parameters)
        for output in self.outputs or ():
            count += 1 + _names(output.parameters)
        return count


# The begin of a tensor's values, up to their array. No text holds it, as quotes in texts are escaped.
_DATA = re.compile(rb'"data"[ \t\r\n]*:[ \t\r\n]*(?=\[)')
_decode = msgspec.json.Decoder(Request).decode


def header_length(environ: Mapping[str, Any], limit: int) -> int | None:
    """The length of the JSON before the tensors in a body of ``limit`` bytes; None if all of it is JSON.

    Raises InvalidInput, LengthRequired.
    """
    value = environ.get(_LENGTH)
    if value is None:
        return None
    length = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1
    if not 0 <= length <= limit:
        raise InvalidInput(
            f"Inference-Header-Content-Length is {quoted(value)}: it is the number of bytes of JSON at the "
            f"start of the body, which has {limit}"
        )
    if length == 0 and ending.is_hidden(environ):
        # Its length alone tells how many rows it has.
        raise ending.length_required("a body that is one tensor")
    return length


def read(content: bytes) -> Request:
    """The request in this JSON; raises MalformedJSON and InvalidInput."""
    if len(content) > LONG:
        return _long(content) or strictly(content)
    try:
        request = _decode(content)
    except REFUSALS:
        return strictly(content)
    # The numbers differ if a name is a duplicate, or if a text holds a colon.
    if content.count(b":") != request.names or not _has_known_datatypes(request):
        return strictly(content)
    return request


def strictly(content: bytes) -> Request:
    """The request, read in Python to find the error in it; unknown members are ignored."""
    if len(content) > HEAVY:
        alone()
    members = _object(strict.parse(content, breathe), "the body")
    inputs = _list(members, "inputs", "the body")
    outputs = None if members.get("outputs") is None else _list(members, "outputs", "the body")
    identity = members.get("id")
    if not (identity is None or isinstance(identity, str)):
        raise InvalidInput("'id' is not text: send it in quotes")
    return Request(
        inputs=[_tensor(value, f"input {index}") for index, value in enumerate(inputs)],
        outputs=outputs and [_output(value, f"output {index}") for index, value in enumerate(outputs)],
        id=identity,
        parameters=_parameters(members, "the body"),
    )


def _long(content: bytes) -> Request | None:
    """A request with tensors of very many numbers, which become arrays at once; None for any other."""
    skeleton, arrays, place = [], [], 0
    while (found := _data(content, place)) is not None:
        numbers, end = numbers_at(content, found.end())
        if numbers is None:
            return None
        arrays.append(numbers)
        skeleton.append(content[place : found.end()] + b"[]")
        place = end
    skeleton.append(content[place:])
    rest = b"".join(skeleton)
    if len(rest) > LONG:
        return None
    try:
        request = _decode(rest)
    except REFUSALS:
        return None
    if rest.count(b":") != request.names or not _has_known_datatypes(request):
        return None
    return request if _filled(request.inputs, arrays) else None


def _data(content: bytes, start: int) -> "re.Match[bytes] | None":
    """The begin of the next tensor's values."""
    place = content.find(b'"data"', start)
    while place >= 0 and (found := _DATA.match(content, place)) is None:
        place = content.find(b'"data"', place + 1)
    return found if place >= 0 else None


def _filled(inputs: Sequence[Tensor], arrays: Sequence[npt.NDArray[np.float64]]) -> bool:
    """Give each tensor its array, in the order of the body; whether all fit."""
    empty = [tensor for tensor in inputs if tensor.data is not None]
    if len(empty) != len(arrays):
        return False
    for tensor, numbers in zip(empty, arrays, strict=True):
        shape = tuple(tensor.shape)
        if numbers.shape != shape and (numbers.ndim != 1 or numbers.size != prod(shape)):
            return False
        tensor.data = cast(Any, numbers)
    return True


def _names(parameters: Mapping[str, Any] | None) -> int:
    return 0 if parameters is None else 1 + len(parameters)


def _has_known_datatypes(request: Request) -> bool:
    return {tensor.datatype for tensor in request.inputs} <= _KNOWN


def _tensor(value: object, place: str) -> Tensor:
    members = _object(value, place)
    datatype = _text(members, "datatype", place)
    if datatype not in DTYPES and datatype != BYTES:
        datatypes = ", ".join((*DTYPES, BYTES))
        raise InvalidInput(f"the datatype of {place} is {quoted(datatype)}: it can be {datatypes}")
    shape = _list(members, "shape", place)
    if not all(
        isinstance(length, float) and length.is_integer() and 0 <= length < LONGEST for length in shape
    ):
        raise InvalidInput(f"the shape of {place} is not a list of whole numbers from 0 to 2**53")
    return Tensor(
        name=_text(members, "name", place),
        shape=[int(length) for length in shape],
        datatype=datatype,
        data=None if members.get("data") is None else _list(members, "data", place),
        parameters=_parameters(members, place),
    )


def _output(value: object, place: str) -> RequestedOutput:
    members = _object(value, place)
    return RequestedOutput(name=_text(members, "name", place), parameters=_parameters(members, place))


def _object(value: object, place: str) -> Members:
    if not isinstance(value, Members):
        raise InvalidInput(f"{place} is not an object: send {_EXAMPLE}")
    for name in value.repeated:
        raise InvalidInput(f"{place} has {quoted(name)} twice")
    return value


def _parameters(members: Members, place: str) -> dict[str, Any] | None:
    value = members.get("parameters")
    return None if value is None else _object(value, f"'parameters' of {place}")


def _member(kind: type, noun: str) -> Callable[[Members, str, str], Any]:
    """A function that returns a member of this kind; ``noun`` names the kind in errors."""

    def of(members: Members, name: str, place: str) -> Any:
        if name not in members:
            raise InvalidInput(f"{place} has no {name!r}: send {_EXAMPLE}")
        if not isinstance(members[name], kind):
            raise InvalidInput(f"{name!r} of {place} is not {noun}: send {_EXAMPLE}")
        return members[name]

    return of


_text = _member(str, "text")
_list = _member(list, "an array")
