"""The targets of one deployment, which stay while it stays: other models come and go beside it."""

import operator
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from unpickled.server.message.answer import Target
from unpickled.server.serve.deferred import Deferred


class Branch(NamedTuple):
    """Path -> target, for the paths of one model.

    ``made_of`` is all that the targets depend on and that changes: with the same objects they would be the
    same.
    """

    made_of: Sequence[object]
    targets: Mapping[str, Target]

    def is_made_of(self, parts: Sequence[object]) -> bool:
        """Whether the targets are built of these very objects."""
        return len(self.made_of) == len(parts) and all(map(operator.is_, self.made_of, parts))

    def latest(self) -> dict[str, Target]:
        """The targets, those that were put off and are built by now included."""
        return {
            path: target.latest if isinstance(target, Deferred) else target
            for path, target in self.targets.items()
        }
