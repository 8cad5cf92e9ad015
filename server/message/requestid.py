"""The id of a request: its client's, or one that no other request of any server has."""

import os
import re
from collections.abc import Mapping
from itertools import count
from typing import Any

from unpickled.server.message.environ import REQUEST_ID
from unpickled.server.system import at_fork

# The header's name in requests and answers, and its entry in the WSGI environment.
HEADER = "X-Request-Id"
VARIABLE = "HTTP_X_REQUEST_ID"

# Ids end up in logs and headers: without spaces, quotes and signs that some reader takes for its own.
_SAFE = re.compile("[A-Za-z0-9][A-Za-z0-9._:/+=@~-]{0,127}")


class _Ids:
    """New ids: a counter behind a text that is the process's own, at a tenth of the cost of a UUID."""

    def __init__(self) -> None:
        self.begin()
        # Forks of one process would go on with the same text and counter.
        at_fork(after_in_child=self.begin)

    def begin(self) -> None:
        """Begin anew, with 64 random bits."""
        self._next = count(1).__next__
        self._prefix = os.urandom(8).hex() + "-"

    def new(self) -> str:
        return f"{self._prefix}{self._next():x}"


new = _Ids().new


def of(environ: Mapping[str, Any]) -> str:
    """The id that an outer layer has noted or the client chose, or else a new one.

    The client's is taken if it has up to 128 characters, all of them letters, digits or ``._:/+=@~-``.
    """
    noted: str | None = environ.get(REQUEST_ID)
    if noted is not None:
        return noted
    chosen = environ.get(VARIABLE, "")
    return chosen if _SAFE.fullmatch(chosen) else new()
