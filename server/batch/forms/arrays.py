"""Arrow arrays of answers, made of their buffers.

``pyarrow.array`` imports pandas where it is installed, which takes each process as long as a million rows do.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow


def numbers(values: Any, dtype: Any) -> "pyarrow.Array":
    """Numbers (rows,) as int64 or float64."""
    import pyarrow

    content = np.ascontiguousarray(values, dtype)
    kind = pyarrow.from_numpy_dtype(content.dtype)
    return pyarrow.Array.from_buffers(kind, len(content), [None, pyarrow.py_buffer(content)])


def texts(values: Sequence[str]) -> "pyarrow.Array":
    """Texts (rows,) as strings; most of them are the same few."""
    import pyarrow

    places = {text: place for place, text in enumerate(dict.fromkeys(values))}
    contents = [text.encode() for text in places]
    ends = np.cumsum([0, *map(len, contents)], dtype=np.int32)
    buffers = pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(contents))
    distinct = pyarrow.StringArray.from_buffers(len(contents), *buffers)
    return distinct.take(numbers([places[text] for text in values], np.int64))
