"""Recipes for linear regressors, in float64 as in scikit-learn."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    Ridge,
)

from unpickled.export.graph import Columns, Graph, RegressorOutput
from unpickled.export.recipes.parts import affine

# (graph, fitted regressor, columns) -> the output of the nodes that it adds to the graph.
Recipe = Callable[[Graph, Any, Columns], RegressorOutput]


def _linear(graph: Graph, model: Any, columns: Columns) -> RegressorOutput:
    coef = np.atleast_2d(model.coef_).astype(np.float64)
    intercept = np.broadcast_to(np.asarray(model.intercept_, np.float64).ravel(), len(coef))
    return RegressorOutput(affine(graph, graph.matrix(columns), coef.T, intercept), len(coef))


RECIPES: dict[type, Recipe] = {
    LinearRegression: _linear,
    Ridge: _linear,
    Lasso: _linear,
    ElasticNet: _linear,
}
