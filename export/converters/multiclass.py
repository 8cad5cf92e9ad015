"""Converters for classifiers that ask a question of two answers several times: by class, pair or code."""

from typing import Any

import numpy as np
import sklearn
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier

from unpickled.export import inside
from unpickled.export.converters.members import (
    Classify,
    Converter,
    above,
    column,
    decision,
    height,
    index,
    probabilities,
    upright,
)
from unpickled.export.converters.parts import nearest, pair_votes, two_sided, winner
from unpickled.export.errors import NoGraph
from unpickled.export.graph import ClassifierOutput, Graph, OptionalColumns

# Until scikit-learn 1.8 the last of several equal classes won one against the rest.
_LAST_WINS = tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8)

_Members = list[tuple[Any, ClassifierOutput]]


def _members(model: Any, columns: OptionalColumns, classify: Classify) -> _Members:
    return [(part.estimator, classify(part.estimator, columns)) for part in inside.parts(model)]


def _decides(member: Any) -> bool:
    return hasattr(member, "decision_function")


def _scores(graph: Graph, members: _Members) -> str:
    """(rows, members): the score of the second class from each; probabilities where it has no other."""
    scores = [
        column(graph, decision(graph, m, output) if _decides(m) else probabilities(graph, output), 1)
        for m, output in members
    ]
    return _joined(graph, [upright(graph, score) for score in scores])


def _joined(graph: Graph, columns: list[str]) -> str:
    return columns[0] if len(columns) == 1 else graph.add("Concat", *columns, axis=1)


def _one_vs_rest(
    graph: Graph, model: OneVsRestClassifier, columns: OptionalColumns, classify: Classify
) -> ClassifierOutput:
    if model.multilabel_:
        raise NoGraph("it gives a row several labels at once", "train one classifier for each label")
    classes = len(model.classes_)
    members = _members(model, columns, classify)
    scores = _scores(graph, members)
    decides = _decides(members[0][0])
    if len(members) == 1:
        chosen = above(graph, column(graph, scores, 0), 0.0 if decides else 0.5)
        decided = graph.add("Mul", scores, graph.constant(np.array([-1.0, 1.0]))) if decides else None
    else:
        chosen = graph.add("ArgMax", scores, axis=1, keepdims=0, select_last_index=int(_LAST_WINS))
        decided = scores if decides else None
    shares = None
    if all(output.probabilities for _, output in members):
        shares = _shares(graph, [probabilities(graph, output) for _, output in members])
    return ClassifierOutput(classes, winner=chosen, probabilities=shares, decision=decided)


def _shares(graph: Graph, members: list[str]) -> str:
    """The probability of each class, divided by their sum where that is not 0."""
    if len(members) == 1:
        return two_sided(graph, members[0])
    each = _joined(graph, [upright(graph, column(graph, member, 1)) for member in members])
    total = graph.add("ReduceSum", each, graph.constant(np.array([1], np.int64)), keepdims=1)
    empty = graph.add("Equal", total, graph.constant(np.array(0.0)))
    divisor = graph.add("Where", empty, graph.constant(np.array(1.0)), total)
    return graph.add("Div", each, divisor)


def _one_vs_one(
    graph: Graph, model: OneVsOneClassifier, columns: OptionalColumns, classify: Classify
) -> ClassifierOutput:
    if model.pairwise_indices_ is not None:
        raise NoGraph("the classifier inside takes distances, not rows", "use a kernel of its own")
    classes = len(model.classes_)
    members = _members(model, columns, classify)
    scores = _scores(graph, members)
    chosen = [graph.cast(index(graph, m, output, 2), "float64") for m, output in members]
    second = _joined(graph, [upright(graph, member) for member in chosen])
    _, decided = pair_votes(graph, second, graph.add("Neg", scores), classes)
    if classes > 2:
        return ClassifierOutput(classes, winner=winner(graph, decided), decision=decided)
    score = column(graph, decided, 1)
    best = above(graph, score, 0.0 if _decides(members[0][0]) else 0.5)
    mirrored = graph.add("Mul", upright(graph, score), graph.constant(np.array([-1.0, 1.0])))
    return ClassifierOutput(classes, winner=best, decision=mirrored)


def _output_code(
    graph: Graph, model: OutputCodeClassifier, columns: OptionalColumns, classify: Classify
) -> ClassifierOutput:
    """The class whose code is nearest."""
    members = _members(model, columns, classify)
    if not members:
        raise NoGraph("its codes do not differ between the classes", "give it a larger code_size")
    scores = iter([_scores(graph, [member]) for member in members])
    asked = [hasattr(member, "classes_") for member in model.estimators_]
    rows = height(graph, columns)
    each = [
        next(scores) if is_asked else _same(graph, member.y_[0], rows)
        for member, is_asked in zip(model.estimators_, asked, strict=True)
    ]
    chosen, ranking = nearest(graph, _joined(graph, each), model.code_book_)
    return ClassifierOutput(len(model.classes_), winner=chosen, ranking=ranking)


def _same(graph: Graph, answer: float, rows: str) -> str:
    """(rows, 1): the answer to a question that all classes answer alike."""
    shape = graph.add("Concat", rows, graph.constant(np.array([1], np.int64)), axis=0)
    return graph.add("Expand", graph.constant(np.array([[float(answer)]])), shape)


CONVERTERS: dict[type, Converter] = {
    OneVsRestClassifier: _one_vs_rest,
    OneVsOneClassifier: _one_vs_one,
    OutputCodeClassifier: _output_code,
}
