"""Export a fitted scikit-learn pipeline as one ONNX file that proves it computes the same."""

import os
import signal
import sys
from itertools import pairwise

if sys.argv[:1] == ["-m"] and ("-m", "export") in pairwise(sys.orig_argv):
    # python -m export, on its way to main(): an exception could be swallowed by what is imported.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

try:
    from export.publish import Export, export_pipeline
except ModuleNotFoundError as error:
    raise ImportError(f"exporting needs {error.name}: pip install 'unpickled[export]'") from error
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
