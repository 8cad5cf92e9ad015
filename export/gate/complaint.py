"""A difference between a pipeline and its graph in words, for the person who trained the pipeline."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import VotingClassifier

from unpickled.export.gate.answers import Answers, labels_differ
from unpickled.export.gate.neighbors import has_donors, has_neighbors
from unpickled.export.gate.pair import Pair
from unpickled.export.gate.parting import Parting, parting, row_in_words
from unpickled.export.inside import everything

_NEIGHBORS = (
    "Training rows equally far from a row are taken as its neighbors in no defined order. Another scaler in "
    "front may tell them apart (unpickled train tries those it has); else take an estimator without "
    "neighbors, such as a forest; nothing was written."
)

_DONORS = (
    "KNNImputer takes training rows equally far from a row in no defined order, and weights='distance' "
    "divides by distances that are rounding errors: scale the features in front of it, or use SimpleImputer "
    "or IterativeImputer; nothing was written."
)

_VOTES = (
    "A member of VotingClassifier(voting='hard') may find two classes equally likely, so that the last digit "
    "decides which gets its vote: use voting='soft'; nothing was written."
)


def complaint(pair: Pair, kind: str, frame: pd.DataFrame, expected: Answers, served: Answers) -> str:
    """A message about rows of this kind, some of which are answered differently."""
    wrong = pair.wrong(expected, served)
    head = (
        f"{title(pair)} has a graph that does not compute the same: {int(wrong.sum())} of "
        f"{len(frame)} {kind_in_words(kind)} rows differ"
    )
    if not expected.resembles(served):
        return f"{head}, in the shape of the answer. {advice(pair, kind)}"
    difference = pair.difference(expected, served)
    worst = int(np.argmax(np.where(wrong, difference, -1.0)))
    labels = int((wrong & labels_differ(expected, served)).sum())
    place = parting(pair.pipeline, pair.conversion.layout, frame[wrong])
    in_label = f", {labels} of them in the label" if pair.kind.labelled else ""
    return (
        f"{head}{in_label}, the {pair.kind.noun} by up to "
        f"{difference[wrong].max():.3g} (allowed: {pair.tolerance:g}). "
        f"For example {row_in_words(frame, worst)}: "
        f"the pipeline says {pair.kind.in_words(expected, worst)}, "
        f"the graph {pair.kind.in_words(served, worst)}. "
        f"{place.sentence + ' ' if place else ''}{advice(pair, kind, place)}"
    )


def title(pair: Pair) -> str:
    """The pipeline in words: its steps, or its class if it has none."""
    steps = getattr(pair.pipeline, "steps", None)
    if steps is None:
        return type(pair.pipeline).__name__
    return "The pipeline " + " -> ".join(f"{name!r} ({type(step).__name__})" for name, step in steps)


def advice(pair: Pair, kind: str = "", place: Parting | None = None) -> str:
    """A remedy for a difference in rows of this kind, which may be known to begin at a step."""
    if place and place.step and "KNNImputer" in place.step:
        return _DONORS
    if place and place.step:
        return f"Replace {place.step} with another transformer; nothing was written."
    if pair.conversion.foreign and kind != "ties":
        suspects = ", ".join(pair.conversion.foreign)
        return f"Replace {suspects}, which skl2onnx converted, with another estimator; nothing was written."
    if has_neighbors(pair.pipeline):
        return _NEIGHBORS
    if has_donors(pair.pipeline):
        return _DONORS
    return _VOTES if _has_hard_votes(pair.pipeline) else "Try another last step; nothing was written."


def _has_hard_votes(pipeline: Any) -> bool:
    return any(isinstance(step, VotingClassifier) and step.voting == "hard" for step in everything(pipeline))


def kind_in_words(kind: str) -> str:
    """A kind of rows as an adjective: "tied", "near threshold"."""
    return {"ties": "tied"}.get(kind, kind.replace("_", " "))
