"""Golden rows: made-up rows within the training ranges, with the pipeline's answers.

A server compares the answers of its session with these before it serves the model. They are never rows of the
data, because model files are passed around.
"""

import itertools
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from unpickled.export.convert import Conversion
from unpickled.export.data.layout import assemble
from unpickled.export.detectors import classes
from unpickled.export.errors import ParityError, reason
from unpickled.export.gate.answers import answers_of
from unpickled.export.gate.exactness import tolerance
from unpickled.export.places import places
from unpickled.server.artifact.manifest import Feature, Golden
from unpickled.server.model import dates
from unpickled.server.model.sizes import sizes

ROWS = 12
DRAWS = 240

Row = tuple[float | str | None, ...]
Array = npt.NDArray[Any]


def make(
    pipeline: Any, conversion: Conversion, features: Sequence[Feature], frames: Sequence[pd.DataFrame]
) -> Golden:
    """A dozen rows, with every class if possible, and one row in which all features are missing that may be.

    ``frames`` hold the user's rows, the training rows first: no golden row is one of them.
    Raises ParityError if the pipeline has no answer to made-up rows.
    """
    rows = _made_up(conversion, features, frames[0])
    rows, labels, scores, margins = _answered(rows, *_answer(pipeline, conversion, rows))
    if not rows:
        raise ParityError(
            f"{type(pipeline).__name__} answers NaN or infinity to every row made up within the ranges of "
            "the training rows: its scores overflow, so scale the numbers first or fit it again; nothing "
            "was written."
        )
    rows = [rows[index] for index in _turns(labels, margins)]
    fresh = (row for row in rows if not any(_holds(frame, row) for frame in frames))
    # If the data holds every row that can be made up, such a row says nothing about anybody.
    rows = list(itertools.islice(fresh, ROWS)) or rows[:1]
    rows, labels, scores = _with_sparse(pipeline, conversion, rows, features, frames)
    return Golden(
        rows=tuple(_written(features, row) for row in rows),
        labels=tuple(conversion.classes[label] for label in labels) if conversion.classes else (),
        scores=tuple(tuple(row) for row in scores.tolist()),
    )


def _written(features: Sequence[Feature], row: Row) -> Row:
    """The row as requests have it: with dates as text."""
    return tuple(
        dates.written(cell, feature.date) if feature.date and isinstance(cell, float) else cell
        for feature, cell in zip(features, row, strict=True)
    )


def _answered(
    rows: Sequence[Row], labels: Array, scores: Array, margins: Array
) -> tuple[list[Row], Array, Array, Array]:
    """The rows with finite scores, which are all that a manifest can hold, and their answers."""
    finite = np.asarray(np.isfinite(scores).all(axis=1))
    return list(itertools.compress(rows, finite.tolist())), labels[finite], scores[finite], margins[finite]


def _answer(pipeline: Any, conversion: Conversion, rows: Sequence[Row]) -> tuple[Array, Array, Array]:
    """The pipeline's labels, as indices of its classes if it has any, its scores and its margins."""
    cells = dict(zip(conversion.layout.names, zip(*rows, strict=True), strict=True))
    X = conversion.layout.rows(assemble(conversion.layout, cells))
    try:
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # unknown categories are tried on purpose
            answers = answers_of(pipeline, conversion, X)
    except MemoryError:
        raise
    except Exception as error:  # pipelines raise exceptions of any kind
        raise ParityError(
            f"{type(pipeline).__name__} refuses rows made up within the ranges of the training rows "
            f"({reason(error)}): a server could not check its copy with them; nothing was written."
        ) from error
    assert answers.margins is not None
    labels = answers.labels
    indices = places(classes(pipeline), labels) if conversion.classes else labels
    return indices, answers.scores, answers.margins


