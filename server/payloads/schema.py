"""The typed columns of a model's payload log, and the cells that predicted rows have in them.

    _time           when the request was answered, UTC           our own columns: their names begin with _,
    _prediction_id  the id of the row: token-worker-number       and with one more _ for as long as a feature
    _model          the model                                    has that name
    _version        the version that answered the client
    _route          the pattern of the route; batch for rows of files
    _shadow         the version that answered out of sight instead; null for what the client got
    age, plan ...   the features that are kept, by their own names
    _label          the predicted class; regressors have none
    _score_yes      the score of each class by its name, or _predicted_price: the number of each target

A row is a tuple of cells in the order of the columns. None stands for a missing one, and so does NaN.

    type        cell
    double      float
    int64       int
    bool        bool, or a float where a request sent another number than 0 and 1
    text        str
    date        int: seconds since 1970, the first ones of a day unless a request sent a time of day too
    datetime    int: seconds since 1970 of a date and time without an offset from UTC
    instant     int: seconds since 1970 of a date and time with an offset
    timestamp   int: microseconds since 1970
"""

import hmac
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from unpickled.server.artifact.manifest import Feature, Notation
from unpickled.server.config import Log
from unpickled.server.errors import ConfigError
from unpickled.server.model import dates
from unpickled.server.model.outputs import Outputs
from unpickled.server.model.rule import figure
from unpickled.server.quote import counted, listed, quoted

if TYPE_CHECKING:
    # The process that writes the log loads no model.
    from unpickled.server.lifecycle.versions import Served

logger = logging.getLogger("unpickled")

Type = Literal["double", "int64", "bool", "text", "date", "datetime", "instant", "timestamp"]
Cell = float | int | bool | str | None
Cells = tuple[Cell, ...]

