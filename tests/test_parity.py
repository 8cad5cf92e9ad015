"""The gate passes a graph only if it answers as the pipeline does."""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pandas as pd
import pytest
from sessions import opened
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ParityError
from unpickled.export.gate.neighbors import has_neighbors
from unpickled.export.gate.parity import check
from unpickled.export.gate.thresholds import near

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

Array = npt.NDArray[Any]
Run = Callable[[dict[str, Array]], tuple[Array, Array]]


def runner(model: onnx.ModelProto, dtype: type = np.float64) -> Run:
    """A function that runs a graph with the feeds of a graph of the export."""
    session = opened(model)
    names = [item.name for item in session.get_inputs()]

    def run(feeds: dict[str, Array]) -> tuple[Array, Array]:
        tensors = [
            tensor.astype(dtype) if tensor.dtype == np.float64 else tensor for tensor in feeds.values()
        ]
        labels, scores = session.run(None, dict(zip(names, tensors, strict=True)))
        return labels, scores

    return run


def checked(pipeline: Any, X: Any, held_out: Any = None) -> tuple[Any, dict[str, Any]]:
    """The report of the gate, and the features by name, for the graph that the export writes."""
    conversion = convert(pipeline, X)
    parity, features = check(pipeline, conversion, runner(conversion.model), X, held_out)
    return parity, {feature.name: feature for feature in features}


def foreign(pipeline: Any, X: Array, kind: Any = DoubleTensorType) -> tuple[Conversion, Run]:
    """The pipeline as skl2onnx writes it, in place of the export's graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(
            pipeline,
            initial_types=[("X", kind([None, X.shape[1]]))],
            options={id(pipeline): {"zipmap": False}},
            target_opset={"": 21, "ai.onnx.ml": 3},
        )
    return convert(pipeline, X), runner(model, np.float32 if kind is FloatTensorType else np.float64)


def wide(rows: int = 300) -> tuple[Array, Array]:
    """Ten features over six orders of magnitude."""
    random = np.random.default_rng(0)
    X = random.normal(size=(rows, 10)) * 10.0 ** np.linspace(-3, 3, 10) + 1.0
    unscaled = (X - 1.0) / 10.0 ** np.linspace(-3, 3, 10)
    return X, (unscaled[:, 0] + unscaled[:, 5] * unscaled[:, 9] + random.normal(size=rows) > 0).astype(int)


@pytest.mark.parametrize(
    "classifier",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestClassifier(20, random_state=0),
        ExtraTreesClassifier(20, random_state=0),
        GradientBoostingClassifier(n_estimators=20, random_state=0),
        HistGradientBoostingClassifier(max_iter=20),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_trees_are_exact_beside_their_splits(classifier: Any) -> None:
    """Thousands of rows one rounding error away from a split fall to the right side."""
    X, y = wide()
    pipeline = make_pipeline(StandardScaler(), classifier).fit(X[:200], y[:200])
    parity, _ = checked(pipeline, X[:200], X[200:])
    assert parity.rows["training"] == 200
    assert parity.rows["held_out"] == 100
    assert parity.rows["near_threshold"] >= 4
    assert parity.max_difference < 1e-6
    assert parity.ties == 0


def test_rows_beside_a_split_are_neighbours() -> None:
    """Each split has a row on either side, as close as two numbers can be."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=1, random_state=0)).fit(X, y)
    table = convert(pipeline, X).layout
    rows = near(pipeline, table, table.frame(X), limit=100)
    feature = pipeline[-1].tree_.feature[0]
    values = np.sort(rows.iloc[:, feature].to_numpy())
    assert len(rows) == 4
    assert np.array_equal(np.nextafter(values[:-1], np.inf), values[1:])
    assert len(set(pipeline[-1].apply(pipeline[0].transform(rows.to_numpy())))) == 2


def test_a_float32_graph_of_trees_is_caught() -> None:
    """A float32 graph puts rows near a split on the wrong side, and is refused."""
    X, y = wide()
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)).fit(X, y)
    conversion, run = foreign(pipeline, X, FloatTensorType)
    with pytest.raises(ParityError, match=r"'randomforestclassifier'.* rows differ, .*nothing was written"):
        check(pipeline, conversion, run, X)


