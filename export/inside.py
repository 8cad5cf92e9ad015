"""The estimators inside a composed one: the only module that knows which estimators hold others, and where.

Conversion, layout, gate and privacy all walk through a fitted pipeline. They share this walk so that they
agree on every wrapper. How an ensemble combines the answers of its members is known to its converter.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import RANSACRegressor
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier

from unpickled.export.releases import FrozenEstimator
from unpickled.export.tree_classes import FOREST_CLASSIFIERS, TREE_REGRESSORS

# Turns the rows of an outer estimator into the rows that an inner one takes.
Prepare = Callable[[Any], Any]
# Whatever stands for one column of the rows.
Column = TypeVar("Column")


@dataclass(frozen=True, slots=True)
class Part:
    """A fitted estimator directly inside another.

    It takes the rows of the outer estimator, transformed by the fitted transformer ``before`` if there is
    one, and only the columns at the positions ``columns`` if these are given. ``answers``: the outer
    estimator returns or combines its answers; otherwise it transforms rows for another part. ``name`` is
    the user's name for the step, if it has one. A transformer inside a ColumnTransformer or a FeatureUnion
    may be the text "passthrough".
    """

    estimator: Any
    before: Any = None
    columns: Sequence[int] | None = None
    answers: bool = True
    name: str = ""

    def prepare(self, rows: Any) -> Any:
        """The rows that this part takes, made from rows of the outer estimator."""
        prepared = rows if self.before is None else self.before.transform(rows)
        if self.columns is None:
            return prepared
        dense = not hasattr(prepared, "tocsr")
        return (np.asarray(prepared) if dense else prepared.tocsr())[:, self.columns]

    def select(self, columns: tuple[Column, ...]) -> tuple[Column, ...]:
        """Those of the outer estimator's columns that this part takes."""
        return columns if self.columns is None else tuple(columns[int(i)] for i in self.columns)


def parts(step: Any) -> list[Part]:
    """The estimators directly inside a fitted one, in the order in which rows reach them."""
    members = next((_COMPOSED[kind](step) for kind in _COMPOSED if isinstance(step, kind)), None)
    if members is None and hasattr(step, "best_estimator_"):
        return [Part(step.best_estimator_)]
    return list(members or ())


def unwrapped(step: Any) -> Any:
    """The estimator inside a search, FrozenEstimator or self-training; any other estimator unchanged."""
    while isinstance(step, (FrozenEstimator, SelfTrainingClassifier)) or hasattr(step, "best_estimator_"):
        step = parts(step)[0].estimator
    return step


def kind(step: Any) -> type:
    """The class by which it answers: imblearn's ensembles differ from those they extend in the fit only."""
    if type(step).__module__.startswith("imblearn."):
        return _BALANCED.get(type(step).__name__, type(step))
    return type(step)


def everything(step: Any) -> Iterator[Any]:
    """The estimator, and every estimator inside it, transformers included."""
    yield step
    for part in parts(step):
        yield from everything(part.estimator)


def leaves(step: Any, prepare: Prepare = lambda rows: rows) -> Iterator[tuple[Any, Prepare]]:
    """The innermost estimators that compute answers, each with the function that prepares its rows."""
    answering = [part for part in parts(step) if part.answers]
    for part in answering:
        yield from leaves(part.estimator, _chained(prepare, part.prepare))
    if not answering:
        yield step, prepare


def innermost(step: Any) -> list[Any]:
    """The innermost estimators that compute answers."""
    return [estimator for estimator, _ in leaves(step)]


def decider(step: Any, prepare: Prepare = lambda rows: rows) -> tuple[Any, Prepare]:
    """The classifier whose label is the label of ``step``, with the function that prepares its rows."""
    step = unwrapped(step)
    if not isinstance(step, Pipeline):
        return step, prepare
    last = parts(step)[-1]
    return decider(last.estimator, _chained(prepare, last.prepare))


def decides_by_probability(step: Any) -> bool:
    """Whether ``predict`` is, in scikit-learn, the class of the first highest ``predict_proba``.

    Then it need not be called as well, which would evaluate every tree a second time.
    """
    while isinstance(step, Pipeline):
        step = step.steps[-1][1]
    return type(step) in FOREST_CLASSIFIERS


def split(step: Any, rows: Any) -> tuple[Any, Any]:
    """The last step of a pipeline and the rows that reach it; anything else with its rows unchanged.

    A caller that asks for labels and for scores prepares the rows once so.
    """
    if type(step) is not Pipeline or len(step.steps) < 2:
        return step, rows
    return step.steps[-1][1], step[:-1].transform(rows)


def columns_read(step: Any, width: int) -> set[int]:
    """Positions of the columns that ``step`` reads, out of the ``width`` columns that it was fitted on."""
    entrances = [part for part in parts(step) if part.before is None]
    if isinstance(step, ColumnTransformer):
        return {int(position) for part in entrances for position in part.columns or ()}
    if not entrances or _needs_every_column(step):
        return set(range(width))
    return set().union(*(columns_read(part.estimator, width) for part in entrances))


def _needs_every_column(step: Any) -> bool:
    """Whether it needs all columns: some check their number, a stack may pass them all on."""
    if isinstance(step, OutputCodeClassifier):
        return not all(hasattr(member, "classes_") for member in step.estimators_)
    stacks = isinstance(step, (StackingClassifier, StackingRegressor))
    return isinstance(step, _COUNTING) or (stacks and step.passthrough)


