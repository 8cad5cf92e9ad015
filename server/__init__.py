"""Serves the models that export/ writes: no scikit-learn, no pickle, one ONNX file each."""

import os
import signal
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

if sys.argv[:1] == ["-m"] and ("-m", "server") in pairwise(sys.orig_argv):
    # python -m server, on its way to main(): an exception could be swallowed by what is imported.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

from server.config import Config

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["Config", "create_app"]


def create_app(config: Config | None = None) -> "Flask":
    """The Flask application with every model loaded; see server.app.create_app."""
    # export/ shares server.artifact and server.model, and is installed without Flask.
    from server import app

    return app.create_app(config)