def test_missing_values_that_a_graph_loses_are_caught() -> None:
    """A graph that loses the branch of NaN in its trees is refused."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(X, y)
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.3, np.nan, X)
    conversion, run = foreign(pipeline, X, FloatTensorType)
    with pytest.raises(ParityError, match="held out rows differ"):
        check(pipeline, conversion, run, X, holed)
    _, features = checked(pipeline, X, holed)
    assert all(feature.missing for feature in features.values())


def test_two_classes_of_a_discriminant_analysis_are_caught() -> None:
    """A graph with softmax in place of the logistic function is refused."""
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LinearDiscriminantAnalysis()).fit(X, y)
    conversion, run = foreign(pipeline, X)
    with pytest.raises(ParityError, match=r"the probabilities by up to 0\.1"):
        check(pipeline, conversion, run, X)


def test_a_power_transformer_of_skl2onnx_is_caught() -> None:
    """A graph that is slightly wrong is refused with the name of the step."""
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(PowerTransformer(), LogisticRegression(C=1e3, max_iter=1000)).fit(X, y)
    stand_in = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    conversion = dataclasses.replace(convert(stand_in, X), foreign=("powertransformer (PowerTransformer)",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = to_onnx(pipeline, X.astype(np.float32), options={id(pipeline): {"zipmap": False}})
    with pytest.raises(ParityError, match="Replace powertransformer"):
        check(pipeline, conversion, runner(model, np.float32), X)


def test_a_graph_that_fails_is_caught() -> None:
    """An error of ONNX Runtime becomes a sentence."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), GaussianNB()).fit(X, y)

    def run(feeds: dict[str, Array]) -> tuple[Array, Array]:
        raise RuntimeError("out of paper\nTraceback")

    with pytest.raises(ParityError, match=r"fails on 150 training rows \(out of paper\)"):
        check(pipeline, convert(pipeline, X), run, X)


def test_a_graph_that_is_wrong_for_one_row_alone_is_caught() -> None:
    """A graph that is wrong for a batch of one row is refused."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LinearSVC()).fit(X, y)
    conversion = convert(pipeline, X)
    right = runner(conversion.model)

    def run(feeds: dict[str, Array]) -> tuple[Array, Array]:
        labels, scores = right(feeds)
        return (labels[::-1], scores) if len(labels) > 1 else (labels * 0, scores)

    with pytest.raises(ParityError, match="in the label"):
        check(pipeline, conversion, run, X)


def test_missing_is_decided_for_every_feature() -> None:
    """A feature may be missing where the pipeline imputes it, and not where it raises."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(80, 2)), columns=["filled", "needed"])
    columns = make_column_transformer((SimpleImputer(), ["filled"]), (StandardScaler(), ["needed"]))
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, table["needed"] > 0)
    parity, features = checked(pipeline, table)
    assert features["filled"].missing
    assert not features["needed"].missing
    assert parity.rows["missing"] > 0


def test_categories_are_closed_where_scikit_learn_raises() -> None:
    """A feature whose encoder refuses unknown categories is closed."""
    table = pd.DataFrame({"free": ["a", "b", "c", "a"] * 20, "fixed": ["x", "y", "y", "x"] * 20})
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["free"]), (OneHotEncoder(), ["fixed"])
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(table, [0, 1, 1, 0] * 20)
    parity, features = checked(pipeline, table)
    assert not features["free"].closed
    assert features["fixed"].closed
    assert features["free"].categories == ("a", "b", "c")
    assert parity.rows["unknown_category"] > 0


def test_numbers_end_where_the_pipeline_refuses_them() -> None:
    """Limits of trees are those of float32 after the scaler; linear models have wider ones."""
    X, y = load_iris(return_X_y=True)
    trees = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, y)
    for feature in checked(trees, X)[1].values():
        assert feature.highest is not None
        assert 1e30 < feature.highest == -(feature.lowest or 0.0) < 1e39
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert all((feature.highest or np.inf) > 1e100 for feature in checked(linear, X)[1].values())


def test_equal_votes_keep_scikit_learns_label() -> None:
    """With equal votes, the first class wins in the graph as well."""
    X = np.arange(40.0).reshape(-1, 1)
    y = np.random.default_rng(0).integers(0, 2, 40)
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)).fit(X, y)
    parity, _ = checked(pipeline, X, X + 0.5)
    assert (pipeline.predict_proba(np.vstack([X, X + 0.5]))[:, 0] == 0.5).any()
    assert parity.ties == 0


