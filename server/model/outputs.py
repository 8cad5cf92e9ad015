"""The answers of one model: what the graph returns, how it is named, counted and compared.

    Outputs             the interface that protocols, metrics, shadows and pages use
    ├── Classification  a label and one score for each class (classification.py)
    └── Regression      one number for each target (regression.py)

A model of another kind is another such class, and one line in kinds.py.

Every row has a label and a row of scores. The label decides in which series the row is counted. The answer to
one row is a head, which depends on the label alone, and the text of its scores. All numbers have the label 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from unpickled.server.errors import InferenceFailed

Label = int | str | float
# (rows,)
Labels = Sequence[Any] | npt.NDArray[Any]
# (rows, width)
Scores = Sequence[Sequence[float] | npt.NDArray[np.float64]] | npt.NDArray[np.float64]


class Differences(NamedTuple):
    """How the answers of two models to the same rows differ.

    Attributes:
        agree: Whether the two answers to each row are the same (rows,).
        distances: The distance between the two, 0 to 1 (rows,); None where none is defined.
        absolute: The differences of their numbers (rows, targets); None where they are not comparable.
        relative: The same, relative to the size of the numbers.
    """

    agree: npt.NDArray[np.bool_]
    distances: npt.NDArray[np.float64] | None = None
    absolute: npt.NDArray[np.float64] | None = None
    relative: npt.NDArray[np.float64] | None = None


class Comparison(NamedTuple):
    """Compares the answers of two models.

    Attributes:
        compare: Labels and scores of two models for the same rows -> their differences.
        targets: The targets whose numbers are compared, and bounds for their absolute differences; none of
            models that have no numbers in common.
    """

    compare: Callable[[Labels, Scores, Labels, Scores], Differences]
    targets: Mapping[str, tuple[float, ...]] = MappingProxyType({})


class Counts(Protocol):
    """Numbers that can be added to in place."""

    def __getitem__(self, index: int, /) -> float: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


class Member(NamedTuple):
    """One member of an answer in JSON; ``title`` is the name of its schema.

    A row has one value, which is one of ``choices`` where there are any; or, where there are ``entries``,
    one number per entry. ``each`` is the noun for an entry.
    """

    name: str
    title: str
    type: Literal["integer", "text", "number"]
    choices: tuple[int | str, ...] = ()
    entries: tuple[str, ...] = ()
    each: str = ""


class Tensor(NamedTuple):
    """One output of the graph: (rows,), or (rows, len(entries)) where there are entries.

    ``ranked``: the entries are classes, the best of which a request may ask for.
    """

    name: str
    dtype: Literal["int64", "float64", "string"]
    entries: tuple[str, ...] = ()
    ranked: bool = False


class Buffers(NamedTuple):
    """Memory for the answer to one row: a label (1,), scores (1, width), and the array of each output."""

    label: npt.NDArray[Any]
    scores: npt.NDArray[Any]
    bound: Mapping[str, npt.NDArray[Any]]


class Outputs(ABC):
    """The answers of a model.

    members: the members of an answer in JSON. The last one holds the scores; the label decides the others.
    tensors: the graph's outputs. The last one holds the scores.
    text: writes the scores of one row in JSON, for the last member; null stands for NaN and infinity.
    methods: each method of the pipeline that the model can answer for, and the member with its result.
    counted: the names of the series in which rows are counted.
    measured: the name of each score whose values are counted, and the bounds between which they are.
    title, names: a heading, and the names below it that describe the answers to a person.
    """

    members: tuple[Member, ...]
    tensors: tuple[Tensor, ...]
    text: Callable[[Sequence[float]], bytes]
    methods: Mapping[str, str]
    counted: tuple[str, ...]
    measured: Mapping[str, tuple[float, ...]] = MappingProxyType({})
    title: str
    names: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The header of a table of answers, one row per line: the members, then a column for each entry."""
        *by_label, scores = self.members
        columns = [f"{scores.name}_{entry}" for entry in scores.entries] or [scores.name]
        return [*(member.name for member in by_label), *columns]

    @abstractmethod
    def summary(self, quote: Callable[[str], str]) -> str:
        """The kind of answer in a few words; ``quote`` is applied to each name in them."""

    @abstractmethod
    def check_graph(self, types: Mapping[str, str]) -> None:
        """ArtifactError unless the dtypes of the graph's outputs are those that the manifest describes."""

    @abstractmethod
    def read(self, arrays: Sequence[Any], rows: int) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
        """Labels (rows,) and scores (rows, width) from the graph's outputs; InferenceFailed."""

    @abstractmethod
    def buffers(self, types: Mapping[str, str]) -> Callable[[], Buffers] | None:
        """Makes memory for one row; None where outputs of these dtypes have no fixed size."""

    @abstractmethod
    def check_golden(self, labels: Labels, scores: Scores) -> None:
        """ArtifactError unless these answers to the golden rows are those of the pipeline."""

    @abstractmethod
    def differences(
        self, scores: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """How far scores (rows, width) lie from the expected ones, measured as ``Parity.max_difference``.

        Equal infinities and NaN in the place of NaN are no difference.
        """

    @abstractmethod
    def heads(self, write: Callable[[Sequence[Any]], bytes]) -> Mapping[Any, bytes]:
        """For each label, the text that ``write`` makes of the values of all members but the last."""

    @abstractmethod
    def record_text(self, scores: Sequence[float]) -> bytes:
        """The scores of one row as ``text`` writes them, but as an object with a name for each score."""

    @abstractmethod
    def arrays(self, labels: Labels, scores: Scores) -> dict[str, Any]:
        """The members of one answer to all rows, each an array with a value per row."""

    @abstractmethod
    def items(self, labels: Labels, scores: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        """One document per row, its scores as an array."""

    @abstractmethod
    def records(self, labels: Labels, scores: npt.NDArray[np.float64]) -> list[dict[str, Any]]:
        """One document per row, its scores as an object with a name for each score."""

    @abstractmethod
    def tensor_values(
        self, labels: npt.NDArray[Any], scores: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[Any], ...]:
        """The values of each of ``tensors``."""

    @abstractmethod
    def places(self, first: int) -> Mapping[Any, int]:
        """The index at which each label is counted; ``first`` is the index of the first series."""

    @abstractmethod
    def count(self, labels: Labels, places: Mapping[Any, int], counts: Counts) -> None:
        """Add one to ``counts`` for each row, at the place of its label."""

    @abstractmethod
    def comparison(self, other: "Outputs") -> Comparison:
        """Compares answers of this model with those of another."""


def incomparable(labels: Labels, *_: Any) -> Differences:
    """The Comparison.compare of models of different kinds: their answers agree in no row."""
    return Differences(np.zeros(len(labels), np.bool_))


def apart(
    scores: npt.NDArray[np.float64], expected: npt.NDArray[np.float64], sizes: Any
) -> npt.NDArray[np.float64]:
    """|scores - expected| / sizes (rows, width): 0 where both are the same infinity, or NaN."""
    with np.errstate(invalid="ignore"):
        distances = np.abs(scores - expected) / sizes
    same = (scores == expected) | (np.isnan(scores) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isnan(distances), np.inf, distances))


def refuse_not_finite(scores: Scores, first: int = 0) -> None:
    """Raise InferenceFailed if any score is NaN or infinite; ``first`` is the number of the first row."""
    wrong = np.flatnonzero(~np.isfinite(np.asarray(scores)).all(axis=1))
    if len(wrong):
        row = first + int(wrong[0])
        raise InferenceFailed(
            f"the model's answer to row {row} is not a number: a feature of it is too large",
            row=row,
        )
