"""What the models commands show: models and their versions, as plain text and as JSON values."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from unpickled.server.artifact import manifest as artifact
from unpickled.server.artifact.manifest import FILE, Feature, Manifest
from unpickled.server.errors import ArtifactError
from unpickled.server.lifecycle import history, serving
from unpickled.server.lifecycle.deployment import Deployment, Shelf
from unpickled.server.lifecycle.disk import opened
from unpickled.server.lifecycle.history import Record

# Records of the history that are shown.
RECENT = 10
# Longest cell; what is longer ends in three dots.
_LONGEST = 40

_Line = dict[str, str]
# What a file says of itself, its size, and why it cannot be served.
_Content = tuple[Manifest | None, int | None, str | None]


def listing(shelves: Sequence[Shelf]) -> str:
    """All models with their versions, one a line."""
    found = [(shelf, versions(shelf)) for shelf in shelves]
    lines = table([{"model": row["model"], **_version(row)} for _, rows in found for row in rows])
    return "\n".join([*lines, *(line for shelf, rows in found for line in _remarks(shelf, rows))])


def page(shelf: Shelf) -> str:
    """One model on a page."""
    now, rows = shelf.deployment, versions(shelf)
    parts = {
        "versions, newest first": [*table([_version(row) for row in rows]), *_remarks(shelf, rows)],
        f"{serving.FILE}, as it is followed": [f"{key}: {value}" for key, value in _asked(now)],
        "features": table([_feature(feature) for feature in _features(now)]),
        f"history, newest first (UTC, at most {RECENT})": table([_record(one) for one in recent(shelf)]),
    }
    told = ["\n  ".join([title, *lines]) for title, lines in parts.items() if lines]
    return "\n\n".join([f"{now.name}: {sentence(now)}", *told])


def summary(shelf: Shelf) -> dict[str, Any]:
    """What the listing has of one model, as JSON values; None for what is not known."""
    now = shelf.deployment
    return {
        "model": now.name,
        "mistake": now.mistake,
        "traffic": {str(number): share for number, share in now.traffic.items()},
        "versions": versions(shelf),
    }


def document(shelf: Shelf) -> dict[str, Any]:
    """What the page has, as JSON values."""
    more = {
        "serving": shelf.deployment.wanted,
        "features": _features(shelf.deployment),
        "history": recent(shelf),
    }
    return summary(shelf) | {key: msgspec.to_builtins(value) for key, value in more.items()}


def versions(shelf: Shelf) -> list[dict[str, Any]]:
    """The versions of a model, newest first, as JSON values."""
    return [_row(shelf, number) for number in shelf.versions.numbers]


def recent(shelf: Shelf) -> list[Record]:
    """The last records of a model's history, newest first."""
    with contextlib.suppress(OSError):
        return history.read(shelf.versions.folder)[: -RECENT - 1 : -1]
    return []


def sentence(now: Deployment) -> str:
    """Who answers plain requests, and who shadows."""
    if not now.traffic:
        return f"nothing is served: {now.reason}"
    shadow = f", version {now.shadow[0]} shadows {_percent(now.shadow[1])}" if now.shadow else ""
    if len(now.traffic) == 1:
        return f"version {now.main.version} answers /predict{shadow}"
    shares = [f"version {number} {_percent(share)}" for number, share in now.traffic.items()]
    return f"{' and '.join(shares)} of /predict{shadow}"


def moment(record: Record) -> str:
    """When it was written, to the second."""
    return record.at[:19].replace("T", " ")


