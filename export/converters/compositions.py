"""Converters for regressors made of other regressors, whose predictions they average, pass on or turn back.

Every converter takes (graph, fitted regressor, columns, regress) and returns a RegressorOutput; ``regress``
writes the regressors inside.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import AdaBoostRegressor, BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.linear_model import RANSACRegressor
from sklearn.multioutput import MultiOutputRegressor, RegressorChain

from unpickled.export import inside
from unpickled.export.converters import inverses, regression_trees
from unpickled.export.converters.ensembles import mean, refuse_trees_behind
from unpickled.export.graph import Columns, Graph, OptionalColumns, RegressorOutput, Tensor, present

Regress = Callable[[Any, OptionalColumns], RegressorOutput]
Converter = Callable[[Graph, Any, OptionalColumns, Regress], RegressorOutput]


def _members(model: Any, columns: OptionalColumns, regress: Regress) -> list[RegressorOutput]:
    return [regress(part.estimator, part.select(columns)) for part in inside.parts(model)]


def _joined(graph: Graph, outputs: list[RegressorOutput]) -> RegressorOutput:
    """The targets of all, side by side."""
    names = [output.prediction for output in outputs]
    joined = names[0] if len(names) == 1 else graph.add("Concat", *names, axis=1)
    targets, single = sum(output.targets for output in outputs), all(output.single for output in outputs)
    return RegressorOutput(joined, targets, single)


def _columns(output: RegressorOutput) -> Columns:
    return Tensor(output.prediction, "float64", output.targets).columns()


def _voting(
    graph: Graph, model: VotingRegressor, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    weights = [float(weight) for weight in model._weights_not_none or [1.0] * len(model.estimators_)]
    members = _members(model, columns, regress)
    return RegressorOutput(mean(graph, [member.prediction for member in members], weights))


def _bagging(
    graph: Graph, model: BaggingRegressor, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    members = _members(model, columns, regress)
    average = mean(graph, [member.prediction for member in members], [1.0] * len(members))
    return RegressorOutput(average, members[0].targets)


def _ada_boost(
    graph: Graph, model: AdaBoostRegressor, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    """The median of the members, each counted as often as its weight says."""
    answers = _joined(graph, _members(model, columns, regress)).prediction
    weights = np.asarray(model.estimator_weights_[: len(model.estimators_)], np.float64)
    return RegressorOutput(regression_trees.weighted_median(graph, answers, weights))


def _stacking(
    graph: Graph, model: StackingRegressor, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    *members, final = inside.parts(model)
    refuse_trees_behind([member.estimator for member in members], final.estimator)
    answers: Columns = ()
    for member in members:
        answers += _columns(regress(member.estimator, columns))
    return regress(final.estimator, answers + present(columns) if model.passthrough else answers)


def _several(
    graph: Graph, model: MultiOutputRegressor, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    return _joined(graph, _members(model, columns, regress))


def _chain(
    graph: Graph, model: RegressorChain, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    """Each regressor takes the columns, and the predictions of those before it."""
    outputs: list[RegressorOutput] = []
    for place, estimator in enumerate(model.estimators_):
        refuse_trees_behind(model.estimators_[:place], estimator)
        earlier = tuple(column for output in outputs for column in _columns(output))
        outputs.append(regress(estimator, columns + earlier))
    order = np.argsort(np.asarray(model.order_, int))
    return _joined(graph, [outputs[place] for place in order])


def _ransac(
    graph: Graph, model: RANSACRegressor, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    return regress(model.estimator_, columns)


def _transformed_target(
    graph: Graph, model: TransformedTargetRegressor, columns: OptionalColumns, regress: Regress
) -> RegressorOutput:
    output = regress(model.regressor_, columns)
    x = Tensor(output.prediction, "float64", output.targets)
    if output.single:
        x = Tensor(graph.cast(x.name, "float32"), "float32", x.width)
    turned = inverses.inverted(graph, model.transformer_, x)
    return RegressorOutput(graph.matrix(turned.columns()), turned.width, turned.dtype == "float32")


CONVERTERS: dict[type, Converter] = {
    AdaBoostRegressor: _ada_boost,
    BaggingRegressor: _bagging,
    MultiOutputRegressor: _several,
    RANSACRegressor: _ransac,
    RegressorChain: _chain,
    StackingRegressor: _stacking,
    TransformedTargetRegressor: _transformed_target,
    VotingRegressor: _voting,
}
