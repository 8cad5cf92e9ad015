"""Converters for classifiers made of other classifiers, whose answers they average, calibrate or count."""

from typing import Any

import numpy as np
from sklearn.base import is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.isotonic import IsotonicRegression

from unpickled.export import inside
from unpickled.export.converters import isotonic
from unpickled.export.converters.members import Classify, Converter, decision, index, probabilities, response
from unpickled.export.converters.parts import far_sigmoid, normalised, winner
from unpickled.export.converters.splitting import TREES, splits
from unpickled.export.errors import NoGraph
from unpickled.export.graph import Array, ClassifierOutput, Columns, Graph, OptionalColumns, Tensor, present
from unpickled.export.inside import innermost


def mean(graph: Graph, parts: list[str], weights: list[float]) -> str:
    """The mean of these tensors of one shape, each counted as often as its weight says."""
    if len(parts) == 1:
        return parts[0]
    if len(set(weights)) > 1:
        parts = [
            graph.add("Mul", p, graph.constant(np.array(w))) for p, w in zip(parts, weights, strict=True)
        ]
        return graph.add("Div", graph.add("Sum", *parts), graph.constant(np.array(sum(weights))))
    return graph.add("Div", graph.add("Sum", *parts), graph.constant(np.array(float(len(parts)))))


def _by_probability(graph: Graph, scores: str, classes: int) -> ClassifierOutput:
    return ClassifierOutput(classes, winner=winner(graph, scores), probabilities=scores)


def _spread(graph: Graph, scores: str, positions: Array, classes: int) -> str:
    """The probabilities of some classes, spread over all classes: column k becomes column positions[k]."""
    if np.array_equal(positions, np.arange(classes)):
        return scores
    return graph.add("MatMul", scores, graph.constant(np.eye(classes)[positions]))


def _calibrated(
    graph: Graph, model: CalibratedClassifierCV, columns: OptionalColumns, classify: Classify
) -> ClassifierOutput:
    classes = len(model.classes_)
    parts = []
    for member in model.calibrated_classifiers_:
        if member.method not in ("sigmoid", "isotonic", "temperature"):
            raise NoGraph(f"method={member.method!r} has no graph", "use method='sigmoid' or 'isotonic'")
        positions = np.searchsorted(model.classes_, member.estimator.classes_)
        if len(positions) != classes:
            raise NoGraph("one of its folds lacks a class", "use fewer folds or ensemble=False")
        output = classify(member.estimator, columns)
        if member.method == "temperature":
            parts.append(_tempered(graph, member, output))
        else:
            parts.append(_calibrate(graph, member.calibrators, response(graph, member.estimator, output)))
    return _by_probability(graph, mean(graph, parts, [1.0] * len(parts)), classes)


def _tempered(graph: Graph, member: Any, output: ClassifierOutput) -> str:
    """Softmax of the logits times a constant; without decision scores, the logits are log(p + 1e-12)."""
    if hasattr(member.estimator, "decision_function"):
        logits = decision(graph, member.estimator, output)
        if output.classes == 2:
            logits = graph.matrix(Tensor(logits, "float64", 2).columns()[1:])
            logits = graph.add("Mul", logits, graph.constant(np.array([-1.0, 1.0])))
    else:
        floor = graph.constant(np.array(1e-12))
        logits = graph.add("Log", graph.add("Add", probabilities(graph, output), floor))
    beta = graph.constant(np.array(float(member.calibrators[0].beta_)))
    return graph.add("Softmax", graph.add("Mul", logits, beta), axis=1)


