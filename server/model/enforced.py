"""The policy for one version and the range of each of its features, as they are in force."""

from typing import Annotated

import msgspec
from msgspec import Meta

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.model.policy import Action, Policy
from unpickled.server.model.range import Range, ranges_of


class FeatureRange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The range of a feature in force: its borders, dates as text, or how many categories are known.

    ``outside`` is the fate of a value beyond it. "accept": no value is, and there are no borders.
    """

    outside: Action
    lowest: float | str | None = None
    highest: float | str | None = None
    known: Annotated[int, Meta(ge=0)] | None = None


class InputPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The policy for values outside the training range, and the range of each feature that has one."""

    outside: Action
    slack: float
    features: dict[str, FeatureRange]


def enforced(manifest: Manifest, policy: Policy) -> InputPolicy:
    """A policy as it is in force for the version that this manifest describes."""
    features = {
        each.name: _shown(each) if each.action != "accept" else FeatureRange(outside="accept")
        for each in ranges_of(manifest, policy)
        if each is not None
    }
    return InputPolicy(outside=policy.outside, slack=policy.slack, features=features)


def _shown(each: Range) -> FeatureRange:
    if each.known is not None:
        return FeatureRange(outside=each.action, known=len(each.known))
    lowest, highest = each.ends
    return FeatureRange(outside=each.action, lowest=lowest, highest=highest)
