"""Takes the rows of one person out of finished parts."""

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from unpickled.server.errors import ServingError
from unpickled.server.model import cells, dates
from unpickled.server.payloads import parts, upload
from unpickled.server.payloads.journals import DAMAGED, OPEN
from unpickled.server.payloads.parts import Part
from unpickled.server.payloads.schema import Cell, Cells, Column, Schema, hashed, key_id, written
from unpickled.server.quote import hint, listed, quoted

# Conditions as a user writes them: column -> text.
Where = Mapping[str, str]
# Called with the ids of rows that are about to be taken out of a part; how much else of them is gone then.
Also = Callable[[Collection[str]], int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _DAY = 1_000_000, 86_400 * 1_000_000


class Forgotten(NamedTuple):
    """The outcome: rows taken out, files they were in, how many of these had been uploaded.

    ``files`` of ``searched`` ones had such rows; ``unsearched`` ones lack one of the columns. ``others`` is
    what was removed beside them. ``gone`` are the files of which nothing is left, by their names below the
    folder. ``copies``: uploaded files that are here, with such rows or not; ``damaged``: journals that nobody
    can read.
    """

    rows: int = 0
    files: int = 0
    uploaded: int = 0
    searched: int = 0
    unsearched: int = 0
    others: int = 0
    gone: tuple[str, ...] = ()
    copies: int = 0
    damaged: int = 0


def forget(
    folder: Path, model: str, where: Where, key: bytes | None = None, also: Also = lambda ids: 0
) -> Forgotten:
    """Write the parts of a model again without the rows that have these values, each part whole, by a rename.

    Args:
        folder: That of the payload log.
        model: The name of the model.
        where: Column -> the text of its value; rows that have all of them go. A value of a hashed column is
            the one that was hashed.
        key: The key of hashes; to be given for hashed columns.
        also: Removes what is kept of rows elsewhere. It comes first: what fails can be called again.

    Raises:
        ServingError: There is no such part or column, a text is no value of its column, a hash has another
            key, or a file cannot be read or written. Parts that were written before stay without the rows.
    """
    searched = [(part, _schema(part)) for part in parts.find(folder, model)]
    if not searched:
        raise ServingError(
            f"there is no payload log of {quoted(model)} in {folder}: name its folder. Files that are only "
            "in an object store are not searched"
        )
    _check_columns(where, [schema for _, schema in searched])
    total = Forgotten(
        copies=sum(upload.is_uploaded(part.path) for part, _ in searched),
        damaged=len([*(folder / model / OPEN).glob(f"*{DAMAGED}")]),
    )
    for part, schema in searched:
        columns = _columns(schema, where)
        if columns is None:
            total = total._replace(unsearched=total.unsearched + 1)
            continue
        wanted = [_wanted(column, where[column.name], schema, key) for column in columns]
        taken = _from(part, schema, wanted, also)
        total = total._replace(
            rows=total.rows + taken.rows,
            files=total.files + (taken.rows > 0),
            uploaded=total.uploaded + taken.uploaded,
            searched=total.searched + 1,
            others=total.others + taken.others,
            gone=total.gone + ((part.path.relative_to(folder).as_posix(),) if taken.is_gone else ()),
        )
    return total


class _Wanted(NamedTuple):
    """A column, and the cell that rows to forget have in it; of times, the first one and the one behind."""

    column: Column
    first: Cell
    end: int | None = None

    def has(self, cell: Any) -> bool:
        """Whether a row with this cell is meant."""
        return bool(cell == self.first if self.end is None else self.first <= cell < self.end)


class _Taken(NamedTuple):
    """Rows that were taken out of a part, what else was, whether it had been uploaded, and is gone."""

    rows: int = 0
    others: int = 0
    uploaded: bool = False
    is_gone: bool = False


def _from(part: Part, schema: Schema, wanted: Sequence[_Wanted], also: Also) -> _Taken:
    try:
        ids = _ids(part, schema, wanted)
        if not ids:
            return _Taken()
        others = also({*ids})
        uploaded = upload.is_uploaded(part.path)
        # Before too: an accident in between leads to an upload too many, not to one too few.
        upload.forget(part.path)
        is_left = parts.rewrite(part, schema, _others(part, schema, wanted))
        upload.forget(part.path)
        return _Taken(len(ids), others, uploaded, not is_left)
    except FileNotFoundError:
        # Retention was faster.
        return _Taken()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ServingError(f"{part.path} cannot be read and written again: {error}") from error


def _ids(part: Part, schema: Schema, wanted: Sequence[_Wanted]) -> list[str]:
    """The ids of the rows that are meant."""
    name = schema.name("prediction_id")
    columns = [column for column in schema.columns if column.name == name or _is_in(column, wanted)]
    batches = parts.reader(part.path).batches(part.path, schema, columns, parts.most_rows(schema))
    return [
        str(batch[name][row])
        for batch in batches
        for row in range(len(batch[name]))
        if all(each.has(batch[each.column.name][row]) for each in wanted)
    ]


def _is_in(column: Column, wanted: Sequence[_Wanted]) -> bool:
    return any(each.column == column for each in wanted)


def _others(part: Part, schema: Schema, wanted: Sequence[_Wanted]) -> Iterator[Cells]:
    places = [(schema.columns.index(each.column), each) for each in wanted]
    for row in parts.reader(part.path).rows(part.path, schema, parts.most_rows(schema)):
        if not all(each.has(row[place]) for place, each in places):
            yield row


def _schema(part: Part) -> Schema:
    try:
        schema = part.schema
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ServingError(f"{part.path} cannot be read: {error}") from error
    if schema is None:
        raise ServingError(f"{part.path} is no file of a payload log: move it elsewhere")
    return schema


def _columns(schema: Schema, where: Where) -> list[Column] | None:
    columns = [column for column in schema.columns if column.name in where]
    return columns if len(columns) == len(where) else None


def _check_columns(where: Where, schemas: Sequence[Schema]) -> None:
    names = dict.fromkeys(name for schema in schemas for name in schema.names)
    for name in where:
        if name not in names:
            raise ServingError(
                f"no file has a column {quoted(name)}: {hint(name, names)}they have {listed(names)}"
            )


def _wanted(column: Column, text: str, schema: Schema, key: bytes | None) -> _Wanted:
    try:
        if column.kind == "timestamp":
            return _Wanted(column, *_span(text))
        cell = _cell(column, text)
    except ValueError:
        example = ": write 2026-11-29, or 2026-11-29T12:30:05" if column.kind == "timestamp" else ""
        raise ServingError(
            f"{quoted(text)} is no value of {quoted(column.name)}, whose type is {column.kind}{example}"
        ) from None
    if not column.hashed:
        return _Wanted(column, cell)
    if key is None:
        raise ServingError(f"of {quoted(column.name)} there are hashes only: name the key by --key")
    if key_id(key) != schema.key_id:
        raise ServingError(
            f"the hashes of {quoted(column.name)} were made with another key: name that one by --key"
        )
    return _Wanted(column, hashed(written(cell, column), key))


def _span(text: str) -> tuple[int, int]:
    """The first microsecond that a text names, and the one behind the last: of a day, a second, or itself.

    It is in UTC where it has no offset. Raises ValueError where it is none.
    """
    if len(text) == len("2026-11-29"):
        day = date.fromisoformat(text)
        first, length = datetime(day.year, day.month, day.day, tzinfo=UTC), _DAY
    else:
        first = datetime.fromisoformat(text)
        first = first.replace(tzinfo=first.tzinfo or UTC)
        length = 1 if "." in text or "," in text else _SECOND
    start = (first - _EPOCH) // timedelta(microseconds=1)
    return start, start + length


def _cell(column: Column, text: str) -> Cell:
    """The cell of a text. Raises ValueError where it is none."""
    if column.kind == "text":
        return text
    if column.kind in ("date", "datetime", "instant"):
        moment = dates.moment(text, "year first")
        if moment is None:
            raise ValueError(text)
        return int(moment.seconds)
    if column.kind == "bool" and text in cells.TRUTH:
        return bool(cells.TRUTH[text])
    number = cells.number(text)
    return bool(number) if column.kind == "bool" and number in (0, 1) else number