def table(lines: Sequence[_Line]) -> list[str]:
    """Lines under the names of their columns, aligned; nothing where there is no line."""
    if not lines:
        return []
    cells = [list(lines[0]), *([_cut(cell) for cell in line.values()] for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return ["  ".join(row).rstrip() for row in padded]


def _row(shelf: Shelf, number: int) -> dict[str, Any]:
    now = shelf.deployment
    manifest, size, reason = _content(shelf, number)
    reason = shelf.versions.refused.get(number, reason)
    metrics = manifest.training.metrics if manifest else None
    return {
        "model": shelf.name,
        "version": number,
        "labels": [label for label, labelled in now.labels.items() if labelled == number],
        "loaded": number in now.versions,
        "traffic": now.traffic.get(number, 0.0),
        "shadow": now.shadow[1] if now.shadow and now.shadow[0] == number else 0.0,
        "retired": number in now.wanted.retired,
        "refused": reason,
        "accuracy": metrics.accuracy if metrics else None,
        "parity": manifest.parity.max_difference if manifest else None,
        "size": size,
        "exported": manifest.created if manifest else None,
        "data": manifest.training.data if manifest else None,
    }


def _content(shelf: Shelf, number: int) -> _Content:
    served = shelf.deployment.versions.get(number)
    if served is not None:
        return served.model.manifest, served.size, None
    return _file(shelf.versions.folder / str(number) / FILE)


def _file(path: Path) -> _Content:
    try:
        with opened(path) as file:
            data = file.read()
    except OSError as error:
        return None, None, f"{path} cannot be read: {error.strerror}"
    try:
        return artifact.read(data), len(data), None
    except ArtifactError as error:
        return None, len(data), str(error)


def _version(row: Mapping[str, Any]) -> _Line:
    return {
        "version": str(row["version"]),
        "labels": ", ".join(row["labels"]) or "-",
        "traffic": _traffic(row),
        "accuracy": _or_dash("{:.4f}", row["accuracy"]),
        "parity": _or_dash("{:.1e}", row["parity"]),
        "size": "-" if row["size"] is None else _bytes(row["size"]),
        "exported": _or_dash("{:.10}", row["exported"]),
        "data": _or_dash("{}", row["data"]),
    }


def _traffic(row: Mapping[str, Any]) -> str:
    """What a version does: 95%, 0% where it is loaded for other paths, a word where it is not."""
    if not row["loaded"]:
        return "retired" if row["retired"] else "refused" if row["refused"] else "-"
    return f"{_percent(row['traffic'])}{', shadow' if row['shadow'] else ''}"


def _remarks(shelf: Shelf, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What is wrong, a line each."""
    now = shelf.deployment
    if now.mistake:
        kept = "until then, what was served last is served" if now.versions else "it is not served"
        yield f"{shelf.name}: {now.mistake}; {kept}"
    for row in rows:
        if row["refused"] and not row["retired"]:
            yield f"{shelf.name}: version {row['version']} is refused: {row['refused']}"


def _asked(now: Deployment) -> Iterator[tuple[str, str]]:
    for key, value in msgspec.to_builtins(now.wanted).items():
        parts = [f"{name} = {part}" for name, part in value.items()] if isinstance(value, dict) else []
        yield key, ", ".join(parts) or str(value).strip("()").rstrip(",")


def _features(now: Deployment) -> Sequence[Feature]:
    return now.main.model.manifest.features if now.traffic else ()


def _feature(feature: Feature) -> _Line:
    seen = ", ".join(feature.categories) + (" (no other)" if feature.closed else "")
    if feature.minimum is not None and feature.maximum is not None:
        seen = f"{feature.minimum:g} to {feature.maximum:g}"
    return {
        "name": feature.name,
        "kind": feature.kind,
        "null": "allowed" if feature.missing else "refused",
        "in training": seen or "-",
    }


def _record(record: Record) -> _Line:
    shares = [f"{number}: {_percent(share)}" for number, share in record.traffic.items()]
    shadow = record.shadow and f"{record.shadow.version}: {_percent(record.shadow.share)}"
    return {
        "at": moment(record),
        "traffic": ", ".join(shares),
        "shadow": shadow or "-",
        "labels": ", ".join(f"{label} = {number}" for label, number in record.labels.items()) or "-",
        "by": record.by,
    }


def _or_dash(form: str, value: object) -> str:
    return "-" if value is None else form.format(value)


def _percent(share: float) -> str:
    return f"{100 * share:.6g}%"


def _bytes(size: int) -> str:
    power = min(len(str(size)) - 1, 9) // 3
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def _cut(cell: str) -> str:
    # A label of training data may hold anything, and a line is a line.
    shown = "".join(letter if letter.isprintable() else "?" for letter in cell)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
