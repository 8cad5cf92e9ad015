"""The verdict about a challenger, by the evidence and the rules."""

from collections.abc import Iterator
from typing import NamedTuple

from unpickled.server.judge import guardrails
from unpickled.server.judge.contest import Contest, Past
from unpickled.server.judge.evidence import Evidence
from unpickled.server.lifecycle import decision
from unpickled.server.lifecycle.deployment import percent
from unpickled.server.lifecycle.rules import Rules
from unpickled.server.quote import counted


class Verdict(NamedTuple):
    """A verdict.

    Attributes:
        verdict: "promote", "hold" or "reject".
        weight: The share of plain requests that the challenger is to answer from now on.
        reasons: Why, each a sentence with its figures, without a capital letter and a full stop.
    """

    verdict: decision.Verdict
    weight: float
    reasons: tuple[str, ...]


def decide(contest: Contest, past: Past, evidence: Evidence, rules: Rules) -> Verdict:
    """The verdict; what speaks against a challenger comes first, then what is missing."""
    if past.rejected is not None:
        at, reasons = past.rejected
        return Verdict("reject", 0.0, (f"{contest.names[0]} was rejected at {at}: {reasons}",))
    told = tuple(_left_out(evidence))
    objections = (*guardrails.broken(contest, evidence, rules), *_worse(contest, evidence))
    if objections:
        return Verdict("reject", 0.0, (*objections, *told))
    unproven = tuple(_unproven(contest, evidence, rules))
    findings = unproven or (_gain(contest, evidence),)
    obstacles = (
        *_taken_back(contest, past),
        *_early(contest, evidence, rules),
        *guardrails.unknown(evidence),
        *_drifted(contest, evidence, rules),
    )
    if unproven or obstacles:
        return Verdict("hold", contest.weight, (*findings, *obstacles, *told))
    return Verdict("promote", rules.next(contest.weight), (*findings, *told))


def _left_out(evidence: Evidence) -> Iterator[str]:
    if evidence.left_out:
        yield (
            f"the truth reported on {evidence.left_out} does not count, as it contradicts the champion's "
            "answers, and that of the days around does not: unpickled retrain has the figures"
        )


def _worse(contest: Contest, evidence: Evidence) -> Iterator[str]:
    if evidence.highest is not None and evidence.highest < 0:
        yield _gain(contest, evidence)


def _gain(contest: Contest, evidence: Evidence) -> str:
    """The gain of the challenger, with its interval."""
    new, old = contest.names
    better = "worse" if (evidence.gain or 0) < 0 else "better"
    rows = counted(evidence.rows, "row")
    if evidence.gain is None or evidence.lowest is None or evidence.highest is None:
        return f"{rows} with truth do not tell yet whether {new} is better"
    if evidence.measure == "accuracy":
        amount = f"{abs(100 * evidence.gain):.2f} points"
        ends = f"{100 * evidence.lowest:+.2f} to {100 * evidence.highest:+.2f}"
    else:
        amount = f"{abs(evidence.gain):.4g}"
        ends = f"{evidence.lowest:+.4g} to {evidence.highest:+.4g}"
    return (
        f"{new} is {better} than {old} in {evidence.measure} by {amount} "
        f"({ends}), on {rows} of both with truth"
    )


def _taken_back(contest: Contest, past: Past) -> Iterator[str]:
    """A sentence where somebody has taken traffic from the challenger that a judge gave to it."""
    new, _ = contest.names
    if contest.weight < past.weight:
        yield (
            f"{new} had {percent(past.weight)} of the requests, and somebody has taken that "
            f"back to {percent(contest.weight)}: promote it by unpickled models promote, or export another"
        )


def _unproven(contest: Contest, evidence: Evidence, rules: Rules) -> Iterator[str]:
    """A sentence where the rows with truth do not show enough of a gain yet."""
    new, old = contest.names
    if evidence.since is None:
        yield (
            f"the payload log has no row that {new} has answered: it has to shadow, the server to write the "
            "log (log_share), and its folder to be named with --log"
        )
        return
    if not evidence.rows:
        yield (
            f"no row that both {old} and {new} have answered has its truth yet: report it to "
            f"POST /models/{contest.champion.name}/truth"
        )
        return
    is_better = evidence.lowest is not None and evidence.lowest > rules.minimum_gain
    if is_better and evidence.rows >= rules.minimum_rows:
        return
    if evidence.rows < rules.minimum_rows:
        yield (
            f"{counted(evidence.rows, 'row')} of both {'has' if evidence.rows == 1 else 'have'} truth, and "
            f"{rules.minimum_rows:,} are needed before it may be promoted"
        )
        return
    gain = f" by more than {rules.minimum_gain:g}" if rules.minimum_gain else ""
    yield f"{_gain(contest, evidence)}: that does not show yet that it is better{gain}; {_needed(evidence)}"


def _needed(evidence: Evidence) -> str:
    if evidence.needed is None:
        return "as the two go on now, no number of rows up to ten million tells"
    rows = counted(evidence.needed, "row")
    return f"as the two go on now, it takes {rows} more to tell, in 80 of 100 cases"


def _early(contest: Contest, evidence: Evidence, rules: Rules) -> Iterator[str]:
    """A sentence where the present share of traffic has not lasted long enough."""
    if not contest.weight:
        return
    new, share = contest.names[0], percent(contest.weight)
    minutes = evidence.minutes or 0.0
    if minutes < rules.minimum_minutes:
        yield (
            f"{new} has {share} of the requests since {minutes:.0f} minutes, and "
            f"{rules.minimum_minutes:g} are needed before it gets more"
        )
    if evidence.answered < rules.minimum_step_rows:
        yield (
            f"the log has {counted(evidence.answered, 'row')} that {new} has answered with {share} of the "
            f"requests, and {rules.minimum_step_rows:,} are needed before it gets more"
        )


def _drifted(contest: Contest, evidence: Evidence, rules: Rules) -> Iterator[str]:
    new, _ = contest.names
    if rules.drift == "hold" and evidence.drifted:
        yield (f"requests have drifted from what {new} was trained on: unpickled drift says how")
