"""What an inference request asks for: read by a compiled decoder, or in Python where a sentence is owed."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from unpickled.server.errors import InvalidInput
from unpickled.server.message import strict
from unpickled.server.message.strict import Members
from unpickled.server.protocols.oip.tensors import BYTES, DTYPES, LONGEST, Tensor
from unpickled.server.protocols.rows import REFUSALS
from unpickled.server.quote import quoted

_EXAMPLE = '{"inputs": [{"name": ..., "shape": [rows, columns], "datatype": "FP64", "data": [...]}]}'
_KNOWN = {*DTYPES, BYTES}
_LENGTH = "HTTP_INFERENCE_HEADER_CONTENT_LENGTH"


class RequestedOutput(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An output that is asked for."""

    name: str
    parameters: dict[str, float | str | bool | None] | None = None


class Request(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The JSON of a request; what clients may leave out they may also send as null."""

    inputs: list[Tensor]
    outputs: list[RequestedOutput] | None = None
    id: str | None = None
    parameters: dict[str, float | str | bool | None] | None = None

    @property
    def names(self) -> int:
        """How many names its JSON had, if none was given twice: as many as it then has colons."""
        count = 1 + (self.id is not None) + _names(self.parameters) + (self.outputs is not None)
        for tensor in self.inputs:
            count += 3 + (tensor.data is not None) + _names(tensor.parameters)
        for wanted in self.outputs or ():
            count += 1 + _names(wanted.parameters)
        return count


_decode = msgspec.json.Decoder(Request).decode


def header_length(environ: Mapping[str, Any], limit: int) -> int | None:
    """Bytes of JSON before the tensors of a body of ``limit`` bytes; None where all of it is JSON."""
    told = environ.get(_LENGTH)
    if told is None:
        return None
    length = int(told) if told.isascii() and told.isdigit() and len(told) < 20 else -1
    if not 0 <= length <= limit:
        raise InvalidInput(
            f"Inference-Header-Content-Length is {quoted(told)}: it is the number of bytes of JSON at the "
            f"start of the body, which has {limit}"
        )
    return length


def read(content: bytes) -> Request:
    """A request out of its JSON; raises MalformedJSON and InvalidInput."""
    try:
        found = _decode(content)
    except REFUSALS:
        return strictly(content)
    # Where a name has come twice, or a text holds a colon.
    if content.count(b":") != found.names or not _is_known(found):
        return strictly(content)
    return found


def strictly(content: bytes) -> Request:
    """The same in Python, which says what is wrong. Members that nobody knows are passed over."""
    members = _object(strict.parse(content), "the body")
    given = _list(members, "inputs", "the body")
    asked = None if members.get("outputs") is None else _list(members, "outputs", "the body")
    identity = members.get("id")
    if not (identity is None or isinstance(identity, str)):
        raise InvalidInput("'id' is not text: send it in quotes")
    return Request(
        inputs=[_tensor(value, f"input {index}") for index, value in enumerate(given)],
        outputs=asked and [_wanted(value, f"output {index}") for index, value in enumerate(asked)],
        id=identity,
        parameters=_parameters(members, "the body"),
    )


def _names(parameters: Mapping[str, Any] | None) -> int:
    return 0 if parameters is None else 1 + len(parameters)


def _is_known(request: Request) -> bool:
    return {tensor.datatype for tensor in request.inputs} <= _KNOWN


def _tensor(value: object, what: str) -> Tensor:
    members = _object(value, what)
    datatype = _text(members, "datatype", what)
    if datatype not in DTYPES and datatype != BYTES:
        known = ", ".join((*DTYPES, BYTES))
        raise InvalidInput(f"the datatype of {what} is {quoted(datatype)}: it can be {known}")
    shape = _list(members, "shape", what)
    if not all(
        isinstance(length, float) and length.is_integer() and 0 <= length < LONGEST for length in shape
    ):
        raise InvalidInput(f"the shape of {what} is not a list of whole numbers from 0 to 2**53")
    return Tensor(
        name=_text(members, "name", what),
        shape=[int(length) for length in shape],
        datatype=datatype,
        data=None if members.get("data") is None else _list(members, "data", what),
        parameters=_parameters(members, what),
    )


def _wanted(value: object, what: str) -> RequestedOutput:
    members = _object(value, what)
    return RequestedOutput(name=_text(members, "name", what), parameters=_parameters(members, what))


def _object(value: object, what: str) -> Members:
    if not isinstance(value, Members):
        raise InvalidInput(f"{what} is not an object: send {_EXAMPLE}")
    for name in value.repeated:
        raise InvalidInput(f"{what} has {quoted(name)} twice")
    return value


def _parameters(members: Members, what: str) -> dict[str, Any] | None:
    value = members.get("parameters")
    return None if value is None else _object(value, f"'parameters' of {what}")


def _member(kind: type, called: str) -> Callable[[Members, str, str], Any]:
    def of(members: Members, name: str, what: str) -> Any:
        if name not in members:
            raise InvalidInput(f"{what} has no {name!r}: send {_EXAMPLE}")
        if not isinstance(members[name], kind):
            raise InvalidInput(f"{name!r} of {what} is not {called}: send {_EXAMPLE}")
        return members[name]

    return of


_text = _member(str, "text")
_list = _member(list, "an array")
