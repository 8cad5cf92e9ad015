"""The truth of a row as clients write it, and as it is kept: the label of a class, a number, or several.

A class may be given as its label, by its name, or as its label in text (CSV has no other); where they
contradict one another, a label of that type comes first, then a name. A number may be text as well.
"""

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from unpickled.server.errors import RequestError
from unpickled.server.message import strict
from unpickled.server.model.classification import Classification
from unpickled.server.model.outputs import Outputs
from unpickled.server.model.regression import Regression
from unpickled.server.quote import hint, listed, quoted

_TRUTH_VALUES = ("true", "false")
# Classes and targets that a sentence lists.
_MOST = 20


class Truths(ABC):
    """Reads the truths of one version."""

    @abstractmethod
    def read(self, given: Any) -> Any:
        """The truth as it is kept; ValueError with a sentence that names what belongs there.

        ``given`` is a value of JSON, or a text.
        """

    @abstractmethod
    def comparable(self, kept: Any) -> Any:
        """A truth that was stored as it came, as answers are compared with it; None where it cannot be."""

    @abstractmethod
    def bits(self, truth: Any) -> int:
        """64 bits that are the same for equal truths; ``truth`` comes from ``read``."""

    @abstractmethod
    def text(self, bits: int) -> str:
        """The truth that these bits stand for, in words; "" where they do not tell."""


def truths_of(outputs: Outputs) -> Truths:
    """Reads the truths of a version with these outputs."""
    if isinstance(outputs, Regression):
        return _Numbers(outputs.targets)
    assert isinstance(outputs, Classification)
    return _Classes(outputs.classes, outputs.names)


class _Classes(Truths):
    """One label out of those of a classifier, or of an outlier detector."""

    def __init__(self, classes: Sequence[int | str], names: Sequence[str]) -> None:
        self._names = names
        self._labels = classes
        self._known: dict[Any, int] = {str(label): place for place, label in enumerate(classes)}
        self._known |= {name: place for place, name in enumerate(names)}
        self._known |= {label: place for place, label in enumerate(classes)}
        if tuple(classes) == (0, 1):
            # A pipeline that was fitted to truth values has these two.
            self._known = {"false": 0, "true": 1} | self._known

    def read(self, given: Any) -> int | str:
        if isinstance(given, bool):
            # JSON's true is the name of a class to people; to Python it equals 1.
            given = str(given).lower()
        if isinstance(given, str) and given not in self._known and given.lower() in _TRUTH_VALUES:
            # The spelling of pandas in CSV, or that of a model whose classes are True and False.
            given = next((name for name in self._known if str(name).lower() == given.lower()), given)
        place = self._known.get(given) if isinstance(given, int | float | str) else None
        if place is None:
            suggestion = hint(given, self._names) if isinstance(given, str) else ""
            raise ValueError(
                f"the truth {_shown(given)} is no class of this model: {suggestion}"
                f"the classes are {listed(self._names, _MOST)}"
            )
        return self._labels[place]

    def comparable(self, kept: Any) -> Any:
        # A class that the model does not know makes its answer wrong.
        return kept if isinstance(kept, str | int | float) else None

    def bits(self, truth: int | str) -> int:
        return self._known[truth]

    def text(self, bits: int) -> str:
        return quoted(self._names[bits])


class _Numbers(Truths):
    """A number for each target of a regressor: a list, or an object by name, where there are several."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = targets

    def read(self, given: Any) -> float | list[float]:
        values = self._listed(given)
        if len(values) != len(self._targets):
            raise ValueError(
                f"the truth is {len(values)} numbers, and {len(self._targets)} belong there: {self._form()}"
            )
        numbers = [self._number(value) for value in values]
        return numbers if len(numbers) > 1 else numbers[0]

    def comparable(self, kept: Any) -> float | list[float] | None:
        try:
            return self.read(kept)
        except ValueError:
            return None

    def bits(self, truth: float | list[float]) -> int:
        if isinstance(truth, float):
            return int(struct.unpack("=q", struct.pack("=d", truth))[0])
        packed = struct.pack(f"={len(truth)}d", *truth)
        return int(struct.unpack("=q", blake2b(packed, digest_size=8).digest())[0])

    def text(self, bits: int) -> str:
        return repr(struct.unpack("=d", struct.pack("=q", bits))[0]) if len(self._targets) == 1 else ""

    def _listed(self, given: Any) -> list[Any]:
        if isinstance(given, str) and given.lstrip()[:1] in ("[", "{"):
            # A cell of CSV.
            try:
                given = strict.parse(given.encode("utf-8", "replace"))
            except RequestError as error:
                raise ValueError(f"the truth {quoted(given)} is no list of numbers: {error}") from None
        if isinstance(given, dict):
            if given.keys() != set(self._targets):
                raise ValueError(f"the truth has the members {listed(list(given), _MOST)}: {self._form()}")
            return [given[target] for target in self._targets]
        return given if isinstance(given, list) else [given]

    def _number(self, value: Any) -> float:
        number = math.nan
        # Not a bool, which is an int; float() would also read 1_000, and digits of other scripts.
        if isinstance(value, str) and value.isascii() and "_" not in value:
            try:
                number = float(value)
            except ValueError:
                number = math.nan
        elif isinstance(value, float):
            number = value
        if not math.isfinite(number):
            raise ValueError(f"the truth {_shown(value)} is no number: {self._form()}")
        # -0.0 and 0.0 are one truth.
        return number + 0.0

    def _form(self) -> str:
        """The form of a truth, as the remedy in a sentence."""
        if len(self._targets) == 1:
            return f"send the number that {quoted(self._targets[0])} has turned out to be"
        return f"send a list of the numbers of {listed(self._targets, _MOST)}"


def _shown(given: Any) -> str:
    """A value of JSON in a sentence; the reader of JSON makes every number a float."""
    return quoted(int(given) if isinstance(given, float) and given.is_integer() else given)
