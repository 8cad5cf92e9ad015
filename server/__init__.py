"""Serve the models that export/ writes, one ONNX file each, without scikit-learn and without pickle."""

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from os import PathLike

    from flask import Flask

    from unpickled.server.config import Config, Runtime
    from unpickled.server.embedded.model import LoadedModel

__all__ = ["Config", "create_app", "load"]


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
        ImportError: A library of the extra ``server`` is missing, or the operating system is Windows.

    Example:
        >>> from unpickled import Config, create_app
        >>> app = create_app(Config(models="models", default_model="iris"))
        >>> app.test_client().post("/predict", json={"features": [5.1, 3.5, 1.4, 0.2]}).json["prediction"]
        [0]
    """
    from unpickled.server.system import NEEDS_POSIX, POSIX

    if not POSIX:
        raise ImportError(f"serving {NEEDS_POSIX}")
    # Imported here, as export/ shares artifact and model with the server and is installed without Flask.
    try:
        from unpickled.server import app
    except ModuleNotFoundError as error:
        raise ImportError(f"serving needs {error.name}: pip install 'unpickled[server]'") from error
    return app.create_app(config)


def load(
    path: "str | PathLike[str]",
    *,
    version: int | None = None,
    label: str | None = None,
    follow: bool = False,
    runtime: "Runtime | None" = None,
    extra_columns: Literal["ignore", "refuse"] = "refuse",
    require_signature: "str | PathLike[str] | None" = None,
) -> "LoadedModel":
    """Load a model into this process, verified as a server does: it answers its golden rows first.

    Args:
        path: The folder of a model, of which the version is taken that answers most requests by its
            serving.toml; the folder of a version; or the file of one. In a model's folder, the policy of its
            serving.toml holds for values outside the training range.
        version: The number of another version of the folder.
        label: The label of another version of the folder.
        follow: Look at the folder each second, in a thread, and take the version that answers then, once
            another process has loaded it. One that cannot be served changes nothing; the log ``unpickled``
            has the reason.
        runtime: How ONNX Runtime runs the model, such as ``Config.of(intra_op_threads=4).runtime``; without
            it, on the CPU with one thread.
        extra_columns: Whether columns that training did not have are ignored or refused.
        require_signature: A file or folder of public keys, one of which has to have signed the version
            (``unpickled sign``), also those that are followed and unpickled later. The settings of a server
            do not count.

    Returns:
        The model.

    Raises:
        ArtifactError: The file is unsafe or damaged, is no model, answers its golden rows otherwise than
            the pipeline did, or is not signed.
        ServingError: There is no such label, or a serving.toml is wrong.
        ConfigError: The arguments contradict each other, a provider does not exist, or the keys cannot be
            read.
        ImportError: A library of the extra ``embedded`` is missing.

    Example:
        >>> from unpickled import load
        >>> load("models/iris").predict([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
        array([0, 2])
    """
    try:
        from unpickled.server.embedded import loading
    except ModuleNotFoundError as error:
        raise ImportError(
            f"a model in process needs {error.name}: pip install 'unpickled[embedded]'"
        ) from error
    return loading.load(path, version, label, follow, runtime, extra_columns, require_signature)
