"""A route that Flask answers: the application registers it, ``GET /`` lists it and OpenAPI describes it."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from unpickled.server.message.answer import Answer


class Parameter(msgspec.Struct, frozen=True):
    """A name in the query of a request, and the values that it may stand for.

    Those are words, of which one is taken by default, or values of a kind, and it may be left out.
    """

    name: str
    description: str
    kind: Literal["version", "count", "text", "word"] = "version"
    choices: tuple[str, ...] = ()
    default: str = ""


class Page(msgspec.Struct, frozen=True):
    """One method of one path.

    Attributes:
        method: "GET" or "POST".
        rule: Flask's pattern of the path, such as "/models/<name>".
        summary: One line for people.
        handle: Called with the WSGI environment and the names in ``rule``. It may raise RequestError.
        document: Type of the JSON document that answers a request. A page with neither a document nor
            ``text`` is not described: it belongs to another page, or answers with errors only.
        text: Media types of the answers that are text.
        statuses: Statuses of answers with the document.
        errors: Statuses of errors, beside those that every page may answer with.
        request: Type of the JSON body of a request; None if the page takes none.
        kinds: Media types of requests in other forms.
        query: The parameters of its query.
        takes_row: Whether its request is one row of a version, and its query may name an output.
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
    kinds: tuple[str, ...] = ()
    query: tuple[Parameter, ...] = ()
    takes_row: bool = False
