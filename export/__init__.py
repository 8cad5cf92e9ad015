"""Export a fitted scikit-learn pipeline as one ONNX file that proves it computes the same."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unpickled.export.errors import ConversionError, DataError, ExportError, ParityError, QualityError

if TYPE_CHECKING:
    from unpickled.export.publish import Export, export_pipeline

__all__ = [
    "ConversionError",
    "DataError",
    "Export",
    "ExportError",
    "ParityError",
    "QualityError",
    "export_pipeline",
]


def __getattr__(name: str) -> Any:
    """Import the exporter at the first use of its names, so that commands start without scikit-learn."""
    if name not in ("Export", "export_pipeline"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module("unpickled.export.publish"), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"exporting needs {error.name}: pip install 'unpickled[export]'") from error
