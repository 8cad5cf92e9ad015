"""The model inside a fitted estimator of a boosting library, in one form for all libraries."""

from dataclasses import dataclass
from typing import Literal

from unpickled.export.trees import Floats, Tree

# How the raw scores become answers. "sigmoids": the logistic function of each, without a common sum.
Link = Literal["identity", "logistic", "softmax", "exp", "sign", "square", "softplus", "sigmoids"]


@dataclass(frozen=True, slots=True, eq=False)
class Boosted:
    """Trees whose leaves are added up, in the order in which the library adds them.

    Each tree's ``value`` is (nodes, outputs); ``base`` (outputs,) is what the sum starts with; CatBoost adds
    it last. The link takes the sum divided by ``divisor`` and times ``slope``.
    """

    trees: list[Tree]
    base: Floats
    link: Link
    divisor: float = 1.0
    slope: float = 1.0
