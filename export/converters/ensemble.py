"""The node that runs trees: ``TreeEnsemble``, which compares and adds in double precision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import numpy_helper

from unpickled.export.converters import walk
from unpickled.export.graph import ML, Array, Columns, Dtype, Graph
from unpickled.export.trees import Tree, before_scaling

# Values of the operator's attributes.
_LEQ, _MEMBER = 0, 6
_AVERAGE, _SUM = 0, 1
# No category has this code: a set of it alone is empty. ONNX Runtime takes no set without a member, and
# reads members and numbers as int32, of which the very lowest is that of too large a number.
_NOTHING = np.iinfo(np.int32).min + 1


def ensemble(
    graph: Graph,
    columns: Columns,
    trees: Sequence[Tree],
    base: Array | None = None,
    mean: bool = False,
    dtype: Dtype = "float64",
) -> str:
    """The sums (rows, outputs) of the leaf values that a row reaches, added in the order of the trees.

    ONNX Runtime adds in this order with one thread; several threads may change the last digit.

    Args:
        graph: The graph that gets the nodes.
        columns: The columns that the trees were fitted on. A column with ``sets`` holds whole numbers or NaN.
        trees: The trees; ``value`` is (nodes, outputs), and counts at leaves only.
        base: (outputs,): where each sum begins, before the first tree; 0 if it is left out.
        mean: Divide each sum by the number of trees.
        dtype: The precision of thresholds, leaf values and sums, and so of the answer. With "float32" the
            columns are rounded to it first, and thresholds and values have to be float32 numbers.
    """
    trees = list(trees) or [_constant(np.zeros(0 if base is None else len(base)))]
    count = len(trees)
    if base is not None:
        trees = _begun(trees, np.asarray(base, np.float64))
    x, trees = unscaled(graph, columns, trees, dtype)
    if not are_shared(trees):
        return _node(graph, x, trees, dtype, _Leaves.of(trees), _AVERAGE if mean and count > 1 else _SUM)
    total = _looked_up(graph, x, trees, dtype)
    return graph.add("Div", total, graph.constant(np.array(count, dtype))) if mean and count > 1 else total


def reached(graph: Graph, x: str, trees: Sequence[Tree], dtype: Dtype = "float64") -> str:
    """int64 (rows, trees): the place of the leaf that a row of x reaches, among the leaves of the tree."""
    counts = [int((tree.left < 0).sum()) for tree in trees]
    places = np.concatenate([np.arange(count) for count in counts])
    owner = np.repeat(np.arange(len(trees)), counts)
    return graph.cast(_node(graph, x, trees, dtype, _Leaves(owner, places, len(trees))), "int64")


def by_tree(graph: Graph, columns: Columns, trees: Sequence[Tree]) -> str:
    """(rows, trees): the value of the leaf that a row reaches in each tree; the trees have one output."""
    x, trees = unscaled(graph, columns, trees)
    values = [tree.value[tree.left < 0, 0] for tree in trees]
    owner = np.repeat(np.arange(len(trees)), [len(value) for value in values])
    return _node(graph, x, trees, "float64", _Leaves(owner, np.concatenate(values), len(trees)))


def are_shared(trees: Sequence[Tree]) -> bool:
    """Whether some leaf adds to several outputs. The operator has one weight and one output for each leaf."""
    return any(bool(((tree.value[tree.left < 0] != 0).sum(axis=1) > 1).any()) for tree in trees)


def _constant(value: Array) -> Tree:
    """A tree of one leaf."""
    leaf, zero = np.full(1, -1, np.int64), np.zeros(1, np.int64)
    return Tree(leaf, leaf, zero, np.zeros(1), np.zeros(1, bool), value[None, :])


def _begun(trees: Sequence[Tree], base: Array) -> list[Tree]:
    """The trees with each output's base in the leaves of the first tree that adds to no other output."""
    trees = list(trees)
    for output in np.flatnonzero(base):
        others = np.arange(len(base)) != output
        alone = (i for i, tree in enumerate(trees) if not tree.value[tree.left < 0][:, others].any())
        first = next(alone, 0)
        value = trees[first].value.copy()
        value[:, output] = base[output] + value[:, output]
        trees[first] = replace(trees[first], value=value)
    return trees


def unscaled(
    graph: Graph, columns: Columns, trees: Sequence[Tree], dtype: Dtype = "float64"
) -> tuple[str, Sequence[Tree]]:
    """The numbers to compare, and the trees for them: the scaler in front is folded into the thresholds.

    This saves its nodes, and is exact to the last bit.
    """
    name = graph.matrix(columns, dtype)
    if dtype != "float64" or any(tree.sets for tree in trees):
        return name, trees
    x, steps = graph.shifted(name, len(columns))
    return x, [before_scaling(tree, steps) for tree in trees] if steps else trees


def _looked_up(graph: Graph, x: str, trees: Sequence[Tree], dtype: Dtype) -> str:
    """The sums for leaves with several outputs: the place of each leaf reached, and its line of a table."""
    leaves = [np.flatnonzero(tree.left < 0) for tree in trees]
    starts = np.cumsum([0, *(len(leaf) for leaf in leaves[:-1])], dtype=np.int64)
    place = graph.add("Add", reached(graph, x, trees, dtype), graph.constant(starts))
    lines = np.concatenate([tree.value[leaf] for tree, leaf in zip(trees, leaves, strict=True)])
    values = graph.add("Gather", graph.constant(lines.astype(dtype)), place)
    if len(trees) == 1:
        return graph.add("Squeeze", values, graph.constant(np.array([1], np.int64)))
    return _added(graph, values, dtype)


