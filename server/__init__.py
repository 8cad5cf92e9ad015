"""Serves the models that export/ writes: no scikit-learn, no pickle, one ONNX file each."""

from typing import TYPE_CHECKING

from unpickled.server.config import Config

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Config", "create_app"]


def create_app(config: Config | None = None) -> "Flask":
    """The Flask application with every model loaded; see server.app.create_app."""
    # export/ shares server.artifact and server.model, and is installed without Flask.
    from unpickled.server import app

    return app.create_app(config)
