"""Foreign text and counts in sentences: text is short, on one line, and recognizable as a quotation."""

from collections.abc import Callable, Collection, Iterable
from itertools import islice

_LONGEST = 60
_MOST = 30
_DOTS = "..."


def shortened(text: str, longest: int = _LONGEST) -> str:
    """The first ``longest`` characters and "...", or the whole text where that is no longer.

    Example:
        >>> shortened("petal_length", 5)
        'petal...'
    """
    return text if len(text) <= longest + len(_DOTS) else f"{text[:longest]}{_DOTS}"


def abridged(text: str, longest: int) -> str:
    """At most ``longest`` characters, without the middle: for messages that end with the place of an error.

    Example:
        >>> abridged("a key is given twice (at line 1, column 5)", 28)
        'a key is given t...column 5)'
    """
    end = longest // 3
    return text if len(text) <= longest else f"{text[: longest - end - len(_DOTS)]}{_DOTS}{text[-end:]}"


def printable(text: str) -> str:
    """The text on one line: each control, line end and half character becomes a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def quoted(text: object) -> str:
    """The text between quotes, shortened; controls and half characters as Python escapes them."""
    return repr(shortened(str(text)))


def listed(names: Collection[str], most: int = _MOST, write: Callable[[str], str] = shortened) -> str:
    """The first ``most`` of the names, each as ``write`` writes it, and how many more there are.

    Example:
        >>> listed(["setosa", "versicolor", "virginica"], 2)
        'setosa, versicolor and 1 more'
    """
    text = ", ".join(map(write, islice(names, most)))
    return text if len(names) <= most else f"{text} and {len(names) - most} more"


def counted(count: int, noun: str, nouns: str = "") -> str:
    """The count with its noun; ``nouns`` is the plural, where it is not the noun with an s.

    Example:
        >>> counted(1, "node"), counted(1200, "class", "classes")
        ('1 node', '1,200 classes')
    """
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def size(count: int) -> str:
    """A number of bytes with three digits at most.

    Example:
        >>> size(3206)
        '3.21 kB'
    """
    power = min(len(str(count)) - 1, 9) // 3
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def hint(word: str, choices: Iterable[str], spell: Callable[[str], str] = str) -> str:
    """A question that suggests the choice most like ``word``, as ``spell`` writes it; empty if none is.

    Example:
        >>> hint("iriss", ["wine", "iris"])
        "did you mean 'iris'? "
    """
    names = list(choices)
    # Imported here, as only mistakes need it: it would slow the start of every command.
    from difflib import get_close_matches

    # To difflib, zip and ZIP have nothing in common.
    alike = [name for name in names if name.casefold() == word.casefold()]
    closest = alike or get_close_matches(word, names, n=1)
    return f"did you mean {spell(closest[0])!r}? " if closest else ""
