"""The lines of a stream's body as they arrive. Memory holds one line at most, or a block of short ones."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice, takewhile
from typing import Any

from unpickled.server.errors import BodyTimeout, InvalidInput
from unpickled.server.inference.turn import breathe
from unpickled.server.message import body, ending
from unpickled.server.message.answer import Environ
from unpickled.server.serve.slots import Slot

# Bytes that are read (if the length is announced), expanded and answered at a time, roughly.
BLOCK = 64 * 1024

# A line without its line end; None if it was too long.
Line = bytes | None
# Lines that arrived together, and the number of blank lines that were skipped behind them.
Batch = tuple[list[Line], int]


def announced_length(environ: Environ) -> int | None:
    """The body's Content-Length, None without one; InvalidInput where it is no number, BadRequest."""
    announced = environ.get("CONTENT_LENGTH")
    if not announced:
        ending.check_coding(environ)
        return None
    if not (announced.isascii() and announced.isdigit()):
        raise body.no_length(announced)
    return int(announced)


class Lines:
    """The lines that one client sends.

    Args:
        environ: The request.
        length: Its announced length.
        slot: The stream's slot, which notes when the stream waits for the client.
    """

    def __init__(self, environ: Environ, length: int | None, slot: Slot) -> None:
        self._slot = slot
        self._read: Callable[[int], bytes] = environ["wsgi.input"].read
        self._ahead = b""
        self._announced = length
        self._hidden = ending.is_hidden(environ)
        self._endless = length is None and bool(environ.get("wsgi.input_terminated"))

    def look_ahead(self) -> None:
        """Wait until the client begins to send."""
        self._slot.receive()
        self._ahead = self._read(1)
        self._slot.resume()

    def batches(self, limit: int, expand: Any) -> Iterator[Batch]:
        """Lines of ``limit`` bytes at most as they arrive; IncompleteBody, InvalidInput, BodyTimeout.

        A last line without its end is IncompleteBody too, where nothing else shows that it is whole.

        ``expand`` is a decompressor, or None. Bytes are read one by one where no length is announced: the
        client may wait for the answer to one line before it sends the next, and a read() of the HTTP server
        waits until it has all the bytes.
        """
        if expand is not None:
            return _split(_expanded(self._pieces(), expand), limit)
        return self._one_by_one(limit) if self._endless else _split(self._pieces(), limit)

    def _one_by_one(self, limit: int) -> Iterator[Batch]:
        while first := self._wait(1):
            yield ([], 1) if first == b"\n" else ([self._line(first, limit)], 0)

    def _line(self, first: bytes, limit: int) -> Line:
        """The line that begins with ``first``. A Python loop over bytes would take three times as long."""
        self._slot.receive()
        single = iter(partial(self._read, 1), b"\n")
        rest = takewhile(bool, single)
        pieces, size, more = [first], 1, True
        while more:
            piece = b"".join(islice(rest, BLOCK))
            size += len(piece)
            pieces = [*pieces, piece] if size <= limit else []
            more = len(piece) == BLOCK
        self._slot.resume()
        line = b"".join(pieces) if size <= limit else None
        # After a line end the iterator is exhausted, and reads nothing more.
        if self._hidden and next(single, None) is not None and not (line and line.isspace()):
            self._check_silence()
            raise ending.cut_line()
        return line

    def _pieces(self) -> Iterator[bytes]:
        if self._announced is None:
            while self._endless and (piece := self._wait(1)):
                yield piece
            return
        left = self._announced
        while left:
            size = min(left, BLOCK)
            piece = self._wait(size)
            left -= len(piece)
            if len(piece) < size:
                raise body.incomplete(self._announced - left, self._announced)
            yield piece

    def _wait(self, size: int) -> bytes:
        self._slot.receive()
        piece = self._ahead + self._read(size - len(self._ahead))
        self._ahead = b""
        self._slot.resume()
        if len(piece) < size:
            self._check_silence()
        return piece

    def _check_silence(self) -> None:
        """BodyTimeout where the body ends because the watchdog has shut the connection."""
        if silence := self._slot.silence():
            raise BodyTimeout(
                f"no data came for {silence:.0f} s, and another stream needs the place: send the rest again"
            )


def _split(pieces: Iterable[bytes], limit: int) -> Iterator[Batch]:
    """The lines that each piece completes. A line that is too long is not kept."""
    unfinished: list[bytes] = []
    size = 0
    for piece in pieces:
        # A small compressed body may expand to very many pieces, none of which is answered.
        breathe()
        ended, blank, rest = _ended(piece)
        if ended:
            lines: list[Line] = [line if len(line) <= limit else None for line in ended]
            if size:
                lines[0] = b"".join((*unfinished, ended[0])) if size + len(ended[0]) <= limit else None
            yield lines, blank
            unfinished, size = [], 0
        size += len(rest)
        if size <= limit:
            unfinished.append(rest)
        else:
            unfinished.clear()
    if size:
        yield [b"".join(unfinished) if size <= limit else None], 0


def _ended(piece: bytes) -> tuple[list[bytes], int, bytes]:
    """The lines that end in a piece, the number of blank lines skipped behind them, and the rest."""
    if not piece.isspace():
        *ended, rest = piece.split(b"\n")
        return ended, 0, rest
    # A small compressed body can expand to millions of blank lines; skip them in bulk, as nothing is sent
    # back that would throttle the client.
    *ended, rest = piece.split(b"\n", 1)
    return ended, rest.count(b"\n"), rest[rest.rfind(b"\n") + 1 :]


def _expanded(pieces: Iterable[bytes], expand: Any) -> Iterator[bytes]:
    """The pieces decompressed, a block at a time, so that no body expands to more than that in memory."""
    fresh = expand.copy()
    try:
        for piece in pieces:
            more = True
            while more:
                if expand.eof:
                    expand = fresh.copy()
                block = expand.decompress(piece, BLOCK)
                if block:
                    yield block
                piece = expand.unconsumed_tail or expand.unused_data
                more = bool(piece) or (len(block) == BLOCK and not expand.eof)
    except zlib.error as error:
        raise InvalidInput(f"from here on the body is not what its Content-Encoding says: {error}") from None
    if not expand.eof:
        raise InvalidInput("the body ends in the middle of its Content-Encoding")
