"""The card of a model: how good it is, why, and where it is worst, measured before the file was written.

Figures about groups alone: none is of fewer than FEWEST rows (reference.py), so that nothing is said about a
few people. The export measures them (export/card/), ``card/`` draws them. A file of an earlier release, or
one that was written without true answers, has none. The columns that a card shows are those of
Manifest.features, spread as Manifest.reference has it. Labels that were taken for others are counted in
Metrics.confusion.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from unpickled.server.artifact.reference import FEWEST
from unpickled.server.quote import quoted

# Most features whose importance is kept, and whose dependence.
MOST_IMPORTANCES, MOST_DEPENDENCES = 30, 5
# Most classes that have thresholds: those with the most rows.
MOST_CURVES = 20
# Most slices that are kept.
MOST_SLICES = 10
# How far the mean of probabilities in float32 may be beside 0 and 1.
_ROUNDED = 1e-5


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A figure, and the ends of the interval that holds its true value in 95 of 100 cases.

    The ends are None where the rows do not tell them.
    """

    value: float
    lowest: float | None = None
    highest: float | None = None


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with a score of at least ``score`` taken for a class: a point of its curves.

    ``rows`` is the share of all rows that are; ``precision`` the share of these that belong to the class;
    ``recall`` the share of the class that is found; ``false_alarms`` the share of all others that is taken
    for it. Neighboring points are at least ten rows apart; so are the first one from no row, and the last
    one from all rows, which are no points themselves.
    """

    score: float
    rows: float
    precision: float
    recall: float
    false_alarms: float


class ClassCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One class against all others, by its score.

    ``thresholds`` fall from the highest score to the lowest: of them, the ROC curve (``false_alarms``,
    ``recall``), the precision-recall curve and the table of thresholds are drawn. ``roc_auc`` and
    ``average_precision`` are None of a class with fewer than ten rows in it, or outside it, which has no
    thresholds either. In a model of many classes, the twenty with the most rows have thresholds.
    """

    name: str
    rows: int
    roc_auc: Measured | None = None
    average_precision: Measured | None = None
    thresholds: tuple[Threshold, ...] = ()


class CalibrationBin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows whose probability of the predicted class lies in [lowest, highest].

    ``probability`` is the mean of it, ``came_true`` the share whose predicted class is the true one.
    """

    lowest: float
    highest: float
    rows: int
    probability: float
    came_true: float


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of a regressor whose prediction lies in [lowest, highest]: where their true numbers lie.

    ``predicted`` is the mean prediction; ``truths`` are the 10th, 25th, 50th, 75th and 90th percentile of the
    true numbers. ``rows`` is at least 10.
    """

    lowest: float
    highest: float
    rows: int
    predicted: float
    truths: tuple[float, float, float, float, float]


class TargetCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One target of a regressor.

    ``bands`` rise from the lowest predictions to the highest. ``residual_bounds`` part the residuals
    (prediction - truth) into cells as those of a Spread, whose rows are ``residual_counts``.
    """

    name: str
    rows: int
    mae: Measured
    rmse: Measured
    r2: Measured | None = None
    bands: tuple[Band, ...] = ()
    residual_bounds: tuple[float, ...] = ()
    residual_counts: tuple[int, ...] = ()


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """How much the loss rises where the cells of one feature are shuffled among the rows (permutation)."""

    feature: str
    rise: Measured


class Dependence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The mean answer of all rows where one feature is set to the same value in each: partial dependence.

    ``at`` are numbers (of a feature of dates, seconds since 1970) in ascending order, or categories.
    ``answers`` has for each of them the mean score of each class, or the mean number of each target.
    """

    feature: str
    at: tuple[float | str, ...]
    answers: tuple[tuple[float, ...], ...]


class SliceCard(msgspec.Struct, frozen=True, kw_only=True):
    """The rows with one category of a feature, or whose number lies in one of its cells.

    ``value`` says which, as people read it. ``figure`` is the accuracy of a classifier; of a regressor, the
    mean absolute error of its first target in shares of that of all rows. ``beyond_chance``: it is worse than
    that of all other rows by more than chance explains, all slices taken together.
    """

    feature: str
    value: str
    rows: int
    figure: Measured
    beyond_chance: bool = False


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """The size of the graph in bytes, and the microseconds that one row takes, alone and among 1,000.

    Measured where the model was exported, on one thread: the run of the graph alone, without a server. A slow
    graph was run on 100 rows in the place of 1,000.
    """

    graph_bytes: int
    one_row: float
    of_many: float