# The parts of our own columns, in order, with their types.
_OWN: dict[str, Type] = {
    "time": "timestamp",
    "prediction_id": "text",
    "model": "text",
    "version": "int64",
    "route": "text",
    "shadow": "int64",
}
# The route of rows that a batch job has answered.
BATCH = "batch"
# Bytes of a key, and characters of a hash.
SHORTEST_KEY, _HASH = 16, 32
_MILLION = 1_000_000


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column.

    ``part`` says what its cells are: a feature, the label, a score, or one of our own columns by its name
    without _. ``source`` is the name of the feature, of the class or of the target.
    ``place`` is that of the feature in a predicted row, or of the score in a row of scores. ``kind`` is the
    type of its values; ``hashed``: its cells are keyed hashes of them. ``missing_words`` and ``notation`` are
    those of the feature; ``categories`` are those of its categories that such a word with spaces is not.
    """

    name: str
    kind: Type
    part: Literal[
        "feature",
        "label",
        "score",
        "time",
        "prediction_id",
        "model",
        "version",
        "route",
        "shadow",
    ]
    source: str = ""
    place: int = 0
    hashed: bool = False
    missing_words: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    notation: Notation | None = None

    @property
    def type(self) -> Type:
        """The type of its cells: hashes are text."""
        return "text" if self.hashed else self.kind


class Schema(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The columns of the rows that one version has answered, the same for equal files and settings.

    ``version`` and ``sha256`` are those of the model file that made labels and scores: for rows with a
    ``_shadow``, the shadow's. ``key_id`` tells one key of hashes from another; empty without hashes.
    """

    model: str
    version: int
    sha256: str
    columns: tuple[Column, ...]
    key_id: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns of features."""
        return self.all("feature")

    def all(self, part: str) -> tuple[Column, ...]:
        """The columns of one part, in order."""
        return tuple(column for column in self.columns if column.part == part)

    def name(self, part: str) -> str:
        """The name of the only column of a part, such as "time". Raises KeyError where there is none."""
        for column in self.columns:
            if column.part == part:
                return column.name
        raise KeyError(part)

    def text(self) -> bytes:
        """The schema in JSON, as files have it."""
        return msgspec.json.encode(self)

    @classmethod
    def read(cls, text: bytes | str) -> "Schema":
        """The schema in that text. Raises msgspec.MsgspecError where it is none."""
        return msgspec.json.decode(text, type=cls)


def schema_of(served: "Served", log: Log, key: bytes | None = None) -> Schema:
    """The columns of the rows that a version answers.

    Args:
        served: The version; of rows that a shadow answered, the shadow.
        log: Says which features are kept, and of which there is a hash only.
        key: The key of hashes, as ``key_of`` reads it.

    Raises:
        ConfigError: There are hashes and no key, or the settings contradict each other.
    """
    manifest = served.model.manifest
    kept = [name for name in (feature.name for feature in manifest.features) if _keeps(log, name)]
    if key is None and not set(log.log_hash).isdisjoint(kept):
        key = key_of(log)
    dtypes = {name: tensor.dtype for tensor in manifest.inputs for name in tensor.features}
    features = tuple(
        _of_feature(feature, place, dtypes[feature.name], feature.name in log.log_hash)
        for place, feature in enumerate(manifest.features)
        if feature.name in kept
    )
    own = [Column(name=f"_{part}", kind=kind, part=part) for part, kind in _OWN.items()]  # type: ignore[arg-type]
    hashes = any(column.hashed for column in features)
    return Schema(
        model=served.name,
        version=served.version,
        sha256=served.sha256,
        columns=_distinct(own, features, _of_outputs(served.model.outputs)),
        key_id=key_id(key) if hashes and key is not None else "",
    )


def key_of(log: Log) -> bytes | None:
    """The key of hashes; None where nothing is hashed. To be called when a server starts.

    Raises:
        ConfigError: Columns are to be hashed and there is no key, or it is too short, or cannot be read; or
            ``log_columns`` has names beside "all" or "none".
    """
    if len(log.log_columns) > 1 and not {"all", "none"}.isdisjoint(log.log_columns):
        raise ConfigError(
            f"log_columns is {listed(log.log_columns)}: write all, or none, or the names of features"
        )
    if not log.log_hash:
        return None
    if log.log_key is None:
        raise ConfigError(
            f"log_hash needs a key to hash {listed(log.log_hash, 5, quoted)} with: make one by "
            "'openssl rand -hex 32 > log.key', and name the file as log_key"
        )
    make = f"name the file with the key, or make one by 'openssl rand -hex 32 > {log.log_key}'"
    return read_key(log.log_key, make)


def read_key(path: str, remedy: str = "name the file with the key that the log was made with") -> bytes:
    """The key in a file, without white space around it. Raises ConfigError; ``remedy`` is for no file."""
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"log_key {path} cannot be read ({error.strerror}): {remedy}") from None
    if len(key) < SHORTEST_KEY:
        raise ConfigError(
            f"log_key {path} has {counted(len(key), 'byte')}, and at least {SHORTEST_KEY} are needed: "
            f"make a key by 'openssl rand -hex 32 > {path}'"
        )
    return key


def warnings(log: Log, features: Collection[str]) -> Iterator[str]:
    """A sentence for each kind of names in ``log_columns`` and ``log_hash`` that do not do what they say.

    Args:
        log: The settings.
        features: The features of all models.
    """
    columns = [name for name in log.log_columns if name not in ("all", "none") and name not in features]
    hashes = [name for name in log.log_hash if name not in features]
    unlogged = [name for name in log.log_hash if name in features and not _keeps(log, name)]
    if columns:
        yield (
            f"log_columns names {listed(columns, 10, quoted)}, which no model takes, so that nothing is "
            "logged of them: correct the names"
        )
    if hashes:
        yield (
            f"log_hash names {listed(hashes, 10, quoted)}, which no model takes: "
            "correct the names, or a feature is logged in the clear"
        )
    if unlogged:
        yield (
            f"log_hash names {listed(unlogged, 10, quoted)}, which log_columns leaves out, so that nothing "
            "is logged of them: name them in log_columns too, or in neither"
        )


def warn(log: Log, features: Collection[str]) -> None:
    """Log the ``warnings``; to be called once, when models are loaded."""
    for sentence in warnings(log, features):
        logger.warning("%s", sentence)


def hashed(text: str, key: bytes) -> str:
    """The keyed hash that stands for a text: the first half of its HMAC-SHA256, in hexadecimal."""
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:_HASH]


def key_id(key: bytes) -> str:
    """A word that tells one key from another, and nothing about it."""
    return hashed("", key)[:8]


def written(cell: Cell, column: Column) -> str:
    """The text of a cell that is not missing, of which a hash is made: 12 for 12.0, true, 2024-01-31."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    assert cell is not None
    if column.notation is not None and column.notation.date:
        return dates.written(float(cell), column.notation)
    return figure(float(cell))


