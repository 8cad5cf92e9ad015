"""The contract that several versions of a model share: the rows that every one of them takes."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from unpickled.server.artifact.manifest import Feature, Input, Manifest
from unpickled.server.errors import InvalidInput
from unpickled.server.model.feeds import Row
from unpickled.server.model.signature import Signature

# From the dtype that holds the fewest numbers to the one that holds the most.
_DTYPES = ("string", "int64", "float32", "float64")


def shared(manifests: Sequence[Manifest]) -> Manifest:
    """The first manifest, with its features narrowed to the values that every one of the versions takes.

    The features have the same names, kinds and order in all of them. Where no value would be left for a
    feature, it is the first manifest unchanged.
    """
    first = manifests[0]
    features = tuple(map(_narrowed, zip(*(manifest.features for manifest in manifests), strict=True)))
    if not all(map(_possible, features)):
        return first
    narrowed = replace(first, features=features, inputs=_common(manifests))
    signature = Signature(narrowed)
    rows = tuple(row for row in first.golden.rows if _takes(signature, row))
    return replace(narrowed, golden=replace(first.golden, rows=rows))


def _narrowed(variants: Sequence[Feature]) -> Feature:
    """One feature of several versions, with the values that all of them take."""
    lowest = max((feature.lowest for feature in variants if feature.lowest is not None), default=None)
    highest = min((feature.highest for feature in variants if feature.highest is not None), default=None)
    closed = [feature.categories for feature in variants if feature.closed]
    categories = (closed or [variants[0].categories])[0]
    return replace(
        variants[0],
        missing=all(feature.missing for feature in variants),
        lowest=lowest,
        highest=highest,
        closed=bool(closed),
        boolean=all(feature.boolean for feature in variants),
        categories=tuple(name for name in categories if all(name in allowed for allowed in closed)),
    )


def _possible(feature: Feature) -> bool:
    if feature.closed:
        return bool(feature.categories)
    return feature.lowest is None or feature.highest is None or feature.lowest <= feature.highest


def _common(manifests: Sequence[Manifest]) -> tuple[Input, ...]:
    """The input tensors of all versions; if they differ, one per feature, of the narrowest dtype."""
    first = manifests[0]
    if all(manifest.inputs == first.inputs for manifest in manifests):
        return first.inputs
    dtypes: dict[str, list[Any]] = {feature.name: [] for feature in first.features}
    for manifest in manifests:
        for tensor in manifest.inputs:
            for name in tensor.features:
                dtypes[name].append(tensor.dtype)
    return tuple(
        Input(name=name, dtype=min(kinds, key=_DTYPES.index), features=(name,))
        for name, kinds in dtypes.items()
    )


def _takes(signature: Signature, row: Row) -> bool:
    try:
        signature.check_row(list(row), 0)
    except InvalidInput:
        return False
    return True
