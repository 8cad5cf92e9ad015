"""The comparison of a version with an earlier one on rows with their true answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from unpickled.export.comparison import earlier as versions
from unpickled.export.comparison import sliced
from unpickled.export.comparison.common import Common, common
from unpickled.export.comparison.contrasts import Metric, in_shares, of_classes, of_targets
from unpickled.export.comparison.disagreements import disagreements
from unpickled.export.comparison.earlier import Earlier
from unpickled.export.comparison.fit import check
from unpickled.export.comparison.paired import chance, differences, mcnemar
from unpickled.export.comparison.sides import Classes, Floats
from unpickled.export.comparison.verdict import NO_DIFFERENCE, contradicted, verdict
from unpickled.export.labelled import Labelled
from unpickled.export.slices import Slice, parted
from unpickled.server.artifact.comparison import Comparison, Disagreement, SliceContrast
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.model.session import Model
from unpickled.server.quote import listed

_CONTRADICTED = "log loss and accuracy favor different versions, so neither counts as better"


@dataclass(frozen=True, slots=True)
class _Compared:
    """All that is compared, but the intervals of the metrics."""

    metrics: Sequence[Metric]
    slices: tuple[SliceContrast, ...]
    chance: float
    only_this: int = 0
    only_other: int = 0
    disagreements: tuple[Disagreement, ...] = ()
    notes: list[str] = field(default_factory=list)


def compare(this: Model, earlier: Earlier, labelled: Labelled, unseen: bool | None = None) -> Comparison:
    """How a version compares with an earlier one on rows that it was not fitted on.

    Both answer the rows as a server does, from their files. Rows that one of them does not take are in no
    figure. The work is bounded: of more than ROWS rows, so many are drawn at random, with a seed, and a slow
    version is asked about as many as it answers in SECONDS (comparison/common.py).

    The verdict is "better" if the log loss (the accuracy where one of them has no probabilities; of a
    regressor the mean absolute error, that of several targets in shares of the earlier version's) is better
    by more than chance: the interval of its difference does not hold 0, a permutation test (McNemar's of the
    accuracy) finds a chance of at most 5%, and the accuracy is not worse beyond chance. "worse" is the same
    the other way around. Otherwise these rows show no difference.

    Args:
        this: The later version, which need not be written yet: ``load(payload)`` of its bytes.
        earlier: The other one.
        labelled: Rows with their true answers.
        unseen: Whether the earlier version was not fitted on them either; by default, whether both manifests
            tell of the same split of the same table.

    Returns:
        The figures: of groups of at least FEWEST rows, with paired 95% intervals.

    Raises:
        DataError: The two cannot be compared: they answer different questions, the rows lack a feature, or
            fewer than FEWEST rows are left.

    Example:
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from unpickled import export_pipeline
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> for C in (0.001, 1.0):
        ...     pipeline = LogisticRegression(C=C, max_iter=1_000).fit(X[::2], y[::2])
        ...     export = export_pipeline(pipeline, X[::2], name="iris")
        >>> first, second = (Earlier.opened(Path("models/iris"), version) for version in (1, 2))
        >>> compare(second.model, first, Labelled(X[1::2], y[1::2].to_numpy(), held_out=True)).verdict
        'better'
    """
    manifest, other = this.manifest, earlier.model.manifest
    check(manifest, earlier, labelled.frame)
    rows = common(this, earlier, labelled)
    compared = (_classified if manifest.classes else _predicted)(manifest, other, rows)
    drawn = differences([metric.pair for metric in compared.metrics])
    contrasts = tuple(
        metric.contrast(column, len(rows.labelled))
        for metric, column in zip(compared.metrics, drawn.T, strict=True)
    )
    comparison = Comparison(
        version=earlier.version,
        sha256=earlier.sha256,
        rows=len(rows.labelled),
        unseen=versions.unseen(manifest, other) if unseen is None else unseen,
        contrasts=contrasts,
        verdict=NO_DIFFERENCE,
        chance=compared.chance,
        loss_chance=_chance_of_loss(compared.metrics),
        only_this=compared.only_this,
        only_other=compared.only_other,
        refused=rows.refused,
        disagreements=compared.disagreements,
        slices=compared.slices,
        notes=(*rows.notes, *compared.notes),
    )
    if contradicted(comparison):
        comparison = replace(comparison, notes=(*comparison.notes, _CONTRADICTED))
    return replace(comparison, verdict=verdict(comparison))


def _chance_of_loss(metrics: Sequence[Metric]) -> float | None:
    """The chance of the difference of the log loss, if that is measured."""
    pairs = [metric.pair for metric in metrics if metric.noun == "log loss"]
    return chance(pairs[0].this.above - pairs[0].other.above) if pairs else None


def _classified(this: Manifest, other: Manifest, rows: Common) -> _Compared:
    classes = Classes.of(this, other, rows.labelled.truth)
    truth = classes.found(rows.labelled.truth)
    ours, theirs = classes.side(this, rows.this), classes.side(other, rows.other)
    gains = (ours.places == truth).astype(np.float64) - (theirs.places == truth)
    only_this, only_other = int((gains > 0).sum()), int((gains < 0).sum())
    unknown = [name for name, known in zip(classes.names, theirs.known, strict=True) if not known]
    return _Compared(
        metrics=of_classes(classes.names, truth, ours, theirs),
        slices=sliced.of_labels(_slices(this, rows), gains),
        chance=mcnemar(only_this, only_other),
        only_this=only_this,
        only_other=only_other,
        disagreements=disagreements(classes.names, truth, ours.places, theirs.places),
        notes=[f"the other version does not know the class {listed(unknown, 5)}"] if unknown else [],
    )


def _predicted(this: Manifest, other: Manifest, rows: Common) -> _Compared:
    names = this.outputs.targets
    truth = np.asarray(rows.labelled.truth, np.float64).reshape(len(rows.labelled), -1)
    order = [other.outputs.targets.index(name) for name in names] if len(names) > 1 else [0]
    ours, theirs = rows.this.scores, rows.other.scores[:, order]
    metrics = of_targets(names, truth, ours, theirs)
    return _Compared(
        metrics=metrics,
        chance=chance(metrics[0].pair.this.above - metrics[0].pair.other.above),
        slices=sliced.of_numbers(_slices(this, rows), _losses(truth, ours, theirs)),
    )


def _slices(this: Manifest, rows: Common) -> Iterator[Slice]:
    spreads = {spread.name: spread for spread in (this.reference.features if this.reference else ())}
    return parted(rows.labelled.frame, [(each, spreads.get(each.name)) for each in this.features])


def _losses(truth: Floats, ours: Floats, theirs: Floats) -> Floats:
    """(rows,): how much larger the error of the first target is, in shares of the other version's mean."""
    this, other = in_shares(np.abs(ours - truth)[:, :1], np.abs(theirs - truth)[:, :1])
    return (this - other)[:, 0]
