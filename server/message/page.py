"""A route that Flask answers: the application registers it, ``GET /`` lists it and OpenAPI describes it."""

from collections.abc import Callable
from typing import Any

import msgspec

from unpickled.server.message.answer import Answer


class Page(msgspec.Struct, frozen=True):
    """One method of one path.

    Attributes:
        method: "GET" or "POST".
        rule: Flask's pattern of the path, such as "/models/<name>".
        summary: One line for people.
        handle: Called with the WSGI environment and the names in ``rule``. It may raise RequestError.
        document: Type of the JSON document that answers a request. A page that has neither this nor ``text``
            is not described: it belongs to another page, or answers nothing but errors.
        text: Media types of its answers that are text.
        statuses: Statuses that come with the document.
        errors: Statuses that come with an error, beside those that every page may have.
        request: Type of the JSON body that it takes; None where it takes none.
    """

    method: str
    rule: str
    summary: str
    handle: Callable[..., Answer]
    document: Any = None
    text: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = ()
    request: Any = None