def _keeps(log: Log, name: str) -> bool:
    return log.log_columns == ("all",) or (log.log_columns != ("none",) and name in log.log_columns)


def _of_feature(feature: Feature, place: int, dtype: str, is_hashed: bool) -> Column:
    words = frozenset(feature.missing_words)
    return Column(
        name=feature.name,
        kind=_kind(feature, dtype),
        part="feature",
        source=feature.name,
        place=place,
        hashed=is_hashed,
        missing_words=feature.missing_words,
        categories=tuple(text for text in feature.categories if text.strip() in words),
        notation=feature.notation,
    )


def _kind(feature: Feature, dtype: str) -> Type:
    if feature.kind == "category":
        return "text"
    if (notation := feature.date) is not None:
        return "instant" if notation.offset else "datetime" if notation.times else "date"
    if feature.boolean:
        return "bool"
    # float32 too: a number is logged as it was sent.
    return "int64" if dtype == "int64" else "double"


def _of_outputs(outputs: Outputs) -> list[Column]:
    by_label = outputs.members[:-1]
    columns = []
    if by_label:
        kind: Type = "text" if by_label[0].type == "text" else "int64"
        columns.append(Column(name="_label", kind=kind, part="label"))
    prefix = "_score_" if by_label else "_predicted_"
    columns += [
        Column(name=f"{prefix}{name}", kind="double", part="score", source=name, place=place)
        for place, name in enumerate(outputs.names)
    ]
    return columns


def _distinct(
    own: Iterable[Column], features: Sequence[Column], outputs: Iterable[Column]
) -> tuple[Column, ...]:
    """All columns; ours get one more _ for as long as a feature has their name."""
    taken = {column.name for column in features}

    def named(column: Column) -> Column:
        name = column.name
        while name in taken:
            name = f"_{name}"
        taken.add(name)
        return msgspec.structs.replace(column, name=name)

    return (*map(named, own), *features, *map(named, outputs))


def encoder(column: Column, key: bytes | None = None) -> Callable[[Any], Cell] | None:
    """The function that makes a cell of a feature's value; None where the value is the cell."""
    encode = _plain_encoder(column)
    if not column.hashed:
        return encode
    assert key is not None, "a schema with hashes needs a key"

    def hash_of(value: Any) -> Cell:
        cell = value if encode is None else encode(value)
        return None if cell is None or cell != cell else hashed(written(cell, column), key)

    return hash_of


def _plain_encoder(column: Column) -> Callable[[Any], Cell] | None:
    if column.kind == "text" and column.missing_words:
        words, known = frozenset(column.missing_words), frozenset(column.categories)
        return lambda value: (
            None if isinstance(value, str) and value.strip() in words and value not in known else value
        )
    return _ENCODERS.get(column.kind)


def _truth(value: Any) -> Cell:
    """True for 1 and False for 0; another number as it is."""
    if value is None or value != value:
        return None
    return bool(value) if value in (0, 1) else float(value)


def _whole(value: Any) -> Cell:
    return None if value is None or value != value else int(value // 1)


_ENCODERS: dict[str, Callable[[Any], Cell]] = {
    "bool": _truth,
    "int64": _whole,
    "date": _whole,
    "datetime": _whole,
    "instant": _whole,
}
