"""The rows that a retraining has: gathered, judged and parted, and what is to be said of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.comparison.answers import answers
from unpickled.export.data import dataset
from unpickled.export.errors import DataError
from unpickled.export.retraining import base as bases
from unpickled.export.retraining import duplicates, leakage, moved
from unpickled.export.retraining.base import Base
from unpickled.export.retraining.champion import Champion
from unpickled.export.retraining.predicted import Log, Predicted
from unpickled.export.retraining.report import Moved, Note, OfBase, OfVersion, Retraining
from unpickled.export.retraining.split import Split, split
from unpickled.export.retraining.window import written
from unpickled.server.quote import counted
from unpickled.server.truth.batches import Batch, batches

# The champion answers all rows, however long that takes.
_ANY_TIME = float("inf")


@dataclass(frozen=True, slots=True)
class Asked:
    """The request for a retraining.

    Attributes:
        log: The folder of the payload log.
        since: The moment from which on its rows count, in seconds since 1970.
        data: The base table, by the name of a bundled set or the path of a file; None for that of the recipe.
        alone: Whether the rows of the log are all that is trained on.
        target: The columns with the truth in the base table; none for those of the recipe.
        held_out: The share of the rows of the log that is held out.
        weight: How much a row of the log counts beside one of the base table.
        any_truth: Whether the truth of days that contradict the others counts, too.
        force: Whether to publish a challenger that is not better, and in spite of what a note ends.
    """

    log: Path
    since: float
    data: str | None = None
    alone: bool = False
    target: tuple[str, ...] = ()
    held_out: float = 0.2
    weight: float = 1.0
    any_truth: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Material:
    """The rows, and the report so far.

    Attributes:
        base: Those of the base table that are trained on; None without one.
        old: Those of the log that are trained on.
        new: Those that are held out.
        start: The moment from which on rows are held out, in seconds since 1970.
        unseen: Whether the champion was trained on none of them.
        report: The account of the rows so far.
    """

    base: Base | None
    old: Predicted
    new: Predicted
    start: float
    unseen: bool
    report: Retraining

    @property
    def frame(self) -> pd.DataFrame:
        """The rows to fit on, first those of the base table."""
        frames = [self.old.frame] if self.base is None else [self.base.frame, self.old.frame]
        return pd.concat(frames, ignore_index=True)


def gather(champion: Champion, asked: Asked) -> Material:
    """The rows for a retraining of the champion.

    Raises:
        DataError: There are too few, or nothing can be learned from them, or a note ends the retraining.
        ServingError: A file of the log cannot be read.
    """
    manifest = champion.manifest
    log = Log(asked.log, champion)
    predicted = log.read(asked.since)
    days, moves = _judged(champion, predicted)
    left_out = [] if asked.any_truth else [day.day for day in days if day.left_out]
    contradicting = np.isin(predicted.days, left_out)
    kept = predicted.at(~contradicting)
    parted = split(kept.times, asked.held_out, champion.trained_until)
    old, new = kept.at(~parted.held_out), kept.at(parted.held_out)
    table = _table(champion, asked)
    base, of_base = (None, None) if table is None else _without_duplicates(table, predicted)
    targets = asked.target or champion.targets
    frame = old.frame if base is None else pd.concat([base.frame, old.frame], ignore_index=True)
    report = Retraining(
        model=champion.name,
        champion=champion.version,
        since=written(asked.since),
        held_out_from=written(parted.start),
        weight=asked.weight,
        base=of_base,
        versions=tuple(_of_versions(log, predicted, contradicting, old, new)),
        refused=tuple(log.refused),
        moved=moves,
        classes=tuple(moved.classes(manifest, base, kept)),
        batches=days,
        notes=(*_notes(log, parted, new), *leakage.notes(manifest, targets, frame, old, new)),
    )
    _check(report.notes, asked.force)
    return Material(base, old, new, parted.start, unseen=not parted.seen, report=report)


def _judged(champion: Champion, predicted: Predicted) -> tuple[tuple[Batch, ...], tuple[Moved, ...]]:
    """The days of report, and how far the features have moved, by the rows that the champion takes."""
    if not len(predicted):
        return (), ()
    replies = answers(champion.model, predicted.frame, _ANY_TIME)
    taken = predicted.at(replies.taken)
    if not len(taken):
        return (), ()
    labels, scores = replies.labels[replies.taken], replies.scores[replies.taken]
    return (
        batches(taken.days, taken.truth, labels if taken.truth.ndim == 1 else scores),
        moved.moved(champion.version, champion.manifest, taken, labels, scores),
    )


def _table(champion: Champion, asked: Asked) -> Base | None:
    """The base table; None if the log is all that is trained on."""
    recipe = champion.recipe
    data = None if asked.alone else asked.data or recipe.data
    if data is None:
        return None
    if asked.data is None and data not in dataset.BUNDLED and not Path(data).exists():
        raise DataError(
            f"There is no {data}, which version {champion.version} was trained on: name the table with "
            "--data, or train on the log alone with --log-only."
        )
    targets = asked.target or champion.targets
    missing = recipe.options.get("missing") or ()
    return bases.read(data, targets, champion.manifest, frozenset(missing))


def _without_duplicates(base: Base, predicted: Predicted) -> tuple[Base, OfBase]:
    repeated = duplicates.repeated(base)
    logged = duplicates.logged(base, predicted) & ~repeated
    kept = base.at(~repeated & ~logged)
    return kept, OfBase(
        name=base.name,
        rows=len(base) + base.without_truth,
        without_truth=base.without_truth,
        repeated=int(repeated.sum()),
        logged=int(logged.sum()),
        trained=len(kept),
    )


def _of_versions(
    log: Log, predicted: Predicted, contradicting: npt.NDArray[np.bool_], old: Predicted, new: Predicted
) -> Iterator[OfVersion]:
    for version, tally in sorted(log.tallies.items()):
        yield OfVersion(
            version=version,
            rows=tally.rows,
            without_truth=tally.without_truth,
            repeated=tally.repeated,
            unfit=tally.unfit,
            refused=tally.refused,
            contradicting=int(((predicted.versions == version) & contradicting).sum()),
            trained=int((old.versions == version).sum()),
            held_out=int((new.versions == version).sum()),
        )


def _notes(log: Log, parted: Split, new: Predicted) -> Iterator[Note]:
    if log.contradicted:
        verb = "has" if log.contradicted == 1 else "have"
        yield Note(
            text=f"{counted(log.contradicted, 'id')} {verb} a truth that contradicts the first one, which "
            "counts."
        )
    if parted.seen:
        yield Note(
            text=f"The champion itself was trained on {parted.seen:,} of {counted(len(new), 'row')} held "
            "out, so it looks better than it is: wait for more truth of newer rows."
        )


def _check(notes: tuple[Note, ...], force: bool) -> None:
    """Raise DataError with the notes that end a retraining, unless it is forced."""
    ending = [note.text for note in notes if note.stops]
    if ending and not force:
        raise DataError(f"{' '.join(ending)} Or say --force, if that is right.")
