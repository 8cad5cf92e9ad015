"""Accuracy from the files of the payload log and the truths beside it: every truth counts, late ones too."""

from collections.abc import Sequence
from datetime import UTC, datetime

from unpickled.server.accuracy.report import Accuracy
from unpickled.server.errors import ServingError
from unpickled.server.observe.windows import WINDOWS
from unpickled.server.quote import counted, listed, quoted
from unpickled.server.report.document import written
from unpickled.server.truth import store
from unpickled.server.truth.joining import Join, Source
from unpickled.server.truth.lookup import Lookup


def assess(source: Source, now: float) -> Accuracy:
    """The accuracy of the rows predicted in the window that ends at the time ``now``.

    Raises:
        ServingError: There are no such files or rows, one cannot be read, or no row has the feature.
    """
    since = now - WINDOWS[source.window].seconds
    if not (source.folder / source.model).is_dir():
        raise ServingError(
            f"{source.folder} has no log of {quoted(source.model)}: name the folder of the payload log, the "
            "setting log_folder"
        )
    start = datetime.fromtimestamp(since, UTC)
    join = Join(source, since, now, Lookup(store.read(source.folder, source.model, start)))
    join.read()
    versions = tuple(join.versions())
    if not versions:
        raise ServingError(_empty(source, join.strange))
    return Accuracy(
        model=source.model,
        window=source.window,
        since=written(since),
        until=written(now),
        complete=True,
        versions=versions,
        pairs=tuple(join.pairs()),
        note=_note(join),
    )


def _empty(source: Source, strange: Sequence[str]) -> str:
    if strange:
        return (
            f"{source.models} has no longer the files of {listed(strange)} of {source.model}, which say what "
            "was answered: name their folder with --models"
        )
    which = "" if source.version is None else f" of version {source.version}"
    return f"the log of {source.model} has no rows{which} in the last {source.window}: name a longer --window"


def _note(join: Join) -> str:
    strange = ""
    if join.strange:
        strange = (
            f" The rows of {listed(join.strange)} do not count: their files are not in the models folder."
        )
    known = f"Read from the payload log: {join.rows:,} rows, {join.known:,} with truth."
    truths = f"{_contradicted(join.contradicted)}{_unfit(join.unfit)}{_unmatched(join.unmatched)}"
    return f"{known}{truths}{strange}"


def _contradicted(ids: int) -> str:
    if not ids:
        return ""
    verb = "has" if ids == 1 else "have"
    return f" {counted(ids, 'id')} {verb} a truth that contradicts the first one, which counts."


def _unfit(truths: int) -> str:
    if not truths:
        return ""
    verb = "is" if truths == 1 else "are"
    return (
        f" {counted(truths, 'truth')} {verb} left out: nothing that the version of the row could answer, "
        "such as a list where it has classes, or a text where it has numbers."
    )


def _unmatched(truths: int) -> str:
    if not truths:
        return ""
    verb = "belongs" if truths == 1 else "belong"
    return (
        f" {counted(truths, 'truth')} {verb} to no row of these: to one before the window, to one that is in "
        "no finished file, or to an id that was never given."
    )
