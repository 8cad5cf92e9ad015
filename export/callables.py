"""Classes and functions as a recipe names them, ``module:name``, and their import.

A model file is passed around, and importing what it names runs code. Unless the user trusts the file, nothing
is imported but estimators of known libraries, which keep what they are given until they are fitted, and
functions that compute and do nothing else.
"""

import importlib
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import numpy as np

from unpickled.export.errors import DataError, reason
from unpickled.server.quote import quoted

TRUST = (
    "a model file is passed around, and importing from it runs code. Add --trust-recipe if you trust the "
    "file, or name a function that makes the pipeline with --recipe module:function"
)

# The packages whose estimators are imported without asking, the one module of this package that has any, and
# modules of functions that compute.
LIBRARIES = frozenset({"sklearn", "lightgbm", "xgboost", "catboost", "imblearn"})
_OWN = "unpickled.export.dates"
_OTHERS = frozenset({_OWN, "numpy", "scipy.special", "builtins"})
# Classes of these that are no estimators: splitters, and selectors of columns.
SETTINGS = ("sklearn.model_selection", "sklearn.compose")
# The modules whose functions compute. Others of scikit-learn read and write files.
_COMPUTING = ("sklearn.feature_selection", "sklearn.metrics", "sklearn.gaussian_process")
# Functions of NumPy that compute and are no ufuncs.
_FUNCTIONS = frozenset({"numpy:clip", "numpy:round", "numpy:around", "builtins:abs"})
# Modules that add a class to scikit-learn when they are imported.
_EXPERIMENTAL = {
    "IterativeImputer": "sklearn.experimental.enable_iterative_imputer",
    "HalvingGridSearchCV": "sklearn.experimental.enable_halving_search_cv",
    "HalvingRandomSearchCV": "sklearn.experimental.enable_halving_search_cv",
}
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", re.ASCII)


class NoName(Exception):
    """A class or function cannot be imported again; the text says why, as the end of a sentence with "is"."""


def name(thing: Any) -> str:
    """The name by which a class or function is imported again, in a public module where there is one.

    Raises NoName.
    """
    qualified = str(getattr(thing, "__qualname__", None) or getattr(thing, "__name__", ""))
    module = str(getattr(thing, "__module__", None) or _of_ufunc(thing))
    if "<lambda>" in qualified:
        raise NoName("a lambda")
    if "<locals>" in qualified:
        raise NoName(f"{qualified.rpartition('.')[2]}, which is defined inside a function")
    if module == "__main__":
        raise NoName(f"{qualified}, which is defined in a script and in no module")
    for place in dict.fromkeys([re.sub(r"\._.*", "", module), module]):
        text = f"{place}:{qualified}"
        if _NAME.fullmatch(text) and _attribute(text) is thing:
            return text
    raise NoName(f"{qualified or type(thing).__name__} of {module}, which cannot be imported again")


def estimator(text: str, trusted: bool) -> Any:
    """The class of an estimator, or of one of its settings, by name. Raises DataError."""
    thing = _imported(text, trusted, _is_known)
    if not isinstance(thing, type):
        raise DataError(f"The recipe names {quoted(text)} as an estimator, and it is none: make it again.")
    return thing


def function(text: str, trusted: bool) -> Callable[..., Any]:
    """The function of that name. Raises DataError."""
    thing = _imported(text, trusted, _computes)
    if not callable(thing):
        raise DataError(f"{quoted(text)} is no function: name one as module:function.")
    return thing  # type: ignore[no-any-return]


def _imported(text: str, trusted: bool, is_safe: Callable[[str, Any], bool]) -> Any:
    """The thing that a name stands for. Nothing of an unknown package is imported without trust."""
    if not _NAME.fullmatch(text):
        raise DataError(f"{quoted(text)} names no class or function: write it as module:function.")
    if not trusted and not _may_be_imported(text.partition(":")[0]):
        raise DataError(f"The recipe names {quoted(text)}: {TRUST}.")
    try:
        thing = _attribute(text)
    except Exception as error:  # the code of the module may raise anything
        remedy = _remedy(text, isinstance(error, AttributeError))
        raise DataError(f"{quoted(text)} cannot be imported ({reason(error)}): {remedy}.") from error
    if not trusted and not is_safe(text, thing):
        raise DataError(f"The recipe names {quoted(text)}: {TRUST}.")
    return thing


def _may_be_imported(module: str) -> bool:
    """Whether to import a module runs nothing but the definitions of a known library."""
    package, *inner = module.split(".")
    return module in _OTHERS or (package in LIBRARIES and "__main__" not in inner)


def _remedy(text: str, is_there: bool) -> str:
    """A clause that says how to make a name importable; ``is_there``: its module is."""
    package = text.partition(":")[0].partition(".")[0]
    if package in LIBRARIES:
        return f"install the version of {package} that the recipe was made with"
    if is_there:
        return "name a function that the module has"
    return "add its folder to PYTHONPATH if it is your own, or install its package"


def _attribute(text: str) -> Any:
    module, _, path = text.partition(":")
    if module.startswith("sklearn.") and path in _EXPERIMENTAL:
        importlib.import_module(_EXPERIMENTAL[path])
    return attrgetter(path)(importlib.import_module(module))


def _is_known(text: str, thing: Any) -> bool:
    """Whether a name is that of an estimator of a known library, and of nothing that it has imported."""
    home = getattr(thing, "__module__", "")
    if not isinstance(thing, type) or not (home.partition(".")[0] in LIBRARIES or home == _OWN):
        return False
    return hasattr(thing, "get_params") or home.startswith(SETTINGS)


def _computes(text: str, thing: Any) -> bool:
    """Whether a name is that of a function that neither reads nor writes anything."""
    if isinstance(thing, np.ufunc) or text in _FUNCTIONS:
        return True
    home = getattr(thing, "__module__", "") or ""
    return any(home == module or home.startswith(f"{module}.") for module in _COMPUTING)


def _of_ufunc(thing: Any) -> str:
    """The module of a ufunc: in older releases of NumPy, it does not know its own."""
    return "scipy.special" if getattr(np, getattr(thing, "__name__", ""), None) is not thing else "numpy"
