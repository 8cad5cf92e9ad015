"""A route that is not on the fast path, as the application registers it."""

from collections.abc import Callable
from typing import NamedTuple

from unpickled.server.message.answer import Answer


class Page(NamedTuple):
    """``handle`` is called with the WSGI environment and the names in ``rule`` ("/models/<name>").

    It may raise RequestError.
    """

    method: str
    rule: str
    handle: Callable[..., Answer]
