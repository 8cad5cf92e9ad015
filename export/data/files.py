"""Tables to train on: scikit-learn's bundled sets, and the user's own CSV and Parquet files."""

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.parquet
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from unpickled.export.data import columns
from unpickled.export.errors import DataError, reason
from unpickled.server.quote import hint, listed

BUNDLED: dict[str, Callable[[], Any]] = {
    "iris": load_iris,
    "wine": load_wine,
    "breast_cancer": load_breast_cancer,
    "digits": load_digits,
}
MIN_CLASS_ROWS = 5


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows to train on.

    ``features`` (rows, columns) has float64 columns and text columns (dtype object); NaN stands for a
    missing value in both. ``labels`` (rows,) is int64 or text, none missing. ``class_names`` are in the
    order of the sorted labels. ``notes`` are sentences about rows and columns that were left out or changed.
    """

    name: str
    features: pd.DataFrame
    labels: npt.NDArray[Any]
    target: str
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def bundled(name: str) -> Dataset:
    """One of scikit-learn's data sets, with simplified feature names and labels 0, 1, 2 ..."""
    source = BUNDLED[name]()
    names = [_plain(feature) for feature in source.feature_names]
    features = pd.DataFrame(np.asarray(source.data, dtype=np.float64), columns=names)
    classes = tuple(str(label) for label in source.target_names)
    return Dataset(name, features, source.target.astype(np.int64), "target", classes)


def read(path: str | Path, target: str) -> Dataset:
    """A CSV or Parquet file as a table to train on; ``target`` names the column of classes.

    Columns that are useless for learning, and rows without a class, are left out; the notes say which.
    Raises DataError, which names the column and what to do about it.
    """
    frame = load(path)
    missing = _target(frame, target).isna()
    if missing.all():
        raise DataError(f"The target {target!r} is empty in every row.")
    notes: list[str] = []
    frame = _with_codes(frame, Path(path), notes)
    if missing.any():
        notes.append(
            f"{_rows(int(missing.sum()))} without {target!r} dropped (empty, NA, None and the like)."
        )
    frame = frame[~missing].reset_index(drop=True)
    labels = _labels(frame[target])
    _check_classes(labels, target)
    features = _features(frame.drop(columns=target), notes)
    if not features:
        raise DataError(" ".join([f"There is nothing to learn {target!r} from in {path}.", *notes]))
    names = _class_names(frame[target])
    return Dataset(Path(path).name, pd.DataFrame(features), labels, target, names, tuple(notes))


def load(path: str | Path) -> pd.DataFrame:
    """The table in a file, with named columns and at least one row. Raises DataError."""
    path = Path(path)
    check_file(path)
    if path.name.lower().endswith((".csv", ".csv.gz")):
        frame = _csv(path)
    elif path.name.lower().endswith((".parquet", ".pq")):
        frame = _parquet(path)
    else:
        raise DataError(f"{path} is neither .csv nor .parquet: save the table as one of these.")
    if frame.empty:
        raise DataError(f"{path} has no rows.")
    return frame


def check_file(path: Path) -> None:
    """Raise DataError if there is no such file."""
    if path.is_dir():
        raise DataError(f"{path} is a directory: name a file.")
    if not path.is_file():
        raise DataError(f"There is no file {path}.")


def labels(frame: pd.DataFrame, target: str) -> npt.NDArray[Any]:
    """The column ``target`` as labels (rows,), int64 or text. Raises DataError if one is missing."""
    column = _target(frame, target)
    if column.isna().any():
        raise DataError(f"{target!r} is missing in some rows: leave those rows out of the sample.")
    return _labels(column)


def fingerprint(features: pd.DataFrame, labels: npt.NDArray[Any]) -> str:
    """sha256 (hex) of the table: names, values and labels in order, independent of the file format."""
    digest = hashlib.sha256()
    for name, column in [*features.items(), ("", pd.Series(labels))]:
        digest.update(_framed([str(name)]))
        if not columns.holds_numbers(column):
            digest.update(_framed("" if pd.isna(text) else f"={text}" for text in column))
        else:
            numbers = column.to_numpy(dtype=np.float64) + 0.0  # -0.0 becomes 0.0
            digest.update(np.where(np.isnan(numbers), np.nan, numbers).astype("<f8").tobytes())
    return digest.hexdigest()


def _framed(texts: Iterable[str]) -> bytes:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return b"".join(len(text).to_bytes(8, "little") + text for text in encoded)


def _plain(name: str) -> str:
    """``sepal length (cm)`` -> ``sepal_length``."""
    return re.sub(r"\W+", "_", re.sub(r"\(.*?\)", "", name)).strip("_").lower()


def _csv(path: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            spaced = _is_spaced(_header(path))
            _check_header(_header(path, skipinitialspace=spaced), path)
            return pd.read_csv(path, skipinitialspace=spaced, **_OPTIONS)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: save it again as CSV in UTF-8.") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty: its first line must name the columns.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as CSV: {_sentence(error)}") from error


# index_col=False: if the header lacks a name, pandas would make the first column an index.
# na_values: a cell of blanks is a missing value.
_OPTIONS: dict[str, Any] = {
    "encoding": "utf-8-sig",
    "index_col": False,
    "low_memory": False,
    "na_values": [" " * length for length in range(1, 33)],
}


def _header(path: Path, **options: Any) -> list[str]:
    """The names in the header, as the file has them."""
    row = pd.read_csv(
        path, header=None, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8-sig", **options
    )
    return [str(name) for name in row.iloc[0]]


