"""The window that a page is asked about."""

from unpickled.server.message import query
from unpickled.server.message.answer import Environ
from unpickled.server.observe.windows import DEFAULT, WINDOWS, Window
from unpickled.server.pages.page import Parameter

_NAME = "window"


def parameter(description: str) -> Parameter:
    """The parameter of the query that names it."""
    return Parameter(_NAME, description, "word", tuple(WINDOWS), DEFAULT)


def asked(environ: Environ) -> Window:
    """The window that a query names. Raises InvalidInput where it is none."""
    return query.word(environ, _NAME, list(WINDOWS), DEFAULT)
