"""The model inside a fitted estimator of a boosting library, in one form for all libraries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from unpickled.export.trees import Floats, Tree

# How the raw scores become answers. "sigmoids": the logistic function of each, without a common sum.
Link = Literal["identity", "logistic", "softmax", "exp", "sigmoids"]


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """Trees whose leaves are added up, in the order in which the library adds them.

    Each tree's ``value`` is (nodes, outputs); ``base`` (outputs,) is what the sum starts with, or for CatBoost
    what it adds last. ``texts`` has the categories that the trees know, for each column of them: the trees see
    the code 0 for the first text, 1 for the second, and -1 for any other.
    """

    trees: list[Tree]
    base: Floats
    link: Link
    texts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
