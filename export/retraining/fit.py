"""Whether the columns that are logged suffice for the champion, and a sentence about each that does not."""

import hashlib
from collections import defaultdict
from pathlib import Path

from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import FILE, Feature, Manifest
from unpickled.server.errors import ArtifactError
from unpickled.server.payloads.schema import Column, Schema
from unpickled.server.quote import counted, listed, quoted

# The reason why rows are refused: the version that answered, the fault, and the names of the columns.
_Reason = tuple[int, str, tuple[str, ...]]


class Fit:
    """Tells of schemas of the log whether rows of them can be trained on.

    Args:
        champion: Its features have to be there, each in the clear.
        home: The folder of the model.
    """

    def __init__(self, champion: Manifest, home: Path) -> None:
        self._champion = champion
        self._home = home
        self._reasons: dict[Schema, _Reason | None] = {}
        self._rows: defaultdict[_Reason, int] = defaultdict(int)

    @property
    def sentences(self) -> list[str]:
        """A sentence for each reason for which rows were refused."""
        return [_sentence(reason, rows) for reason, rows in sorted(self._rows.items())]

    def takes(self, schema: Schema, rows: int) -> bool:
        """Whether rows of this schema can be trained on; so many are counted as refused if not."""
        if schema not in self._reasons:
            self._reasons[schema] = self._reason(schema)
        reason = self._reasons[schema]
        if reason is not None:
            self._rows[reason] += rows
        return reason is None

    def _reason(self, schema: Schema) -> _Reason | None:
        logged = {column.source: column for column in schema.features}
        features = self._champion.features
        hashed = [each.name for each in features if each.name in logged and logged[each.name].hashed]
        if hashed:
            return schema.version, "hashed", tuple(hashed)
        lacking = [each.name for each in features if each.name not in logged]
        if lacking:
            return schema.version, *self._absence(schema, tuple(lacking))
        others = [each.name for each in features if _kind(each) != _kind_of(logged[each.name])]
        return (schema.version, "of another kind", tuple(others)) if others else None

    def _absence(self, schema: Schema, lacking: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """The fault for features that are not logged, and those of them that it is about."""
        taken = self._features(schema)
        if taken is None:
            return "not logged", lacking
        left_out = tuple(name for name in lacking if name in taken)
        return ("left out", left_out) if left_out else ("not taken", lacking)

    def _features(self, schema: Schema) -> set[str] | None:
        """The features of the version that answered; None where its file is gone."""
        try:
            data = (self._home / str(schema.version) / FILE).read_bytes()
            if hashlib.sha256(data).hexdigest() != schema.sha256:
                return None
            return {feature.name for feature in manifest.read(data).features}
        except (OSError, ArtifactError):
            return None


def _kind(feature: Feature) -> str:
    return "text" if feature.kind == "category" else "date" if feature.date else "number"


def _kind_of(column: Column) -> str:
    kinds = {"text": "text", "date": "date", "datetime": "date", "instant": "date"}
    return kinds.get(column.kind, "number")


def _sentence(reason: _Reason, rows: int) -> str:
    version, fault, names = reason
    columns, several = listed(names, 10, quoted), len(names) > 1
    why = {
        "hashed": f"log_hash has only hashes of {columns}, from which nothing can be learned",
        "left out": f"log_columns leaves {columns} out",
        "not logged": f"the log has no {columns} of them",
        "not taken": f"version {version} does not take {columns}",
        "of another kind": f"{columns} {'have' if several else 'has'} values of another kind there",
    }[fault]
    return f"{counted(rows, 'row')} of version {version} {'is' if rows == 1 else 'are'} refused: {why}."
