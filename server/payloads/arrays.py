"""Arrow arrays made of their buffers.

``pyarrow.array`` and ``pyarrow.scalar`` import pandas where it is installed, which takes a process a second
and 40 MB.
"""

from collections.abc import Sequence
from itertools import repeat
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow

# The bytes of text that an array of strings can have.
_MOST = 2**31 - 1
# Texts that are looked at to tell whether most of them are the same few, and how few these are.
_SAMPLE, _FEW = 256, 128


def numbers(values: Any, dtype: Any) -> "pyarrow.Array":
    """Numbers (rows,) as float64, int64 or int32; None in a list is null.

    Raises:
        ValueError, OverflowError: One of a list does not fit the dtype, as 2.5 does not fit int64.
    """
    if isinstance(values, np.ndarray):
        return _of(np.ascontiguousarray(values, dtype))
    is_there = _is_there(values)
    if is_there is not None:
        values = [0 if value is None else value for value in values]
    if dtype is not np.float64 and float in set(map(type, values)):
        # NumPy would cut their decimals off.
        raise ValueError(f"numbers with decimals do not fit {np.dtype(dtype).name}")
    return _of(np.fromiter(values, dtype, len(values)), is_there)


def measured(values: Any) -> "pyarrow.Array":
    """Numbers (rows,) as float64; None and NaN are null."""
    if not isinstance(values, np.ndarray):
        filled = [np.nan if value is None else value for value in values]
        values = np.fromiter(filled, np.float64, len(filled))
    content = np.ascontiguousarray(values, np.float64)
    is_there = content == content
    return _of(content, None if is_there.all() else is_there)


def truths(values: Sequence[bool | None]) -> "pyarrow.Array":
    """Truth values; None is null."""
    import pyarrow

    content = np.fromiter(map(bool, values), np.bool_, len(values))
    buffers = [_bits(_is_there(values)), _bits(content)]
    return pyarrow.Array.from_buffers(pyarrow.bool_(), len(values), buffers)


def texts(values: Sequence[str | None]) -> "pyarrow.Array":
    """Texts (rows,) as strings; None is null."""
    sample = values[:: len(values) // _SAMPLE + 1]
    if len(set(sample)) < min(len(sample), _FEW):
        places = {text: place for place, text in enumerate(dict.fromkeys(values))}
        return _texts([*places]).take(numbers([*map(places.__getitem__, values)], np.int64))
    return _texts(values)


def text(value: str) -> "pyarrow.Scalar":
    """One text."""
    return _texts([value])[0]


def _texts(values: Sequence[str | None]) -> "pyarrow.Array":
    import pyarrow

    is_there = _is_there(values)
    contents: Any = values if is_there is None else [value or "" for value in values]
    content = "".join(contents)
    encoded = content.encode()
    # In ASCII, each character is a byte.
    pieces = contents if len(encoded) == len(content) else [value.encode() for value in contents]
    if len(encoded) > _MOST:
        raise ValueError(f"{len(values)} texts have more than 2 GiB")
    ends = np.zeros(len(pieces) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, pieces), np.int32, len(pieces)), out=ends[1:])
    buffers = [_bits(is_there), pyarrow.py_buffer(ends), pyarrow.py_buffer(encoded)]
    return pyarrow.Array.from_buffers(pyarrow.string(), len(pieces), buffers)


def _is_there(values: Sequence[Any]) -> Any:
    """False (rows,) where a value is None; None where all are there."""
    if None not in values:
        return None
    return np.fromiter(map(is_not, values, repeat(None)), np.bool_, len(values))


def _of(content: Any, is_there: Any = None) -> "pyarrow.Array":
    """The array of numbers, with null where ``is_there`` is False."""
    import pyarrow

    kind = pyarrow.from_numpy_dtype(content.dtype)
    return pyarrow.Array.from_buffers(kind, len(content), [_bits(is_there), pyarrow.py_buffer(content)])


def _bits(values: Any) -> "pyarrow.Buffer | None":
    """Truth values, packed; None for None."""
    import pyarrow

    return None if values is None else pyarrow.py_buffer(np.packbits(values, bitorder="little"))
