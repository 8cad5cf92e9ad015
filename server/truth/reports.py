"""The truths that one request reports, read from its body.

    {"id": "7f3kq2ma-0-1832", "truth": "setosa"}        a report; ``at`` may say since when it is known
    [{"id": ..., "truth": ...}, ...]                    several
    {"id": ..., "truth": ...}\\n{"id": ...}              the same as lines (application/x-ndjson)
    id,truth\\n7f3kq2ma-0-1832,setosa                    the same as a table (text/csv)

A report in the wrong form refuses the whole request, before anything of it counts. So does a member or column
that is none of these three: it may be one of them, misspelt.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from unpickled.server.errors import InvalidInput, MalformedJSON, TooManyRows, UnsupportedMedia
from unpickled.server.inference.turn import breathe
from unpickled.server.message import body, media, strict
from unpickled.server.message.answer import Environ
from unpickled.server.model.cells import SEPARATORS
from unpickled.server.protocols.table import check_end
from unpickled.server.quote import hint, listed, quoted

MEMBERS = ("id", "truth", "at")
_NEEDED = MEMBERS[:2]
_JSON = ("", "application/json", "application/x-www-form-urlencoded", "text/json")
_FORM = '{"id": "...", "truth": ...}, or a list of such'
# The longest id and ``at``, in characters.
_LONGEST = 200
# Reports between two looks whether others wait for their turn.
_OFTEN = 256


class Report(NamedTuple):
    """The truth about one prediction.

    id: of the row, as the client has it.
    truth: a value of JSON, or a text.
    at: when it became known, in UTC by ISO 8601; "" where the client does not say.
    """

    id: str
    truth: Any
    at: str = ""


def read(content: bytes, environ: Environ, most: int) -> list[Report]:
    """The reports in a body, ``most`` of them at most.

    Raises:
        InvalidInput: The body, or one of its reports, has another form; the sentence names row or line.
        MalformedJSON: It is not JSON.
        TooManyRows: It has more reports.
        UnsupportedMedia: It is of another content type.
    """
    kind, parameters = body.media_type(environ)
    if kind == media.CSV:
        check_end(content, environ)
        return _bounded(_of_table(content, parameters.get("charset", "utf-8")), most)
    if kind in media.JSON_LINES:
        check_end(content, environ)
        return _bounded(_of_lines(content), most)
    if kind not in _JSON:
        kinds = ", ".join((media.JSON, media.NDJSON, media.CSV))
        raise UnsupportedMedia(f"Content-Type is {quoted(kind)}: send {kinds}")
    return _bounded(_of_document(content), most)


def _bounded(reports: Iterator[Report], most: int) -> list[Report]:
    read: list[Report] = []
    for report in reports:
        read.append(report)
        if len(read) > most:
            raise TooManyRows(f"the body has more than {most} reports: split it", limit=most)
        if not len(read) % _OFTEN:
            breathe()
    return read


def _of_document(content: bytes) -> Iterator[Report]:
    if content.lstrip()[:1] not in (b"{", b"[", b"", b"\xef") and b"," in content[:_LONGEST]:
        raise InvalidInput(
            f"the body is not JSON: send {_FORM}; a table is sent as Content-Type: text/csv, with the header "
            "id,truth"
        )
    document = strict.parse(content, breathe)
    if isinstance(document, dict):
        yield _report(document, "the body", {})
        return
    if not isinstance(document, list):
        raise InvalidInput(f"the body is no object and no list: send {_FORM}")
    for row, entry in enumerate(document):
        yield _report(entry, f"row {row}", {"row": row})


def _of_lines(content: bytes) -> Iterator[Report]:
    for number, line in enumerate(io.BytesIO(content), start=1):
        if line.isspace():
            continue
        try:
            document = strict.parse(line)
        except MalformedJSON as error:
            raise InvalidInput(f"line {number}: {error}", line=number) from None
        yield _report(document, f"line {number}", {"line": number})


def _report(entry: Any, place: str, details: Mapping[str, Any]) -> Report:
    if not isinstance(entry, strict.Members):
        raise InvalidInput(f"{place} is no object: send {_FORM}", **details)
    if entry.repeated:
        raise InvalidInput(f"{place} has {quoted(entry.repeated[0])} twice", **details)
    _check_names(list(entry), f"{place} has the member", place, details)
    return _checked(entry["id"], entry["truth"], entry.get("at"), place, details)


def _check_names(
    names: Sequence[str], begin: str, place: str, details: Mapping[str, Any], remedy: str = ""
) -> None:
    for name in names:
        if name not in MEMBERS:
            suggestion = hint(name, MEMBERS)
            raise InvalidInput(
                f"{begin} {quoted(name)}: {suggestion}a report has id, truth and perhaps at{remedy}",
                **details,
            )
    for name in _NEEDED:
        if name not in names:
            raise InvalidInput(f"{place} has no {name}: a report has id and truth{remedy}", **details)


def _checked(identity: Any, truth: Any, at: Any, place: str, details: Mapping[str, Any]) -> Report:
    if not isinstance(identity, str) or not 0 < len(identity) <= _LONGEST:
        raise InvalidInput(
            f"{place}: the id is {quoted(identity)}: send the text of Prediction-Id, followed by a colon and "
            "the row where the request had several",
            **details,
        )
    return Report(identity, truth, _moment(at, place, details))


def _moment(at: Any, place: str, details: Mapping[str, Any]) -> str:
    """A time in UTC by ISO 8601; one that names no offset is taken for UTC."""
    if at is None or at == "":
        return ""
    try:
        moment = datetime.fromisoformat(at[:_LONGEST])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat()
    except (TypeError, ValueError, OverflowError, KeyError):
        raise InvalidInput(
            f"{place}: at is {quoted(at)}, no time by ISO 8601: write 2026-05-01T12:00:00+02:00", **details
        ) from None


def _of_table(content: bytes, charset: str) -> Iterator[Report]:
    if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMedia(f"the charset of the table is {quoted(charset)}: send UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not CSV: byte {error.start} is not UTF-8") from None
    head = text[: text.find("\n") + 1 or len(text)]
    separator = max(SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    names = [cell.strip() for cell in _next(reader) or []]
    _check_header(names, text)
    width = len(names)
    while (cells := _next(reader)) is not None:
        line = reader.line_num
        if cells and len(cells) != width:
            raise InvalidInput(
                f"line {line} has {len(cells)} cells, but {width} belong there: quote cells that hold the "
                "separator",
                line=line,
            )
        if cells:
            entry = dict(zip(names, cells, strict=True))
            truth = entry["truth"].strip()
            yield _checked(entry["id"].strip(), truth, entry.get("at"), f"line {line}", {"line": line})


def _check_header(names: Sequence[str], text: str) -> None:
    if text.lstrip()[:1] in ("{", "["):
        raise InvalidInput(
            "line 1 is no header: JSON is sent as Content-Type: application/json, one document per line as "
            "application/x-ndjson",
            line=1,
        )
    remedy = f"; the header of the table is id,truth, and it has {listed(names)}" if names else ""
    _check_names(names, "line 1: the header has the column", "line 1: the header", {"line": 1}, remedy)
    if len(set(names)) < len(names):
        raise InvalidInput("line 1: the header has a column twice", line=1)


def _next(reader: Any) -> list[str] | None:
    """The cells of the next line; None behind the last."""
    try:
        cells: list[str] | None = next(reader, None)
    except csv.Error as error:
        line = reader.line_num
        raise InvalidInput(f"line {line}: the body is not CSV: {error}", line=line) from None
    return cells
