"""One version in memory: it reads rows in any form, runs them, and does not change."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from unpickled.server.config import Runtime
from unpickled.server.embedded.row import Answer, answering
from unpickled.server.errors import NotSupported
from unpickled.server.frames import answers
from unpickled.server.frames.reader import Part, Reader
from unpickled.server.inference.prediction import Run
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message import strict
from unpickled.server.model.outside import MOST
from unpickled.server.model.policy import FeaturePolicy, Policy
from unpickled.server.model.ranges import Ranges
from unpickled.server.model.session import Model

Array = npt.NDArray[Any]
_Policy = TypeVar("_Policy", Policy, FeaturePolicy)


class Options(NamedTuple):
    """How a version is loaded and run, wherever it goes.

    ``runtime``: ONNX Runtime's settings. ``extra_columns``: whether unknown columns are refused. ``keys``: a
    file or folder of public keys, one of which has to have signed the version.
    """

    runtime: Runtime = Runtime()
    extra_columns: Literal["ignore", "refuse"] = "refuse"
    keys: str | None = None


class Origin(NamedTuple):
    """The file of a version: its path, the name of the model, its number if it has one, and its digest."""

    path: Path
    name: str
    number: int | None
    sha256: str


class Version:
    """One version under a policy for values outside the training range. Any thread may call it.

    Args:
        origin: Its file.
        model: Its graph.
        policy: The policy.
        options: How it is run.
    """

    def __init__(self, origin: Origin, model: Model, policy: Policy, options: Options) -> None:
        self.origin = origin
        self.model = model
        self.policy = policy
        self.options = options
        # The memory is the caller's own: no limit of rows applies, and slices keep the model's own need low.
        self._predictor = Predictor(
            model, sys.maxsize, options.extra_columns, model.cost.slice_rows, Ranges(model.manifest, policy)
        )
        self._reader = Reader(self._predictor)
        self._answer = answering(self._predictor)
        self._outputs = model.outputs
        self.classes: tuple[int | str, ...] = model.outputs.members[0].choices
        # Text stays Python's own: an array of characters would drop zeros at the end.
        self._dtype: Any = np.object_ if self.classes and isinstance(self.classes[0], str) else np.int64
        # All ranges that the policy looks at, none of which refuses.
        self._seen = Ranges(model.manifest, _flagging(policy))

    def predict(self, rows: Any) -> Array:
        """Labels (rows,), or numbers (rows,) or (rows, targets)."""
        answer = self._answer(rows)
        if answer is None:
            tensors = self._outputs.tensor_values
            # The scores of a long table are let go part by part.
            values = _joined([tensors(run.labels, run.scores)[0] for run in self._runs(rows)])
            # The integers of ONNX Runtime are C's long long: NumPy shows them as another type than its own.
            return values.view(np.int64) if values.dtype == np.int64 else values
        if self.classes:
            return np.array([answer.label], self._dtype)
        numbers = np.array(answer.scores)
        return numbers if len(numbers) == 1 else numbers[np.newaxis]

    def scores(self, rows: Any) -> npt.NDArray[np.float64]:
        """Probabilities or decision scores (rows, classes)."""
        if not self.classes:
            raise NotSupported(f"model {self.origin.name!r} predicts numbers and has no scores: call predict")
        answer = self._answer(rows)
        if answer is None:
            return _joined([run.scores for run in self._runs(rows)])
        return np.array([answer.scores])

    def check_probabilities(self) -> None:
        """NotSupported where the pipeline has no predict_proba; the sentence says what it has."""
        if "predict_proba" not in self._outputs.methods:
            has = "decision scores: call scores" if self.classes else "numbers: call predict"
            raise NotSupported(f"model {self.origin.name!r} has no probabilities, but {has}")

    def frame(self, rows: Any, scores_alone: bool = False) -> Any:
        """The answers as a frame, or of them the scores."""
        members = self._outputs.members[-1:] if scores_alone else self._outputs.members
        return answers.framed(answers.columns(self._outputs, *self._both(rows), members), rows)

    def outside(self, rows: Any) -> list[dict[str, Any]]:
        """A description of each value outside the training range, by row."""
        return [finding for part in self._reader.parts(rows) for finding in self._findings(part)]

    def _both(self, rows: Any) -> tuple[Array, npt.NDArray[np.float64]]:
        answer: Answer | None = self._answer(rows)
        if answer is None:
            runs = [*self._runs(rows)]
            return _joined([run.labels for run in runs]), _joined([run.scores for run in runs])
        return np.array([answer.label], self._dtype), np.array([answer.scores])

    def _runs(self, rows: Any) -> Iterator[Run[Array]]:
        for part in self._reader.parts(rows):
            yield self._predictor.run_feeds(part.feeds, part.rows, part.first)

    def _findings(self, part: Part) -> Iterator[dict[str, Any]]:
        _, outside = self._seen.admit(part.feeds, part.rows, _at_once, part.first)
        if outside is None:
            return
        # So few rows at a time that none is left out: an answer names so many values at most.
        size = len(part.rows) if outside.count <= MOST else max(1, MOST // len(self.model.signature.names))
        for start in range(0, len(part.rows), size):
            feeds = {name: array[start : start + size] for name, array in part.feeds.items()}
            rows: Sequence[Any] = part.rows[start : start + size]
            _, found = self._seen.admit(feeds, rows, _at_once, part.first + start)
            if found is not None:
                yield from map(_finding, strict.parse(found.findings))


def _joined(arrays: Sequence[Array]) -> Array:
    """The arrays one after the other; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _finding(members: Mapping[str, Any]) -> dict[str, Any]:
    """A finding with its counts as integers."""
    counts = {name: int(members[name]) for name in ("row", "more") if name in members}
    return {**members, **counts}


def _flagging(policy: Policy) -> Policy:
    """The policy, which flags in place of refusing."""
    features = {name: _flags(own) for name, own in policy.features.items()}
    return replace(_flags(policy), features=features)


def _flags(policy: _Policy) -> _Policy:
    return replace(policy, outside="flag") if policy.outside == "refuse" else policy


def _at_once() -> None:
    """A pace that lets nobody go first."""
