"""Guardrails, which a challenger must not break however right it is: latency, errors, agreement, refusals."""

from collections.abc import Iterator

from unpickled.server.drift.chance import at_least
from unpickled.server.judge.contest import Contest
from unpickled.server.judge.evidence import Evidence
from unpickled.server.lifecycle.rules import Rules
from unpickled.server.quote import counted

# The chance that as many failures as there were are none but those that the rules allow.
_CHANCE = 0.001


def broken(contest: Contest, evidence: Evidence, rules: Rules) -> Iterator[str]:
    """A sentence about each guardrail that is broken."""
    new, old = contest.names
    if _disagrees(evidence, rules):
        rows = counted(evidence.compared or 0, "row")
        yield (
            f"{new} answers {evidence.disagreement:.1%} of {rows} with another label than {old}, and "
            f"{rules.maximum_disagreement:.1%} are allowed"
        )
    if evidence.latency is not None and evidence.latency > rules.latency:
        yield (
            f"{new} runs {evidence.latency:.2f} times as long as {old} per row, and {rules.latency:g} times "
            "are allowed"
        )
    if _fails(evidence, rules):
        requests = counted(evidence.requests or 0, "request")
        yield (
            f"{evidence.failed:,} of {requests} to {new} failed, {evidence.failed_before or 0:.1%} of those "
            f"to {old}, and {rules.errors:.1%} more are allowed"
        )
    if _refuses(evidence, rules):
        yield (
            f"{new} does not take {evidence.refused:.1%} of the rows that {old} has answered, and "
            f"{rules.errors:.1%} are allowed"
        )


def unknown(evidence: Evidence) -> Iterator[str]:
    """A sentence where it cannot be told whether a guardrail is broken."""
    if evidence.silent:
        yield f"latency and errors are unknown: {evidence.silent}"


def _disagrees(evidence: Evidence, rules: Rules) -> bool:
    if evidence.disagreement is None or (evidence.compared or 0) < rules.minimum_rows:
        return False
    return evidence.disagreement > rules.maximum_disagreement


def _fails(evidence: Evidence, rules: Rules) -> bool:
    """Whether more requests fail than the rules allow, beyond chance."""
    if not evidence.requests or not evidence.failed:
        return False
    allowed = min((evidence.failed_before or 0.0) + rules.errors, 1.0)
    return at_least(evidence.failed, evidence.requests, allowed) < _CHANCE


def _refuses(evidence: Evidence, rules: Rules) -> bool:
    """Whether the shadow refuses more rows than the rules allow, beyond chance."""
    if not evidence.refused or evidence.offered is None:
        return False
    rows = round(evidence.refused * evidence.offered)
    return at_least(rows, evidence.offered, min(rules.errors, 1.0)) < _CHANCE
