"""Trees in the graph: the very sums that scikit-learn adds, in double precision."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from onnx import helper
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.tree import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    ExtraTreeClassifier,
    ExtraTreeRegressor,
)

from unpickled.export import export_pipeline
from unpickled.export.convert import Conversion, convert
from unpickled.export.converters.ensemble import ensemble
from unpickled.export.converters.regression_trees import REGRESSORS
from unpickled.export.errors import NoGraph
from unpickled.export.gate.exactness import STACKED_TOLERANCE, TOLERANCE, TREES_TOLERANCE, tolerance
from unpickled.export.gate.pair import Pair
from unpickled.export.gate.thresholds import near
from unpickled.export.graph import Graph, _value
from unpickled.export.publish import runner
from unpickled.export.trees import Tree
from unpickled.server import Config, create_app
from unpickled.server.model.session import open_graph

Array = npt.NDArray[Any]

STUMP = DecisionTreeRegressor(max_depth=1)
CLASSIFIERS = [
    DecisionTreeClassifier(random_state=0),
    ExtraTreeClassifier(random_state=0),
    RandomForestClassifier(9, random_state=0),
    RandomForestClassifier(9, min_samples_leaf=4, random_state=0),
    ExtraTreesClassifier(10, max_depth=5, random_state=0),
    GradientBoostingClassifier(n_estimators=6, random_state=0),
    HistGradientBoostingClassifier(max_iter=6),
    AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=5, random_state=0),
]
NO_GAPS = (GradientBoostingClassifier, AdaBoostClassifier, GradientBoostingRegressor, AdaBoostRegressor)


def table(classes: int = 2, gaps: bool = False) -> tuple[Array, Array]:
    """Three hundred rows of six numbers of many magnitudes."""
    X, y = make_classification(300, 6, n_informative=5, n_redundant=0, n_classes=classes, random_state=1)
    X *= 10.0 ** np.arange(-3, 3)
    return np.where(np.random.default_rng(0).random(X.shape) < 0.1 * gaps, np.nan, X), y


def answers(conversion: Conversion, rows: Any) -> tuple[Array, Array]:
    """The labels and scores of the graph."""
    session = open_graph(conversion.model.SerializeToString())
    frame = conversion.layout.frame(rows)
    labels, scores = session.run(None, conversion.layout.feeds(frame, conversion.inputs))
    return labels, scores


def ran(graph: Graph, output: str, rows: Array) -> Array:
    """A tensor of a graph for rows of its input x."""
    graph.nodes.append(helper.make_node("Identity", [output], ["y"], name="y"))
    dtype = "float32" if rows.dtype == np.float32 else "float64"
    model = graph._model([_value("y", dtype, ["rows", "outputs"])])
    session = open_graph(model.SerializeToString())
    return np.asarray(session.run(None, {"x": rows})[0])


@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda classifier: " ".join(repr(classifier).split()))
def test_classifiers_agree_beside_every_split(classifier: Any, classes: int, gaps: bool) -> None:
    """Rows beside splits have scikit-learn's labels, and its probabilities in double precision."""
    X, y = table(classes, gaps and not isinstance(classifier, NO_GAPS))
    pipeline = make_pipeline(StandardScaler(), clone(classifier)).fit(X, y)
    conversion = convert(pipeline, X)
    rows = near(pipeline, conversion.layout, conversion.layout.frame(X), 2000).to_numpy()
    labels, scores = answers(conversion, rows)
    allowed = tolerance(pipeline, conversion)
    assert allowed == (TREES_TOLERANCE if scores.dtype == np.float64 else TOLERANCE)
    np.testing.assert_allclose(scores, pipeline.predict_proba(rows), rtol=0, atol=allowed)
    assert labels.tolist() == pipeline.predict(rows).tolist()


@pytest.mark.parametrize("classes", [2, 3])
def test_inside_others_every_forest_is_exact(classes: int) -> None:
    """A vote of forests with shared leaves computes with their probabilities in double precision."""
    X, y = table(classes)
    forest = RandomForestClassifier(9, max_depth=3, random_state=0)
    vote = VotingClassifier([("a", forest), ("b", clone(CLASSIFIERS[0]))], voting="soft").fit(X, y)
    conversion = convert(vote, X)
    _, scores = answers(conversion, X)
    assert tolerance(vote, conversion) == TREES_TOLERANCE
    assert np.abs(scores - vote.predict_proba(X)).max() < 1e-15


