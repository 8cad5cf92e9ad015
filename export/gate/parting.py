"""The step at which a pipeline and its graph part: the first transformer whose columns differ."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from unpickled.export import inside
from unpickled.export.convert import Trace, trace
from unpickled.export.data.layout import Layout, Rows
from unpickled.server.model.session import open_graph

Array = npt.NDArray[Any]

# Rows that are looked at, and the largest difference that counts as rounding, relative to max(1, |number|).
ROWS = 200
ROUNDING = {"float64": 1e-9, "float32": 1e-4}


@dataclass(frozen=True, slots=True)
class Parting:
    """A difference in a sentence, and its step in words: None where that is the last one."""

    sentence: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class _Difference:
    """The worst number of a step: its row and column, and what both make of it."""

    row: int
    column: int
    expected: object
    served: object


def parting(pipeline: Any, layout: Layout, frame: pd.DataFrame) -> Parting | None:
    """The first step whose columns differ on these rows; None if the steps cannot be compared."""
    pipeline = inside.unwrapped(pipeline)
    if not isinstance(pipeline, Pipeline) or len(inside.parts(pipeline)) < 2:
        return None
    frame = frame.iloc[:ROWS].reset_index(drop=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _parting(pipeline, layout, frame)
    except Exception:  # it only explains an error: what it cannot explain is not to hide that error
        return None


def _parting(pipeline: Pipeline, layout: Layout, frame: pd.DataFrame) -> Parting:
    served = _served(trace(pipeline, layout), layout, frame)
    for path, estimator, expected in _steps(pipeline, layout.rows(frame)):
        difference = _difference(expected, served[path], ROUNDING[layout.dtype])
        if difference is not None:
            return _at(path, estimator, difference, frame)
    last = pipeline.steps[-1]
    return Parting(f"The steps before agree: they part at the last one, {last[0]!r} ({_name(last[1])}).")


def _at(path: str, estimator: Any, difference: _Difference, frame: pd.DataFrame) -> Parting:
    step = f"{path!r} ({_name(estimator)})"
    names = _names(estimator)
    column = names[difference.column] if names else str(difference.column)
    return Parting(
        f"They part at step {step}: its output {column!r} is {difference.expected!r} in the pipeline, "
        f"{difference.served!r} in the graph for row {row_in_words(frame, difference.row)}.",
        step,
    )


def _name(estimator: Any) -> str:
    return type(estimator).__name__


def _names(estimator: Any) -> list[str]:
    """The names of its output columns; none if it does not tell them."""
    try:
        return [str(name) for name in estimator.get_feature_names_out()]
    except Exception:  # estimators raise exceptions of any kind
        return []


def _served(traced: Trace, layout: Layout, frame: pd.DataFrame) -> dict[str, Array]:
    """For each path the graph's columns, as an array of objects (rows, columns)."""
    session = open_graph(traced.model.SerializeToString())
    tensors = session.run(None, layout.feeds(frame, traced.inputs))
    columns: dict[str, dict[int, Array]] = {}
    for (path, positions), tensor in zip(traced.outputs, tensors, strict=True):
        columns.setdefault(path, {}).update(zip(positions, tensor.astype(object).T, strict=True))
    return {path: np.stack([by[i] for i in sorted(by)], axis=1) for path, by in columns.items()}


def _steps(step: Any, rows: Rows, path: str = "") -> Iterator[tuple[str, Any, Rows]]:
    """(path, transformer, its output) of every transformer before the last step, the inner ones first."""
    members = inside.parts(step)
    for part in members if path else members[:-1]:
        if isinstance(part.estimator, str):
            continue
        place = f"{path}/{part.name}" if path else part.name
        taken = rows if part.columns is None else _selected(rows, part.columns)
        inner = inside.unwrapped(part.estimator)
        if isinstance(inner, (Pipeline, ColumnTransformer, FeatureUnion)):
            yield from _steps(inner, taken, place)
        transformed = part.estimator.transform(taken)
        yield place, part.estimator, transformed
        if isinstance(step, Pipeline):
            rows = transformed


def _selected(rows: Rows, positions: Any) -> Rows:
    return rows.iloc[:, list(positions)] if isinstance(rows, pd.DataFrame) else rows[:, list(positions)]


def _difference(expected: Rows, served: Array, rounding: float) -> _Difference | None:
    """The worst number that differs by more than rounding, or a text that differs; None if none does."""
    dense = expected.toarray() if hasattr(expected, "toarray") else expected
    table = np.asarray(dense, dtype=object)
    if table.shape != served.shape:
        return None
    apart = np.stack([_apart(a, b) for a, b in zip(table.T, served.T, strict=True)], axis=1)
    row, column = np.unravel_index(int(apart.argmax()), apart.shape)
    if not apart[row, column] > rounding:
        return None
    return _Difference(int(row), int(column), _plain(table[row, column]), _plain(served[row, column]))


def _apart(expected: Array, served: Array) -> Array:
    """(rows,): how far two columns are apart, relative to max(1, |number|); infinite for different texts."""
    if any(isinstance(value, str) for value in served):
        return np.where(expected == served, 0.0, np.inf)
    one, other = expected.astype(np.float64), served.astype(np.float64)
    apart = np.abs(one - other) / np.maximum(1.0, np.abs(one))
    apart[np.isnan(one) != np.isnan(other)] = np.inf
    apart[(one == other) | (np.isnan(one) & np.isnan(other))] = 0.0
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf)


def _plain(value: Any) -> object:
    return value.item() if isinstance(value, np.generic) else value


def row_in_words(frame: pd.DataFrame, row: int) -> str:
    """The first features of a row in words."""
    values = [(name, frame[name].iloc[row]) for name in frame.columns[:6]]
    cells = [
        f"{name}={value:.17g}" if isinstance(value, float) else f"{name}={value!r}" for name, value in values
    ]
    return ", ".join(cells) + (", ..." if frame.shape[1] > 6 else "")
