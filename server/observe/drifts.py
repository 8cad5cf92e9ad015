"""How far models have drifted, as metrics tell it: in the notice of the memory that counts drift."""

from collections.abc import Sequence
from typing import NamedTuple

from unpickled.server.observe.notice import Notice, Posted


class Part(NamedTuple):
    """The drift of a feature, or of a prediction: PSI, whether it is an alarm, and shares of the rows.

    psi, missing, outside: None where there is none.
    """

    part: str
    name: str
    psi: float | None
    alarm: bool
    missing: float | None
    outside: float | None


class VersionDrifts(NamedTuple):
    """The drift of a version: rows that were looked at, their share, and its parts if they were judged."""

    model: str
    version: str
    rows: int
    sampled: float
    parts: Sequence[Part]


DRIFTS = Notice(Posted[VersionDrifts])