def test_shared_leaves_behind_another_tree_are_exact() -> None:
    """A graph has trees of one version only: those of quantiles and of the forest behind them."""
    X, y = table(3)
    forest = RandomForestClassifier(5, max_depth=3, random_state=0)
    pipeline = make_pipeline(QuantileTransformer(n_quantiles=50), forest).fit(X, y)
    conversion = convert(pipeline, X)
    assert "TreeEnsembleClassifier" not in [node.op_type for node in conversion.model.graph.node]
    assert np.abs(answers(conversion, X)[1] - pipeline.predict_proba(X)).max() < 1e-15


def test_only_trees_have_the_small_tolerance() -> None:
    """A vote with a logistic regression in it has the tolerance of all others."""
    X, y = table()
    vote = VotingClassifier([("a", clone(CLASSIFIERS[0])), ("b", LogisticRegression())], voting="soft")
    vote.fit(StandardScaler().fit_transform(X), y)
    assert tolerance(vote, convert(vote, X)) == TOLERANCE


FOREST = RandomForestRegressor(7, random_state=0)
STUMPS = AdaBoostRegressor(STUMP, n_estimators=6, random_state=0)
MEMBERS = [("a", FOREST), ("b", make_pipeline(StandardScaler(), DecisionTreeRegressor(random_state=0)))]
VOTES = [("a", CLASSIFIERS[2]), ("b", CLASSIFIERS[6])]
COMPOSED = [
    (VotingRegressor(MEMBERS), TREES_TOLERANCE),
    (VotingRegressor(MEMBERS, weights=[0.3, 1.7]), TREES_TOLERANCE),
    (BaggingRegressor(DecisionTreeRegressor(), 5, max_features=0.6, random_state=0), TREES_TOLERANCE),
    (BaggingRegressor(STUMPS, 3, random_state=0), TREES_TOLERANCE),
    (MultiOutputRegressor(FOREST), TREES_TOLERANCE),
    (RegressorChain(FOREST), TREES_TOLERANCE),
    (StackingRegressor(MEMBERS, cv=3), STACKED_TOLERANCE),
    (StackingRegressor(MEMBERS, LinearRegression(), cv=3), STACKED_TOLERANCE),
    (StackingRegressor(MEMBERS, cv=3, passthrough=True), TOLERANCE),
    (StackingRegressor([*MEMBERS, ("c", Ridge())], cv=3), TOLERANCE),
    (VotingRegressor([*MEMBERS, ("c", Ridge())]), TOLERANCE),
    (BaggingClassifier(CLASSIFIERS[6], 3, random_state=0), TREES_TOLERANCE),
    (VotingClassifier(VOTES, voting="soft", weights=[1.0, 2.0]), TREES_TOLERANCE),
    (StackingClassifier(VOTES, cv=3), STACKED_TOLERANCE),
]


@pytest.mark.parametrize(("model", "allowed"), COMPOSED, ids=lambda part: " ".join(repr(part).split()))
def test_compositions_of_trees_are_nearly_as_exact(model: Any, allowed: float) -> None:
    """Means of trees are as exact as trees; a product of matrices behind them rounds a little more."""
    X, y = table()
    X = StandardScaler().fit_transform(X)
    several = isinstance(model, (MultiOutputRegressor, RegressorChain))
    classifies = is_classifier(model)
    model = clone(model).fit(X, y if classifies else X[:, 1:4] if several else np.exp(X[:, 3]))
    conversion = convert(model, X)
    assert tolerance(model, conversion) == allowed
    rows = near(model, conversion.layout, conversion.layout.frame(X), 1000).to_numpy()
    pair = Pair(model, conversion, runner(conversion))
    frame = conversion.layout.frame(rows)
    assert pair.difference(pair.expected(rows), pair.served(frame)).max() <= min(allowed, 1e-9) / 100


