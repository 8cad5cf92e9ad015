"""Export a fitted scikit-learn pipeline as one ONNX file that proves it computes the same."""

try:
    from unpickled.export.publish import Export, export_pipeline
except ModuleNotFoundError as error:
    raise ImportError(f"exporting needs {error.name}: pip install 'unpickled[export]'") from error
from unpickled.export.errors import ConversionError, DataError, ExportError, ParityError, QualityError

__all__ = [
    "ConversionError",
    "DataError",
    "Export",
    "ExportError",
    "ParityError",
    "QualityError",
    "export_pipeline",
]
