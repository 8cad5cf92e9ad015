"""The rows that both versions answer, with both answers."""

from dataclasses import dataclass

import numpy as np

from unpickled.export.comparison.answers import Answers, answers
from unpickled.export.comparison.earlier import Earlier
from unpickled.export.errors import DataError
from unpickled.export.labelled import Labelled
from unpickled.server.artifact.reference import FEWEST
from unpickled.server.model.session import Model
from unpickled.server.quote import counted

# The most rows that are compared, and the seconds in which a version may begin to answer a block of them.
ROWS, SECONDS = 20_000, 10.0


@dataclass(frozen=True, slots=True)
class Common:
    """Rows with the answers of this version and of the other one.

    ``refused`` counts the rows that the other one does not take; ``notes`` are sentences about rows that
    were left out.
    """

    labelled: Labelled
    this: Answers
    other: Answers
    refused: int
    notes: tuple[str, ...]


def common(this: Model, earlier: Earlier, labelled: Labelled) -> Common:
    """The rows that both take, at most ROWS, as many as both answer in SECONDS each.

    Raises DataError where these are fewer than FEWEST.
    """
    chosen, notes = _drawn(labelled)
    ours, theirs = (answers(model, chosen.frame, SECONDS) for model in (this, earlier.model))
    answered = min(len(ours), len(theirs))
    if answered < len(chosen):
        slower = "this version" if len(ours) <= len(theirs) else f"version {earlier.version}"
        notes.append(f"{slower} answers slowly: the first {answered:,} rows were compared")
    ours, theirs, chosen = (
        ours.at(slice(answered)),
        theirs.at(slice(answered)),
        chosen.at(np.arange(answered)),
    )
    taken = ours.taken & theirs.taken
    if not ours.taken.all():
        notes.append(f"this version does not take {counted(int((~ours.taken).sum()), 'row')}")
    refused = int((~theirs.taken).sum())
    if taken.sum() < FEWEST:
        raise DataError(
            f"Version {earlier.version} cannot be compared: of {counted(answered, 'row')} with true answers, "
            f"it takes {answered - refused}, and {FEWEST} are needed."
        )
    return Common(chosen.at(taken), ours.at(taken), theirs.at(taken), refused, tuple(notes))


def _drawn(labelled: Labelled) -> tuple[Labelled, list[str]]:
    """The rows in a random order, at most ROWS of them, and what there is to say of that."""
    rows = len(labelled)
    order = np.random.default_rng(0).permutation(rows)[:ROWS]
    notes = [f"{ROWS:,} of {rows:,} rows, drawn at random, were compared"] if rows > ROWS else []
    return labelled.at(order), notes
