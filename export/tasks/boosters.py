"""The estimators of gradient boosting libraries, which are imported when one is trained."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from unpickled.export.errors import DataError

# By library: its name in prose, and the parameters with which it prints nothing and writes no files.
_QUIET: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "lightgbm": ("LightGBM", {"verbosity": -1}),
    "xgboost": ("XGBoost", {"verbosity": 0}),
    "catboost": ("CatBoost", {"verbose": False, "allow_writing_files": False}),
}


def boosters(classes: Mapping[str, str]) -> dict[str, Callable[[int], Any]]:
    """For each library in ``classes``, a function from a seed to an unfitted estimator of that class."""
    return {library: _factory(library, name) for library, name in classes.items()}


def _factory(library: str, name: str) -> Callable[[int], Any]:
    title, quiet = _QUIET[library]

    def make(seed: int) -> Any:
        try:
            module = import_module(library)
        except ModuleNotFoundError as error:
            raise DataError(
                f"{name} is a class of {title}, which is not installed: pip install {library}."
            ) from error
        return getattr(module, name)(random_state=seed, **quiet)

    return make


def alone(model: Any) -> None:
    """Let LightGBM work in one thread: it asks for all of them, whatever limit threadpoolctl has set."""
    if type(model).__module__.startswith("lightgbm."):
        model.set_params(n_jobs=1)