def test_progress_is_reported() -> None:
    """The gate reports each part of its work."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    conversion, lines = convert(pipeline, X), list[str]()
    check(pipeline, conversion, runner(conversion.model), X, progress=lines.append)
    assert any("extremes" in line for line in lines)
    assert any("missing" in line for line in lines)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_neighbors_equally_far_are_caught(weights: str) -> None:
    """Neighbors at equal distances are refused, for their order is undefined."""
    random = np.random.default_rng(0)
    X = np.c_[random.integers(0, 50, 300), random.integers(0, 30, 300)].astype(float)
    pipeline = make_pipeline(KNeighborsClassifier(weights=weights)).fit(X, random.integers(0, 2, 300))
    with pytest.raises(ParityError, match=r"no defined order\. Another scaler .*such as a forest"):
        checked(pipeline, X)


def test_votes_of_members_that_tie_are_caught() -> None:
    """A member whose classes are equally likely but for rounding gives its vote to either of them."""
    random = np.random.default_rng(0)
    X, y = random.integers(0, 3, (200, 2)).astype(float), random.integers(0, 2, 200)
    X, y = np.concatenate([X, X[:, ::-1]]), np.concatenate([y, 1 - y])
    votes = VotingClassifier([("tree", DecisionTreeClassifier()), ("bayes", GaussianNB())]).fit(X, y)
    with pytest.raises(ParityError, match=r"equally likely, .*: use voting='soft'"):
        checked(votes, X)


def test_ties_are_not_taken_for_a_fault_of_skl2onnx() -> None:
    """A distance that skl2onnx converts gets the advice about ties too."""
    random = np.random.default_rng(1)
    X = random.integers(0, 1_000_000, (40, 2)).astype(float)
    pipeline = make_pipeline(KNeighborsClassifier(3, metric="cityblock")).fit(X, random.integers(0, 2, 40))
    with pytest.raises(ParityError, match=r"tied rows differ.*no defined order\. Another scaler"):
        checked(pipeline, X)


def test_neighbors_without_ties_pass_and_stay_near() -> None:
    """If all training rows vote, ties do not matter; rows may lie ten training ranges away."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), KNeighborsClassifier(len(X), weights="distance")).fit(X, y)
    parity, features = checked(pipeline, X)
    assert parity.rows["ties"] >= 12_000
    for feature in features.values():
        span = feature.maximum - feature.minimum
        assert feature.maximum < feature.highest <= feature.maximum + 10.001 * span
        assert feature.minimum - feature.lowest == pytest.approx(feature.highest - feature.maximum)


def test_neighbors_are_found_inside_other_estimators() -> None:
    """Neighbors are found in a search, calibration, a bag, a vote, and at the end of a stack."""
    X, y = load_iris(return_X_y=True)
    neighbors, linear = KNeighborsClassifier(), LogisticRegression(max_iter=1000)
    for outer in (
        GridSearchCV(make_pipeline(StandardScaler(), neighbors), {}, cv=2),
        CalibratedClassifierCV(neighbors, cv=2),
        BaggingClassifier(neighbors, 2),
        VotingClassifier([("linear", linear), ("neighbors", neighbors)], voting="soft"),
        StackingClassifier([("linear", linear)], neighbors, cv=2),
    ):
        assert has_neighbors(make_pipeline(StandardScaler(), outer).fit(X, y))
    assert not has_neighbors(make_pipeline(StandardScaler(), linear).fit(X, y))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["constant column", "float32"])
def test_far_rows_within_the_limits_are_right(kind: str) -> None:
    """Rows of all magnitudes within the limits are answered as the pipeline does."""
    X, y = load_iris(return_X_y=True)
    X = np.c_[X, np.full(len(X), 3.0)] if kind == "constant column" else X.astype(np.float32)
    classifier = GaussianNB() if kind == "constant column" else MLPClassifier((30,), random_state=0)
    pipeline = make_pipeline(classifier).fit(X, y)
    parity, features = checked(pipeline, X)
    assert parity.rows["spread"] >= 2000
    random, top = np.random.default_rng(3), float(np.finfo(X.dtype).max)
    lowest = np.array([-top if f.lowest is None else f.lowest for f in features.values()])
    highest = np.array([top if f.highest is None else f.highest for f in features.values()])
    far = np.where(random.random((1000, X.shape[1])) < 0.5, lowest, highest)
    rows = np.clip(far * 10 ** -random.uniform(0, 8, far.shape), lowest, highest).astype(X.dtype)
    conversion = convert(pipeline, X)
    served = runner(conversion.model)(
        conversion.layout.feeds(conversion.layout.frame(rows), conversion.inputs)
    )
    assert np.abs(served[1] - pipeline.predict_proba(rows)).max() < 2e-5


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_limits_lie_beyond_the_training_range() -> None:
    """The limits leave room outside the training range on both sides."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((10,), max_iter=50, random_state=0)).fit(X, y)
    for feature in checked(pipeline, X)[1].values():
        reach = 0.1 * (feature.maximum - feature.minimum) * 0.999
        assert feature.lowest is None or feature.lowest <= feature.minimum - reach
        assert feature.highest is None or feature.highest >= feature.maximum + reach
