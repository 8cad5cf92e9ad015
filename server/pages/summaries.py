"""Summaries of the routes that predict, for the list of all routes."""

from unpickled.server.config import Config
from unpickled.server.protocols import registry

_TARGETS = {
    "<label>": "the version that a label stands for",
    "<version>": "a version of a model",
    "<name>": "a model",
    "": "the default model",
}


def of_predictions(config: Config) -> dict[str, str]:
    """Route ("POST /predict") -> its summary; if two protocols have one path, the last one answers it."""
    return {
        f"POST {rule}": f"{protocol.summary} with {_target(rule)}"
        for protocol, paths in registry.routes(config)
        for rule in paths.rules
    }


def _target(rule: str) -> str:
    return next(target for name, target in _TARGETS.items() if name in rule)
