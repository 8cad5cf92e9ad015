"""Patterns of the names of objects: ``*``, ``?``, ``[a-z]`` and ``**``, which a store knows nothing of."""

import re

_WILD = re.compile(r"[*?[]")
# Parts of a pattern: **/ stands for any folders, ** for any text, * for text without a slash.
_PATTERN = re.compile(r"(\*\*/)|(\*\*)|(\*)|(\?)|\[(!?[^\]]+)\]|(.)", re.DOTALL)
_KINDS = ("(?:.*/)?", ".*", "[^/]*", "[^/]")


def read(pattern: str) -> tuple[str, re.Pattern[str] | None]:
    """The folder that a pattern names before its first wildcard, and the expression that its keys match.

    Without a wildcard it is a folder itself, and there is no expression.
    """
    wild = _WILD.search(pattern)
    if wild is None:
        return pattern, None
    return pattern[: wild.start()].rpartition("/")[0], _expression(pattern)


def _expression(pattern: str) -> re.Pattern[str]:
    """The expression that the keys of a pattern match."""
    written = []
    for match in _PATTERN.finditer(pattern):
        *kinds, letters, other = match.groups()
        place = next((place for place, kind in enumerate(kinds) if kind), None)
        if place is not None:
            written.append(_KINDS[place])
        elif letters is not None:
            escaped = letters.removeprefix("!").replace("\\", r"\\").replace("^", r"\^")
            written.append(f"[{'^' if letters.startswith('!') else ''}{escaped}]")
        else:
            written.append(re.escape(other))
    return re.compile("".join(written), re.DOTALL)
