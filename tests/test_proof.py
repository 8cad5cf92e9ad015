"""The trees of a graph are proven to be the fitted ones, node by node, or nothing is claimed of them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from unpickled.export import export_pipeline
from unpickled.export.convert import convert
from unpickled.export.gate.proof import Proof, prove

TREES = [
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(7, random_state=0),
    ExtraTreesClassifier(8, random_state=0),
    GradientBoostingClassifier(n_estimators=5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5),
    AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=5, random_state=0),
]
Table = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def table(classes: int = 2) -> Table:
    """Two hundred rows of six numbers."""
    rows, labels = make_classification(
        200, 6, n_informative=5, n_redundant=0, n_classes=classes, random_state=0
    )
    return rows, labels


def splits(trees: Any) -> int:
    """The number of nodes that are no leaves, counted by scikit-learn."""
    if hasattr(trees, "_predictors"):
        return sum(len(tree.nodes) - tree.get_n_leaf_nodes() for stage in trees._predictors for tree in stage)
    members = np.ravel(getattr(trees, "estimators_", [trees]))
    return sum(member.tree_.node_count - member.tree_.n_leaves for member in members)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("trees", TREES, ids=lambda trees: type(trees).__name__)
def test_every_split_is_proven(trees: Any, classes: int) -> None:
    """Every split counts, be the scalers folded into the thresholds, or there be none, or holes."""
    X, y = table(classes)
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    takes_holes = not isinstance(trees, (AdaBoostClassifier, GradientBoostingClassifier))
    for steps, rows in (
        ([], holed if takes_holes else X),
        ([StandardScaler()], holed if takes_holes else X),
        ([SimpleImputer(), RobustScaler()], holed),
        ([MinMaxScaler(clip=True)], X),
    ):
        pipeline = make_pipeline(*steps, trees).fit(rows, y)
        proof = prove(pipeline, convert(pipeline, rows))
        assert proof is not None
        assert proof.splits == splits(pipeline[-1]) > 0


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    """The attribute of a node with this name."""
    return next(attribute for attribute in node.attribute if attribute.name == name)


def nudged(node: onnx.NodeProto, name: str, place: int) -> None:
    """Move one of the numbers of an attribute to the next one of its type."""
    tensor = attribute(node, name).t
    numbers = numpy_helper.to_array(tensor).copy()
    whole = numbers.dtype.kind == "u"
    numbers[place] = numbers[place] + 1 if whole else np.nextafter(numbers[place], np.inf)
    tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))


def swapped(node: onnx.NodeProto) -> None:
    """Send the rows of the first split the other way."""
    for what in ("nodeids", "leafs"):
        left, right = (attribute(node, f"nodes_{side}{what}").ints for side in ("true", "false"))
        left[0], right[0] = right[0], left[0]


def counted_up(node: onnx.NodeProto, name: str) -> None:
    """Add one to the first number of an attribute."""
    attribute(node, name).ints[0] += 1


MISTAKES: dict[str, Callable[[onnx.NodeProto], None]] = {
    "threshold": lambda node: nudged(node, "nodes_splits", 0),
    "leaf": lambda node: nudged(node, "leaf_weights", -1),
    "sides": swapped,
    "feature": lambda node: counted_up(node, "nodes_featureids"),
    "leaf of another output": lambda node: counted_up(node, "leaf_targetids"),
    "other root": lambda node: counted_up(node, "tree_roots"),
    "other mode": lambda node: nudged(node, "nodes_modes", 0),
    "missing": lambda node: node.attribute.append(
        onnx.helper.make_attribute(
            "nodes_missing_value_tracks_true", [1] + [0] * (len(attribute(node, "nodes_featureids").ints) - 1)
        )
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("scaler", [None, StandardScaler()], ids=["plain", "scaled"])
@pytest.mark.parametrize("trees", [TREES[0], TREES[3]], ids=["tree", "boosting"])
def test_one_other_node_leaves_no_proof(mistake: Any, scaler: Any, trees: Any) -> None:
    """A single split or leaf that differs in the last digit of one number is seen."""
    X, y = table()
    pipeline = make_pipeline(scaler, trees).fit(X, y)
    conversion = convert(pipeline, X)
    model = onnx.ModelProto.FromString(conversion.model.SerializeToString())
    mistake(next(node for node in model.graph.node if node.op_type == "TreeEnsemble"))
    assert prove(pipeline, conversion) is not None
    assert prove(pipeline, dataclasses.replace(conversion, model=model)) is None


NUMBERS = {
    "tree": DecisionTreeRegressor(max_depth=4, random_state=0),
    "forest": RandomForestRegressor(3, max_depth=4, random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=3, random_state=0),
    "histograms": HistGradientBoostingRegressor(max_iter=3),
}


@pytest.mark.parametrize("trees", sorted(NUMBERS))
def test_one_other_node_of_a_regressor_leaves_no_proof(trees: str) -> None:
    """Trees that answer numbers are compared node by node, too."""
    X, _ = table()
    model = clone(NUMBERS[trees]).fit(X, X[:, 0] * X[:, 1])
    conversion = convert(model, X)
    assert prove(model, conversion) is not None
    for name in ("threshold", "leaf", "sides", "feature"):
        graph = onnx.ModelProto.FromString(conversion.model.SerializeToString())
        MISTAKES[name](next(node for node in graph.graph.node if node.op_type == "TreeEnsemble"))
        assert prove(model, dataclasses.replace(conversion, model=graph)) is None, name


def test_one_other_line_of_a_table_leaves_no_proof() -> None:
    """Leaves that are places in a table are compared with what stands there."""
    X, y = table(3)
    forest = RandomForestClassifier(9, max_depth=3, random_state=0)
    model = VotingClassifier([("forest", forest)], voting="soft").fit(X, y)
    conversion = convert(model, X)
    gather = next(node for node in conversion.model.graph.node if node.op_type == "Gather")
    graph = onnx.ModelProto.FromString(conversion.model.SerializeToString())
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == gather.input[0])
    numbers = numpy_helper.to_array(tensor).copy()
    numbers[1, 0] = np.nextafter(numbers[1, 0], np.inf)
    tensor.CopyFrom(numpy_helper.from_array(numbers, tensor.name))
    assert prove(model, conversion) is not None
    assert prove(model, dataclasses.replace(conversion, model=graph)) is None


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("class_ids", None),
        ("class_weights_as_tensor", 0),
        ("nodes_featureids", None),
        ("nodes_truenodeids", None),
        ("nodes_values_as_tensor", 0),
    ],
)
def test_one_other_node_of_the_older_operator_leaves_no_proof(name: str, place: int | None) -> None:
    """A forest of several classes is written with it, and is compared as closely."""
    X, y = table(3)
    model = RandomForestClassifier(9, max_depth=3, random_state=0).fit(X, y)
    conversion = convert(model, X)
    graph = onnx.ModelProto.FromString(conversion.model.SerializeToString())
    (node,) = (node for node in graph.graph.node if node.op_type == "TreeEnsembleClassifier")
    if name == "class_ids":
        ids = attribute(node, name).ints
        ids[0] = (ids[0] + 1) % 3
    elif place is None:
        counted_up(node, name)
    else:
        nudged(node, name, place)
    assert prove(model, conversion) is not None
    assert prove(model, dataclasses.replace(conversion, model=graph)) is None


def home() -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Two columns of categories, one of numbers, with gaps, and labels that hang on sets of them."""
    random = np.random.default_rng(0)
    X = np.stack([random.integers(0, 60, 400), random.integers(0, 5, 400), random.normal(size=400)], axis=1)
    y = np.isin(X[:, 0] % 7, (1, 3, 4)) ^ (X[:, 1] > 2) ^ (X[:, 2] > 0.5)
    X[random.random(X.shape) < 0.05] = np.nan
    return X, y


