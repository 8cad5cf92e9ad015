"""NumPy's arrays as columns and as blocks of numbers, by their dtype.

Numbers of every width become the doubles that JSON has for them. In a feature of dates they are seconds since
1970, as in a tensor of numbers over HTTP.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import InvalidInput
from unpickled.server.frames.values import plain_column, refuse_date
from unpickled.server.model.feeds import Column
from unpickled.server.quote import quoted

# The kinds of dtypes: numbers; truth values and objects, whose values are looked at one by one.
NUMBERS, _OBJECTS = "iuf", "bOUT"
_REMEDIES = {
    "S": "decode its bytes to text",
    "m": "divide by numpy.timedelta64(1, 's'), or by the unit of training",
}


def block(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Numbers of any dtype as float32 or float64; NaN where a mask hides one. Copied only if necessary."""
    if isinstance(values, np.ma.MaskedArray):
        masked: Any = values.astype(np.float64)
        return np.asarray(masked.filled(np.nan))
    native = values.dtype in (np.float32, np.float64) and values.dtype.isnative
    return values if native else values.astype(np.float64)


def column(values: npt.NDArray[Any], feature: Feature, first: int) -> Column:
    """The values of one feature (rows,); ``first`` is the number of the first row.

    Raises InvalidInput for a dtype that is not read, and for dates in a feature of another kind.
    """
    kind = values.dtype.kind
    if kind in NUMBERS:
        return block(values).astype(np.float64, copy=False)
    if kind in _OBJECTS:
        return plain_column(values.tolist(), feature, first)
    if kind == "M":
        return moments(values, feature, first)
    remedy = _REMEDIES.get(kind, "give numbers or text")
    sentence = f"feature {quoted(feature.name)} is of the dtype {values.dtype}, which is not read: {remedy}"
    raise InvalidInput(sentence, feature=feature.name[:200])


def moments(values: npt.NDArray[Any], feature: Feature, first: int, end: str = "") -> list[str | None]:
    """Dates in ISO 8601, to the second: what is finer is dropped, as from text. ``end`` is "Z" for UTC."""
    # A mask hides a date that is in memory nevertheless.
    gaps = np.isnat(np.ma.getdata(values)) | np.ma.getmaskarray(values)
    if not gaps.all():
        refuse_date(str(values.dtype), feature, first + int(np.argmin(gaps)))
    texts = np.datetime_as_string(np.ma.getdata(values).astype("M8[s]")).tolist()
    return [None if gap else f"{text}{end}" for text, gap in zip(texts, gaps.tolist(), strict=True)]