class Card(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The quality of a model on ``rows`` rows.

    ``held_out``: the pipeline was not fitted on them. ``loss`` is the noun of what importances are a rise
    of: "log loss", "share of wrong labels" or "mean absolute error"; ``loss_value`` that loss itself. With
    several targets it is the mean of their errors, each in shares of the target's own, and so 1.

    A classifier has ``classes``, a regressor ``targets``; a classifier with probabilities ``calibration``.
    ``importances`` fall, and are the first thirty; ``dependences`` are those of the first five of them.
    ``slices`` begin with the worst. ``notes`` are sentences about what was left out, and why.
    """

    rows: int
    held_out: bool
    loss: Literal["log loss", "share of wrong labels", "mean absolute error"]
    loss_value: Measured
    accuracy: Measured | None = None
    classes: tuple[ClassCard, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    targets: tuple[TargetCard, ...] = ()
    importances: tuple[Importance, ...] = ()
    dependences: tuple[Dependence, ...] = ()
    slices: tuple[SliceCard, ...] = ()
    cost: Cost | None = None
    notes: tuple[str, ...] = ()


def faults(
    card: Card, features: Mapping[str, str], classes: Sequence[str], targets: Sequence[str]
) -> Iterator[str]:
    """The rules that a card breaks.

    Args:
        card: The card.
        features: The features of its manifest: their names, and their kinds.
        classes: The names of the classes; none of a regressor.
        targets: The targets; none of a classifier.
    """
    if card.rows < FEWEST:
        yield f"its card is of {card.rows} rows, fewer than {FEWEST}"
    for noun, parts, names in (("classes", card.classes, classes), ("targets", card.targets, targets)):
        if [part.name for part in parts] != list(names):
            yield f"the {noun} of its card are not those of the model"
    if (card.accuracy is None) != (not classes):
        yield "its card is that of another kind of model"
    yield from _faults_of_names(card, features)
    yield from _faults_of_groups(card)
    yield from _faults_of_shares(card)
    width = len(classes) or len(targets)
    for each in card.dependences:
        if len(each.at) != len(each.answers) or {*map(len, each.answers)} - {width}:
            yield f"the dependence on {quoted(each.feature)} has answers that do not fit its values"
        if not _fit(each.at, features.get(each.feature)):
            yield f"the dependence on {quoted(each.feature)} has values that do not fit the feature"


def _fit(values: Sequence[float | str], kind: str | None) -> bool:
    """Whether values are those of a feature of this kind: texts, or numbers that do not fall."""
    if kind == "category":
        return all(isinstance(value, str) for value in values)
    numbers = [value for value in values if not isinstance(value, str)]
    return len(numbers) == len(values) and all(low <= high for low, high in pairwise(numbers))


def _faults_of_shares(card: Card) -> Iterator[str]:
    """Shares that are none: pictures and intervals have room for those from 0 to 1 alone."""
    shares = [share for part in card.calibration for share in (part.probability, part.came_true)]
    for each in card.classes:
        for point in each.thresholds:
            shares += [point.rows, point.precision, point.recall, point.false_alarms]
    for share in shares:
        if not -_ROUNDED <= share <= 1 + _ROUNDED:
            yield f"its card has a share of {share:g}, which is not between 0 and 1"


def _faults_of_names(card: Card, features: Mapping[str, str]) -> Iterator[str]:
    parts = (("importance", card.importances), ("dependence", card.dependences), ("slice", card.slices))
    for noun, figures in parts:
        names = [figure.feature for figure in figures]
        for name in names:
            if name not in features:
                yield f"its card has the {noun} of {quoted(name)}, which is no feature"
            if noun != "slice" and names.count(name) > 1:
                yield f"its card has the {noun} of {quoted(name)} twice"


def _faults_of_groups(card: Card) -> Iterator[str]:
    """Groups that are too small, and cells that do not fit each other."""
    groups = [band.rows for target in card.targets for band in target.bands]
    groups += [part.rows for part in card.calibration] + [part.rows for part in card.slices]
    groups += [count for target in card.targets for count in target.residual_counts if count]
    if min(groups, default=FEWEST) < FEWEST:
        yield f"its card has a group of {min(groups)} rows, fewer than {FEWEST}"
    for target in card.targets:
        counts, bounds = target.residual_counts, target.residual_bounds
        if len(counts) != len(bounds) + bool(counts) or any(high <= low for low, high in pairwise(bounds)):
            yield f"the residuals of {quoted(target.name)} in its card have cells that do not fit"
    for each in card.classes:
        if any(after.score >= before.score for before, after in pairwise(each.thresholds)):
            yield f"the thresholds of {quoted(each.name)} in its card do not fall"
