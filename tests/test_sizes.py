"""Differences between numbers are measured by how much the numbers vary, never by more than their size."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from handmade import NUMBERS, regressor
from msgspec.structs import replace
from onnx import numpy_helper
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unpickled.export import export_pipeline
from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ParityError
from unpickled.export.gate.parity import check
from unpickled.export.gate.spans import spans
from unpickled.export.publish import runner
from unpickled.export.tasks.regression import REGRESSORS
from unpickled.server.errors import ArtifactError
from unpickled.server.model.session import load
from unpickled.server.model.sizes import sizes

# Center and width of targets, from the smallest to those with a large offset.
SPANS = [(0.0, 1e-300), (3e-9, 1e-9), (0.2, 0.1), (0.0, 1.0), (-50.0, 700.0), (2000.0, 10.0), (1e9, 1e3)]


def questions(center: float, width: float) -> tuple[Any, Any]:
    """Rows of four numbers, and a target that varies by about ``width`` around the center."""
    X = np.random.default_rng(0).normal(size=(120, 4))
    return X, center + width / 3 * (X[:, 0] - 0.5 * X[:, 2])


def spanned(pipeline: Any, X: Any) -> Conversion:
    """The conversion of a regressor, with the spans of its predictions."""
    conversion = convert(pipeline, X)
    of_all = spans(pipeline, conversion, pipeline.predict(X).reshape(len(X), -1))
    return dataclasses.replace(conversion, outputs=replace(conversion.outputs, spans=of_all))


def bent(model: onnx.ModelProto, factor: float) -> onnx.ModelProto:
    """The graph with its largest weight times a factor."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    tensor = max(changed.graph.initializer, key=lambda each: np.prod(each.dims))
    weights = numpy_helper.to_array(tensor).copy()
    weights.flat[np.abs(weights).argmax()] *= factor
    tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    return changed


@pytest.mark.parametrize(("center", "width"), SPANS)
def test_a_difference_that_matters_is_refused_at_any_size(center: float, width: float) -> None:
    """A coefficient that is off by a thousandth is seen, be the target a billionth or far from 0."""
    X, y = questions(center, width)
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(X, y)
    conversion = spanned(pipeline, X)
    parity, _ = check(pipeline, conversion, runner(conversion), X)
    assert parity.max_difference <= parity.tolerance / 10
    wrong = dataclasses.replace(conversion, model=bent(conversion.model, 1.001))
    with pytest.raises(ParityError, match="training rows differ"):
        check(pipeline, wrong, runner(wrong), X)


MODELS = {
    "linear": LinearRegression(),
    "forest": RandomForestRegressor(5, random_state=0),
    "mlp": REGRESSORS["mlp"](0).set_params(regressor__hidden_layer_sizes=(5,)),
}


@pytest.mark.parametrize(("center", "width"), [*SPANS[:2], *SPANS[-2:], (1e9, 1e-3), (-1e15, 1.0)])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_right_answers_pass_at_any_size(center: float, width: float, model: Any, tmp_path: Path) -> None:
    """Rounding of tiny targets, and beside large offsets, is let pass by the gate and by a server."""
    X, y = questions(center, width)
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    export = export_pipeline(pipeline, X, y, name="m", models=tmp_path)
    [(middle, span)] = export.manifest.outputs.spans
    predicted = pipeline.predict(X)
    assert predicted.min() <= middle <= predicted.max()
    assert span >= np.ptp(np.quantile(predicted, (0.1, 0.9))) * (1 - 1e-9)


def test_sizes_are_never_above_those_of_before() -> None:
    """The size is max(1, |number|) at most, and for all targets of files without spans."""
    numbers = np.array([[0.0, 1e9], [0.5, 1e9 + 30.0], [-1e300, -1e308]])
    before = np.maximum(1.0, np.abs(numbers))
    assert np.array_equal(sizes(numbers, ()), before)
    now = sizes(numbers, ((0.0, 1e-9), (1e9, 10.0)))
    assert now.tolist() == [[1e-9, 10.0], [0.5, 30.0], [1e300, 1e308]]
    assert np.array_equal(sizes(numbers, ((0.0, 1e308), (0.0, 1e308))), before)


def predicted(numbers: Any) -> tuple[tuple[float, float], ...]:
    """The spans of these predictions (rows, targets) of a linear regression."""
    X, y = questions(0.0, 1.0)
    pipeline = LinearRegression().fit(X, y)
    return spans(pipeline, convert(pipeline, X), np.array(numbers))


def test_spans_of_predictions_that_hardly_differ() -> None:
    """Equal deciles give way to the extremes; of equal numbers only rounding is left, of zeros all."""
    assert predicted([[0.0]] * 19 + [[4.0]]) == ((2.0, 4.0),)
    assert predicted([[1e6]] * 20) == ((1e6, pytest.approx(0.1)),)
    assert predicted([[0.0], [np.nan]]) == predicted([[np.inf]]) == ((0.0, 1.0),)
    [(center, width)] = predicted([[-1.7e308], [1.7e308]])
    assert abs(center) < 1e300
    assert np.isfinite(width)


@pytest.mark.parametrize(("answered", "right"), [(6.0, True), (6.0 + 1e-9, True), (6.0 + 1e-7, False)])
def test_golden_rows_are_measured_by_the_span(answered: float, right: bool) -> None:
    """A server refuses a file whose golden number is off by more than the tolerance of its span."""
    outputs = replace(NUMBERS.outputs, spans=((6.0, 1e-3),))
    golden = replace(NUMBERS.golden, rows=((3.0,),), scores=((answered,),))
    file = regressor(golden=golden, outputs=outputs)
    if right:
        assert load(file).manifest.outputs.spans == ((6.0, 1e-3),)
        return
    with pytest.raises(ArtifactError, match="answers golden row 0 with"):
        load(file)
