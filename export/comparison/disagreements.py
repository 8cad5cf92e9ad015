"""Where two classifiers disagree: pairs of classes, with the rows that each calls one of them."""

from collections.abc import Sequence

import numpy as np

from unpickled.export.comparison.sides import Places
from unpickled.server.artifact.comparison import Disagreement
from unpickled.server.artifact.reference import FEWEST

# The most pairs: those with the most rows.
MOST = 20


def disagreements(
    names: Sequence[str], truth: Places, this: Places, other: Places
) -> tuple[Disagreement, ...]:
    """The pairs with at least FEWEST rows, the most frequent first.

    Args:
        names: The classes.
        truth: (rows,): the place of the true class among them.
        this: The places of the classes that the later version answers.
        other: Those of the earlier one.
    """
    apart = np.flatnonzero(this != other)
    pairs, counts = np.unique(np.column_stack([other[apart], this[apart]]), axis=0, return_counts=True)
    order = [at for at in np.argsort(-counts, kind="stable")[:MOST] if counts[at] >= FEWEST]
    cells = []
    for theirs, ours in pairs[order].tolist():
        of_rows = truth[(other == theirs) & (this == ours)]
        cells.append(
            Disagreement(
                other=names[theirs],
                this=names[ours],
                rows=len(of_rows),
                this_right=int((of_rows == ours).sum()),
                other_right=int((of_rows == theirs).sum()),
            )
        )
    return tuple(cells)
