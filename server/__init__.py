"""Serve the models that export/ writes, one ONNX file each, without scikit-learn and without pickle."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

    from unpickled.server.config import Config

__all__ = ["Config", "create_app"]


def __getattr__(name: str) -> Any:
    """Import Config when it is first asked for: nothing is imported before a command handles Ctrl-C."""
    if name != "Config":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from unpickled.server.config import Config

    return Config


def create_app(config: "Config | None" = None) -> "Flask":
    """Create the Flask application with every model loaded; any WSGI server can run it.

    Args:
        config: The settings; without them, those of the environment and of ``unpickled.toml``.

    Returns:
        The application. A model that cannot be served is reported by its pages and does not stop the others.

    Raises:
        ConfigError: A setting is wrong, or the models folder cannot be read.
        ImportError: A library of the extra ``server`` is missing.

    Example:
        >>> from unpickled import Config, create_app
        >>> app = create_app(Config(models="models", default_model="iris"))
        >>> app.test_client().post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}).json["prediction"]
        [0]
    """
    # Imported here, as export/ shares artifact and model with the server and is installed without Flask.
    try:
        from unpickled.server import app
    except ModuleNotFoundError as error:
        raise ImportError(f"serving needs {error.name}: pip install 'unpickled[server]'") from error
    return app.create_app(config)
