"""Unpickled: a fitted scikit-learn pipeline as one ONNX file, served over HTTP or in any Python process.

    from unpickled import Config, create_app, export_pipeline, load

``export_pipeline`` needs ``pip install 'unpickled[export]'``, ``create_app`` needs ``'unpickled[server]'``;
``load`` needs ``'unpickled[embedded]'``, which is a part of ``'unpickled[server]'``.
Each is imported when it is first used, so that one works without the libraries of the other.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unpickled.export import export_pipeline
    from unpickled.server import Config, create_app, load

    __version__: str

__all__ = ["Config", "create_app", "export_pipeline", "load"]

_PACKAGES = {
    "Config": "unpickled.server",
    "create_app": "unpickled.server",
    "export_pipeline": "unpickled.export",
    "load": "unpickled.server",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # importlib.metadata takes a hundred times as long to import as this module.
        return import_module("importlib.metadata").version("unpickled")
    if name not in _PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PACKAGES[name]), name)


def _command() -> int:
    """The installed program ``unpickled``; returns its exit status."""
    interrupts = import_module("unpickled.server.interrupts")
    interrupts.end_at_once()
    status: int = import_module("unpickled.__main__").main()
    return status


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
