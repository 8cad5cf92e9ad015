"""The layout of the rows that a pipeline takes: its columns, their kinds, and the container of the rows."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.boosters.registry import knows_dtypes
from unpickled.export.data.facts import Fact, facts
from unpickled.export.data.labels import fitted_labels, fitted_names, fitted_width
from unpickled.export.data.missing import is_missing
from unpickled.export.errors import ConversionError
from unpickled.export.inside import columns_read, everything
from unpickled.server.artifact.manifest import MISSING_CATEGORY, Feature, Input
from unpickled.server.quote import counted, listed

Kind = Literal["number", "category"]
# An ndarray or a DataFrame, as pipelines take them.
Rows = Any
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """Translates between rows as a pipeline takes them and frames whose columns are its features.

    In a frame, numbers are float64 (float32 if all of the user's are) with NaN for a missing one, and
    categories are text with None for a missing one. ``labels`` are the names or positions of the columns in
    the user's rows, ``positions`` their positions among the ``width`` columns that the pipeline was fitted
    on, ``blanks`` the values in the user's rows that stand for a missing category, ``booleans`` whether they
    hold truth values. ``narrow`` are the positions of the features whose columns are float32 in a data frame
    that has other columns too, ``boxed`` those of numbers that the pipeline knows as Python objects.
    ``native`` has the pandas dtype of each feature that a model takes as a column of categories.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    labels: tuple[Hashable, ...]
    positions: tuple[int, ...]
    width: int
    framed: bool
    dtype: Literal["float32", "float64"]
    text: tuple[Any, ...]
    blanks: tuple[object, ...]
    booleans: tuple[bool, ...]
    narrow: tuple[int, ...] = ()
    boxed: tuple[int, ...] = ()
    native: Mapping[int, pd.CategoricalDtype] = field(default_factory=dict)

    @classmethod
    def of(cls, pipeline: Any, X: Rows, feature_names: Sequence[str] | None = None) -> "Layout":
        """The layout of representative rows. Raises ConversionError for rows that no graph can take."""
        raw = _raw(pipeline, X)
        labels = tuple(_labels_read(pipeline, raw))
        if feature_names is not None:
            # The names are in the order of X's columns, features in the order the pipeline was fitted on.
            present = [label for label in raw.columns if label in labels]
            renamed = dict(zip(present, _distinct(feature_names, len(present)), strict=True))
            feature_names = [renamed[label] for label in labels]
        raw = raw[list(labels)]
        names = _names(pipeline, labels, feature_names, isinstance(X, pd.DataFrame))
        kinds = tuple(_kind(raw[label], name) for label, name in zip(labels, names, strict=True))
        floats = all(str(dtype) == "float32" for dtype in raw.dtypes)
        _check_floats(raw)
        positions = _positions(pipeline, raw)
        known = tuple(facts(pipeline, range(max(positions, default=-1) + 1)))
        blanks = _blanks(known, raw, positions)
        framed = fitted_names(pipeline) is not None or _has_unnamed_frame(pipeline, X)
        # An array, which an unnamed pipeline gets, has one precision for all.
        mixed = framed and not floats
        narrow = tuple(i for i, label in enumerate(labels) if mixed and _is_narrow(raw[label]))
        return cls(
            names=names,
            kinds=kinds,
            labels=labels,
            positions=positions,
            width=_width(pipeline, len(labels)),
            framed=framed,
            dtype="float32" if floats and len(labels) else "float64",
            text=tuple(_text_dtype(raw[label], gap) for label, gap in zip(labels, blanks, strict=True)),
            blanks=blanks,
            booleans=tuple(holds_truth(raw[label]) for label in labels),
            narrow=narrow,
            boxed=_boxed(known, positions, kinds),
            native=_native(pipeline, known, raw, positions),
        )

    def frame(self, X: Rows) -> pd.DataFrame:
        """The frame of these rows, with one column per feature."""
        raw = X if isinstance(X, pd.DataFrame) else _table(X)
        if not isinstance(X, pd.DataFrame) and raw.shape[1] == len(self.labels):
            raw.columns = pd.Index(list(self.labels), dtype=object)
        missing = [str(label) for label in self.labels if label not in raw.columns]
        if missing and raw.shape[1] == len(self.names):
            raw, missing = raw.set_axis(list(self.labels), axis=1), []
        if missing:
            raise ConversionError(f"The rows lack the column(s) {listed(missing)}: add them.")
        if "category" not in self.kinds and set(map(str, raw.dtypes.unique())) == {self.dtype}:
            return pd.DataFrame(raw[list(self.labels)].to_numpy(copy=True), columns=list(self.names))
        frame = pd.DataFrame(
            {
                name: _number_column(raw[label], self.dtype) if kind == "number" else _text_column(raw[label])
                for name, label, kind in zip(self.names, self.labels, self.kinds, strict=True)
            },
            columns=list(self.names),
        )
        # If all columns are numbers: one block of memory instead of one per column.
        return frame if "category" in self.kinds else pd.DataFrame(frame.to_numpy(), columns=frame.columns)

    def rows(self, frame: pd.DataFrame) -> Rows:
        """The rows of a frame, in the kind of container that the pipeline was fitted on."""
        if self.narrow:
            frame = frame.astype({self.names[i]: np.float32 for i in self.narrow})
        objects = self._objects()
        if not objects:
            return frame.set_axis(list(self.labels), axis=1) if self.framed else frame.to_numpy()
        columns = {}
        for i, (name, label, text, blank) in enumerate(
            zip(self.names, self.labels, self.text, self.blanks, strict=True)
        ):
            column = frame[name]
            if i in self.native:
                column = _categorical(column, self.native[i])
            elif i in objects:
                filled = np.array([blank if is_missing(v) else v for v in column], dtype=object)
                column = pd.Series(filled, dtype=text)
            columns[label] = column if i in objects else column.to_numpy()
        rows = pd.DataFrame(
            columns, columns=pd.Index(list(self.labels), dtype=object), index=range(len(frame))
        )
        if self.framed:
            rows.columns = pd.Index(list(self.labels))
            return rows
        return rows.to_numpy(dtype=object)

    def _objects(self) -> frozenset[int]:
        """The positions of the features whose columns hold Python objects in the pipeline's rows."""
        texts = (i for i, kind in enumerate(self.kinds) if kind == "category")
        return frozenset((*texts, *self.boxed, *self.native))

    def own(self, X: Rows) -> Rows:
        """The user's rows with unchanged values, in the kind of container that the pipeline was fitted on."""
        if self.framed == isinstance(X, pd.DataFrame) and self._has_its_blanks(X) and self._is_native(X):
            return X[list(self.labels)] if self.framed else X
        return self.rows(self.frame(X))

    def _has_its_blanks(self, X: Rows) -> bool:
        """Whether missing categories in a frame are the very values that the pipeline was fitted on."""
        if not self.framed:
            return True
        gaps = [(X[self.labels[i]], type(self.blanks[i])) for i in self._objects()]
        return all(type(gap) is known for column, known in gaps for gap in column[column.isna()])

    def _is_native(self, X: Rows) -> bool:
        """Whether the columns of categories in a frame have their dtypes."""
        return all(X[self.labels[i]].dtype == dtype for i, dtype in self.native.items())

    def feeds(self, frame: pd.DataFrame, inputs: Sequence[Input]) -> dict[str, Array]:
        """The graph's input tensors for the rows of a frame."""
        return {item.name: _tensor(frame[list(item.features)], item.dtype) for item in inputs}

    def features(self, frame: pd.DataFrame) -> tuple[Feature, ...]:
        """Every feature with its range or its categories in these rows; ``missing`` is False for now."""
        columns = zip(self.names, self.kinds, self.booleans, strict=True)
        return tuple(_feature(name, kind, frame[name], boolean) for name, kind, boolean in columns)


def _table(X: Any) -> pd.DataFrame:
    """An array of rows as a frame; ConversionError where it is none."""
    try:
        values = np.asarray(X)
    except ValueError:
        raise ConversionError(f"The rows are a {type(X).__name__}: give an array or a data frame.") from None
    if values.ndim != 2:
        raise ConversionError(f"The rows must be a table of two dimensions, not of {values.ndim}.")
    return pd.DataFrame(values)


def _raw(pipeline: Any, X: Rows) -> pd.DataFrame:
    if hasattr(X, "tocsr"):
        raise ConversionError("The rows are a sparse matrix: give them dense, as X.toarray().")
    if isinstance(X, pd.DataFrame):
        raw = X
    else:
        raw = _table(X)
        fitted = fitted_names(pipeline)
        if fitted is not None and len(fitted) == raw.shape[1]:
            raw.columns = pd.Index(fitted)
    if not len(raw) or (not raw.shape[1] and fitted_names(pipeline) is None):
        raise ConversionError("The rows are empty: give some of the training rows.")
    if raw.columns.has_duplicates:
        duplicate = raw.columns[raw.columns.duplicated()][0]
        raise ConversionError(f"Two columns are called {duplicate!r}: give every column its own name.")
    return raw


def _labels_read(pipeline: Any, raw: pd.DataFrame) -> list[Hashable]:
    """Labels of the columns that the pipeline reads, in the order in which it was fitted on them."""
    fitted = fitted_labels(pipeline, raw.columns)
    if fitted is None:
        expected = fitted_width(pipeline)
        if expected is not None and raw.shape[1] != expected:
            raise ConversionError(
                f"The rows have {counted(raw.shape[1], 'column')}, but the pipeline was fitted on {expected}."
            )
        return list(raw.columns)
    needed = {fitted[position] for position in columns_read(pipeline, len(fitted))}
    lacking = [str(name) for name in fitted if name in needed and name not in raw.columns]
    if lacking:
        raise ConversionError(
            f"The rows lack the column(s) {listed(lacking)}, which the pipeline was fitted on: add them."
        )
    return [name for name in fitted if name in needed]


def _width(pipeline: Any, features: int) -> int:
    """How many columns the pipeline was fitted on."""
    names = fitted_names(pipeline)
    return (fitted_width(pipeline) or features) if names is None else len(names)


def _positions(pipeline: Any, raw: pd.DataFrame) -> tuple[int, ...]:
    fitted = fitted_labels(pipeline, raw.columns)
    if fitted is None:
        return tuple(range(raw.shape[1]))
    positions = {name: i for i, name in enumerate(fitted)}
    return tuple(positions[label] for label in raw.columns)


def _has_unnamed_frame(pipeline: Any, X: Rows) -> bool:
    """Whether it was fitted on a frame whose names are not text, of which scikit-learn keeps no names."""
    return isinstance(X, pd.DataFrame) and not all(isinstance(label, str) for label in X.columns)


def _names(
    pipeline: Any, labels: tuple[Hashable, ...], names: Sequence[str] | None, framed: bool
) -> tuple[str, ...]:
    if names is not None:
        return tuple(str(name) for name in names)
    if framed or fitted_names(pipeline) is not None:
        return tuple(str(label) for label in labels)
    return tuple(f"feature_{label}" for label in labels)


def _distinct(names: Sequence[str], count: int) -> Sequence[str]:
    if len(set(names)) != len(names) or len(names) != count:
        raise ConversionError(f"feature_names must be {count} different names, one for each column.")
    return names


_FLOATS = {"float32", "float64", "Float32", "Float64", "float[pyarrow]", "double[pyarrow]"}


# The names that pandas has for dates in a column of dtype object, and the remedy for all dates.
_DATES = ("datetime", "datetime64", "date")
_SECONDS = (
    "fit the pipeline on its seconds since 1970, with unpickled.export.dates.DateParts as the first step for "
    "them; they are (pd.to_datetime(dates, utc=True) - pd.Timestamp(0, tz='UTC')) / pd.Timedelta(seconds=1)"
)


def _check_floats(raw: pd.DataFrame) -> None:
    unsupported = sorted({str(dtype) for dtype in raw.dtypes if dtype.kind == "f"} - _FLOATS)
    if unsupported:
        raise ConversionError(
            f"The rows hold {unsupported[0]}, in which no graph computes: "
            "fit the pipeline on float64, as X.astype('float64')."
        )


_NUMBERS = (int, float, Decimal, np.number, np.bool_)
_COMPLEX = "Column {!r} holds complex numbers: give their parts as columns."


def _kind(column: pd.Series, name: str) -> Kind:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _kind(pd.Series(dtype.categories), name)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        if pd.api.types.is_complex_dtype(dtype):
            raise ConversionError(_COMPLEX.format(name))
        return "number"
    if isinstance(dtype, pd.StringDtype) or _is_arrow_text(dtype):
        return "category"
    if dtype.kind == "M" or pd.api.types.infer_dtype(column, skipna=True) in _DATES:
        raise ConversionError(f"Column {name!r} is of type {dtype}, a date: {_SECONDS}.")
    if dtype.kind != "O" or isinstance(dtype, pd.PeriodDtype):
        raise ConversionError(f"Column {name!r} is of type {dtype}: give it as numbers or as text.")
    return _kind_of_objects(column, name)


def _kind_of_objects(column: pd.Series, name: str) -> Kind:
    text = {isinstance(value, str) for value in column if not is_missing(value)}
    if len(text) > 1:
        raise ConversionError(f"Column {name!r} mixes text and numbers: give it as one of them.")
    if text == {True}:
        return "category"
    _check_numbers(column, name)
    return "number"


def _check_numbers(column: pd.Series, name: str) -> None:
    """Raise ConversionError if one of the objects in a column is no number, such as a list."""
    try:
        numbers = pd.to_numeric(column)
    except OverflowError:
        raise ConversionError(f"Column {name!r} holds a number that is too large for float64.") from None
    except (TypeError, ValueError):
        others = {type(value).__name__ for value in column if not isinstance(value, _NUMBERS)}
        strange = min(others - {"NoneType", "NAType"}, default="object")
        raise ConversionError(
            f"Column {name!r} holds a value of type {strange}, which is neither a number nor a text: make "
            "columns of numbers or of text from it, and fit the pipeline on these."
        ) from None
    if numbers.dtype.kind == "c":
        raise ConversionError(_COMPLEX.format(name))


def _is_arrow_text(dtype: object) -> bool:
    """Whether a column holds text in Arrow's own type."""
    return isinstance(dtype, pd.ArrowDtype) and issubclass(dtype.type, str)


def holds_truth(column: pd.Series) -> bool:
    """Whether a column holds truth values, whatever its dtype is."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(column.dtype.categories)
    if column.dtype.kind == "O":
        return bool(pd.api.types.infer_dtype(column, skipna=True) == "boolean")
    return bool(pd.api.types.is_bool_dtype(column.dtype))


def _text_dtype(column: pd.Series, blank: object) -> Any:
    """The dtype of a column of text, if it is one in which its missing value stands as it is."""
    dtype = column.dtype
    if not (isinstance(dtype, pd.StringDtype) or _is_arrow_text(dtype)):
        return object
    return dtype if type(dtype.na_value) is type(blank) else object


def _blanks(known: Sequence[Fact], raw: pd.DataFrame, positions: tuple[int, ...]) -> tuple[object, ...]:
    """The value that stands for a missing category, per column: that of the fit, or that of these rows."""
    gaps = {fact.position: fact.gap[0] for fact in known if fact.gap}
    columns = zip(positions, raw, strict=True)
    return tuple(gaps[at] if at in gaps else _blank(raw[label]) for at, label in columns)


def _boxed(known: Sequence[Fact], positions: tuple[int, ...], kinds: tuple[Kind, ...]) -> tuple[int, ...]:
    """The features of numbers whose categories the pipeline knows as Python objects."""
    boxed = {fact.position for fact in known if fact.boxed}
    return tuple(i for i, at in enumerate(positions) if kinds[i] == "number" and at in boxed)


def _native(
    pipeline: Any, known: Sequence[Fact], raw: pd.DataFrame, positions: tuple[int, ...]
) -> dict[int, pd.CategoricalDtype]:
    """The dtype of each column that a model takes as categories: that of these rows, or that of the fit."""
    if not any(map(knows_dtypes, everything(pipeline))):
        return {}
    fitted = {fact.position: pd.CategoricalDtype(fact.native) for fact in known if fact.native}
    dtypes = {i: raw[label].dtype for i, label in enumerate(raw)}
    of_rows = {i: dtype for i, dtype in dtypes.items() if isinstance(dtype, pd.CategoricalDtype)}
    native = of_rows or {i: fitted[at] for i, at in enumerate(positions) if at in fitted}
    for i, dtype in native.items():
        _check_categories(dtype, str(raw.columns[i]))
    return native


def _check_categories(dtype: pd.CategoricalDtype, name: str) -> None:
    """Raise ConversionError if there are none, or two that the doubles of requests do not tell apart."""
    known = dtype.categories
    if not len(known):
        raise ConversionError(f"Column {name!r} has no category: fit the pipeline without it.")
    if _kind(pd.Series(known), name) == "number" and not pd.Index(known.astype(np.float64)).is_unique:
        raise ConversionError(
            f"Column {name!r} has categories that are one number in float64, as 2**53 and 2**53 + 1 are, and "
            "requests have float64: fit the pipeline on the column as text."
        )


def _categorical(column: pd.Series, dtype: pd.CategoricalDtype) -> pd.Categorical:
    """A column of a frame as pandas' categories, with those that the dtype lacks behind its own.

    So LightGBM sees that they are not its own, which it takes for missing ones, and XGBoost refuses them.
    """
    known = dtype.categories
    index = known if column.dtype.kind == "O" else pd.Index(known.astype(np.float64))
    lacking = column[(index.get_indexer(column) < 0) & column.notna()].unique()
    if len(lacking):
        index, known = (pd.Index([*values, *lacking]) for values in (index, known))
    extended = pd.CategoricalDtype(known, dtype.ordered)
    return pd.Categorical.from_codes(index.get_indexer(column), dtype=extended)


def _is_narrow(column: pd.Series) -> bool:
    """Whether it holds float32 numbers, or its categories are such numbers."""
    dtype = column.dtype
    return str(dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype) == "float32"


def _blank(column: pd.Series) -> object:
    """The value that stands for a missing one in this column: None, pandas' NA or NaN."""
    gaps = {type(gap): gap for gap in column[column.isna()]}
    return next((gap for gap in (None, pd.NA) if type(gap) in gaps), np.nan)


def _number_column(column: pd.Series, dtype: str) -> Array:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    values: Array = pd.to_numeric(column).to_numpy(dtype=dtype, na_value=np.nan)
    return values


def _text_column(column: pd.Series) -> pd.Series:
    texts = [None if is_missing(value) else str(value) for value in column]
    if MISSING_CATEGORY in texts:
        raise ConversionError(
            f"Column {str(column.name)!r} holds the text U+FDD0, which stands for a missing text in every "
            "graph: write another text in its place and fit the pipeline again."
        )
    return pd.Series(texts, dtype=object)


def _tensor(columns: pd.DataFrame, dtype: str) -> Array:
    if dtype != "string":
        return np.ascontiguousarray(columns.to_numpy(dtype=dtype))
    values = columns.to_numpy(dtype=object)
    return np.where(pd.isna(values), MISSING_CATEGORY, values).astype(object)


def _feature(name: str, kind: Kind, column: pd.Series, boolean: bool) -> Feature:
    if kind == "category":
        categories = sorted({value for value in column if not is_missing(value)})
        return Feature(
            name=name,
            kind=kind,
            missing=False,
            categories=tuple(categories),
            two_blanks="" in categories and bool(column.isna().any()),
        )
    values = column.to_numpy()
    values = values[np.isfinite(values)]
    if not len(values):
        return Feature(name=name, kind=kind, missing=False, boolean=boolean)
    low, middle, high = (float(v) for v in (values.min(), np.median(values), values.max()))
    return Feature(
        name=name, kind=kind, missing=False, minimum=low, maximum=high, median=middle, boolean=boolean
    )


def assemble(layout: Layout, columns: Mapping[str, Sequence[object]]) -> pd.DataFrame:
    """A frame from one sequence per feature."""
    if "category" not in layout.kinds:  # one block of memory instead of one per column
        rows = zip(*(columns[name] for name in layout.names), strict=True)
        return pd.DataFrame(np.array(list(rows), dtype=layout.dtype), columns=list(layout.names))
    raw = pd.DataFrame({name: pd.Series(list(columns[name]), dtype=object) for name in layout.names})
    return layout.frame(raw.set_axis(list(layout.labels), axis=1))
