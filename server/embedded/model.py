"""A model in the memory of a Python process: what unpickled.load returns."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.embedded import origins
from unpickled.server.embedded.origins import Fixed, Followed
from unpickled.server.embedded.version import Options, Origin, Version
from unpickled.server.model.policy import Policy


class LoadedModel:
    """A model in memory, which answers as its pipeline does and refuses what the server refuses.

    Any thread may call it. Rows are one row, a record, a list of either, a dict of columns, a NumPy array, or
    a frame of pandas, polars or Arrow; lists and arrays without names are in the order of ``features``. A
    call is answered or refused as a whole. Pickled, it is the version in memory, by the path and the digest
    of its file.

    Example:
        >>> from unpickled import load
        >>> model = load("models/iris")
        >>> model.predict([5.1, 3.5, 1.4, 0.2])
        array([0])
        >>> model.predict_proba([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]).round(3).tolist()
        [[0.982, 0.018, 0.0], [0.0, 0.047, 0.953]]
        >>> model.class_names
        ('setosa', 'versicolor', 'virginica')
    """

    def __init__(self, source: Fixed | Followed) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._current.origin.name

    @property
    def version(self) -> int | None:
        """The number of the version in memory; None for a file that is in no model's folder."""
        return self._current.origin.number

    @property
    def path(self) -> Path:
        """The file that the version was read from."""
        return self._current.origin.path

    @property
    def sha256(self) -> str:
        """The digest of that file, in hexadecimal digits."""
        return self._current.origin.sha256

    @property
    def manifest(self) -> Manifest:
        """The description in the file: features, training, quality, parity."""
        return self._current.model.manifest

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in the order of the values in a row."""
        return self._current.model.signature.names

    @property
    def classes(self) -> tuple[int | str, ...]:
        """The labels, in the order of the columns of ``predict_proba``; none of a regressor."""
        return self._current.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the same order; none of a regressor."""
        return self._current.model.outputs.names if self.classes else ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the numbers that a regressor predicts; none of a classifier."""
        return () if self.classes else self._current.model.outputs.names

    @overload
    def predict(self, rows: Any, *, as_frame: Literal[False] = False) -> npt.NDArray[Any]: ...
    @overload
    def predict(self, rows: Any, *, as_frame: bool) -> Any: ...
    def predict(self, rows: Any, *, as_frame: bool = False) -> Any:
        """Predict as ``pipeline.predict`` does.

        Args:
            rows: Rows in any of the forms above.
            as_frame: Return all of the answer as a frame, with the columns that it has in CSV: the label, the
                name of the class, and the scores. It is of the library of the rows, and of pandas for lists
                and arrays; one of pandas keeps the index.

        Returns:
            Labels (rows,): int64, or Python's text in an array of objects. A regressor returns numbers in
            float64, (rows,) or (rows, targets).

        Raises:
            InvalidInput: A row is not what the model takes; the sentence, and ``details``, name row and
                feature.
            OutsideTraining: A value is outside the training range, and the model's serving.toml refuses
                such values.
            InferenceFailed: The graph fails, or a score is no number.

        Example:
            >>> from unpickled import load
            >>> model = load("models/iris")
            >>> flower = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
            >>> model.predict([flower, flower]).tolist()
            [0, 0]
            >>> model.predict(flower, as_frame=True)["predicted_class"].tolist()
            ['setosa']
        """
        current = self._source.current
        return current.frame(rows) if as_frame else current.predict(rows)

    @overload
    def predict_proba(self, rows: Any, *, as_frame: Literal[False] = False) -> npt.NDArray[np.float64]: ...
    @overload
    def predict_proba(self, rows: Any, *, as_frame: bool) -> Any: ...
    def predict_proba(self, rows: Any, *, as_frame: bool = False) -> Any:
        """Predict as ``pipeline.predict_proba`` does: float64 (rows, classes), or a frame of these columns.

        Raises:
            NotSupported: The pipeline has no probabilities; the sentence names what it has.
            InvalidInput, OutsideTraining, InferenceFailed: As ``predict``.
        """
        current = self._source.current
        current.check_probabilities()
        return current.frame(rows, scores_alone=True) if as_frame else current.scores(rows)

    def scores(self, rows: Any) -> npt.NDArray[np.float64]:
        """The scores of each class, as the server answers them: float64 (rows, classes).

        They are probabilities; where the pipeline has none, decision scores (of two classes [-score, score]),
        shares of votes or negative distances.

        Raises:
            NotSupported: The model predicts numbers.
            InvalidInput, OutsideTraining, InferenceFailed: As ``predict``.
        """
        return self._source.current.scores(rows)

    def outside(self, rows: Any) -> list[dict[str, Any]]:
        """Find the values outside the training range.

        Nothing is predicted, and nothing is refused because of such a value. A feature that the model's
        serving.toml accepts has none.

        Returns:
            For each value ``row``, ``feature``, ``value`` and ``trained``, and ``used`` where another value
            is predicted in its place, as in the member ``outside`` of an answer over HTTP. A row has at most
            100 of them.

        Raises:
            InvalidInput: As ``predict``.

        Example:
            >>> from unpickled import load
            >>> load("models/iris").outside([2000, 3.5, 1.4, 0.2])
            [{'row': 0, 'feature': 'sepal_length', 'value': 2000.0, 'trained': [4.3, 7.9]}]
        """
        return self._source.current.outside(rows)

    def close(self) -> None:
        """Stop following the folder; the version in memory answers on."""
        self._source = Fixed(self._source.current)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        number = "" if self.version is None else f" version {self.version}"
        return f"<LoadedModel {self.name}{number}, sha256 {self.sha256[:12]}>"

    def __reduce__(self) -> tuple[Callable[..., "LoadedModel"], tuple[Origin, Policy, Options]]:
        current = self._source.current
        return restored, (current.origin, current.policy, current.options)

    @property
    def _current(self) -> Version:
        return self._source.current


def restored(origin: Origin, policy: Policy, options: Options) -> LoadedModel:
    """The model that was pickled; ArtifactError where its file has another content by now, or is gone."""
    path, name, number, sha256 = origin
    return LoadedModel(Fixed(origins.of_file(path, options, name, number, policy, sha256)))
