"""Export a fitted scikit-learn pipeline as one ONNX file that proves it computes the same."""

from export.publish import Export, export_pipeline
from server.errors import ConversionError, DataError, ExportError, ParityError, QualityError

__all__ = [
    "ConversionError",
    "DataError",
    "Export",
    "ExportError",
    "ParityError",
    "QualityError",
    "export_pipeline",
]