def test_equal_votes_are_ties() -> None:
    """Where half of the trees vote for each class, both have exactly 0.5, and the first one wins."""
    X, y = np.array([[0.0], [1.0], [2.0], [3.0]] * 5), np.array([0, 1, 0, 1] * 5)
    forest = RandomForestClassifier(8, max_depth=1, random_state=0).fit(X, y)
    for tree, flip in zip(forest.estimators_, [False, True] * 4, strict=True):
        tree.tree_.value[:] = [[[1.0, 0.0]]] if flip else [[[0.0, 1.0]]]
    labels, scores = answers(convert(forest, X), X)
    assert (scores == 0.5).all()
    assert labels.tolist() == forest.predict(X).tolist() == [0] * 20


@pytest.mark.parametrize(("trees", "label"), [("hist", 0), ("grown", 1)])
def test_a_score_of_zero_is_labelled_as_in_scikit_learn(trees: str, label: int) -> None:
    """It is the first of two classes, but for GradientBoostingClassifier, which takes the second."""
    X, y = np.zeros((40, 1)), np.arange(40) % 2
    boosting = {
        "hist": HistGradientBoostingClassifier(max_iter=3),
        "grown": GradientBoostingClassifier(n_estimators=3),
    }[trees].fit(X, y)
    labels, scores = answers(convert(boosting, X), X[:1])
    assert boosting.predict(X[:1]).tolist() == labels.tolist() == [label]
    assert scores.tolist() == [[0.5, 0.5]]


REGRESSION = [
    DecisionTreeRegressor(random_state=0),
    ExtraTreeRegressor(max_depth=4, random_state=0),
    RandomForestRegressor(7, random_state=0),
    ExtraTreesRegressor(7, random_state=0),
    *(
        GradientBoostingRegressor(loss=loss, init=init, n_estimators=5, random_state=0)
        for loss in ("absolute_error", "huber", "quantile", "squared_error")
        for init in (None, "zero")
    ),
    *(
        HistGradientBoostingRegressor(loss=loss, quantile=0.3 if loss == "quantile" else None, max_iter=5)
        for loss in ("absolute_error", "gamma", "poisson", "quantile", "squared_error")
    ),
    AdaBoostRegressor(n_estimators=6, random_state=0),
    AdaBoostRegressor(STUMP, n_estimators=6, loss="exponential", random_state=0),
]


@pytest.mark.parametrize("gaps", [False, True], ids=["full", "gaps"])
@pytest.mark.parametrize("regressor", REGRESSION, ids=lambda regressor: " ".join(repr(regressor).split()))
def test_regressors_give_the_very_sums(regressor: Any, gaps: bool) -> None:
    """Numbers equal scikit-learn's to the last digit, or to the last but one behind an exponential."""
    X, _ = table(2, gaps and not isinstance(regressor, NO_GAPS))
    y = np.exp(np.nan_to_num(X[:, 3]))
    regressor = clone(regressor).fit(X, y)
    graph = Graph()
    columns = graph.input("x", "float64", 6).columns()
    output = REGRESSORS[type(regressor)](graph, regressor, columns)
    layout = convert(regressor, X).layout
    rows = np.concatenate([X, near(regressor, layout, layout.frame(X), 100).to_numpy()])
    numbers = ran(graph, output.prediction, rows)
    allowed = 1e-15 if getattr(regressor, "loss", "") in ("gamma", "poisson") else 0.0
    np.testing.assert_allclose(numbers[:, 0], regressor.predict(rows), rtol=allowed, atol=0)
    assert numbers.shape == (len(rows), 1)
    assert len(rows) > 300


@pytest.mark.parametrize("regressor", REGRESSION[:4], ids=lambda regressor: type(regressor).__name__)
def test_several_numbers_at_once_are_the_very_sums(regressor: Any) -> None:
    """Trees whose leaves hold several numbers answer all of them, in order."""
    X, _ = table()
    regressor = clone(regressor).fit(X, X[:, 1:4])
    graph = Graph()
    columns = graph.input("x", "float64", 6).columns()
    output = REGRESSORS[type(regressor)](graph, regressor, columns)
    numbers = ran(graph, output.prediction, X)
    assert np.array_equal(numbers, regressor.predict(X))
    assert output.targets == 3


