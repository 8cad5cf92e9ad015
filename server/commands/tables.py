"""Models and their versions as the models commands print them: plain text, or JSON values."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import FILE, Feature, Manifest
from unpickled.server.errors import ArtifactError
from unpickled.server.lifecycle import history, origin, serving
from unpickled.server.lifecycle.deployment import Deployment, percent
from unpickled.server.lifecycle.disk import content, opened
from unpickled.server.lifecycle.history import Record
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.model import dates
from unpickled.server.model.enforced import FeatureRange, InputPolicy, enforced
from unpickled.server.quote import listed, printable, shortened, size

# How many records of the history are printed.
RECENT = 10
# Quality has this mark where it was not measured on held-out rows, and the table this line.
_GIVEN = "*"
_LEGEND = f"{_GIVEN} measured on rows that the export was given; training rows flatter a model"
# Longest cell, in characters; three dots may follow it.
_LONGEST = 37

_Line = dict[str, str]
# Name of a column -> the text in it, of a row.
_Quality = dict[str, Callable[[Mapping[str, Any]], str]]


class _File(NamedTuple):
    """One model.onnx: its manifest, its size in bytes, and why it cannot be served; None where unknown."""

    manifest: Manifest | None
    size: int | None
    reason: str | None


def listing(shelves: Sequence[Shelf]) -> str:
    """All models with their versions, one a line."""
    models = [(shelf, versions(shelf)) for shelf in shelves]
    every = [row for _, rows in models for row in rows]
    quality = _quality(every)
    lines = table([{"model": row["model"], **_version(row, quality)} for row in every])
    remarks = (line for shelf, rows in models for line in _remarks(shelf, rows))
    return "\n".join([*lines, *_legend(every), *remarks])


def page(shelf: Shelf) -> str:
    """One model on a page."""
    deployment, rows = shelf.deployment, versions(shelf)
    sections = {
        "versions, newest first": [
            *table([_version(row, _quality(rows)) for row in rows]),
            *_legend(rows),
            *_remarks(shelf, rows),
        ],
        "versions from elsewhere": _origins(shelf),
        f"{serving.FILE}, as it is followed": [f"{key}: {value}" for key, value in _settings(deployment)],
        "features": table(list(_lines(deployment))),
        f"history, newest first (UTC, at most {RECENT})": table(
            [_record(record) for record in recent(shelf)]
        ),
        f"decisions of the judge, newest first (UTC, at most {RECENT})": _decisions(shelf),
    }
    texts = ["\n  ".join([title, *lines]) for title, lines in sections.items() if lines]
    return "\n\n".join([f"{deployment.name}: {deployment.sentence}", *texts])


def _origins(shelf: Shelf) -> list[str]:
    """A line for each version that was fetched from elsewhere."""
    numbers = shelf.versions.numbers
    origins = ((number, origin.read(shelf.versions.folder / str(number))) for number in numbers)
    return [
        f"{number}: {shortened(printable(each.address), 200)}, at {shortened(printable(each.at), 25)}"
        for number, each in origins
        if each is not None
    ]


def summary(shelf: Shelf) -> dict[str, Any]:
    """A model and its versions as JSON values, for the listing; None stands for an unknown value."""
    deployment = shelf.deployment
    return {
        "model": deployment.name,
        "mistake": deployment.mistake,
        "traffic": {str(number): share for number, share in deployment.traffic.items()},
        "versions": versions(shelf),
    }


def document(shelf: Shelf) -> dict[str, Any]:
    """A model with its settings, features and history as JSON values, for its page."""
    details = {
        "serving": shelf.deployment.serving,
        "features": _features(shelf.deployment),
        "inputs": _inputs(shelf.deployment),
        "history": recent(shelf),
    }
    return summary(shelf) | {key: msgspec.to_builtins(value) for key, value in details.items()}


def versions(shelf: Shelf) -> list[dict[str, Any]]:
    """The versions of a model, newest first, as JSON values."""
    return [_row(shelf, number) for number in shelf.versions.numbers]


def recent(shelf: Shelf) -> list[Record]:
    """The last records of a model's history, newest first."""
    with contextlib.suppress(OSError):
        return history.read(shelf.versions.folder)[: -RECENT - 1 : -1]
    return []


def moment(record: Record) -> str:
    """The time at which a record was written, to the second."""
    return record.at[:19].replace("T", " ")


