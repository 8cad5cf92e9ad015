"""The converter for isotonic regression, which rises or falls in lines between thresholds."""

import numpy as np
from sklearn.isotonic import IsotonicRegression

from unpickled.export.converters import curves, regressors
from unpickled.export.converters.numbers import scalar
from unpickled.export.graph import Columns, Graph, RegressorOutput


def line(graph: Graph, model: IsotonicRegression, x: str) -> str:
    """(rows, 1): the line between the two thresholds around x (rows, 1), which is clipped to their range."""
    knots = np.asarray(model.X_thresholds_, np.float64)
    values = np.asarray(model.y_thresholds_, np.float64)
    if len(knots) == 1:
        return graph.add("Add", graph.add("Mul", x, scalar(graph, 0.0)), graph.constant(values))
    low, high = (scalar(graph, float(bound)) for bound in (model.X_min_, model.X_max_))
    return curves.between(graph, graph.add("Clip", x, low, high), knots, values)


def _regressor(graph: Graph, model: IsotonicRegression, columns: Columns) -> RegressorOutput:
    """The line; by default NaN outside of training."""
    x = graph.matrix(columns)
    prediction = line(graph, model, x)
    if model.out_of_bounds == "nan":
        below = graph.add("Less", x, scalar(graph, float(model.X_min_)))
        above = graph.add("Greater", x, scalar(graph, float(model.X_max_)))
        outside = graph.add("Or", below, above)
        prediction = graph.add("Where", outside, scalar(graph, float("nan")), prediction)
    return RegressorOutput(prediction)


REGRESSORS: dict[type, regressors.Converter] = {IsotonicRegression: _regressor}
