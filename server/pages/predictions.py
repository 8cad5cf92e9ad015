"""A line about each route that predicts."""

from unpickled.server.config import Config
from unpickled.server.serve import routes

_PROTOCOLS = {
    "native": "Predict",
    "inference": "Infer (Open Inference Protocol)",
    "tfserving": "Predict (TensorFlow Serving, KServe V1)",
    "sagemaker": "Predict (SageMaker, MLflow)",
    "azure": "Predict (Azure Machine Learning)",
    "vertex": "Predict (Vertex AI)",
}
_TARGETS = {
    "<label>": "the version that a label stands for",
    "<version>": "a version of a model",
    "<name>": "a model",
    "": "the default model",
}


def summaries(config: Config) -> dict[str, str]:
    """Route ("POST /predict") -> its line; where two protocols have one path, the last of them answers it."""
    return {
        f"POST {rule}": f"{_PROTOCOLS[route.protocol]} with {_target(rule)}"
        for route in routes.table(config)
        for rule in route.rules
    }


def _target(rule: str) -> str:
    return next(target for name, target in _TARGETS.items() if name in rule)
