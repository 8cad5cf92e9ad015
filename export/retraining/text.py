"""The report about a retraining, as lines for a person."""

from collections.abc import Iterator

from unpickled.export.retraining.report import ClassShare, OfBase, OfVersion, Retraining
from unpickled.server.quote import counted, printable, shortened
from unpickled.server.truth.batches import Batch

# Features that have moved, days and classes that are listed.
_MOVED, _DAYS, _CLASSES = 5, 10, 10


def lines(report: Retraining) -> Iterator[str]:
    """The lines that the command prints."""
    since = _moment(report.since)
    yield f"{report.model}, to be better than version {report.champion}; rows predicted since {since}"
    yield from _rows(report)
    yield from _differences(report)
    yield from _days(report.batches)
    yield from (f"note: {note.text}" for note in report.notes)
    if report.comparison is not None:
        yield from (f"note: {note}." for note in report.comparison.notes)
    yield report.verdict
    if report.served:
        yield report.served


def _rows(report: Retraining) -> Iterator[str]:
    if report.base is not None:
        yield _of_base(report.base)
    yield from map(_of_version, report.versions)
    yield from report.refused
    trained = sum(each.trained for each in report.versions) + (report.base.trained if report.base else 0)
    held_out = sum(each.held_out for each in report.versions)
    weight = "" if report.weight == 1 else f" (a row of the log counts {report.weight:g} times)"
    yield (
        f"trained on {counted(trained, 'row')}{weight}, {held_out:,} held out: those predicted from "
        f"{_moment(report.held_out_from)} on"
    )


def _moment(text: str) -> str:
    """A moment to the second."""
    return f"{text[:19].replace('T', ' ')} UTC"


def _of_base(base: OfBase) -> str:
    left_out = {
        "without truth": base.without_truth,
        "with an id that is there twice": base.repeated,
        "in the log as well": base.logged,
    }
    return f"{base.name}: {counted(base.rows, 'row')}, {_parts(left_out)}{base.trained:,} trained on"


def _of_version(version: OfVersion) -> str:
    left_out = {
        "without truth": version.without_truth,
        "logged twice": version.repeated,
        "with a truth that is no answer of the model": version.unfit,
        "refused": version.refused,
        "of days that contradict": version.contradicting,
    }
    return (
        f"log of version {version.version}: {counted(version.rows, 'row')}, {_parts(left_out)}"
        f"{version.trained:,} trained on, {version.held_out:,} held out"
    )


def _parts(counts: dict[str, int]) -> str:
    return "".join(f"{count:,} {what}, " for what, count in counts.items() if count)


def _differences(report: Retraining) -> Iterator[str]:
    drifted = [each for each in report.moved if each.drifted]
    beside = f"beside the training rows of version {report.champion}"
    yield from (
        f"{_name(each.name)} has drifted {beside}: {'; '.join(each.reasons)}" for each in drifted[:_MOVED]
    )
    if report.moved and not drifted:
        most = ", ".join(f"{_name(each.name)} {each.psi:.2f}" for each in report.moved[:_MOVED])
        yield f"nothing has drifted {beside}; PSI: {most}"
    if report.classes:
        widest = sorted(report.classes, key=lambda each: -abs(each.log - each.base))[:_CLASSES]
        yield "classes in the log, and in the base table: " + ", ".join(map(_class, widest))


def _name(name: str) -> str:
    return shortened(printable(name), 30)


def _class(share: ClassShare) -> str:
    return f"{_name(share.name)} {share.log:.1%} ({share.base:.1%})"


def _days(batches: tuple[Batch, ...]) -> Iterator[str]:
    if len(batches) > 1:
        shown = ", ".join(f"{each.day} {each.right:.1%} of {each.rows:,}" for each in batches[-_DAYS:])
        yield f"the champion is right, by the day on which truth was reported: {shown}"
    for each in batches:
        if each.contradicting:
            effect = "is left out (--any-truth takes it)" if each.left_out else "counts"
            yield f"the truth reported on {each.day} contradicts that of other days, and {effect}: " + (
                each.contradicting
            )
