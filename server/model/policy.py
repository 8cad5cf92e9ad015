"""The policy for values outside the training range: the key ``inputs`` of serving.toml."""

import sys
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from unpickled.server.quote import listed, quoted

Action = Literal["flag", "accept", "clip", "refuse"]

# Features that a sentence names.
_MOST_NAMES = 5
_LARGEST = sys.float_info.max
Border = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
# A wider range than a thousand times that of training is none.
Slack = Annotated[float, Meta(ge=0, le=1000)]


class FeaturePolicy(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The policy for one feature, where it differs from that for all.

    ``lowest`` and ``highest`` take the place of the training minimum and maximum; those of a feature of dates
    are seconds since 1970-01-01.
    """

    outside: Action | None = None
    lowest: Border | None = None
    highest: Border | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The policy for all features of a model.

    ``outside`` is the fate of a value outside the range of its feature. "flag": it is predicted, and the
    answer names it. "accept": it is predicted, and nothing is said. "clip": the nearest value inside is
    predicted in its place, and the answer says so. "refuse": the request is an error. ``slack`` is the share
    of the training range by which the range is wider, on either side.
    """

    outside: Action = "flag"
    slack: Slack = 0.0
    features: dict[str, FeaturePolicy] = {}

    def of(self, feature: str) -> FeaturePolicy:
        """The policy for one feature; its ``outside`` is None where that for all features holds."""
        return self.features.get(feature, _NONE)

    @property
    def sentence(self) -> str:
        """The policy on one line, much as serving.toml has it, with its first few features."""
        parts = [f'outside = "{self.outside}"']
        if self.slack:
            parts.append(f"slack = {self.slack:g}")
        if self.features:
            parts.append(listed(self.features, _MOST_NAMES, self._own))
        return ", ".join(parts)

    def _own(self, feature: str) -> str:
        settings = msgspec.to_builtins(self.of(feature))
        values = (f"{key} = {_literal(value)}" for key, value in settings.items())
        return f"{quoted(feature)} = {{{', '.join(values)}}}"


def _literal(value: str | float) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


_NONE = FeaturePolicy()
