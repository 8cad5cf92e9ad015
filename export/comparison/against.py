"""The earlier versions that a new one is compared with before it is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unpickled.server.artifact.comparison import Comparison

# The newest versions, which a new one is compared with.
NEWEST = 3


@dataclass(frozen=True, slots=True)
class Against:
    """How ``export_pipeline(against=...)`` compares a new version with earlier ones.

    Attributes:
        versions: Versions beside the newest ones, such as the one that is served.
        unseen: Whether none of them was fitted on the held-out rows; None: as far as their manifests tell.
        approve: Called with the comparisons before the new version is written: what it raises ends the
            export, and nothing is written.
    """

    versions: Sequence[int] = ()
    unseen: bool | None = None
    approve: Callable[[Sequence[Comparison]], None] | None = None
