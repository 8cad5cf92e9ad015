"""One row of Python's values, read and run at once: what most calls in process are."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from unpickled.server.artifact.manifest import MISSING_CATEGORY
from unpickled.server.frames.listed import REFUSALS, converter
from unpickled.server.frames.values import PLAIN
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.feeds import DTYPES, Feeds, Row
from unpickled.server.model.outputs import refuse_not_finite
from unpickled.server.model.signature import Signature

# The types of a row that a list of one holds.
_ROWS = frozenset({list, tuple, dict})


class Answer(NamedTuple):
    """The label of a row, and its scores."""

    label: Any
    scores: tuple[float, ...]


def answering(predictor: Predictor) -> Callable[[Any], Answer | None]:
    """Return a function that answers a row which is plainly one, and inside the training range.

    It returns None for all others: the reader of rows decides about these, and finds their errors.
    """
    ranges, signature = predictor.ranges, predictor.signature
    if ranges is not None and not ranges.compiled:
        return lambda _: None
    row, record = (signature.row, signature.record) if ranges is None else signature.within(ranges)
    read_row, convert, astuple = converter(row), msgspec.convert, msgspec.structs.astuple
    textual = any(feature.kind == "category" for feature in signature.features)
    run = predictor.model.run_row or _runner(predictor)

    def answer(values: Any) -> Answer | None:
        values = _single(values)
        kind = type(values)
        try:
            if kind is list or kind is tuple:
                read: Row = read_row(values)
            elif kind is dict and record is not None:
                read = astuple(convert(values, record))
            else:
                return None
        except REFUSALS:
            return None
        # msgspec leaves a subclass of text, such as an enumeration, as it is.
        if textual and not PLAIN.issuperset(map(type, read)):
            return None
        label, scores = run(read)  # type: ignore[arg-type]
        # The sum of numbers is one unless one of them is none, or they are very large.
        total = sum(scores)
        if total - total != 0.0:
            refuse_not_finite((scores,))
        return Answer(label, scores)

    return answer


def _single(rows: Any) -> Any:
    """The row of a list, or of an array in float64, that has one; anything else as it is."""
    kind = type(rows)
    if kind is list:
        return rows[0] if len(rows) == 1 and type(rows[0]) in _ROWS else rows
    if kind is np.ndarray and rows.dtype == np.float64 and 1 <= rows.ndim <= 2:
        return rows.ravel().tolist() if rows.size == rows.shape[-1] else rows
    return rows


def _runner(predictor: Predictor) -> Callable[[Row], tuple[Any, tuple[float, ...]]]:
    """Runs one row of a model whose rows do not fit buffers that are bound once."""
    feeds, run_feeds = _feeder(predictor.signature), predictor.model.run

    def run(row: Row) -> tuple[Any, tuple[float, ...]]:
        labels, scores = run_feeds(feeds(row))
        return labels.item(), tuple(scores[0].tolist())

    return run


def _feeder(signature: Signature) -> Callable[[Row], Feeds]:
    """Makes the tensors of one row that passed the checks, in a third of the time of Signature.feeds."""
    worded = any(feature.missing_words for feature in signature.features)
    if worded or any(tensor.dtype == "int64" for tensor in signature.inputs):
        return lambda row: signature.feeds((row,))
    places = {name: place for place, name in enumerate(signature.names)}
    tensors = [
        (tensor.name, DTYPES[tensor.dtype], [places[name] for name in tensor.features])
        for tensor in signature.inputs
    ]
    array = np.array

    def feeds(row: Row) -> Feeds:
        if None in row or MISSING_CATEGORY in row:
            return signature.feeds((row,))
        return {name: array([[row[place] for place in columns]], dtype) for name, dtype, columns in tensors}

    return feeds
