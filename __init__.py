"""Unpickled: a fitted scikit-learn pipeline as one ONNX file, served over HTTP.

    from unpickled import Config, create_app, export_pipeline

``export_pipeline`` needs ``pip install 'unpickled[export]'``, ``create_app`` needs ``'unpickled[server]'``;
each is imported when it is first asked for, so that either works without the other's libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unpickled.export import export_pipeline
    from unpickled.server import Config, create_app

__all__ = ["Config", "create_app", "export_pipeline"]

_PACKAGES = {
    "Config": "unpickled.server",
    "create_app": "unpickled.server",
    "export_pipeline": "unpickled.export",
}


def __getattr__(name: str) -> Any:
    if name not in _PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PACKAGES[name]), name)
