"""The earlier versions that a new one is compared with before it is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unpickled.export.comparison.compare import compare
from unpickled.export.comparison.earlier import Earlier, newest
from unpickled.export.errors import DataError
from unpickled.export.labelled import Labelled
from unpickled.export.progress import Say, running
from unpickled.server.artifact.comparison import Comparison
from unpickled.server.model.session import Model

# The newest versions, which a new one is compared with.
NEWEST = 3


@dataclass(frozen=True, slots=True)
class Against:
    """How ``export_pipeline(against=...)`` compares a new version with earlier ones.

    Attributes:
        versions: Versions beside the newest ones, such as the one that is served: where such a one cannot be
            compared, nothing is written.
        unseen: Whether none of them was fitted on the held-out rows; None: as far as their manifests tell.
        approve: Called with the comparisons, the newest version first, before the new one is written: what
            it raises ends the export, and nothing is written.
    """

    versions: Sequence[int] = ()
    unseen: bool | None = None
    approve: Callable[[Sequence[Comparison]], None] | None = None

    def compared(
        self, this: Model, home: Path, labelled: Labelled | None, say: Say
    ) -> tuple[Comparison, ...]:
        """The comparisons of a new version with those in the folder of its model, once they are approved.

        Args:
            this: The new version.
            home: The folder, which need not exist.
            labelled: Rows with their true answers, which it was not fitted on; without them there are no
                comparisons.
            say: Called with a line for each version, and with a note where a newest one cannot be compared.

        Raises DataError where one of ``versions`` cannot be compared.
        """
        comparisons = [] if labelled is None else self._all(this, home, labelled, say)
        if self.approve is not None:
            self.approve(comparisons)
        return tuple(comparisons)

    def _all(self, this: Model, home: Path, labelled: Labelled, say: Say) -> list[Comparison]:
        comparisons = []
        for version in sorted({*newest(home, NEWEST), *self.versions}, reverse=True):
            work = f"comparing with version {version}"
            say(work)
            try:
                with running(say, work):
                    comparisons.append(compare(this, Earlier.opened(home, version), labelled, self.unseen))
            except DataError as error:
                if version in self.versions:
                    raise
                text = str(error)
                say(f"note: {text[:1].lower()}{text[1:]}")
        return comparisons
