"""The command ``drift``: asks a running server how far a model has drifted, and prints the answer."""

from typing import Any

import click

from unpickled.server import console
from unpickled.server.commands import reports, tables
from unpickled.server.commands.asking import asked
from unpickled.server.drift import picture
from unpickled.server.drift.report import Drift, FeatureDrift, Share, VersionDrift
from unpickled.server.errors import ServingError
from unpickled.server.quote import counted, listed, quoted, shortened

# The exit status where something has drifted: 1 is an error, and 2 a wrong command line.
DRIFTED = 3
_UNMEASURED = "without a reference, as training had too few rows for one"


@click.command(
    epilog=console.examples(
        "unpickled drift iris",
        "unpickled drift iris --window 7d --html drift.html",
        "unpickled drift iris --window 1h || echo 'look at iris'",
        "unpickled drift iris --url https://models.example.com --key unp_... --json",
    )
)
@reports.MODEL
@reports.window("how far back to look")
@reports.URL
@reports.VERSION
@reports.KEY
@reports.HTML
@reports.JSON
def drift(
    model: str,
    window: str,
    url: str,
    number: int | None,
    key: str | None,
    html: str | None,
    as_json: bool,
) -> int:
    """Show how far the features and predictions of a model have moved from its training rows.

    A running server is asked. The exit status is 0 if nothing has drifted, 3 if something has, and 1 if that
    cannot be told: there is no server, no such model, no reference, or too few rows yet.
    """
    found = reports.chosen(asked(Drift, url, model, window, key), number, "answered")
    reports.show(found, html, as_json, picture.page, text)
    _refuse_unjudged(found)
    return DRIFTED if any(version.drifted for version in found.versions) else 0


def _refuse_unjudged(found: Drift) -> None:
    """Raise ServingError if no version was judged, with the reason of the newest."""
    if not any(version.judged for version in found.versions):
        newest = found.versions[0]
        reason = newest.sentence
        if newest.trained:
            rows = counted(newest.rows, "row")
            reason = f"it has {rows}, and {newest.note}: wait, or name a longer --window"
        raise ServingError(f"version {newest.version} of {found.model} is not judged: {reason}")


def text(found: Drift) -> str:
    """The report as tables, one for each version."""
    head = f"{found.model}, the last {found.window} ({found.since} to {found.until})"
    notes = [found.note] if found.note else []
    return "\n".join([head, *notes, *(f"\n{_version(version)}" for version in found.versions)])


def _version(version: VersionDrift) -> str:
    head = f"version {version.version}: {version.sentence}"
    parts = version.ordered
    reasons = [f"{shortened(each.name, 30)}: {reason}" for each in parts for reason in each.reasons]
    remarks = [f"{_UNMEASURED}: {listed(version.unmeasured, 10, quoted)}"] if version.unmeasured else []
    return "\n  ".join(
        [head, *tables.table([_line(each, version.judged) for each in parts]), *reasons, *remarks]
    )


def _line(feature: FeatureDrift, judged: bool) -> dict[str, Any]:
    return {
        "name": feature.name,
        "drifted": _verdict(feature.drifted) if judged else "-",
        "psi": _figure(feature.psi),
        "alarm above": _figure(feature.threshold),
        "js": _figure(feature.jensen_shannon),
        "chi2": _figure(feature.chi_squared, ".1f"),
        "p": _figure(feature.p_value, ".1e"),
        "missing": _percent(feature.missing),
        "outside": _percent(feature.outside),
    }


def _verdict(drifted: bool) -> str:
    return "yes" if drifted else "no"


def _figure(number: float | None, form: str = ".3f") -> str:
    return "-" if number is None else f"{number:{form}}"


def _percent(share: Share | None) -> str:
    """A share now, and behind it that of training if there is any."""
    if share is None or share.now is None:
        return "-"
    return f"{share.now:.1%}" + (f" ({share.reference:.1%})" if share.reference else "")