@pytest.mark.parametrize("mistake", ["none", "another code", "a code less", "the next set", "threshold"])
def test_sets_of_categories_are_proven(mistake: str) -> None:
    """The codes that go left are those in scikit-learn's own bits, all of them and no other."""
    X, y = home()
    model = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0, 1]).fit(X, y)
    conversion = convert(model, X)
    graph = onnx.ModelProto.FromString(conversion.model.SerializeToString())
    node = next(node for node in graph.graph.node if node.op_type == "TreeEnsemble")
    tensor = attribute(node, "membership_values").t
    members = numpy_helper.to_array(tensor).copy()
    wrong = {
        "another code": np.append(members[0] + 100, members[1:]),
        "a code less": members[1:],
        "the next set": np.append(members[1:], members[:1]),
    }.get(mistake, members)
    tensor.CopyFrom(numpy_helper.from_array(wrong, tensor.name))
    if mistake == "threshold":
        at_threshold = numpy_helper.to_array(attribute(node, "nodes_modes").t) == 0
        nudged(node, "nodes_splits", int(np.flatnonzero(at_threshold)[0]))
    proof = prove(model, dataclasses.replace(conversion, model=graph))
    assert (proof is None) == (mistake != "none")
    assert proof is None or proof.splits == splits(model)


def test_a_proof_counts_in_english() -> None:
    """One split is a split, and one leaf a leaf."""
    assert str(Proof(trees=1, splits=1, leaves=2)) == "1 split and 2 leaves of 1 tree"
    assert str(Proof(trees=2, splits=0, leaves=1)) == "0 splits and 1 leaf of 2 trees"


def test_nothing_is_claimed_of_other_pipelines() -> None:
    """A pipeline without trees, and one whose trees are calibrated, has no proof."""
    X, y = table()
    for last in (LogisticRegression(), CalibratedClassifierCV(DecisionTreeClassifier(), cv=2)):
        pipeline = make_pipeline(StandardScaler(), last).fit(X, y)
        assert prove(pipeline, convert(pipeline, X)) is None


def test_proven_trees_are_asked_for_fewer_rows(tmp_path: Any) -> None:
    """With a proof 2,000 rows beside splits are enough; the export says so, and how many splits it has."""
    X, y = np.random.default_rng(0).normal(size=(200, 5)), np.arange(200) % 2
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(30, random_state=0)).fit(X, y)
    lines: list[str] = []
    export = export_pipeline(pipeline, X, y, name="m", models=tmp_path, progress=lines.append)
    assert export.proof is not None
    assert 500 < export.proof.splits == splits(pipeline[-1])
    assert 500 < export.manifest.parity.rows["near_threshold"] <= 2000
    assert f"comparing {export.proof} with the fitted ones" in lines
    assert "comparing rows beside the splits" in lines
