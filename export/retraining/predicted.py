"""The rows of the payload log whose truth is known, as the champion takes them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.errors import DataError
from unpickled.export.retraining.champion import Champion
from unpickled.export.retraining.fit import Fit
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.payloads import parts, reading
from unpickled.server.payloads.reading import Batch
from unpickled.server.quote import quoted
from unpickled.server.truth import store
from unpickled.server.truth.batches import dated
from unpickled.server.truth.lookup import Lookup
from unpickled.server.truth.values import truths_of

_MILLION = 1_000_000

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Rows that clients got answers to, and what turned out to be true of them.

    Attributes:
        frame: (rows, features of the champion): float64, of dates the seconds since 1970, or text (dtype
            object); NaN stands for a missing value in both.
        truth: Labels out of the champion's classes (rows,), or numbers (rows, targets) in float64.
        ids: Those of the predictions (rows,).
        times: When they were predicted (rows,), in seconds since 1970.
        versions: The numbers of the versions that answered (rows,).
        days: The dates on which the truth was reported (rows,), in UTC: "2026-11-30".
    """

    frame: pd.DataFrame
    truth: npt.NDArray[Any]
    ids: npt.NDArray[np.str_]
    times: npt.NDArray[np.float64]
    versions: npt.NDArray[np.int64]
    days: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.frame)

    def at(self, rows: Mask) -> "Predicted":
        """Some of the rows."""
        return Predicted(
            self.frame[rows].reset_index(drop=True),
            self.truth[rows],
            self.ids[rows],
            self.times[rows],
            self.versions[rows],
            self.days[rows],
        )


@dataclass(slots=True)
class Tally:
    """The fate of the rows of one version: see report.OfVersion."""

    rows: int = 0
    without_truth: int = 0
    repeated: int = 0
    unfit: int = 0
    refused: int = 0


class Log:
    """The payload log of one model, read for a champion.

    Args:
        folder: The folder of the log, in which that of the model is.
        champion: The version that answers; the files beside it tell which features other versions take.

    Attributes:
        tallies: The fate of the rows, by version.
        contradicted: How many ids have a truth that contradicts the first one, which counts.
        refused: A sentence about the rows that lack features, for each reason.
    """

    def __init__(self, folder: Path, champion: Champion) -> None:
        self._name = champion.name
        self._folder = _home(folder, champion.name)
        self._champion = champion.manifest
        self._fit = Fit(champion.manifest, champion.home)
        self._truths = truths_of(champion.model.outputs)
        self._seen: set[str] = set()
        self.tallies: defaultdict[int, Tally] = defaultdict(Tally)
        self.contradicted = 0

    @property
    def refused(self) -> list[str]:
        return self._fit.sentences

    def read(self, since: float) -> Predicted:
        """The rows that were predicted from a moment on and have truth, in the order of their files.

        Only finished files are read: servers may write others meanwhile. Each id is there once.

        Raises:
            ServingError: A file cannot be read.
            DataError: No row with truth has all features.
        """
        start = datetime.fromtimestamp(since, UTC)
        lines = store.read(self._folder, self._name, start)
        lookup = Lookup(map(dated, lines))
        self.contradicted = lookup.contradicted
        read = reading.read(self._folder, self._name, since)
        rows = [part for batch in read if (part := self._part(batch, lookup)) is not None]
        if not rows and self.refused:
            raise DataError(f"No row of the log can be trained on. {' '.join(self.refused)}")
        return _joined(rows, self._champion)

    def _part(self, batch: Batch, lookup: Lookup) -> Predicted | None:
        """The rows of a batch with truth; None if there are none."""
        batch = batch.at(batch.answered)
        version = batch.schema.version
        tally = self.tallies[version]
        tally.rows += len(batch)
        ids = batch.column("prediction_id").tolist()
        fresh = np.array([self._is_fresh(identity) for identity in ids], np.bool_)
        tally.repeated += int(np.count_nonzero(~fresh))
        batch = batch.at(fresh)
        ids = batch.column("prediction_id").tolist()
        found = lookup.find(ids)
        tally.without_truth += int(np.count_nonzero(~found.mask))
        batch = batch.at(found.mask)
        if len(batch) and not self._fit.takes(batch.schema, len(batch)):
            tally.refused += len(batch)
            return None
        truths = [self._read(each.truth) for each in found.truths]
        fits = np.array([truth is not None for truth in truths], np.bool_)
        tally.unfit += int(np.count_nonzero(~fits))
        batch = batch.at(fits)
        if not len(batch):
            return None
        return Predicted(
            frame=self._frame(batch),
            truth=_truth([truth for truth in truths if truth is not None], self._champion),
            ids=batch.column("prediction_id").astype(np.str_),
            times=batch.column("time") / _MILLION,
            versions=np.full(len(batch), version, np.int64),
            days=np.array([each.day for each, fit in zip(found.truths, fits, strict=True) if fit], np.str_),
        )

    def _is_fresh(self, identity: str) -> bool:
        if identity in self._seen:
            return False
        self._seen.add(identity)
        return True

    def _read(self, kept: Any) -> Any:
        """A truth as the champion answers; None where it cannot."""
        try:
            return self._truths.read(kept)
        except ValueError:
            return None

    def _frame(self, batch: Batch) -> pd.DataFrame:
        names = {column.source: column.name for column in batch.schema.features}
        cells = {feature.name: batch.columns[names[feature.name]] for feature in self._champion.features}
        return pd.DataFrame({name: _column(column) for name, column in cells.items()})


def _home(folder: Path, model: str) -> Path:
    """The folder of the whole log, where perhaps that of the model is named."""
    if (folder / model).is_dir():
        return folder
    if folder.name == model and any(parts.day_of(path.name) for path in folder.glob("date=*")):
        return folder.parent
    raise DataError(
        f"{folder} has no log of {quoted(model)}: name the folder of the payload log, the setting log_folder."
    )


def _column(cells: npt.NDArray[Any]) -> pd.Series:
    if cells.dtype != object:
        return pd.Series(cells.astype(np.float64))
    return pd.Series([np.nan if cell is None else cell for cell in cells], dtype=object)


def _truth(truths: list[Any], champion: Manifest) -> npt.NDArray[Any]:
    if champion.classes:
        return np.array(truths, np.str_ if isinstance(champion.classes[0], str) else np.int64)
    return np.array(truths, np.float64).reshape(len(truths), -1)


def _joined(rows: list[Predicted], champion: Manifest) -> Predicted:
    if not rows:
        return Predicted(
            frame=pd.DataFrame({feature.name: _empty(feature.kind) for feature in champion.features}),
            truth=_truth([], champion),
            ids=np.empty(0, np.str_),
            times=np.empty(0, np.float64),
            versions=np.empty(0, np.int64),
            days=np.empty(0, np.str_),
        )
    return Predicted(
        pd.concat([part.frame for part in rows], ignore_index=True),
        *(np.concatenate(list(arrays)) for arrays in _arrays(rows)),
    )


def _arrays(rows: Iterable[Predicted]) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    parts = [(part.truth, part.ids, part.times, part.versions, part.days) for part in rows]
    return zip(*parts, strict=True)


def _empty(kind: str) -> pd.Series:
    return pd.Series([], dtype=np.float64 if kind == "number" else object)
