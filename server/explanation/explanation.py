"""The explanation of one prediction: the share of each feature in the answer, by running the graph itself.

Rows between the one that was predicted and a typical one are run: some of their values are the row's, and the
others are those of the baseline. The shares of all features add up to the answer less that to the baseline.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, Self
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Meta, UnsetType

from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import InferenceFailed, InvalidInput, RequestError, ServingError
from unpickled.server.explanation.baseline import baseline
from unpickled.server.explanation.shapley import Coalitions, Floats, Shares, most_players, shares
from unpickled.server.inference.turn import breathe
from unpickled.server.message import strict
from unpickled.server.model import dates
from unpickled.server.model.feeds import Feeds, Row, Value
from unpickled.server.model.ranges import Ranges
from unpickled.server.model.session import Model
from unpickled.server.quote import counted, listed, quoted, shortened

# Rows of the graph that an explanation may run, and the seconds that these may take: of a slower model fewer
# rows are run, in coarse steps, so that noise in the measured times hardly ever changes an explanation.
_ROWS, _SECONDS = (4096, 1024, 256), 1.0
# Values in all these rows; of a model with very many features, fewer rows are run as well.
_VALUES = 2**23
# Values in the rows that are run at a time: they take a few MB.
_CELLS = 2**19
# Seconds to mix one value of a row.
_CELL = 5e-9
# Below so many pairs of orders, the errors themselves are rough.
_FEW_ORDERS = 16

_BASELINES: WeakKeyDictionary[Model, Row] = WeakKeyDictionary()

Count = Annotated[int, Meta(ge=0)]


class Contribution(msgspec.Struct, frozen=True, kw_only=True):
    """The share of one feature: how much its ``value``, in place of the ``baseline``, adds to the answer.

    ``error`` is the standard error of ``contribution``, as orders of the features are sampled; 0 where it is
    exact. A date is text, and null a missing value.
    """

    name: str
    value: float | str | bool | None
    baseline: float | str | bool | None
    contribution: float
    error: Annotated[float, Meta(ge=0)]


class Explanation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The prediction for one row, and the share of each feature in it, in the model's order.

    ``explained`` is the class or the target that ``answer`` is of, and ``kind`` says what that is: one of
    "probabilities", "scores" or "prediction". ``baseline_answer`` is the answer to the typical row, and the
    contributions add up to ``answer`` less that. ``rows`` of the graph were run; ``orders`` of the features
    were sampled, 0 where the contributions are exact. ``outside`` names the features with values outside the
    training range, as the header of a prediction does; where such values are clipped, so they are here.
    """

    model: str
    version: Count
    prediction: Any
    predicted_class: str | UnsetType = UNSET
    explained: str
    kind: str
    answer: float
    baseline_answer: float
    features: tuple[Contribution, ...]
    rows: Count
    orders: Count
    note: str
    outside: tuple[str, ...] = ()

    @property
    def ordered(self) -> list[Contribution]:
        """The features by the size of their shares, the largest first."""
        return sorted(self.features, key=lambda each: -abs(each.contribution))

    @classmethod
    def read(cls, body: bytes) -> Self:
        """The document in the body of an answer. Raises ServingError where it is none."""
        try:
            members = dict(strict.parse(body))
            # The strict reader makes floats of all numbers.
            members |= {name: int(members[name]) for name in ("version", "rows", "orders")}
            return msgspec.convert(members, cls)
        except (RequestError, msgspec.ValidationError, LookupError, TypeError, ValueError) as error:
            raise ServingError(f"the answer is no explanation: {shortened(str(error), 200)}") from None


class Version(NamedTuple):
    """The version that is explained; ``ranges`` find values outside its training range, if anybody looks."""

    name: str
    number: int
    model: Model
    ranges: Ranges | None = None

    @property
    def noun(self) -> str:
        """The word for an output: "class" or "target"."""
        return self.model.outputs.members[-1].each

    @property
    def seconds(self) -> float:
        """The estimated time of an explanation, of one processor."""
        cost, features = self.model.cost, len(self.model.manifest.features)
        rows = min(rows_of(self.model), 1 << min(features, 30))
        return cost.single + rows * (cost.sliced + features * _CELL)


