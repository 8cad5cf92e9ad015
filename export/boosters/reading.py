"""Models are read once: a reading of a fitted model is kept as long as one export lasts.

A model may be fitted again, or be given other parameters, between two exports. So nothing is kept beyond one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

T = TypeVar("T")

# (function, id of the model) -> the model, which keeps its id as long as it is here, and the reading.
_Kept = dict[tuple[Callable[[Any], Any], int], tuple[Any, Any]]
_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextmanager
def read_once() -> Iterator[None]:
    """Within the block, or the function that this decorates, each model is read once; it must not change."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def once(read: Callable[[Any], T]) -> Callable[[Any], T]:
    """The function, which within ``read_once`` reads each model once, and then returns what it has read."""

    @wraps(read)
    def kept(model: Any) -> T:
        known = _kept.get()
        if known is None:
            return read(model)
        if (read, id(model)) not in known:
            known[read, id(model)] = model, read(model)
        answer: T = known[read, id(model)][1]
        return answer

    return kept