def _added(graph: Graph, values: str, dtype: Dtype) -> str:
    """(rows, outputs): the sums over the trees of values (rows, trees, outputs).

    ReduceSum adds in an order of its own, which doubles hardly show. Float32 numbers do: CumSum adds them one
    after the other, as XGBoost does, but writes every sum on the way.
    """
    if dtype == "float64":
        return graph.add("ReduceSum", values, graph.constant(np.array([1], np.int64)), keepdims=0)
    sums = graph.add("CumSum", values, graph.constant(np.array(1, np.int64)))
    return graph.add("Gather", sums, graph.constant(np.array(-1, np.int64)), axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Leaves:
    """The leaves of all trees, one after the other: which output each adds to, and how much."""

    output: Array
    weight: Array
    outputs: int

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> "_Leaves":
        """The leaves of trees of which none has more than one value that is not 0."""
        value = np.concatenate([tree.value[tree.left < 0] for tree in trees])
        output = (value != 0).argmax(axis=1)
        return cls(output, value[np.arange(len(value)), output], value.shape[1])


def _node(
    graph: Graph, x: str, trees: Sequence[Tree], dtype: Dtype, leaves: _Leaves, aggregate: int = _SUM
) -> str:
    if graph.standard:
        return _walked(graph, x, trees, dtype, leaves, aggregate)
    attributes: dict[str, object] = {
        **_Splits(trees).attributes(dtype),
        "leaf_targetids": leaves.output,
        "leaf_weights": numpy_helper.from_array(leaves.weight.astype(dtype), "weights"),
        "n_targets": leaves.outputs,
        "aggregate_function": aggregate,
    }
    return graph.add("TreeEnsemble", x, domain=ML, **attributes)


def _walked(
    graph: Graph, x: str, trees: Sequence[Tree], dtype: Dtype, leaves: _Leaves, aggregate: int
) -> str:
    """The same in operators of ``ai.onnx`` alone."""
    reached = walk.leaf(graph, x, trees, dtype)
    owner = np.repeat(np.arange(len(trees)), [int((tree.left < 0).sum()) for tree in trees])
    if leaves.outputs == len(trees) and np.array_equal(leaves.output, owner):
        return graph.add("Gather", graph.constant(leaves.weight.astype(dtype)), reached)
    lines = np.zeros((len(leaves.weight), leaves.outputs))
    lines[np.arange(len(lines)), leaves.output] = leaves.weight
    values = graph.add("Gather", graph.constant(lines.astype(dtype)), reached)
    total = _added(graph, values, dtype)
    count = graph.constant(np.array(len(trees), dtype))
    return graph.add("Div", total, count) if aggregate == _AVERAGE else total


class _Splits:
    """The splits of all trees, one after the other; a tree of one leaf has a split with this leaf twice."""

    def __init__(self, trees: Sequence[Tree]) -> None:
        self.roots: list[int] = []
        self.members: list[Array] = []
        self._blocks: list[tuple[Array, ...]] = []
        self._splits = self._leaves = 0
        for tree in trees:
            self._add(tree)
        names = ("feature", "threshold", "mode", "missing", "left", "right", "left_leaf", "right_leaf")
        self.columns = dict(zip(names, map(np.concatenate, zip(*self._blocks, strict=True)), strict=True))

    def attributes(self, dtype: Dtype) -> dict[str, object]:
        """The attributes of the node that are about splits."""
        columns = self.columns
        attributes: dict[str, object] = {
            "tree_roots": np.array(self.roots),
            "nodes_featureids": columns["feature"],
            "nodes_splits": numpy_helper.from_array(columns["threshold"].astype(dtype), "splits"),
            "nodes_modes": numpy_helper.from_array(columns["mode"].astype(np.uint8), "modes"),
            "nodes_truenodeids": columns["left"],
            "nodes_falsenodeids": columns["right"],
            "nodes_trueleafs": columns["left_leaf"],
            "nodes_falseleafs": columns["right_leaf"],
        }
        if columns["missing"].any():
            attributes["nodes_missing_value_tracks_true"] = columns["missing"]
        if self.members:
            members = np.concatenate(self.members).astype(dtype)
            attributes["membership_values"] = numpy_helper.from_array(members, "members")
        return attributes

    def _add(self, tree: Tree) -> None:
        split = tree.left >= 0
        self.roots.append(self._splits)
        if not split.any():
            zero, leaf, is_leaf = np.array([0]), np.array([self._leaves]), np.array([1])
            self._blocks.append((zero, zero * 0.0, zero, zero, leaf, leaf, is_leaf, is_leaf))
            self._splits, self._leaves = self._splits + 1, self._leaves + 1
            return
        # A split is counted among the splits, a leaf among the leaves.
        place = np.where(split, np.cumsum(split) - 1 + self._splits, np.cumsum(~split) - 1 + self._leaves)
        left, right = tree.left[split], tree.right[split]
        of_set = np.isin(np.flatnonzero(split), list(tree.sets))
        self._blocks.append(
            (
                tree.feature[split],
                np.where(of_set, 0.0, tree.threshold[split]),
                np.where(of_set, _MEMBER, _LEQ),
                tree.missing_left[split].astype(np.int64),
                place[left],
                place[right],
                (~split[left]).astype(np.int64),
                (~split[right]).astype(np.int64),
            )
        )
        for node in sorted(tree.sets):
            codes = tree.sets[node]
            self.members.append(np.append(codes if len(codes) else [_NOTHING], np.nan))
        self._splits, self._leaves = self._splits + int(split.sum()), self._leaves + int((~split).sum())
