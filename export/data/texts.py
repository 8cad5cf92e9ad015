"""A column of a table as its file has it: text, each distinct one once."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute


@dataclass(frozen=True, slots=True)
class Texts:
    """The cells of a column: ``distinct`` texts, and for each row the place of its text among them."""

    distinct: tuple[str, ...]
    places: npt.NDArray[np.int64]

    @classmethod
    def of(cls, column: pyarrow.ChunkedArray) -> "Texts":
        """The cells of an Arrow column of text, which has no null."""
        encoded = pyarrow.compute.dictionary_encode(column.combine_chunks())
        places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return cls(tuple(encoded.dictionary.to_pylist()), places)

    def __len__(self) -> int:
        return len(self.places)

    def count(self, texts: Iterable[str]) -> dict[str, int]:
        """How many cells hold each of these texts; texts that no cell holds are left out."""
        counts = np.bincount(self.places, minlength=len(self.distinct))
        cells = dict(zip(self.distinct, counts.tolist(), strict=True))
        return {text: cells[text] for text in texts if text in cells}

    def mapped(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """For each row the value of its text, out of one value for each distinct text."""
        return values[self.places]
