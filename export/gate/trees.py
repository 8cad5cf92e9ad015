"""The trees of a fitted estimator of any kind, and the columns that they see."""

from typing import Any

from sklearn.ensemble import IsolationForest

from unpickled.export import categories
from unpickled.export.boosters.registry import library
from unpickled.export.inside import Prepare
from unpickled.export.tree_classes import ADA_BOOSTS, FORESTS, GRADIENT_BOOSTINGS, HISTOGRAMS, TREES
from unpickled.export.trees import Tree, grown, hist_boosted, isolating


def trees(step: Any) -> list[Tree]:
    """The trees of an estimator; none if it answers otherwise."""
    if isinstance(step, TREES):
        return [grown(step.tree_)]
    if isinstance(step, (*FORESTS, *ADA_BOOSTS)):
        return [tree for estimator in step.estimators_ for tree in trees(estimator)]
    if isinstance(step, IsolationForest):
        return isolating(step)
    if isinstance(step, GRADIENT_BOOSTINGS):
        return [grown(estimator.tree_) for estimator in step.estimators_.ravel()]
    if isinstance(step, HISTOGRAMS):
        return [tree for stage in hist_boosted(step) for tree in stage]
    booster = library(step)
    return [] if booster is None else booster.boosted(step).trees


def seen(step: Any, prepare: Prepare) -> Prepare:
    """The function that prepares the columns which the trees of an estimator see."""
    if isinstance(step, HISTOGRAMS) and categories.is_native(step):
        return lambda rows: categories.columns(step, prepare(rows))
    booster = library(step)
    if booster is None:
        return prepare
    sight = booster.sight(step)
    return lambda rows: sight.columns(prepare(rows))
