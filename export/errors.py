"""Every error that the export raises on purpose, as a part of the project's tree of errors.

UnpickledError
└── ExportError          a pipeline is not written
    ├── DataError        the table cannot be trained on, or an argument does not fit it
    ├── ConversionError  a step cannot be turned into a graph
    ├── ParityError      the graph does not compute what the pipeline computes
    └── QualityError     the model is worse than what was asked for

Their texts are full sentences that say what to do. Converters raise the two exceptions at the end of this
file instead; ``convert`` turns them into sentences that name the step.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from unpickled.server.errors import UnpickledError


def reason(error: BaseException) -> str:
    """The first line of another library's error, without its full stop, for use inside a sentence."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


class ExportError(UnpickledError):
    """A pipeline was not exported; nothing was written."""


@contextmanager
def memory_reported() -> Iterator[None]:
    """Turn a MemoryError into an ExportError that says what to do."""
    try:
        yield
    except MemoryError as error:
        raise ExportError(
            "The memory does not suffice to export this pipeline, so nothing was written: give the process "
            "more, or use fewer rows or columns, or a smaller model."
        ) from error


class DataError(ExportError):
    """A table that cannot be trained on, or an argument that does not fit it."""


class ConversionError(ExportError):
    """A step of the pipeline cannot be turned into a graph."""


class ParityError(ExportError):
    """The graph does not compute what the pipeline computes."""


class QualityError(ExportError):
    """The fitted model is worse than what was asked for."""


class NoGraph(Exception):
    """No graph computes as this estimator does.

    ``reason`` and ``remedy`` are clauses without a full stop; without a remedy ``convert`` adds its own.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class NoConverter(Exception):
    """The converter cannot convert an estimator with these parameters, but skl2onnx may."""
