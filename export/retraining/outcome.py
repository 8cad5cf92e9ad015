"""A retraining from beginning to end: rows, challenger, comparison, and the file if it is better."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from unpickled.export.progress import Say, running, silent
from unpickled.export.retraining import challenger, lock, material
from unpickled.export.retraining.champion import Champion
from unpickled.export.retraining.material import Asked
from unpickled.export.retraining.report import Retraining
from unpickled.export.store import add_version, model_folder
from unpickled.server.artifact.comparison import Comparison, sentence


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
        The report. Where the challenger is not better, nothing was written.

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
        report = replace(rows.report, comparison=made.deciding)
        if made.deciding.verdict != "better" and not asked.force:
            return replace(report, verdict=_not_better(champion, made.deciding))
        published = publish(lambda: add_version(champion.home, made.payload))
        return _published(report, made.deciding, published)


def _not_better(champion: Champion, deciding: Comparison) -> str:
    figures = sentence(deciding, "the challenger")
    beaten = f"version {deciding.version}"
    if deciding.version != champion.version:
        beaten = f"{beaten}, which shadows as challenger already,"
    worse = deciding.verdict == "worse"
    verdict = f"worse than {beaten}" if worse else f"not better than {beaten} by more than chance"
    return f"The challenger is {verdict.rstrip(',')}, so nothing was written: {figures}."


def _published(report: Retraining, deciding: Comparison, published: Published) -> Retraining:
    figures = sentence(deciding, f"version {published.version}")
    forced = deciding.verdict != "better"
    how = f" (though not better than version {deciding.version}, as --force was said)" if forced else ""
    return replace(
        report,
        outcome="published",
        version=published.version,
        forced=forced,
        verdict=f"Version {published.version} is published as challenger and shadows{how}: {figures}.",
        served=published.line,
    )
