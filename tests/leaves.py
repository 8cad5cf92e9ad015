"""The leaves of trees that rows reach, by the rules that the docstring of a tree gives."""

from typing import Any

import numpy as np
import numpy.typing as npt

from unpickled.export.trees import Tree


def reached(tree: Tree, rows: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(rows,): the node at which each row, as the tree sees it, ends."""
    node = np.zeros(len(rows), dtype=np.int64)
    while (inner := np.flatnonzero(tree.left[node] >= 0)).size:
        at, x = node[inner], rows[inner, tree.feature[node[inner]]]
        left = x <= tree.threshold[at]
        for split, codes in tree.sets.items():
            left[at == split] = np.isin(x[at == split], codes)
        left[np.isnan(x)] = tree.missing_left[at][np.isnan(x)]
        node[inner] = np.where(left, tree.left[at], tree.right[at])
    return node
