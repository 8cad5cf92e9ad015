"""The header that names the columns of a request that were not read."""

from collections.abc import Sequence
from urllib.parse import quote

IGNORED = "Ignored-Columns"
# Longest list of names, in characters of the header.
_LONGEST = 1000
# Letters of a name that stand in the header as they are: not a comma, which parts names, or a percent sign.
_PLAIN = " !#$&'()*+-./:;<=>?@[]^_`{|}~"


def naming(columns: Sequence[str]) -> tuple[str, str]:
    """The header with these names, parted by commas; percent-encoded as in a URL where need be.

    Example:
        >>> naming(["order_id", "Größe"])
        ('Ignored-Columns', 'order_id, Gr%C3%B6%C3%9Fe')
    """
    names = ", ".join(quote(name, safe=_PLAIN, errors="replace") for name in columns[:_LONGEST])
    if len(names) <= _LONGEST:
        return IGNORED, names
    return IGNORED, f"{names[:_LONGEST].rpartition(', ')[0] or names[:_LONGEST]}, ..."
