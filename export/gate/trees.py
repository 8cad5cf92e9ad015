"""The trees of a fitted estimator of any kind, and the columns that they see."""

from typing import Any

from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import BaseDecisionTree

from unpickled.export import categories
from unpickled.export.boosters.registry import library
from unpickled.export.inside import Prepare
from unpickled.export.trees import Tree, grown, hist_boosted, isolating

_HISTOGRAMS = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_BOOSTED = (GradientBoostingClassifier, GradientBoostingRegressor)
_FORESTS = (
    AdaBoostClassifier,
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)


def trees(step: Any) -> list[Tree]:
    """The trees of an estimator; none if it answers otherwise."""
    if isinstance(step, BaseDecisionTree):
        return [grown(step.tree_)]
    if isinstance(step, _FORESTS):
        return [tree for estimator in step.estimators_ for tree in trees(estimator)]
    if isinstance(step, IsolationForest):
        return isolating(step)
    if isinstance(step, _BOOSTED):
        return [grown(estimator.tree_) for estimator in step.estimators_.ravel()]
    if isinstance(step, _HISTOGRAMS):
        return [tree for stage in hist_boosted(step) for tree in stage]
    booster = library(step)
    return [] if booster is None else booster.boosted(step).trees


def seen(step: Any, prepare: Prepare) -> Prepare:
    """The function that prepares the columns which the trees of an estimator see."""
    if isinstance(step, _HISTOGRAMS) and categories.is_native(step):
        return lambda rows: categories.columns(step, prepare(rows))
    booster = library(step)
    if booster is None:
        return prepare
    sight = booster.sight(step)
    return lambda rows: sight.columns(prepare(rows))
