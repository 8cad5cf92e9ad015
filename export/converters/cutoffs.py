"""Converters for classifiers with a threshold of their own: the scores are those of the classifier inside."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from unpickled.export.converters.members import Classify, Converter, column, decision, probabilities
from unpickled.export.cutoff import cutoff
from unpickled.export.graph import ClassifierOutput, Graph, OptionalColumns


def _cut(graph: Graph, model: Any, columns: OptionalColumns, classify: Classify) -> ClassifierOutput:
    cut = cutoff(model)
    assert cut is not None
    output = classify(model.estimator_, columns)
    if cut.method == "predict_proba":
        score = column(graph, probabilities(graph, output), cut.positive)
    else:
        score = column(graph, decision(graph, model.estimator_, output), 1)
        score = score if cut.positive else graph.add("Neg", score)
    reached = graph.add("GreaterOrEqual", score, graph.constant(np.array(cut.threshold)))
    labels = np.array([1 - cut.positive, cut.positive], np.int64)
    chosen = graph.add("Gather", graph.constant(labels), graph.cast(reached, "int64"))
    return replace(output, winner=chosen, label=None)


CONVERTERS: dict[type, Converter] = {FixedThresholdClassifier: _cut, TunedThresholdClassifierCV: _cut}
