"""The card of a model, from rows with their true answers and the graph that is served."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unpickled.export.card import (
    calibration,
    cost,
    curves,
    dependence,
    importance,
    intervals,
    slices,
    targets,
)
from unpickled.export.card.effort import affordable, drawn
from unpickled.export.card.intervals import Floats
from unpickled.export.card.losses import Loss, loss_of
from unpickled.export.card.served import Served
from unpickled.export.convert import Conversion
from unpickled.export.gate.answers import Answers, Array
from unpickled.export.gate.pair import Run
from unpickled.export.labelled import Labelled
from unpickled.export.places import places
from unpickled.server.artifact.card import (
    MOST_CURVES,
    MOST_DEPENDENCES,
    CalibrationBin,
    Card,
    ClassCard,
    Cost,
    Measured,
    TargetCard,
)
from unpickled.server.artifact.manifest import Feature
from unpickled.server.artifact.reference import FEWEST, Reference, Spread
from unpickled.server.quote import counted

# The seconds that the graph may take to answer the rows once.
_SECONDS = 1.5
# Beyond, squares of numbers overflow.
_LARGEST = 1e150


@dataclass(frozen=True, slots=True)
class Model:
    """A graph of ``size`` bytes, its features and the spread of its training rows.

    ``names`` are those of the classes; a regressor has none.
    """

    run: Run
    conversion: Conversion
    features: Sequence[Feature]
    names: Sequence[str]
    reference: Reference
    size: int


@dataclass(frozen=True, slots=True)
class _Answered:
    """Rows with their truth, as places among the classes or as numbers, and with their answers."""

    labelled: Labelled
    answers: Answers
    loss: Loss
    notes: tuple[str, ...]


def make(model: Model, labelled: Labelled, seed: int, remark: Callable[[str], None]) -> Card | None:
    """The card of a model on these rows; None where they tell nothing of it, with a remark that says why.

    Args:
        model: The model.
        labelled: The rows with their true answers.
        seed: The seed by which rows are drawn and shuffled.
        remark: Called with a sentence.
    """
    graph, rng = Served(model.run, model.conversion), np.random.default_rng(seed)
    if len(labelled) < FEWEST:
        remark(f"no card: {counted(len(labelled), 'row')} with true answers, and it takes {FEWEST}")
        return None
    with np.errstate(all="ignore"):
        price = cost.measure(graph, labelled.frame, model.size)
        each = price.of_many / 1e6 if price else 0.0
        answered = _answered(graph, labelled, each, rng) if price else None
        if price is None or answered is None:
            remark(f"no card: fewer than {FEWEST} rows have answers that can be measured")
            return None
        return _card(model, graph, answered, price, rng)


def _answered(graph: Served, labelled: Labelled, each: float, rng: np.random.Generator) -> _Answered | None:
    """As many of the rows as there is time for, with their answers; None if too few have finite ones."""
    notes = []
    count = max(affordable(len(labelled), _SECONDS, each), min(len(labelled), FEWEST))
    if count < len(labelled):
        notes.append(f"{count:,} of {len(labelled):,} rows with true answers were measured, drawn by chance.")
    rows = labelled.at(drawn(len(labelled), count, rng))
    answers = graph.asked(graph.tensors(rows.frame))
    if answers is None:
        return None
    truth = _truth(graph.conversion, rows)
    measurable = np.isfinite(answers.scores).all(axis=1)
    if not graph.conversion.classes:
        sizes = np.maximum(np.abs(answers.scores), np.abs(truth))
        measurable &= (sizes < _LARGEST).all(axis=1)
    if measurable.sum() < FEWEST:
        return None
    if not measurable.all():
        left_out = max(int((~measurable).sum()), FEWEST)
        notes.append(
            f"At most {left_out:,} rows are left out: their answers are no numbers, or too large ones."
        )
    rows = Labelled(rows.frame[measurable], truth[measurable], rows.held_out)
    answers = Answers(answers.labels[measurable], answers.scores[measurable])
    return _Answered(rows, answers, loss_of(graph.conversion.outputs, answers, rows.truth), tuple(notes))


def _truth(conversion: Conversion, labelled: Labelled) -> Array:
    """The true places among the classes (rows,), or numbers (rows, targets)."""
    classes = np.array(conversion.classes)
    return places(classes, labelled.truth.astype(classes.dtype)) if len(classes) else labelled.truth


def _card(model: Model, graph: Served, answered: _Answered, price: Cost, rng: np.random.Generator) -> Card:
    labelled, loss = answered.labelled, answered.loss
    each = price.of_many / 1e6
    spreads = _spreads(model)
    important = importance.measure(graph, labelled, loss, list(spreads), each, rng)
    first = [spreads[found.feature] for found in important.importances[:MOST_DEPENDENCES]]
    width = answered.answers.scores.shape[1]
    dependences, notes = dependence.measure(graph, labelled.frame, first, width, each, rng)
    quality = _classified(model, answered) if model.names else _predicted(model, answered)
    return Card(
        rows=len(labelled),
        held_out=labelled.held_out,
        loss=loss.noun,
        loss_value=loss.measured(loss.rows(answered.answers, labelled.truth)),
        accuracy=quality.accuracy,
        classes=quality.classes,
        calibration=quality.calibration,
        targets=quality.targets,
        importances=important.importances,
        dependences=tuple(dependences),
        slices=tuple(slices.worst(labelled.frame, [*spreads.values()], quality.losses, not model.names, rng)),
        cost=price,
        notes=(*answered.notes, *quality.notes, *important.notes, *notes),
    )


@dataclass(frozen=True, slots=True)
class _Quality:
    """How good the answers are. ``losses`` (rows,) are those by which slices are compared."""

    losses: Floats
    accuracy: Measured | None = None
    classes: tuple[ClassCard, ...] = ()
    calibration: tuple[CalibrationBin, ...] = ()
    targets: tuple[TargetCard, ...] = ()
    notes: tuple[str, ...] = ()


def _classified(model: Model, answered: _Answered) -> _Quality:
    labels, scores = answered.answers.labels, answered.answers.scores
    truth = answered.labelled.truth
    right = labels == truth
    most = np.argsort(-np.bincount(truth, minlength=len(model.names)), kind="stable")[:MOST_CURVES].tolist()
    cut = len(model.names) > MOST_CURVES
    has_probabilities = model.conversion.outputs.kind == "probabilities"
    return _Quality(
        losses=(~right).astype(np.float64),
        accuracy=intervals.share(float(right.sum()), len(right)),
        classes=tuple(
            curves.make(name, scores[:, place], truth == place, place in most)
            for place, name in enumerate(model.names)
        ),
        calibration=calibration.make(scores[np.arange(len(labels)), labels], right)
        if has_probabilities
        else (),
        notes=(f"Curves are those of the {MOST_CURVES} classes with the most rows.",) if cut else (),
    )


def _predicted(model: Model, answered: _Answered) -> _Quality:
    scores, truth = answered.answers.scores, answered.labelled.truth
    names = model.conversion.outputs.targets
    return _Quality(
        losses=np.abs(scores[:, 0] - truth[:, 0]),
        targets=tuple(
            targets.make(name, scores[:, place], truth[:, place]) for place, name in enumerate(names)
        ),
    )


def _spreads(model: Model) -> dict[str, tuple[Feature, Spread | None]]:
    """Each feature, with the spread of its training rows if they are enough for one."""
    spreads = {spread.name: spread for spread in model.reference.features}
    return {feature.name: (feature, spreads.get(feature.name)) for feature in model.features}