def _calibrate(graph: Graph, calibrators: list[Any], response: Columns) -> str:
    """Probabilities (rows, classes), from one calibrator per column of the response."""
    if all(isinstance(calibrator, IsotonicRegression) for calibrator in calibrators):
        columns = zip(calibrators, response, strict=True)
        scores = [isotonic.line(graph, calibrator, graph.matrix((column,))) for calibrator, column in columns]
        joined = scores[0] if len(scores) == 1 else graph.add("Concat", *scores, axis=1)
    else:
        slope, offset = (np.array([getattr(c, name) for c in calibrators]) for name in ("a_", "b_"))
        scaled = graph.add("Mul", graph.matrix(response), graph.constant(-slope))
        joined = far_sigmoid(graph, graph.add("Sub", scaled, graph.constant(offset)))
    if len(calibrators) > 1:
        return normalised(graph, joined, len(calibrators))
    return graph.add(
        "Gemm", joined, graph.constant(np.array([[-1.0, 1.0]])), graph.constant(np.array([1.0, 0.0]))
    )


def _voting(
    graph: Graph, model: VotingClassifier, columns: OptionalColumns, classify: Classify
) -> ClassifierOutput:
    weights = [float(w) for w in model._weights_not_none or [1.0] * len(model.estimators_)]
    outputs = [(part.estimator, classify(part.estimator, columns)) for part in inside.parts(model)]
    if model.voting == "hard":
        return _hard(graph, outputs, weights, len(model.classes_))
    scores = [probabilities(graph, output) for _, output in outputs]
    return _by_probability(graph, mean(graph, scores, weights), len(model.classes_))


def _hard(
    graph: Graph, outputs: list[tuple[Any, ClassifierOutput]], weights: list[float], classes: int
) -> ClassifierOutput:
    """The class with the most votes, which are added in scikit-learn's order; the scores are their shares."""
    total = ""
    for (member, output), weight in zip(outputs, weights, strict=True):
        votes = graph.add(
            "Gather", graph.constant(np.eye(classes) * weight), index(graph, member, output, classes)
        )
        total = graph.add("Add", total, votes) if total else votes
    shares = graph.add("Div", total, graph.constant(np.array(sum(weights))))
    return ClassifierOutput(classes, winner=winner(graph, total), ranking=shares)


def refuse_trees_behind(members: list[Any], final: Any) -> None:
    """Raise NoGraph if trees split the answers of members whose last digit may not be the graph's."""
    tree_leaves = [leaf for leaf in innermost(final) if splits(leaf)]
    other_leaves = [leaf for m in members for leaf in innermost(m) if inside.kind(leaf) not in TREES]
    if tree_leaves and other_leaves:
        instead = "Ridge()" if is_regressor(final) else "LogisticRegression()"
        raise NoGraph(
            f"its {type(tree_leaves[0]).__name__} splits the answers of a "
            f"{type(other_leaves[0]).__name__}, whose last digit is not the graph's",
            f"use an estimator without trees there, such as {instead}",
        )


def _stacking(
    graph: Graph, model: StackingClassifier, columns: OptionalColumns, classify: Classify
) -> ClassifierOutput:
    *members, final = inside.parts(model)
    refuse_trees_behind([member.estimator for member in members], final.estimator)
    responses: Columns = ()
    for member, method in zip(members, model.stack_method_, strict=True):
        if method == "predict":
            raise NoGraph("stack_method='predict' has no graph", "use 'auto' or 'predict_proba'")
        prefer = "decision" if method == "decision_function" else "probabilities"
        output = classify(member.estimator, columns)
        responses += response(graph, member.estimator, output, prefer)
    return classify(final.estimator, responses + present(columns) if model.passthrough else responses)


def _bagging(
    graph: Graph, model: BaggingClassifier, columns: OptionalColumns, classify: Classify
) -> ClassifierOutput:
    scores, classes = [], len(model.classes_)
    for part in inside.parts(model):
        output = classify(part.estimator, part.select(columns))
        positions = np.asarray(part.estimator.classes_, int)
        scores.append(_spread(graph, probabilities(graph, output), positions, classes))
    return _by_probability(graph, mean(graph, scores, [1.0] * len(scores)), classes)


CONVERTERS: dict[type, Converter] = {
    CalibratedClassifierCV: _calibrated,
    VotingClassifier: _voting,
    StackingClassifier: _stacking,
    BaggingClassifier: _bagging,
}
