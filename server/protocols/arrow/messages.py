"""The messages of an Arrow stream: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format."""

import struct
from collections.abc import Iterator

from unpickled.server.errors import InvalidInput
from unpickled.server.protocols.arrow import metadata
from unpickled.server.protocols.arrow.metadata import Message, damaged

_MARK = 0xFFFFFFFF
# Messages beside one dictionary for each column: each costs time to read, and may hold a single row.
_MOST = 4_096
# The first bytes of files that people take for streams -> what to do instead.
_FILES = {
    b"ARROW1": "an Arrow file (Feather): write a stream (polars: write_ipc_stream; pyarrow: ipc.new_stream)",
    b"PAR1": "a Parquet file: write an Arrow stream (polars: write_ipc_stream; pyarrow: ipc.new_stream)",
}


def messages(body: bytes) -> Iterator[tuple[Message, memoryview]]:
    """A schema, then every other message, and the bytes that follow each; InvalidInput for any other body."""
    for start, kind in _FILES.items():
        if body.startswith(start):
            raise InvalidInput(f"the body is {kind}")
    room, first = _MOST, True
    for message, content in _messages(body):
        if (message.kind == metadata.SCHEMA) is not first:
            raise damaged("its first message, and no other, has to be a schema")
        room += len(message.fields) - 1
        if room < 0:
            raise damaged(f"it has more than {_MOST} batches: write fewer (polars: frame.rechunk())")
        first = False
        yield message, content
    if first:
        raise damaged("it is empty")


def _messages(body: bytes) -> Iterator[tuple[Message, memoryview]]:
    """Messages of any kinds, up to the mark of the stream's end or to the last byte."""
    place = 0
    while place < len(body):
        content, place = _content(body, place)
        if not content:
            break
        message = metadata.read(content)
        end = place + message.length
        if end > len(body):
            raise damaged("it ends in the middle of a message")
        yield message, memoryview(body)[place:end]
        place = end
    if place < len(body):
        raise damaged(f"{len(body) - place} bytes follow its end")


def _content(body: bytes, place: int) -> tuple[bytes, int]:
    """The metadata that begins here, none at the stream's end; and the place behind it."""
    if len(body) < place + 8:
        raise damaged("it ends in the middle of a message")
    mark, length = struct.unpack_from("<II", body, place)
    if mark != _MARK:
        raise damaged("one of its messages does not begin with the mark of a message")
    end = place + 8 + length
    if end > len(body):
        raise damaged("it ends in the middle of a message")
    return body[place + 8 : end], end