def _is_spaced(names: Sequence[str]) -> bool:
    """Whether the header has the form ``a, b, c``; then a space after a comma is not part of a value."""
    return len(names) > 1 and all(name.startswith(" ") for name in names[1:])


def _with_codes(frame: pd.DataFrame, path: Path, notes: list[str]) -> pd.DataFrame:
    """The frame with columns of codes (``001``) as text, as numbers would lose the zeros."""
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return frame
    candidates = [position for position, name in enumerate(frame) if _may_be_codes(frame[name])]
    if not candidates:
        return frame
    spaced = _is_spaced(_header(path))
    texts = pd.read_csv(path, skipinitialspace=spaced, usecols=candidates, dtype=str, **_OPTIONS)
    for name in texts:
        distinct = [text.strip() for text in texts[name].dropna().unique()]
        padded = [text for text in distinct if re.fullmatch(r"0[0-9]+", text)]
        if padded and all(text.isdecimal() for text in distinct):
            frame = frame.assign(**{name: texts[name].astype(object)})
            notes.append(
                f"Column {name!r} is read as text, as it holds codes such as {padded[0]}: write them without "
                "leading zeros if they are numbers."
            )
    return frame


def _may_be_codes(column: pd.Series) -> bool:
    """Whether a column holds whole numbers only, none of them negative."""
    if column.dtype.kind not in "iuf":
        return False
    numbers = column.dropna().to_numpy()
    return bool(
        len(numbers) and np.isfinite(numbers).all() and (numbers >= 0).all() and (numbers % 1 == 0).all()
    )


def _parquet(path: Path) -> pd.DataFrame:
    try:
        table = pyarrow.parquet.read_table(path, partitioning=None)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {_sentence(error)}") from error
    names = list(table.column_names)
    _refuse_duplicates(names, path)
    try:
        frame = table.to_pandas()
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {_sentence(error)}") from error
    # pandas stores an index other than a plain range as columns, which hold data.
    return frame.reset_index() if frame.index.name or frame.index.nlevels > 1 else frame


def _check_header(names: Sequence[str], path: Path) -> None:
    """Check the names in the file, as pandas renames duplicates."""
    _refuse_duplicates([name for name in names if name], path)
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        raise DataError(
            f"{path} is not separated by commas: save it again with commas, decimals with points."
        )


def _refuse_duplicates(names: Sequence[str], path: Path) -> None:
    duplicates = [name for name, count in Counter(names).items() if count > 1]
    if duplicates:
        raise DataError(f"{path} has more than one column named {duplicates[0]!r}: rename or remove one.")


def _target(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame:
        raise DataError(f"There is no column {name!r}{_suggestion(name, frame)}")
    return frame[name]


def _suggestion(name: str, frame: pd.DataFrame) -> str:
    names = [str(column) for column in frame.columns]
    suggestion = hint(name, names).strip()
    return f": {suggestion}" if suggestion else f"; there are {listed(names, 12)}."


def _labels(column: pd.Series) -> npt.NDArray[Any]:
    """Classes as int64 or text; whole floats count as integers, true and false as 1 and 0."""
    values = columns.typed(column)
    if values.dtype == object:
        return np.asarray(values.tolist(), dtype=np.str_)
    numbers = values.to_numpy()
    if not np.array_equal(numbers, np.round(numbers)) or np.abs(numbers).max() > 2**53:
        raise DataError(
            f"The target {column.name!r} holds numbers that are not whole: this trains classifiers, "
            "not regressions. Cut it into classes first, or name another column."
        )
    labels: npt.NDArray[Any] = numbers.astype(np.int64)
    return labels


def _class_names(column: pd.Series) -> tuple[str, ...]:
    if columns.holds_truth(column):
        return tuple(str(value).lower() for value in sorted(set(column.astype(bool))))
    return tuple(str(label) for label in np.unique(_labels(column)))


def _check_classes(labels: npt.NDArray[Any], target: str) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise DataError(
            f"The target {target!r} has one class only, {classes[0]}: there is nothing to tell apart."
        )
    if len(classes) > 20 and len(labels) < 10 * len(classes):
        kind = "an identifier" if labels.dtype.kind == "U" else "a number to predict"
        raise DataError(
            f"The target {target!r} has {len(classes):,} different values in {len(labels):,} rows: that is "
            f"{kind}, not a class. Name another column, or group its values into classes first."
        )
    if counts.min() < MIN_CLASS_ROWS:
        scarce = classes[counts.argmin()]
        raise DataError(
            f"Class {scarce} of {target!r} has {_rows(int(counts.min()))}, and at least {MIN_CLASS_ROWS} are "
            "needed: add rows of it, merge it with another class, or remove it."
        )


def _features(frame: pd.DataFrame, notes: list[str]) -> dict[str, pd.Series]:
    """The columns to learn from, typed; adds a sentence to ``notes`` for each special treatment."""
    features: dict[str, pd.Series] = {}
    for name in map(str, frame.columns):
        reason = columns.useless(frame[name])
        if reason:
            notes.append(f"Column {name!r} left out: {reason}.")
            continue
        features[name] = column = columns.typed(frame[name])
        if column.isna().any():
            treatment = "a category of its own" if column.dtype == object else "replaced by the median"
            share = f"{column.isna().mean():.1%}"
            notes.append(f"Column {name!r} is missing in {share} of the rows: {treatment}.")
    return features


def _rows(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _sentence(error: BaseException) -> str:
    """The first line of another library's message, for the end of a sentence."""
    return reason(error).removeprefix("Error tokenizing data. C error: ") + "."
