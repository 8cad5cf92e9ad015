"""The graph that is served, asked about rows and about rows with another column."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export.convert import Conversion
from unpickled.export.gate.answers import Answers
from unpickled.export.gate.pair import Run
from unpickled.export.places import places

Array = npt.NDArray[Any]
# The tensors of a graph by their names, each (rows, features).
Tensors = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Served:
    """A graph; ``run`` runs it on tensors and returns (labels, scores)."""

    run: Run
    conversion: Conversion

    def tensors(self, frame: pd.DataFrame) -> Tensors:
        """The graph's tensors for the rows of a frame: copies, which may be written to."""
        tensors = self.conversion.layout.feeds(frame, self.conversion.inputs)
        return {name: np.array(cells) for name, cells in tensors.items()}

    def column(self, tensors: Tensors, feature: str) -> Array:
        """The cells (rows,) of a feature in these tensors: a view, by which they are replaced."""
        tensor = next(tensor for tensor in self.conversion.inputs if feature in tensor.features)
        cells: Array = tensors[tensor.name][:, tensor.features.index(feature)]
        return cells

    def asked(self, tensors: Tensors) -> Answers | None:
        """The answers, labels as places among the classes; None where the graph fails."""
        try:
            labels, scores = self.run(tensors)
        except MemoryError:
            raise
        except Exception:  # ONNX Runtime's own exceptions share no base
            return None
        return Answers(self._places(np.asarray(labels)), np.asarray(scores, np.float64))

    def answers(self, tensors: Tensors) -> Answers | None:
        """The same; None also where a score is NaN or infinite, as no mean has such rows."""
        answers = self.asked(tensors)
        return answers if answers is not None and np.isfinite(answers.scores).all() else None

    def _places(self, labels: Array) -> Array:
        classes = np.array(self.conversion.classes)
        return places(classes, labels.astype(classes.dtype)) if len(classes) else labels
