"""The columns of a table that stand beside its answers."""

from collections.abc import Collection, Sequence

from unpickled.server.batch.task import Task
from unpickled.server.errors import InvalidInput
from unpickled.server.quote import listed, quoted


class Keep:
    """Says for each column of a source whether it is passed through.

    All are with ``append``, those that ``only`` names where it names some, otherwise those that are no
    features.
    """

    def __init__(self, task: Task, features: Collection[str]) -> None:
        self._append, self._only = task.append, frozenset(task.only)
        self._features = frozenset(features)

    def __call__(self, name: str) -> bool:
        if self._append:
            return True
        return name in self._only if self._only else name not in self._features

    def has_all(self, names: Collection[str]) -> bool:
        """Whether each column that is named to be kept is among these."""
        return self._only.issubset(names)

    def check_only(self, names: Sequence[str]) -> None:
        """InvalidInput where a column that is to be kept is not there."""
        lacking = sorted(self._only.difference(names))
        if lacking:
            raise InvalidInput(
                f"there is no column {quoted(lacking[0])} to keep: the columns are {listed(names)}",
                feature=lacking[0][:200],
            )

    def check(self, names: Sequence[str], answers: Collection[str]) -> None:
        """InvalidInput where a column that is passed through has the name of an answer's column."""
        same = next((name for name in names if name in answers and self(name)), None)
        if same is not None:
            raise InvalidInput(
                f"column {quoted(same)} has the name of an answer's column: give those another beginning, "
                "such as --prefix new_, or leave it out with --only",
                feature=same[:200],
            )
