"""The typical row that a prediction is compared with: medians, and the most frequent categories.

Each of its values is one that the model takes. A value is missing where nothing else is known of a feature.
"""

from collections.abc import Iterator

from unpickled.server.artifact.manifest import Feature, Manifest
from unpickled.server.artifact.reference import Spread
from unpickled.server.errors import InvalidInput
from unpickled.server.model.feeds import Row, Value
from unpickled.server.model.rule import Rule


def baseline(manifest: Manifest) -> Row:
    """One value for each feature, as ``Signature.feeds`` takes them: a date is its seconds since 1970.

    Example:
        >>> from pathlib import Path
        >>> from unpickled.server.artifact.manifest import read
        >>> baseline(read(Path("models/iris/1/model.onnx").read_bytes()))
        [5.8, 3.0, 4.3, 1.3]
    """
    spreads = {} if manifest.reference is None else {each.name: each for each in manifest.reference.features}
    dtypes = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
    return [
        _accepted(
            Rule(feature, dtypes[feature.name]),
            [*_typical(feature, spreads.get(feature.name)), *(row[place] for row in manifest.golden.rows)],
            dtypes[feature.name] == "int64",
        )
        for place, feature in enumerate(manifest.features)
    ]


def _accepted(rule: Rule, candidates: list[Value], whole: bool) -> Value:
    """The first of the candidates that the model takes; None, a missing value, where it takes none."""
    for candidate in candidates:
        if whole and isinstance(candidate, float) and not candidate.is_integer():
            continue
        try:
            return rule.check_read(candidate, 0)
        except InvalidInput:
            continue
    return None


def _typical(feature: Feature, spread: Spread | None) -> Iterator[Value]:
    """Values that stand for the training rows, the best first."""
    if feature.kind == "category":
        if spread is not None and spread.categories:
            counts = dict(zip(spread.categories, spread.counts, strict=False))
            yield max(counts, key=counts.__getitem__)
        yield from feature.categories[:1]
    elif feature.median is not None:
        yield from _numbers(feature, feature.median)


def _numbers(feature: Feature, median: float) -> Iterator[float]:
    """The median; first the nearest value where the pipeline knows a list of them, or only 0 and 1.

    The median of an even number of rows may lie between two values.
    """
    known = (0.0, 1.0) if feature.boolean else feature.values
    if known:
        yield min(known, key=lambda value: abs(value - median))
    yield median
    yield float(round(median))
