"""The decision of a judge between champion and challenger, as the history keeps it."""

from typing import Literal

import msgspec

Verdict = Literal["promote", "hold", "reject"]


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision, and what it rests on.

    Attributes:
        verdict: "promote": the challenger gets more traffic; "hold": it stays as it is; "reject": it gets
            none any more.
        champion, challenger: The numbers of the two versions.
        files: The sha256 of the champion's file and of the challenger's: other files begin anew.
        weight: The share of plain requests that the challenger answers from then on.
        reasons: Why, each a sentence.
        evidence: Figures by their names; null stands for one that is not known.
    """

    verdict: Verdict
    champion: int
    challenger: int
    files: tuple[str, str]
    weight: float = 0.0
    reasons: tuple[str, ...] = ()
    evidence: dict[str, bool | int | float | str | None] = {}

    def same(self, other: "Decision | None") -> bool:
        """Whether another one decides the same about the same files, be the evidence what it may."""
        return other is not None and (self.verdict, self.files, self.weight) == (
            other.verdict,
            other.files,
            other.weight,
        )