def _with_sparse(
    pipeline: Any,
    conversion: Conversion,
    rows: list[Row],
    features: Sequence[Feature],
    frames: Sequence[pd.DataFrame],
) -> tuple[list[Row], Array, Array]:
    """The rows and one in which all is missing that may be, with labels and scores.

    The scores are (rows, classes), a regressor's (rows, targets). That row is left out if it is the user's,
    or answered alone otherwise than beside the others. IterativeImputer does so, if every value of a batch is
    missing; and a server checks row by row.
    """
    sparse = tuple(None if feature.missing else cell for feature, cell in zip(features, rows[0], strict=True))
    if sparse != rows[0] and not any(_holds(frame, sparse) for frame in frames):
        together = _answer(pipeline, conversion, [*rows, sparse])
        _, alone, _ = _answer(pipeline, conversion, [sparse])
        beside, size = together[1][-1], sizes(together[1][-1], conversion.outputs.spans)
        allowed = tolerance(pipeline, conversion)
        if np.allclose(beside / size, alone[0] / size, rtol=0.0, atol=allowed, equal_nan=True):
            return _answered([*rows, sparse], *together)[:3]
    return _answered(rows, *_answer(pipeline, conversion, rows))[:3]


def _made_up(conversion: Conversion, features: Sequence[Feature], frame: pd.DataFrame) -> list[Row]:
    """Rows within the training ranges and categories.

    The second half has fractions where training had whole numbers, and unknown categories if they are
    accepted: the data may hold all rows without them.
    """
    rng = np.random.default_rng(0)
    columns: list[Sequence[float | str]] = []
    for feature in features:
        if feature.kind == "category":
            columns.append(_categories(feature, rng))
        elif feature.closed:
            columns.append(rng.choice(np.array(feature.values), 2 * DRAWS).tolist())
        else:
            columns.append(_numbers(feature, frame[feature.name].to_numpy(), rng))
    return list(zip(*columns, strict=True))


def _categories(feature: Feature, rng: np.random.Generator) -> list[str]:
    categories = rng.choice(np.array(feature.categories or ("",), dtype=object), 2 * DRAWS)
    if not feature.closed:
        categories[DRAWS:][rng.random(DRAWS) < 0.2] = "something else"
    return [str(category) for category in categories]


def _numbers(feature: Feature, column: Array, rng: np.random.Generator) -> list[float]:
    """Random numbers, uniform and triangular around the median in turn, rounded to 1/1000 of the range."""
    low, high = feature.minimum or 0.0, feature.maximum or 0.0
    if low == high:
        return [low] * (2 * DRAWS)
    if feature.boolean:
        return [float(bit) for bit in rng.integers(0, 2, 2 * DRAWS)]
    scale = _scale(low, high)
    first, last = low / scale, high / scale
    middle = first if feature.median is None else feature.median / scale
    uniform, triangular = rng.uniform(first, last, DRAWS), rng.triangular(first, middle, last, DRAWS)
    numbers = np.column_stack([uniform, triangular]).ravel()
    rounded = np.clip(_rounded(numbers, last - first), first, last) * scale
    numbers *= scale
    if _is_whole(column):
        rounded[:DRAWS] = np.round(numbers[:DRAWS])
    if feature.date:
        unit = 60.0 if feature.date.times else float(dates.DAY)
        rounded = np.floor(numbers / unit) * unit
    return [float(number) for number in np.clip(rounded, low, high)]


def _scale(low: float, high: float) -> float:
    """A power of two, in which numbers are drawn: numpy squares a range, which must not overflow."""
    return 1.0 if max(-low, high) < 2.0**500 else 2.0**600


def _rounded(numbers: Array, width: float) -> Array:
    """The numbers, rounded to 1/1000 of the width; no more than 308 decimals, as 10**309 is infinite."""
    return np.round(numbers, min(3 - int(np.floor(np.log10(width))), 308))


def _turns(labels: Array, margins: Array) -> list[int]:
    """Indices of the rows with a clear winner (or of all rows, if none has one), class by class in turn."""
    clear = np.flatnonzero(margins > 1e-3)
    counts: Counter[int] = Counter()
    turns = []
    for index in clear if len(clear) else range(len(labels)):
        counts[labels[index]] += 1
        turns.append((counts[labels[index]], int(index)))
    return [index for _, index in sorted(turns)]


def _holds(frame: pd.DataFrame, row: Row) -> bool:
    """Whether the frame has a row of exactly these cells."""
    equal = np.ones(len(frame), dtype=bool)
    for name, cell in zip(frame, row, strict=True):
        column = frame[name].to_numpy()
        equal &= pd.isna(column) if cell is None else column == cell
        if not equal.any():
            return False
    return True


def _is_whole(column: Array) -> bool:
    present = column[np.isfinite(column)]
    return bool(np.array_equal(present, present.round()))
