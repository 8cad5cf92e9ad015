"""The sums of a job."""

import msgspec

from unpickled.server.batch.task import Result


class Totals(msgspec.Struct, kw_only=True):
    """The sums of a job's parts: ``earlier`` of them were done before it began."""

    parts: int = 0
    earlier: int = 0
    rows: int = 0
    refused: int = 0
    outside: int = 0
    features: tuple[str, ...] = ()

    def add(self, result: Result) -> None:
        """Count one part."""
        self.parts += 1
        self.rows += result.rows
        self.refused += result.refused
        self.outside += result.outside
        self.features = tuple(dict.fromkeys((*self.features, *result.features)))