def table(lines: Sequence[_Line]) -> list[str]:
    """Lines under the names of their columns, aligned; nothing where there is no line.

    Names and labels come from training data and may hold anything: a cell is cut, and stays on its line.
    """
    if not lines:
        return []
    rows = [[shortened(printable(cell), _LONGEST) for cell in line.values()] for line in lines]
    cells = [list(lines[0]), *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return ["  ".join(row).rstrip() for row in padded]


def _row(shelf: Shelf, number: int) -> dict[str, Any]:
    deployment = shelf.deployment
    file = _file(shelf, number)
    training = file.manifest.training if file.manifest else None
    metrics, errors = (training.metrics, training.errors) if training else (None, ())
    shadow, share = deployment.shadow or (None, 0.0)
    return {
        "model": shelf.name,
        "version": number,
        "labels": [label for label, version in deployment.labels.items() if version == number],
        "loaded": number in deployment.versions,
        "traffic": deployment.traffic.get(number, 0.0),
        "shadow": share if shadow == number else 0.0,
        "retired": number in deployment.serving.retired,
        "refused": shelf.versions.refused.get(number, file.reason),
        "accuracy": metrics.accuracy if metrics else None,
        "errors": {each.target: {"mae": each.mae, "rmse": each.rmse, "r2": each.r2} for each in errors},
        "held_out": training.held_out if training else None,
        "parity": file.manifest.parity.max_difference if file.manifest else None,
        "size": file.size,
        "exported": file.manifest.created if file.manifest else None,
        "data": training.data if training else None,
        "digest": bool(file.manifest.graph_sha256) if file.manifest else None,
    }


def _file(shelf: Shelf, number: int) -> _File:
    served = shelf.deployment.versions.get(number)
    if served is not None:
        return _File(served.model.manifest, served.size, None)
    return _read(shelf.versions.folder / str(number) / FILE)


def _read(path: Path) -> _File:
    try:
        with opened(path) as file:
            data, _ = content(file)
    except OSError as error:
        return _File(None, None, f"{path} cannot be read: {error.strerror}")
    except ArtifactError as error:
        return _File(None, None, str(error))
    try:
        return _File(manifest.read(data), len(data), None)
    except ArtifactError as error:
        return _File(None, len(data), str(error))


def _quality(rows: Sequence[Mapping[str, Any]]) -> _Quality:
    """The columns of quality: accuracy, or the error of versions that predict numbers; both if both occur."""
    numbers = any(row["errors"] for row in rows)
    labels = not numbers or any(row["accuracy"] is not None for row in rows)
    columns: _Quality = {"accuracy": _accuracy} if labels else {}
    return columns | {"mae": _errors} if numbers else columns


def _accuracy(row: Mapping[str, Any]) -> str:
    return "-" if row["accuracy"] is None else f"{row['accuracy']:.4f}{_mark(row)}"


def _errors(row: Mapping[str, Any]) -> str:
    """The mean absolute error of the only target, or of each by its name."""
    errors = {target: f"{_figure(each['mae'])}{_mark(row)}" for target, each in row["errors"].items()}
    if len(errors) == 1:
        return next(iter(errors.values()))
    return listed([f"{shortened(target, 12)} {error}" for target, error in errors.items()], 2) or "-"


def _figure(number: float) -> str:
    """A number above 0 with three digits, or with all digits of its whole part up to a million."""
    if 1e3 <= number < 999_999.5:
        return f"{number:,.0f}"
    return f"{number:.3g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def _mark(row: Mapping[str, Any]) -> str:
    return "" if row["held_out"] else _GIVEN


def _legend(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line that explains the mark; none where no row has it."""
    measured = [row for row in rows if row["errors"] or row["accuracy"] is not None]
    return [_LEGEND] if any(map(_mark, measured)) else []


def _version(row: Mapping[str, Any], quality: _Quality) -> _Line:
    return {
        "version": str(row["version"]),
        "labels": ", ".join(row["labels"]) or "-",
        "traffic": _traffic(row),
        **{name: write(row) for name, write in quality.items()},
        "parity": _or_dash("{:.1e}", row["parity"]),
        "size": "-" if row["size"] is None else size(row["size"]),
        "exported": _or_dash("{:.10}", row["exported"]),
        "data": _or_dash("{}", row["data"]),
    }


def _traffic(row: Mapping[str, Any]) -> str:
    """The share of a loaded version, 0% if it answers other paths only; a word for one that is not loaded."""
    if not row["loaded"]:
        return "retired" if row["retired"] else "refused" if row["refused"] else "-"
    return f"{percent(row['traffic'])}{', shadow' if row['shadow'] else ''}"


def _remarks(shelf: Shelf, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each mistake, for each version that is refused, and for each that has no digest."""
    deployment = shelf.deployment
    if deployment.mistake:
        effect = (
            "until it is repaired, servers keep what they serve now"
            if deployment.versions
            else "it is not served"
        )
        yield f"{shelf.name}: {deployment.mistake}; {effect}"
    for row in rows:
        if row["refused"] and not row["retired"]:
            yield f"{shelf.name}: version {row['version']} is refused: {row['refused']}"
        elif row["digest"] is False and not row["retired"]:
            effect = "so damage to its file may go unseen: export it again"
            yield f"{shelf.name}: version {row['version']} has no digest, {effect}"


def _settings(deployment: Deployment) -> Iterator[tuple[str, str]]:
    for key, value in msgspec.to_builtins(deployment.serving).items():
        if key == "inputs":
            yield key, deployment.serving.inputs.sentence
            continue
        parts = [f"{name} = {part}" for name, part in value.items()] if isinstance(value, dict) else []
        yield key, ", ".join(parts) or str(value).strip("()").rstrip(",")


def _features(deployment: Deployment) -> Sequence[Feature]:
    return deployment.main.model.manifest.features if deployment.traffic else ()


def _inputs(deployment: Deployment) -> InputPolicy | None:
    if not deployment.traffic:
        return None
    return enforced(deployment.main.model.manifest, deployment.serving.inputs)


def _lines(deployment: Deployment) -> Iterator[_Line]:
    """A line about each feature: what training had, and the range that is in force."""
    inputs = _inputs(deployment)
    ranges = inputs.features if inputs else {}
    for feature in _features(deployment):
        each = ranges.get(feature.name)
        yield _feature(feature) | {"outside": each.outside if each else "-", "range": _range(each)}


def _range(each: FeatureRange | None) -> str:
    """The range in force; a dash where every value is inside, or is refused by another rule."""
    if each is None or each.outside == "accept":
        return "-"
    if each.known is not None:
        return f"{each.known} known"
    return " to ".join(_border(end) for end in (each.lowest, each.highest))


def _feature(feature: Feature) -> _Line:
    values = ", ".join(feature.categories) + (" (no other)" if feature.closed else "")
    if feature.minimum is not None and feature.maximum is not None:
        values = " to ".join(_end(feature, end) for end in (feature.minimum, feature.maximum))
    return {
        "name": feature.name,
        "kind": "date" if feature.date else feature.kind,
        "null": "allowed" if feature.missing else "refused",
        "in training": values or "-",
    }


def _end(feature: Feature, end: float) -> str:
    """An end of the training range; of a date, the day."""
    return dates.written(end, feature.date).partition("T")[0] if feature.date else f"{end:g}"


def _border(end: float | str | None) -> str:
    """A border of a range; of a date, the day."""
    if end is None:
        return "any"
    return end.partition("T")[0] if isinstance(end, str) else f"{end:g}"


def _record(record: Record) -> _Line:
    shares = [f"{number}: {percent(share)}" for number, share in record.traffic.items()]
    shadow = record.shadow and f"{record.shadow.version}: {percent(record.shadow.share)}"
    return {
        "at": moment(record),
        "traffic": ", ".join(shares),
        "shadow": shadow or "-",
        "labels": ", ".join(f"{label} = {number}" for label, number in record.labels.items()) or "-",
        "by": record.by,
    }


def _decisions(shelf: Shelf) -> list[str]:
    with contextlib.suppress(OSError):
        records = [record for record in history.read(shelf.versions.folder) if record.decision]
        return [_decision(record) for record in records[: -RECENT - 1 : -1]]
    return []


def _decision(record: Record) -> str:
    decision = record.decision
    assert decision is not None
    outcome = f"{decision.verdict} version {decision.challenger}, which has {percent(decision.weight)} then"
    return f"{moment(record)}  {outcome}: {printable('; '.join(decision.reasons))}"


def _or_dash(form: str, value: object) -> str:
    return "-" if value is None else form.format(value)