def rows_of(model: Model) -> int:
    """The most rows that are run to explain a prediction of this model."""
    least = _ROWS[-1]
    quick = next((rows for rows in _ROWS if rows * model.cost.each <= _SECONDS), least)
    return max(least, min(quick, _VALUES // len(model.manifest.features)))


def explained(version: Version, row: Row, output: str | None = None) -> Explanation:
    """The explanation of the prediction for one row.

    Args:
        version: The version that predicts.
        row: The row, which passed the checks of the version's signature.
        output: The class or the target to explain; None is the predicted class, or the first target.

    Raises:
        InvalidInput: There is no such class or target.
        OutsideTraining: A value is outside the training range, and such values are refused.
        InferenceFailed: The model fails, or an answer is not a number.
    """
    model = version.model
    column = None if output is None else _column(version, output)
    typical, sent = _BASELINES.get(model), model.signature.feeds([row])
    if typical is None:
        typical = _BASELINES[model] = baseline(model.manifest)
    used, outside = (sent, None) if version.ranges is None else version.ranges.admit(sent, [row], breathe)
    labels, scores = model.run(used)
    if column is None:
        column = model.outputs.places(0)[labels.tolist()[0]]
    mixture = _Mixture(model, used, model.signature.feeds([typical]), column)
    found = mixture.shares(rows_of(model))
    answered = model.outputs.records(labels.tolist(), scores)[0]
    return Explanation(
        model=version.name,
        version=version.number,
        prediction=answered["prediction"],
        predicted_class=answered.get("predicted_class", UNSET),
        explained=model.outputs.names[column],
        kind=model.outputs.members[-1].name,
        answer=found.whole,
        baseline_answer=found.nothing,
        features=tuple(
            _contribution(*each)
            for each in zip(model.manifest.features, row, typical, *mixture.spread(found), strict=True)
        ),
        rows=found.rows,
        orders=found.orders,
        note=mixture.note(found),
        outside=() if outside is None else outside.features,
    )


def _column(version: Version, output: str) -> int:
    """The index of a class or of a target; InvalidInput where there is none of this name."""
    names = version.model.outputs.names
    if output not in names:
        raise InvalidInput(
            f"{version.noun} is {quoted(output)}: it has to be one of {listed(names, 20, quoted)}",
            allowed=list(names[:100]),
        )
    return names.index(output)


def _contribution(feature: Feature, value: Value, usual: Value, share: float, error: float) -> Contribution:
    return Contribution(
        name=feature.name,
        value=_shown(feature, value),
        baseline=_shown(feature, usual),
        contribution=float(share),
        error=float(error),
    )


def _shown(feature: Feature, value: Value) -> float | str | bool | None:
    """A value as a request writes it."""
    if feature.date is not None and isinstance(value, float):
        return dates.written(value, feature.date)
    return feature.example(value)


class _Mixture:
    """Rows that have some values of one row and the others of the baseline.

    Features that are equal in both are no players: their shares are 0. Where others are too many for the rows
    that may be run, neighbors are one player.

    Args:
        model: The model.
        row, typical: The two rows, as the tensors of one row each.
        column: The index of the class or target whose answers count.
    """

    def __init__(self, model: Model, row: Feeds, typical: Feeds, column: int) -> None:
        self._model = model
        self._row, self._typical, self._column = row, typical, column
        places = {feature.name: place for place, feature in enumerate(model.manifest.features)}
        self._columns = {
            tensor.name: np.array([places[name] for name in tensor.features])
            for tensor in model.manifest.inputs
        }
        self._width = len(places)
        changed = np.zeros(self._width, np.bool_)
        for name, columns in self._columns.items():
            changed[columns] = _differ(row[name][0], typical[name][0])
        self._changed = np.flatnonzero(changed)
        self._player = np.arange(len(self._changed))

    def shares(self, rows: int) -> Shares:
        """The shares of the players; the seed is the row, so that the same row has the same explanation."""
        players = min(len(self._changed), most_players(rows))
        self._player = np.arange(len(self._changed)) * players // max(1, len(self._changed))
        return shares(self._answers, players, rows, self._seed())

    def spread(self, found: Shares) -> tuple[Floats, Floats]:
        """The contribution of each feature, and its error; features that are one player have equal parts."""
        values, errors = np.zeros(self._width), np.zeros(self._width)
        sizes = np.bincount(self._player)[self._player]
        values[self._changed] = found.values[self._player] / sizes
        errors[self._changed] = found.errors[self._player] / sizes
        return values, errors

    def note(self, found: Shares) -> str:
        """A sentence about how the shares were found."""
        players, features = len(found.values), len(self._changed)
        if not found.orders:
            return f"exact: all mixtures of the row and its baseline were run, {counted(found.rows, 'row')}"
        note = f"sampled: {found.orders} orders of {counted(features, 'feature')}"
        if players < features:
            share = -(-features // players)
            note += f"; these are many, so up to {share} neighbors have equal parts of what they add together"
        if found.orders < _FEW_ORDERS:
            note += "; the orders are few, so the errors themselves are rough"
        return note

    def _seed(self) -> int:
        values = repr([array.tolist() for array in self._row.values()])
        return int.from_bytes(hashlib.sha256(values.encode("utf-8", "surrogatepass")).digest()[:8], "big")

    def _answers(self, coalitions: Coalitions) -> Floats:
        """The answers to coalitions of players (coalitions,); between two slices others get their turn."""
        size = max(1, min(self._model.cost.slice_rows, _CELLS // self._width))
        parts = []
        for start in range(0, len(coalitions), size):
            breathe()
            parts.append(self._run(coalitions[start : start + size]))
        answers = np.concatenate(parts)
        if not np.isfinite(answers).all():
            raise InferenceFailed(
                "the model's answer to a mixture of the row and its baseline is not a number: "
                "a feature of the row is too large"
            )
        return answers

    def _run(self, coalitions: Coalitions) -> Floats:
        chosen = np.zeros((len(coalitions), self._width), np.bool_)
        chosen[:, self._changed] = coalitions[:, self._player]
        feeds = {
            name: np.where(chosen[:, columns], self._row[name], self._typical[name])
            for name, columns in self._columns.items()
        }
        _, scores = self._model.run(feeds)
        return np.asarray(scores[:, self._column], np.float64)


def _differ(values: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where values differ (features,); two missing numbers are equal."""
    pairs: Sequence[tuple[Any, Any]] = list(zip(values.tolist(), others.tolist(), strict=True))
    return np.array(
        [value != other and (value == value or other == other) for value, other in pairs], np.bool_
    )
