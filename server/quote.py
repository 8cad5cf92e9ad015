"""Text from elsewhere inside a sentence: quoted, and cut to a length that people read."""

from collections.abc import Sequence

_LONGEST = 60
_MOST = 30


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The text as it is, or its first ``longest`` characters and "...".

    Example:
        >>> shortened("petal_length", 5)
        'petal...'
    """
    return text if len(text) <= longest else f"{text[:longest]}..."


def quoted(text: object) -> str:
    """The text between quotes, shortened; controls and half characters as Python escapes them."""
    return repr(shortened(str(text)))


def listed(names: Sequence[str], most: int = _MOST) -> str:
    """The first ``most`` of the names, each shortened, and how many more there are."""
    text = ", ".join(map(shortened, names[:most]))
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
