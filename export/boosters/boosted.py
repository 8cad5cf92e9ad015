"""The trees of another library's model, in one form for all libraries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from unpickled.export.trees import Floats, Tree

# How the sums become answers. "sigmoids": the logistic function of each sum, not normalised.
Link = Literal["identity", "exp", "logistic", "softmax", "sigmoids"]


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """Trees in the order in which the library adds their leaves, then ``base`` (outputs,), then the link.

    ``categories`` has, for each column of categories that a tree reads, their texts in the order of the
    codes 0, 1, ... that the trees see in that column; any other text has the code -1.
    """

    trees: list[Tree]
    base: Floats
    link: Link
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
