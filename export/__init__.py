"""Export a fitted scikit-learn pipeline as one ONNX file that proves it computes the same."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unpickled.export.publish import Export, export_pipeline
    from unpickled.server.errors import ConversionError, DataError, ExportError, ParityError, QualityError

__all__ = [
    "ConversionError",
    "DataError",
    "Export",
    "ExportError",
    "ParityError",
    "QualityError",
    "export_pipeline",
]

_PUBLISH = {"Export", "export_pipeline"}


def __getattr__(name: str) -> Any:
    """Import what is first asked for: a command must be able to start before scikit-learn is imported."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "unpickled.export.publish" if name in _PUBLISH else "unpickled.server.errors"
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"exporting needs {error.name}: pip install 'unpickled[export]'") from error
