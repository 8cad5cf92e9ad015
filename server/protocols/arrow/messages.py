"""The messages of an Arrow stream: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format."""

import struct
from collections.abc import Iterator

from unpickled.server.errors import InvalidInput
from unpickled.server.protocols.arrow import metadata
from unpickled.server.protocols.arrow.metadata import Message, damaged

_MARK = 0xFFFFFFFF
# Each costs time to read, and may hold no row.
_MOST = 10_000
# The first bytes of files that people take for streams -> what to do instead.
_FILES = {
    b"ARROW1": "an Arrow file (Feather): write a stream (polars: write_ipc_stream; pyarrow: ipc.new_stream)",
    b"PAR1": "a Parquet file: write an Arrow stream (polars: write_ipc_stream; pyarrow: ipc.new_stream)",
}


def messages(body: bytes) -> Iterator[tuple[Message, memoryview]]:
    """Each message, and the bytes that follow it; InvalidInput where the body is no stream of them."""
    for start, kind in _FILES.items():
        if body.startswith(start):
            raise InvalidInput(f"the body is {kind}")
    place, count = 0, 0
    while place < len(body):
        count += 1
        if count > _MOST:
            raise damaged(f"it has more than {_MOST} messages: write it in fewer batches")
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
