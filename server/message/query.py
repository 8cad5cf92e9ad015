"""The query of a request: what stands behind the question mark of its address."""

import re
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import parse_qsl

from unpickled.server.errors import InvalidInput
from unpickled.server.message.answer import Environ
from unpickled.server.quote import listed, quoted

Word = TypeVar("Word", bound=str)
# At most nine digits, in ASCII.
_NUMBER = re.compile("[0-9]{1,9}")


def given(environ: Environ, name: str) -> str | None:
    """The text that a query gives for a name; of several the last, and None where there is none."""
    pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="replace")
    return next((value for key, value in reversed(pairs) if key == name), None)


def word(environ: Environ, name: str, choices: Sequence[Word], default: Word) -> Word:
    """The word that a query gives for a name; of several the last, and ``default`` where there is none.

    Raises InvalidInput where it is none of the choices.
    """
    asked = given(environ, name)
    if asked is None:
        return default
    for choice in choices:
        if choice == asked:
            return choice
    raise InvalidInput(
        f"{name} is {quoted(asked)}: it has to be one of {listed(choices)}", allowed=list(choices)
    )


def number(environ: Environ, name: str) -> int | None:
    """The number of a version that a query gives for a name; of several the last, None where there is none.

    Raises InvalidInput where it is no number of at most nine digits.
    """
    return _whole(environ, name, "the number of a version, such as 1")


def count(environ: Environ, name: str) -> int | None:
    """The number from 1 on that a query gives for a name; of several the last, None where there is none.

    Raises InvalidInput where it is no such number of at most nine digits.
    """
    asked = _whole(environ, name, "a number from 1 on")
    if asked == 0:
        raise InvalidInput(f"{name} is 0: it has to be a number from 1 on")
    return asked


def _whole(environ: Environ, name: str, kind: str) -> int | None:
    asked = given(environ, name)
    if asked is None:
        return None
    if not _NUMBER.fullmatch(asked):
        raise InvalidInput(f"{name} is {quoted(asked)}: it has to be {kind}")
    return int(asked)
