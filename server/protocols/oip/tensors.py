"""Tensors in the protocol, as JSON or little-endian bytes, and their conversion to NumPy and back."""

import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InvalidInput
from unpickled.server.model.feeds import Column
from unpickled.server.quote import counted, quoted

# Datatype -> NumPy's dtype of its bytes. BYTES stands for text: each is 4 bytes of length, then UTF-8.
DTYPES = {
    name: np.dtype(kind)
    for name, kind in {
        "BOOL": "u1", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
        "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
        "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
    }.items()
}  # fmt: skip
BYTES = "BYTES"
# A graph's dtype -> datatype.
DATATYPES = {"float32": "FP32", "float64": "FP64", "int64": "INT64", "string": BYTES}

_LITTLE = sys.byteorder == "little"
# Above all lengths and sizes: no tensor has so many rows, columns or bytes.
LONGEST = 2**53
# Datatype of whole numbers -> its lowest and highest number.
_WHOLE = {
    name: (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
    for name, dtype in DTYPES.items()
    if dtype.kind in "iu"
} | {"BOOL": (0.0, 1.0)}

_LENGTH = struct.Struct("<I")
_Scalar = float | str | bool | None


class Tensor(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An input in a request; ``data`` is None if its values follow the JSON as bytes.

    Very many numbers are an array already, which fits the shape; NaN stands for null.
    """

    name: str
    shape: list[Annotated[int, msgspec.Meta(ge=0, lt=LONGEST)]]
    datatype: str
    data: list[_Scalar | list[_Scalar]] | None = None
    parameters: dict[str, _Scalar] | None = None


def described(name: str, datatype: str, shape: Sequence[int]) -> dict[str, Any]:
    """The JSON of a tensor without its values."""
    return {"name": name, "datatype": datatype, "shape": shape}


def refuse_shared_memory(name: str, parameters: Mapping[str, Any]) -> None:
    """InvalidInput if a tensor is to be read from, or written to, shared memory."""
    if "shared_memory_region" in parameters:
        raise InvalidInput(f"this server shares no memory: send and take tensor {quoted(name)} in bodies")


def from_bytes(tensor: Tensor, request: bytes, start: int, size: int) -> Column:
    """The values in the ``size`` bytes from ``start`` on, in the tensor's shape; text as a flat list."""
    remaining = len(request) - start
    if size > remaining:
        raise InvalidInput(
            f"tensor {quoted(tensor.name)} has binary_data_size {size}, but {counted(remaining, 'byte')} "
            "left for it after the JSON, whose length is the header Inference-Header-Content-Length"
        )
    count = _count(tensor)
    if tensor.datatype == BYTES:
        return _texts(tensor, memoryview(request)[start : start + size], count)
    dtype = DTYPES[tensor.datatype]
    if count * dtype.itemsize != size:
        raise InvalidInput(
            f"tensor {quoted(tensor.name)} has binary_data_size {size}, but {counted(count, 'value')} "
            f"of {tensor.datatype} make {counted(count * dtype.itemsize, 'byte')}"
        )
    values = np.frombuffer(request, dtype, count, start).reshape(tensor.shape)
    if tensor.datatype == "BOOL" and values.max() > 1:
        raise InvalidInput(f"tensor {quoted(tensor.name)} is BOOL, but a byte of it is neither 0 nor 1")
    return values


def from_json(tensor: Tensor) -> Column:
    """The values in the JSON, nested or flat, as doubles in the tensor's shape; null becomes NaN.

    If not all of them are numbers, a flat list, in which the signature then finds the error. FP16 and FP32
    do not round a number: it is read as the double that is written there.
    """
    if isinstance(tensor.data, np.ndarray):
        return _checked(tensor, tensor.data.reshape(tensor.shape))
    values = _flat(tensor)
    if tensor.datatype == "BOOL":
        values = [float(value) if isinstance(value, bool) else value for value in values]
    if not {*map(type, values)} <= {float, type(None)}:
        return values
    return _checked(tensor, np.array(values, dtype=np.float64).reshape(tensor.shape))


def to_bytes(values: npt.NDArray[Any] | Sequence[str]) -> bytes:
    """The bytes of numbers, or of texts with their lengths."""
    if isinstance(values, np.ndarray) and values.dtype != np.object_:
        return (values if _LITTLE else values.byteswap()).tobytes()
    encoded = [text.encode() for text in values]
    return b"".join(chain.from_iterable((_LENGTH.pack(len(text)), text) for text in encoded))


def _count(tensor: Tensor) -> int:
    count = 1
    for length in tensor.shape:
        count *= length
    return count


def _flat(tensor: Tensor) -> list[Any]:
    data: list[Any] = tensor.data or []
    if len(tensor.shape) == 2 and data and isinstance(data[0], list):
        rows, width = tensor.shape
        for index, row in enumerate(data):
            if not isinstance(row, list) or len(row) != width:
                raise InvalidInput(
                    f"row {index} of tensor {quoted(tensor.name)} is not an array of "
                    f"{counted(width, 'value')}, as its shape says",
                    row=index,
                )
        if len(data) != rows:
            raise InvalidInput(
                f"tensor {quoted(tensor.name)} has {counted(len(data), 'row')}, but its shape says {rows}"
            )
        return [*chain.from_iterable(data)]
    if len(data) != _count(tensor):
        raise InvalidInput(
            f"tensor {quoted(tensor.name)} has {counted(len(data), 'value')}, but its shape "
            f"{tensor.shape} makes {_count(tensor)}"
        )
    return data


def _checked(tensor: Tensor, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if tensor.datatype in _WHOLE:
        _check_whole(tensor, numbers)
    return numbers


def _check_whole(tensor: Tensor, numbers: npt.NDArray[np.float64]) -> None:
    lowest, highest = _WHOLE[tensor.datatype]
    sound = (numbers == np.floor(numbers)) & (lowest <= numbers) & (numbers <= highest) | np.isnan(numbers)
    for place in np.flatnonzero(~sound)[:1].tolist():
        raise InvalidInput(
            f"tensor {quoted(tensor.name)} is {tensor.datatype}, but its value {place} is "
            f"{float(numbers.flat[place])!r}: send whole numbers from {lowest:.0f} to {highest:.0f}, or FP64"
        )


def _texts(tensor: Tensor, content: memoryview, count: int) -> list[str]:
    try:
        # One text too many is enough for an error.
        texts = [str(text, "utf-8") for text in islice(_parts(content), min(count, len(content)) + 1)]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"a text of tensor {quoted(tensor.name)} is not UTF-8 ({error.reason})") from None
    except struct.error:
        raise InvalidInput(
            f"tensor {quoted(tensor.name)} ends in the middle of a text: each is 4 bytes of length, lowest "
            "first, and so many bytes of UTF-8"
        ) from None
    if len(texts) != count:
        number = len(texts) if len(texts) < count else f"over {count}"
        raise InvalidInput(
            f"tensor {quoted(tensor.name)} has {number} texts, but its shape {tensor.shape} makes {count}"
        )
    return texts


def _parts(content: memoryview) -> Iterable[memoryview]:
    """The bytes of each text; struct.error if the last one is cut short."""
    place = 0
    while place < len(content):
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size + length
        if place > len(content):
            raise struct.error
        yield content[place - length : place]
