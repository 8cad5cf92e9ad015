"""The comparison of a version with an earlier one on rows with their true answers."""

from unpickled.export.comparison.earlier import Earlier
from unpickled.export.labelled import Labelled
from unpickled.server.artifact.comparison import Comparison
from unpickled.server.model.session import Model


def compare(this: Model, earlier: Earlier, labelled: Labelled, unseen: bool | None = None) -> Comparison:
    """How a version compares with an earlier one on rows that it was not fitted on.

    Both answer the rows as a server does, from their files. Rows that one of them does not take are in no
    figure. The work is bounded: of more than ROWS rows, so many are drawn at random, with a seed.

    The verdict is "better" if the interval of the difference of the log loss (of the accuracy where one of
    them has no probabilities; of a regressor, of the mean absolute error, the mean of its targets in shares
    of the earlier version's) excludes 0 in favor of this version, and its accuracy is not lower beyond
    chance. "worse" is the same the other way around. Otherwise these rows show no difference.

    Args:
        this: The later version, which need not be written yet: ``load(payload)`` of its bytes.
        earlier: The other one.
        labelled: Rows with their true answers.
        unseen: Whether the earlier version was not fitted on them either; by default, whether both manifests
            tell of the same split of the same table.

    Returns:
        The figures: of groups of at least FEWEST rows, with paired 95% intervals.

    Raises:
        DataError: The two cannot be compared: they answer different questions, the rows lack a feature, or
            fewer than FEWEST rows are left.

    Example:
        >>> this = load(Path("models/iris/2/model.onnx").read_bytes())
        >>> comparison = compare(this, Earlier.opened(Path("models/iris"), 1), labelled)
        >>> comparison.verdict
        'no difference that these rows show'
    """
    raise NotImplementedError
