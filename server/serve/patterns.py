"""The patterns of paths, such as /models/<name>/predict, and the paths that they stand for."""

import re
from collections.abc import Iterable


class Patterns:
    """The patterns of some paths.

    Args:
        rules: The patterns, as Flask has them.

    Attributes:
        rules: The same, each once.
    """

    def __init__(self, rules: Iterable[str]) -> None:
        self.rules = list(dict.fromkeys(rules))
        self._expressions = {rule: _expression(rule) for rule in self.rules}

    def match(self, path: str) -> tuple[str, str] | None:
        """The rule of a path of WSGI, and the name in it, or an empty one; None where there is no rule."""
        text = path.encode("latin-1", "replace").decode("utf-8", "replace")
        for rule, expression in self._expressions.items():
            if match := expression.fullmatch(text):
                return rule, match.groupdict().get("name") or ""
        return None


def filled(rule: str, **names: object) -> str:
    """A rule with its names filled in."""
    for name, value in names.items():
        rule = rule.replace(f"<{name}>", str(value))
    return rule


def _expression(rule: str) -> re.Pattern[str]:
    """The paths of a rule, as the application matches them: a name has neither a slash nor a colon."""
    parts = re.split("<([a-z]+)>", rule)
    names = (f"(?P<{part}>[^/:]+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile("".join(names))
