"""Headers that name columns of a request: those that were not read, and those outside the training range."""

from functools import lru_cache
from urllib.parse import quote

IGNORED, OUTSIDE = "Ignored-Columns", "Outside-Training"
# Longest list of names, in characters of the header.
_LONGEST = 1000
# Letters of a name that stand in the header as they are: not a comma, which parts names, or a percent sign.
_PLAIN = " !#$&'()*+-./:;<=>?@[]^_`{|}~"


@lru_cache(maxsize=128)
def naming(header: str, columns: tuple[str, ...]) -> tuple[str, str]:
    """The header with these names, parted by commas; percent-encoded as in a URL where need be.

    Example:
        >>> naming(IGNORED, ("order_id", "Größe"))
        ('Ignored-Columns', 'order_id, Gr%C3%B6%C3%9Fe')
    """
    names = ", ".join(quote(name, safe=_PLAIN, errors="replace") for name in columns[:_LONGEST])
    if len(names) <= _LONGEST:
        return header, names
    return header, f"{names[:_LONGEST].rpartition(', ')[0] or names[:_LONGEST]}, ..."
