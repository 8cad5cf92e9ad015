"""Signs that rows tell their truth in a way that no row does when it is predicted, each as a note.

A copy of the truth, or of what a version has answered, ends a retraining. The others are told: there are
honest reasons for each, and a person has to look.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from unpickled.export.data.columns import Column, Reading, judged
from unpickled.export.errors import DataError
from unpickled.export.retraining.predicted import Predicted
from unpickled.export.retraining.report import Note
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.quote import counted, listed, quoted

# The least share of the truth that a column alone tells to be named, and the largest share of the errors of a
# constant answer that it makes then.
_TELLS, _ERRORS = 0.99, 0.1
# Rows that columns are judged on.
_SAMPLE = 5_000
# The least share of rows with a date after their prediction.
_LATER = 0.01
# The least correlation of ranks that says that numbers grow with time.
_GROWS = 0.999
# The payload log's own columns of answers, and of what is known of a prediction afterwards only.
_OWN = re.compile(r"_+(time|prediction_id|model|version|route|shadow|label|score_.*|predicted_.*)")


def notes(
    champion: Manifest, targets: Sequence[str], trained: pd.DataFrame, old: Predicted, new: Predicted
) -> Iterator[Note]:
    """The signs that these rows give cause for.

    Args:
        champion: Its features are looked at.
        targets: The columns with the truth.
        trained: The rows to fit on, those of the base table among them.
        old: The rows of the log among these.
        new: The rows that are held out.
    """
    yield from _answers(champion, targets)
    yield from _same_rows(trained, new)
    dates = [feature.name for feature in champion.features if feature.date]
    for feature in champion.features:
        yield from _identifier(feature.name, feature.kind, old, is_date=feature.name in dates)
        yield from _tells(feature.name, old, new)
    for name in dates:
        yield from _later(name, old, new)


def _answers(champion: Manifest, targets: Sequence[str]) -> Iterator[Note]:
    """The truth, or an answer, among the features, or an answer in the place of the truth."""
    names = [feature.name for feature in champion.features]
    copies = [name for name in names if name in targets]
    own = [name for name in names if _OWN.fullmatch(name)]
    answered = [name for name in targets if _OWN.fullmatch(name)]
    if copies:
        yield Note(
            text=f"The model takes {listed(copies, 5, quoted)}, which is what it predicts: train a new model "
            "without that column.",
            stops=True,
        )
    if answered:
        yield Note(
            text=f"The target {listed(answered, 5, quoted)} is a column of the payload log: a model that "
            "learns from earlier answers learns their mistakes. Name a base table with the truth.",
            stops=True,
        )
    if own:
        yield Note(
            text=f"The model takes {listed(own, 5, quoted)}, a name of the payload log's own columns: a "
            "model that learns from earlier answers learns their mistakes. Train a new one without.",
            stops=True,
        )


def _same_rows(trained: pd.DataFrame, new: Predicted) -> Iterator[Note]:
    known = frozenset(_keys(trained))
    count = sum(key in known for key in _keys(new.frame))
    if count:
        yield Note(
            text=f"{counted(count, 'row')} of {len(new):,} held out ({count / len(new):.1%}) "
            f"{'equals' if count == 1 else 'equal'} a row that is trained on, feature by feature: if they "
            "are of the same people or things, the challenger looks better than it is."
        )


def _keys(frame: pd.DataFrame) -> list[int]:
    """A number for each row, the same for equal rows."""
    keys: list[int] = pd.util.hash_pandas_object(frame, index=False).tolist()
    return keys


def _identifier(name: str, kind: str, old: Predicted, is_date: bool) -> Iterator[Note]:
    values = old.frame[name]
    is_number = kind == "number"
    reading = Reading(name=name, kind="number" if is_number else "category")
    try:
        role = "feature" if is_date else judged(Column(reading, values)).reading.role
    except DataError:
        return
    grows = is_number and not is_date and _grows(values.to_numpy(np.float64), old.times)
    if role == "identifier" or grows:
        why = "its whole numbers grow with time" if grows else "hardly a value is there twice"
        yield Note(
            text=f"Column {quoted(name)} seems to name rows: {why}. Nothing can be learned from a name that "
            "holds for the next row."
        )


def _grows(numbers: npt.NDArray[np.float64], times: npt.NDArray[np.float64]) -> bool:
    """Whether these are whole numbers, each there once, in the order of time."""
    if len(numbers) < 20 or not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        return False
    if len(np.unique(numbers)) < len(numbers):
        return False
    ranks = [np.argsort(np.argsort(each, kind="stable"), kind="stable") for each in (numbers, times)]
    correlations = np.atleast_2d(np.corrcoef(np.stack(ranks)))
    return bool(correlations[0, 1] >= _GROWS)


def _tells(name: str, old: Predicted, new: Predicted) -> Iterator[Note]:
    """A note if the column alone tells the truth of the new rows, as learned from the old ones."""
    learned, asked = _numbers(old.frame[name], new.frame[name])
    share, constant = _share(learned, old.truth, asked, new.truth)
    if share >= _TELLS and 1 - share <= _ERRORS * (1 - constant):
        yield Note(
            text=f"Column {quoted(name)} alone tells {share:.1%} of the truth of the rows held out: if it is "
            "known only once the truth is, it is of no use to a prediction."
        )


def _numbers(old: pd.Series, new: pd.Series) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both columns (rows, 1) as numbers: texts in the order of their frequency, unknown ones last."""
    if old.dtype == object:
        codes = {text: code for code, text in enumerate(old.value_counts().index)}
        old, new = (column.map(codes).fillna(len(codes)) for column in (old, new))
    low, high = np.finfo(np.float32).min, np.finfo(np.float32).max
    first, second = (column.to_numpy(np.float64).clip(low, high).reshape(-1, 1) for column in (old, new))
    return first[:_SAMPLE], second[:_SAMPLE]


def _share(
    rows: npt.NDArray[np.float64],
    truth: npt.NDArray[np.generic],
    asked: npt.NDArray[np.float64],
    expected: npt.NDArray[np.generic],
) -> tuple[float, float]:
    """The share of the truth that a tree of one column tells, and the share that a constant answer does.

    For labels, that is the accuracy; for numbers, the explained share of their variance.
    """
    truth, expected = truth[:_SAMPLE], expected[:_SAMPLE]
    if truth.dtype.kind == "f":
        score = DecisionTreeRegressor(min_samples_leaf=5).fit(rows, truth).score(asked, expected)
        return float(score), 0.0
    values, counts = np.unique(truth, return_counts=True)
    tree = DecisionTreeClassifier(min_samples_leaf=5).fit(rows, truth)
    return float(tree.score(asked, expected)), float((expected == values[counts.argmax()]).mean())


def _later(name: str, old: Predicted, new: Predicted) -> Iterator[Note]:
    """A note if dates lie after the prediction. A day without a time counts from its first second."""
    dates = np.concatenate([part.frame[name].to_numpy(np.float64) for part in (old, new)])
    times = np.concatenate([old.times, new.times])
    later = int(np.count_nonzero(dates > times))
    if later > _LATER * len(dates):
        yield Note(
            text=f"Column {quoted(name)} has a moment after the prediction in {later / len(dates):.1%} of "
            "the rows of the log: if it was written down afterwards, no row has it in time."
        )
