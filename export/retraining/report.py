"""The report about a retraining: which rows it had, how they differ from those before, and what came of it.

All shares are between 0 and 1, all moments in UTC as ISO 8601 writes them.
"""

from typing import Literal

import msgspec

from unpickled.server.artifact.comparison import Comparison
from unpickled.server.truth.batches import Batch


class OfBase(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of the base table.

    ``without_truth``, ``repeated`` (by their id) and ``logged`` ones, which are among those of the log, are
    left out; the others, ``trained``, are trained on.
    """

    name: str
    rows: int
    without_truth: int
    repeated: int
    logged: int
    trained: int


class OfVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of the log that one version has answered.

    All but ``trained`` and ``held_out`` are left out: ``unfit`` are those whose truth is nothing that the
    champion could answer, ``refused`` those that lack a feature of it, ``contradicting`` those of a batch of
    truth that contradicts the others.
    """

    version: int
    rows: int
    without_truth: int
    repeated: int
    unfit: int
    refused: int
    contradicting: int = 0
    trained: int = 0
    held_out: int = 0


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A feature, or the prediction, beside the training rows of the champion: see drift/report.py."""

    name: str
    psi: float
    drifted: bool
    reasons: tuple[str, ...] = ()


class ClassShare(msgspec.Struct, frozen=True, kw_only=True):
    """The shares of the rows of the base table and of the log whose truth is a class."""

    name: str
    base: float
    log: float


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence about the rows; one that ``stops`` ends a retraining without --force."""

    text: str
    stops: bool = False


class Retraining(msgspec.Struct, frozen=True, kw_only=True):
    """A retraining.

    ``comparison`` is that with the champion, or with the challenger that shadows if that is not beaten.
    ``weight`` is that of a row of the log beside one of the base table. ``held_out_from`` is the moment from
    which on predicted rows were held out. ``verdict`` is the outcome in one sentence. ``version`` is the one
    that was published, None where none was; ``forced``: only because of --force.
    """

    model: str
    champion: int
    since: str
    held_out_from: str
    weight: float
    base: OfBase | None
    versions: tuple[OfVersion, ...]
    refused: tuple[str, ...]
    moved: tuple[Moved, ...]
    classes: tuple[ClassShare, ...]
    batches: tuple[Batch, ...]
    notes: tuple[Note, ...]
    comparison: Comparison | None = None
    outcome: Literal["published", "not better"] = "not better"
    verdict: str = ""
    version: int | None = None
    forced: bool = False
    served: str = ""
