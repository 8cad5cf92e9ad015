"""A retraining from beginning to end: rows, challenger, comparison, and the file if it is better."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from unpickled.export.progress import Say, running, silent
from unpickled.export.retraining import challenger, lock, material
from unpickled.export.retraining.challenger import Challenger
from unpickled.export.retraining.champion import Champion
from unpickled.export.retraining.material import Asked
from unpickled.export.retraining.report import Retraining
from unpickled.export.store import add_version, model_folder
from unpickled.server.artifact.comparison import sentence


class Published(NamedTuple):
    """The line that says what has changed, and the number of the version."""

    line: str
    version: int


# Publishes the file that the function it is given writes.
Publish = Callable[[Callable[[], Path]], Published]


def retrain(
    champion: Champion,
    asked: Asked,
    publish: Publish,
    trusted: bool = False,
    progress: Say = silent,
) -> Retraining:
    """Train on the log as well, and publish the result if it is better than the champion.

    Args:
        champion: The version that answers plain requests.
        asked: The rows, and how to use them.
        publish: Called with a function that writes the file and returns its path: makes it shadow.
        trusted: Whether to import code of the user's own that the recipe names.
        progress: Called with a line of text for each phase of the work.

    Returns:
        The report. Where the challenger is not better, also than an earlier one on which nobody has decided
        yet, nothing was written: the judge would have to begin anew with each retraining.

    Raises:
        ExportError: There is no challenger; the message says why, and nothing was written.
        ServingError: A file of the log cannot be read, or the challenger cannot be served.
    """
    model_folder(champion.home.parent, champion.home.name)
    with lock.alone(champion.home):
        progress("reading the log and the truth")
        with running(progress, "reading the log and the truth"):
            rows = material.gather(champion, asked)
        made = challenger.make(champion, asked, rows, trusted, progress)
        report = replace(rows.report, comparison=made.comparison)
        if not asked.force and (reason := _against(champion, made)):
            return replace(report, verdict=reason)
        published = publish(lambda: add_version(champion.home, made.payload))
        return _published(report, champion, made, published)


def _against(champion: Champion, made: Challenger) -> str:
    """The sentence that says why the challenger is not written; empty where it is."""
    if made.comparison.verdict != "better":
        return _not_better(champion, made)
    before = made.beside_contender
    if before is None or before.verdict == "better":
        return ""
    return (
        f"The challenger is better than version {champion.version}, but not by more than chance than version "
        f"{before.version}, which is a challenger already and not decided on, so nothing was written: "
        f"{sentence(before, 'the new one')}."
    )


def _not_better(champion: Champion, made: Challenger) -> str:
    figures = sentence(made.comparison, "the challenger")
    beaten = f"version {champion.version}"
    worse = made.comparison.verdict == "worse"
    verdict = f"worse than {beaten}" if worse else f"not better than {beaten} by more than chance"
    return f"The challenger is {verdict}, so nothing was written: {figures}."


def _published(report: Retraining, champion: Champion, made: Challenger, published: Published) -> Retraining:
    figures = sentence(made.comparison, f"version {published.version}")
    forced = made.comparison.verdict != "better"
    because = f"though not better than version {champion.version}, as --force was said" if forced else ""
    how = f" ({because})" if forced else ""
    return replace(
        report,
        outcome="published",
        version=published.version,
        forced=forced,
        verdict=f"Version {published.version} is published as challenger and shadows{how}: {figures}.",
        served=published.line,
    )
