"""Answers whose end somebody waits for."""

from collections.abc import Callable, Iterable, Iterator


def followed(answer: Iterable[bytes], ended: Callable[[int], None]) -> Iterator[bytes]:
    """The answer, in the same parts; its size goes to ``ended`` at its end, or when it is broken off."""
    parts = _counted(answer, ended)
    # Start the generator now, so that its `finally` calls ``ended`` however the response ends.
    next(parts)
    return parts


def _counted(answer: Iterable[bytes], ended: Callable[[int], None]) -> Iterator[bytes]:
    size = 0
    try:
        yield b""
        for part in answer:
            size += len(part)
            yield part
    finally:
        ended(size)
        if hasattr(answer, "close"):
            answer.close()
