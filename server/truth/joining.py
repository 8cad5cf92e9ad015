"""Joins the rows of a payload log with the truths beside it, by their ids, and counts them.

Rows are read some thousand at a time, and of each only its id, its label, its scores and perhaps one feature.
The answers of shadows are kept until those of the version that answered the client come by.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from unpickled.server.accuracy.figures import figures
from unpickled.server.accuracy.judgement import judge
from unpickled.server.accuracy.layout import Floats
from unpickled.server.accuracy.pairs import Compared, Pairing
from unpickled.server.accuracy.report import Pair, Slice, VersionAccuracy
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import FILE, Manifest
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.model.kinds import outputs_of
from unpickled.server.model.outputs import Outputs
from unpickled.server.observe.windows import Window
from unpickled.server.payloads import reading
from unpickled.server.payloads.reading import Batch
from unpickled.server.payloads.schema import Schema
from unpickled.server.quote import hint, listed, quoted
from unpickled.server.truth.lookup import Found, Lookup
from unpickled.server.truth.slicing import MOST, OTHERS, Slicing
from unpickled.server.truth.values import truths_of

# Rows of a column that are read for its quartiles, where training tells no ranges.
_SAMPLE = 100_000
# Names of slices that are counted apart before the rarest are put together.
_APART = 5_000

_Array = npt.NDArray[Any]
# The number of a version, and the digest of its file.
Key = tuple[int, str]


class Source(NamedTuple):
    """The files of a log, and what of them is asked.

    folder: That of the payload log.
    models: The models folder, whose files say what labels and scores are.
    model: The name of the model.
    window: How far back rows were predicted.
    by: The feature by which rows are parted; None for none.
    version: Only this one; None for all.
    files: Only rows that model files with these sha256 have answered; None for all.
    """

    folder: Path
    models: Path
    model: str
    window: Window
    by: str | None = None
    version: int | None = None
    files: frozenset[str] | None = None


class _Version:
    """The counts of one version, that is of the content of its file."""

    def __init__(self, number: int, document: Manifest) -> None:
        self.number = number
        self.manifest = document
        self.outputs: Outputs = outputs_of(document)
        self.truths = truths_of(self.outputs)
        self.board = Scoreboard(self.outputs)
        self.counts = np.zeros(self.board.size)
        self.answered = 0
        self.slicing: Slicing | None = None
        self.slices: defaultdict[str, Floats] = defaultdict(lambda: np.zeros(self.board.size))


class _Shadowed(NamedTuple):
    """The answers of a shadow to rows with truth: their ids in ascending order, labels and scores."""

    ids: _Array
    labels: _Array
    scores: Floats


class Join:
    """Counts the rows of a log.

    Attributes:
        strange: The versions whose rows do not count, as their files are gone.
        rows, known: How many rows there are, and how many of them have a truth.
        unfit: Truths that are nothing which the version of their row could answer; these do not count.
    """

    def __init__(self, source: Source, since: float, until: float, lookup: Lookup) -> None:
        self._source = source
        self._since, self._until = since, until
        self._lookup = lookup
        self._versions: dict[Key, _Version | None] = {}
        self._pairings: dict[tuple[Key, Key], Pairing] = {}
        self._paired: dict[tuple[Key, Key], Floats] = {}
        self.strange: list[str] = []
        self.rows = self.known = self.unfit = 0

    @property
    def contradicted(self) -> int:
        """Ids of which truths were reported that differ; the first one counts."""
        return self._lookup.contradicted

    @property
    def unmatched(self) -> int:
        """Truths of no row that was read; 0 where only one version was asked for."""
        return 0 if self._source.version is not None else self._lookup.unmatched

    def read(self) -> None:
        """Count every row of the window."""
        shadows = self._shadows()
        columns = [] if self._source.by is None else [self._source.by]
        for batch, version in self._batches(columns):
            answered = batch.answered
            if answered.any() and self._source.version in (None, version.number):
                self._count(version, batch.at(answered), shadows)

    def versions(self) -> Iterator[VersionAccuracy]:
        """The report about each version that has answered clients, newest first."""
        every = [each for each in self._versions.values() if each is not None and each.answered]
        for each in sorted(every, key=lambda each: -each.number):
            judged = judge(each.number, each.board, each.counts, each.manifest)
            yield replace(judged, slices=tuple(self._slices(each)))

    def pairs(self) -> Iterator[Pair]:
        """The report about each pair."""
        for (answered, shadowed), counts in self._paired.items():
            versions = self._versions[answered], self._versions[shadowed]
            assert versions[0] is not None
            assert versions[1] is not None
            pairing = self._pairings[answered, shadowed]
            yield pairing.report(versions[0].number, versions[1].number, counts)

    def compared(self, answered: Key, shadowed: Key) -> Compared | None:
        """The counts of two versions; None where no row with truth was answered by both."""
        counts = self._paired.get((answered, shadowed))
        return None if counts is None else self._pairings[answered, shadowed].read(counts)

    def _batches(self, columns: Sequence[str]) -> Iterator[tuple[Batch, _Version]]:
        read = reading.read(
            self._source.folder,
            self._source.model,
            self._since,
            self._until,
            columns=columns,
            files=self._source.files,
        )
        for batch in read:
            version = self._version(batch.schema)
            if version is not None:
                yield batch, version

    def _version(self, schema: Schema) -> _Version | None:
        """The counts of the version that made labels and scores; None where its file is not there."""
        key = _key(schema)
        if key not in self._versions:
            document = _manifest(self._source, schema)
            self._versions[key] = None if document is None else _Version(schema.version, document)
            if document is None:
                self.strange.append(f"version {schema.version}")
        return self._versions[key]

    def _shadows(self) -> dict[Key, _Shadowed]:
        """The answers of shadows to rows with truth, by their keys."""
        kept: defaultdict[Key, list[tuple[_Array, _Array, Floats]]] = defaultdict(list)
        for batch, _ in self._batches([]):
            shadowed = ~batch.answered
            if shadowed.any():
                part = batch.at(shadowed)
                mask = self._lookup.find(part.column("prediction_id").tolist()).mask
                part = part.at(mask)
                ids = part.column("prediction_id").astype("S")
                kept[_key(batch.schema)].append((ids, part.labels, part.scores))
        return {key: _sorted(parts) for key, parts in kept.items()}

    def _count(self, version: _Version, batch: Batch, shadows: dict[Key, _Shadowed]) -> None:
        labels, ids = batch.labels, batch.column("prediction_id")
        found = self._fitting(version, self._lookup.find(ids.tolist()))
        version.answered += len(ids)
        self.rows += len(ids)
        self.known += len(found.truths)
        names = self._names(version, batch)
        asked, scores = labels[found.mask].tolist(), batch.scores[found.mask]
        version.counts += version.board.predicted(labels.tolist())
        version.counts += version.board.count(asked, scores, found.truths)
        if names is not None:
            self._count_slices(version, names, labels, found.mask, asked, scores, found.truths)
        for other, shadow in shadows.items():
            places, mask = _places(shadow.ids, ids[found.mask].astype("S"))
            if mask.any():
                truths = [truth for truth, hit in zip(found.truths, mask.tolist(), strict=True) if hit]
                ours = [label for label, hit in zip(asked, mask.tolist(), strict=True) if hit], scores[mask]
                theirs = shadow.labels[places[mask]].tolist(), shadow.scores[places[mask]]
                self._count_pair((_key(batch.schema), other), ours, theirs, truths)

    def _fitting(self, version: _Version, found: Found) -> Found:
        """Those of some truths that fit a version: one that was only kept has been compared with none."""
        truths = [version.truths.comparable(truth) for truth in found.truths]
        fits = np.array([truth is not None for truth in truths], np.bool_)
        if fits.all():
            return Found(found.mask, truths)
        self.unfit += int(np.count_nonzero(~fits))
        mask = found.mask.copy()
        mask[found.mask] = fits
        return Found(mask, [truth for truth in truths if truth is not None])

    def _count_pair(self, key: tuple[Key, Key], ours: Any, theirs: Any, truths: Sequence[Any]) -> None:
        if key not in self._pairings:
            versions = [self._versions[each] for each in key]
            assert versions[0] is not None
            assert versions[1] is not None
            self._pairings[key] = Pairing(versions[0].outputs, versions[1].outputs)
            self._paired[key] = np.zeros(self._pairings[key].size)
        self._paired[key] += self._pairings[key].count(ours, theirs, truths)

    def _names(self, version: _Version, batch: Batch) -> _Array | None:
        """The name of the slice of each row; None where rows are not parted."""
        by = self._source.by
        if by is None:
            return None
        column = next((column for column in batch.schema.features if column.source == by), None)
        if column is None:
            names = [column.source for column in batch.schema.features]
            raise ServingError(
                f"the log of version {version.number} has no feature {quoted(by)}: {hint(by, names)}"
                f"it has {listed(names) or 'none'}"
            )
        if version.slicing is None:
            version.slicing = Slicing(column, version.manifest.reference, self._sample(column.name))
        return version.slicing.labels(batch.columns[column.name])

    def _sample(self, name: str) -> Iterator[_Array]:
        rows = 0
        for batch, _ in self._batches([name]):
            if name in batch.columns:
                yield batch.columns[name]
                rows += len(batch)
            if rows >= _SAMPLE:
                return

    def _count_slices(
        self,
        version: _Version,
        names: _Array,
        labels: _Array,
        mask: npt.NDArray[np.bool_],
        asked: Sequence[Any],
        scores: Floats,
        truths: Sequence[Any],
    ) -> None:
        known = names[mask]
        for name in dict.fromkeys(names.tolist()):
            of_name = known == name
            rows = np.flatnonzero(of_name).tolist()
            place = name if len(version.slices) < _APART or name in version.slices else OTHERS
            counts = version.slices[place]
            counts += version.board.predicted(labels[names == name].tolist())
            counts += version.board.count(
                [asked[row] for row in rows], scores[of_name], [truths[row] for row in rows]
            )

    def _slices(self, version: _Version) -> Iterator[Slice]:
        if version.slicing is None or self._source.by is None:
            return
        counts = dict(version.slices)
        found = {name: figures(version.board, each, version.manifest) for name, each in counts.items()}
        rows = {name: float(each.rows) for name, each in found.items()}
        rare = sorted(rows, key=lambda name: -rows[name])[MOST:]
        if rare:
            together = sum((counts.pop(name) for name in rare), np.zeros(version.board.size))
            counts[OTHERS] = counts.get(OTHERS, np.zeros(version.board.size)) + together
        for name in version.slicing.ordered({name: rows.get(name, 0.0) for name in counts}):
            shown = figures(version.board, counts[name], version.manifest)
            yield Slice(feature=self._source.by, value=name, figures=shown)


def _manifest(source: Source, schema: Schema) -> Manifest | None:
    """The manifest of the file that answered; None where the models folder has it no more."""
    path = source.models / source.model / str(schema.version) / FILE
    try:
        data = path.read_bytes()
        return manifest.read(data) if hashlib.sha256(data).hexdigest() == schema.sha256 else None
    except (OSError, ArtifactError):
        return None


def _key(schema: Schema) -> Key:
    return schema.version, schema.sha256


def _sorted(parts: Sequence[tuple[_Array, _Array, Floats]]) -> _Shadowed:
    ids, labels, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(ids, kind="stable")
    return _Shadowed(ids[order], labels[order], scores[order])


def _places(ids: _Array, asked: _Array) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """The place of each id among sorted ones, and whether it is there."""
    if not len(ids):
        return np.zeros(len(asked), np.intp), np.zeros(len(asked), np.bool_)
    places = np.minimum(np.searchsorted(ids, asked), len(ids) - 1)
    return places, ids[places] == asked
