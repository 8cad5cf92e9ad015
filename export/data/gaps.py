"""Missing texts that an imputer leaves as they are: None where it replaces NaN, or the other way round."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer

from unpickled.export import inside
from unpickled.export.data.layout import Layout, Rows
from unpickled.export.data.missing import is_missing
from unpickled.server.quote import listed, quoted


def complaint(pipeline: Any, layout: Layout, X: Rows) -> str | None:
    """A sentence with the remedy if rows hold gaps that an imputer in front of them does not replace.

    A request has one null for both: it cannot say which of them is meant.
    """
    raw = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X), dtype=object)
    for path, imputer, positions in _imputers(pipeline, tuple(range(layout.width)), ()):
        columns = [i for i, at in enumerate(layout.positions) if at in positions]
        texts = [i for i in columns if layout.kinds[i] == "category"]
        left = [i for i in texts if _leaves(imputer, _column(raw, layout, i))]
        if left:
            return _sentence(path, imputer, [layout.labels[i] for i in left], isinstance(X, pd.DataFrame))
    return None


def _imputers(
    step: Any, positions: tuple[int, ...], path: tuple[str, ...]
) -> Iterator[tuple[str, SimpleImputer, Sequence[int]]]:
    """(path, imputer, positions of its columns) of each imputer of None or NaN that no step stands before."""
    if isinstance(step, SimpleImputer) and is_missing(step.missing_values):
        yield "/".join(path), step, positions
    for part in inside.parts(step):
        if part.before is None and not isinstance(part.estimator, str):
            yield from _imputers(part.estimator, part.select(positions), (*path, part.name or "estimator"))


def _column(raw: pd.DataFrame, layout: Layout, index: int) -> pd.Series:
    label = layout.labels[index]
    column: pd.Series = raw[label] if label in raw.columns else raw.iloc[:, layout.positions[index]]
    return column


def _leaves(imputer: SimpleImputer, column: pd.Series) -> bool:
    """Whether a column has gaps that the imputer does not take for missing; with pandas' NA it takes all."""
    missing = imputer.missing_values
    gaps = column[column.isna()]
    return missing is not pd.NA and any((gap is None) != (missing is None) for gap in gaps)


def _sentence(path: str, imputer: SimpleImputer, labels: Sequence[object], framed: bool) -> str:
    stray, replaced = ("NaN", "None") if imputer.missing_values is None else ("None", "NaN")
    value = "float('nan')" if replaced == "NaN" else "None"
    columns = f"X[{list(labels)!r}]"
    remedy = f"{columns} = {columns}.astype(object).where({columns}.notna(), {value})"
    if not framed:
        remedy = f"X[pd.isna(X)] = {value}"
    names = f"Column{'s' * (len(labels) > 1)} {listed([str(label) for label in labels], 5, quoted)}"
    return (
        f"{names} hold{'s' * (len(labels) == 1)} {stray}, which step {path!r} (SimpleImputer) does not "
        f"replace, as its missing_values is {replaced}; in a request there is one null for both. Fit the "
        f"pipeline again after `{remedy}`; nothing was written."
    )