SERVED = {
    "-".join(filter(None, (type(regressor).__name__, getattr(regressor, "loss", "")))): regressor
    for regressor in REGRESSION
    if getattr(regressor, "init", None) is None
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A client of one server of all kinds of trees and losses, and the fitted regressors."""
    X, _ = table()
    folder, fitted = tmp_path_factory.mktemp("models"), {}
    for name, regressor in SERVED.items():
        fitted[name] = clone(regressor).fit(X, np.exp(X[:, 3]))
    for forest in REGRESSION[2:4]:
        fitted[f"several-{type(forest).__name__}"] = clone(forest).fit(X, X[:, 1:4])
    for name, regressor in fitted.items():
        export_pipeline(regressor, X, regressor.predict(X), name=name, models=folder)
    return create_app(Config(models=str(folder))).test_client(), fitted


@pytest.mark.long
@pytest.mark.parametrize(
    "name", sorted([*SERVED, *(f"several-{type(forest).__name__}" for forest in REGRESSION[2:4])])
)
def test_every_loss_is_served(served: tuple[Any, dict[str, Any]], name: str) -> None:
    """Over HTTP the numbers beside splits are scikit-learn's."""
    client, fitted = served
    X, _ = table()
    layout = convert(fitted[name], X).layout
    rows = near(fitted[name], layout, layout.frame(X), 200).to_numpy()
    answer = client.post(f"/models/{name}/predict", json={"features": rows.tolist()})
    assert answer.status_code == 200
    np.testing.assert_allclose(answer.json["prediction"], fitted[name].predict(rows), rtol=1e-12)


def test_categories_of_a_regressor_go_where_scikit_learn_sends_them() -> None:
    """Known, unknown and missing ones, as in training and where training had none missing."""
    random = np.random.default_rng(0)
    port = random.choice(list("abcdefgh"), 400)
    frame = pd.DataFrame({"port": pd.Categorical(port), "age": random.normal(size=400)})
    target = 3.0 * np.isin(port, ["a", "d", "g"]) + frame["age"]
    asked = frame.copy()
    asked["port"] = pd.Categorical(np.resize(["a", "z", None, "d", "h"], 400))
    for rows in (frame, frame.assign(port=frame["port"].where(random.random(400) > 0.2))):
        model = HistGradientBoostingRegressor(max_iter=5, categorical_features="from_dtype")
        conversion = convert(model.fit(rows, target), rows)
        layout = conversion.layout
        beside = near(model, layout, layout.frame(rows), 300)
        assert len(beside) > 20
        for each in (asked, layout.rows(beside)):
            feeds = layout.feeds(layout.frame(each), conversion.inputs)
            expected = model.predict(each)
            np.testing.assert_allclose(
                np.ravel(runner(conversion)(feeds)[1]), expected, rtol=1e-12, atol=1e-12
            )


def test_boosting_from_another_regressor_is_refused() -> None:
    """A regressor of one's own as the beginning has no graph."""
    X, _ = table()
    regressor = GradientBoostingRegressor(init=Ridge(), n_estimators=2).fit(X, X[:, 0])
    graph = Graph()
    with pytest.raises(NoGraph, match="init= an estimator of your own has no graph"):
        REGRESSORS[type(regressor)](graph, regressor, graph.input("x", "float64", 6).columns())


def leaf(value: list[float]) -> Tree:
    """A tree of one leaf."""
    end, zero = np.array([-1]), np.array([0])
    return Tree(end, end, zero, np.zeros(1), np.zeros(1, bool), np.array([value]))


def split(threshold: float = 0.0, missing: bool = False, sets: dict[int, Array] | None = None) -> Tree:
    """A tree of one split: 1 on the left, 2 on the right."""
    left, right, zero = np.array([1, -1, -1]), np.array([2, -1, -1]), np.zeros(3, np.int64)
    limits, value = np.array([threshold, 0.0, 0.0]), np.array([[0.0], [1.0], [2.0]])
    return Tree(left, right, zero, limits, np.array([missing, False, False]), value, sets or {})


def summed(trees: list[Tree], rows: Array, **options: Any) -> Array:
    """The sums that the trees give."""
    graph = Graph()
    dtype = "float32" if rows.dtype == np.float32 else "float64"
    return ran(graph, ensemble(graph, graph.input("x", dtype, 1).columns(), trees, **options), rows)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("codes", [[], [0], [0, 3, 5], [1, 2, 63, 64], [7, 65, 254], list(range(130))])
def test_a_set_sends_its_codes_to_the_left(codes: list[int], missing: bool) -> None:
    """All other codes go to the right, and a missing one where the tree says, in one run and one by one."""
    rows = np.array([[np.nan], *([float(code)] for code in [*range(-3, 260), 2**31, 2**53])])
    left = np.where(np.isnan(rows), missing, np.isin(rows, codes))
    tree = split(missing=missing, sets={0: np.array(codes, np.int64)})
    expected = np.where(left, 1.0, 2.0)
    assert np.array_equal(summed([tree], rows), expected)
    assert np.array_equal(
        np.concatenate([summed([tree], rows[i : i + 1]) for i in (0, 3, 8)]), expected[[0, 3, 8]]
    )


def test_sums_begin_with_the_base_and_follow_the_trees() -> None:
    """The order of additions decides the last digit."""
    trees = [leaf([0.1]), split(), leaf([0.3]), leaf([-3.3])]
    expected = (((0.7 + 0.1) + 1.0) + 0.3) - 3.3
    rows = np.array([[-1.0]])
    assert summed(trees, rows, base=np.array([0.7])).item() == expected
    assert summed(trees, rows, base=np.array([0.7]), mean=True).item() == expected / 4
    assert summed([], rows, base=np.array([0.7, 0.2])).tolist() == [[0.7, 0.2]]


def test_a_base_of_several_outputs_shares_no_leaf() -> None:
    """Each output begins in a tree of its own, so that one node adds all of them."""
    trees = [leaf([0.5, 0.0]), leaf([0.0, 0.25]), leaf([1.0, 0.0])]
    graph = Graph()
    output = ensemble(graph, graph.input("x", "float64", 1).columns(), trees, base=np.array([2.0, 4.0]))
    assert [node.op_type for node in graph.nodes] == ["TreeEnsemble"]
    assert ran(graph, output, np.zeros((2, 1))).tolist() == [[3.5, 4.25]] * 2


def test_single_precision_adds_in_single_precision() -> None:
    """With float32, numbers are rounded before they are compared, and so is each sum."""
    trees = [split(0.5), *[leaf([value]) for value in (1e8, 1.0, -1e8)]]
    rows = np.array([[0.5 + 1e-12], [0.75]])
    graph = Graph()
    sums = ensemble(graph, graph.input("x", "float64", 1).columns(), trees, dtype="float32")
    assert ran(graph, graph.cast(sums, "float64"), rows).tolist() == [[0.0], [0.0]]
    assert summed(trees, rows).tolist() == [[3.0], [3.0]]
    assert summed(trees[:1], np.array([[0.5], [0.75]], np.float32), dtype="float32").tolist() == [
        [1.0],
        [2.0],
    ]


def homes(rows: int, seed: int) -> tuple[pd.DataFrame, Array]:
    """Texts, numbers and booleans as categories, with missing ones, and numbers."""
    random = np.random.default_rng(seed)
    home = pd.DataFrame(
        {
            "grade": random.choice(list("abcdefghi"), rows),
            "floor": random.integers(0, 9, rows).astype(float),
            "open": random.random(rows) < 0.5,
            "size": random.normal(size=rows),
        }
    )
    points = home["grade"].isin(list("acf")) * 1 + home["floor"].isin([1.0, 5.0]) + (home["size"] > 0)
    home.loc[random.random(rows) < 0.1, "grade"] = None
    return home, np.asarray(points)


@pytest.mark.parametrize("classes", [2, 3])
def test_rows_beside_sets_have_categories_of_the_other_side(classes: int) -> None:
    """Texts and numbers as categories are moved across the sets; unknown and missing ones are right too."""
    rows, points = homes(300, 0)
    rows = rows.drop(columns="open")
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features=["grade", "floor"])
    model.fit(rows, points % classes)
    conversion = convert(model, rows)
    frame = conversion.layout.frame(rows)
    beside = near(model, conversion.layout, frame, 400)
    strange = beside.assign(grade="no such grade", floor=77.0)
    for part in (beside, strange, beside.assign(floor=np.nan)):
        _, scores = answers(conversion, conversion.layout.rows(part))
        np.testing.assert_allclose(
            scores, model.predict_proba(conversion.layout.rows(part)), rtol=0, atol=1e-15
        )
    assert beside["grade"].nunique() > 4
    assert "TreeEnsemble" in [node.op_type for node in conversion.model.graph.node]
