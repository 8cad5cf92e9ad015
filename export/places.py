"""The places of labels among the classes of a model, in whatever order a library keeps them."""

from typing import Any

import numpy as np
import numpy.typing as npt


def places(classes: npt.NDArray[Any], labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(rows,): where each label stands in ``classes``; all labels are among them.

    scikit-learn sorts classes; CatBoost keeps the order of its ``class_names``.

    Example:
        >>> places(np.array(["no", "maybe", "yes"]), np.array(["yes", "no"])).tolist()
        [2, 0]
    """
    order = np.argsort(classes)
    return np.asarray(order[np.searchsorted(classes, labels, sorter=order)])
