"""The sums of the part that is being scored."""

from unpickled.server.batch.refusals import Refusals
from unpickled.server.scoring.scorer import Scored


class Counts:
    """The rows of a part so far, answered and refused, and values outside the training range."""

    def __init__(self, refusals: Refusals) -> None:
        self.rows = self.outside = 0
        self.features: dict[str, None] = {}
        # The columns that rows have, as long as some of those to be kept have not been seen.
        self.names: dict[str, None] = {}
        self.refusals = refusals

    def add(self, scored: Scored) -> None:
        """Count the rows of a chunk."""
        self.rows += len(scored.rows)
        for each in scored.outside:
            self.outside += each.count
            self.features.update(dict.fromkeys(each.features))