def _chained(first: Prepare, second: Prepare) -> Prepare:
    return lambda rows: second(first(rows))


def _is_estimator(step: Any) -> bool:
    return step is not None and not isinstance(step, str)


def _frozen(step: FrozenEstimator) -> Iterator[Part]:
    yield Part(step.estimator)


def _pipeline(step: Pipeline) -> Iterator[Part]:
    """The steps, each behind those before it; a passthrough is no step, nor is a sampler of imblearn."""
    last = len(step.steps) - 1
    before = None
    for position, (name, inner) in enumerate(step.steps):
        if _is_estimator(inner) and not hasattr(inner, "fit_resample"):
            yield Part(inner, before, answers=position == last, name=name)
            before = step[: position + 1]


def _column_transformer(step: ColumnTransformer) -> Iterator[Part]:
    for name, inner, _ in step.transformers_:
        positions = step._transformer_to_input_indices[name]
        if len(positions) and not _is_dropped(inner):
            yield Part(inner, columns=positions, answers=False, name=name)


def _feature_union(step: FeatureUnion) -> Iterator[Part]:
    for name, inner in step.transformer_list:
        if not _is_dropped(inner):
            yield Part(inner, answers=False, name=name)


def _is_dropped(inner: Any) -> bool:
    return isinstance(inner, str) and inner == "drop"


def _calibrated(step: CalibratedClassifierCV) -> Iterator[Part]:
    for member in step.calibrated_classifiers_:
        yield Part(member.estimator)


def _bagging(step: BaggingClassifier | BaggingRegressor) -> Iterator[Part]:
    for estimator, positions in zip(step.estimators_, step.estimators_features_, strict=True):
        yield Part(estimator, columns=positions)


def _all(step: Any) -> Iterator[Part]:
    for estimator in step.estimators_:
        yield Part(estimator)


def _stacking(step: StackingClassifier | StackingRegressor) -> Iterator[Part]:
    """The members, then the last one, which takes their answers."""
    yield from _all(step)
    yield Part(step.final_estimator_, before=step)


def _single(step: Any) -> Iterator[Part]:
    yield Part(step.estimator_)


def _ada_boost(step: AdaBoostRegressor) -> Iterator[Part]:
    """The members. Trees are no parts: together they are one estimator, as those of a forest are."""
    if type(step.estimators_[0]) not in TREE_REGRESSORS:
        yield from _all(step)


def _transformed_target(step: TransformedTargetRegressor) -> Iterator[Part]:
    yield Part(step.regressor_)


@dataclass(frozen=True, slots=True)
class _Links:
    """The first regressors of a chain, whose predictions become more columns of the rows."""

    regressors: Sequence[Any]

    def transform(self, rows: Any) -> Any:
        """The rows with these columns."""
        rows = np.asarray(rows)
        for regressor in self.regressors:
            rows = np.hstack([rows, np.asarray(regressor.predict(rows)).reshape(-1, 1)])
        return rows


def _chain(step: RegressorChain) -> Iterator[Part]:
    """Each regressor takes the rows, and the predictions of those before it."""
    for place, estimator in enumerate(step.estimators_):
        yield Part(estimator, before=_Links(step.estimators_[:place]) if place else None)


def _questions(step: Any) -> Iterator[Part]:
    """The classifiers of each class, pair or code; one that always answers alike has no classes."""
    for estimator in step.estimators_:
        if hasattr(estimator, "classes_"):
            yield Part(estimator)


def _gaussian_process(step: GaussianProcessClassifier) -> Iterator[Part]:
    yield Part(step.base_estimator_)


# Classes of imblearn, which is never imported here.
_BALANCED: dict[str, type] = {
    "BalancedRandomForestClassifier": RandomForestClassifier,
    "BalancedBaggingClassifier": BaggingClassifier,
    "EasyEnsembleClassifier": BaggingClassifier,
    "RUSBoostClassifier": AdaBoostClassifier,
}

# They compare the number of columns with that of the fit.
_COUNTING = (
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    OneVsOneClassifier,
    RANSACRegressor,
    RegressorChain,
    SelfTrainingClassifier,
)

_COMPOSED: dict[type, Callable[[Any], Iterator[Part]]] = {
    FrozenEstimator: _frozen,
    Pipeline: _pipeline,
    ColumnTransformer: _column_transformer,
    FeatureUnion: _feature_union,
    CalibratedClassifierCV: _calibrated,
    BaggingClassifier: _bagging,
    VotingClassifier: _all,
    StackingClassifier: _stacking,
    SelfTrainingClassifier: _single,
    FixedThresholdClassifier: _single,
    TunedThresholdClassifierCV: _single,
    OneVsRestClassifier: _questions,
    OneVsOneClassifier: _questions,
    OutputCodeClassifier: _questions,
    GaussianProcessClassifier: _gaussian_process,
    AdaBoostRegressor: _ada_boost,
    BaggingRegressor: _bagging,
    VotingRegressor: _all,
    StackingRegressor: _stacking,
    MultiOutputRegressor: _all,
    RegressorChain: _chain,
    RANSACRegressor: _single,
    TransformedTargetRegressor: _transformed_target,
}
