"""The parameters of an unfitted estimator as JSON, and the estimator made from them again.

A value that is none of JSON is a table with one key, its form: ``{"tuple": [1, 2]}``. An estimator inside is
``{"estimator": [name, parameters]}``. Parameters are choices: what may be rows of a table is not written.
"""

import inspect
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial, singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from unpickled.export import callables
from unpickled.export.callables import TRUST, NoName
from unpickled.export.errors import DataError, reason
from unpickled.export.releases import FrozenEstimator
from unpickled.server.artifact.recipe import Step
from unpickled.server.quote import counted, listed, quoted

# Levels of values in values, values of one estimator, cells of an array and characters of a text.
DEEPEST, MOST, CELLS, LONGEST = 40, 20_000, 1_000, 10_000

# Parameters that say where results of the work are kept, which is no part of how a model is made.
_WORK = frozenset({"memory", "train_dir", "snapshot_file"})
# Parameters that name files and machines: an estimator that is not trusted gets none.
_PLACES = _WORK | {"file_with_hosts", "node_type", "node_port", "input_borders", "output_borders"}

# The dtypes that are made again: others may be as wide as their name says.
_INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_NUMBERS = frozenset({"bool", "float16", "float32", "float64", *_INTEGERS})
_KINDS = ("number", "integer", "floating", "object_", "str_", "bool_", "datetime64", "timedelta64")
_TYPES: Mapping[str, type] = {
    **{f"numpy:{name}": np.dtype(name).type for name in _NUMBERS},
    **{f"numpy:{name}": getattr(np, name) for name in _KINDS},
    **{f"builtins:{kind.__name__}": kind for kind in (bool, float, int, str, object)},
}


class _Writer:
    """Writes the values of one estimator; ``faults`` say which of them have no form."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._depth = 0
        self._left = MOST

    def value(self, value: Any) -> Any:
        """A value as JSON. Raises NoName."""
        self._left -= 1
        if self._left < 0 or self._depth >= DEEPEST:
            raise NoName("too large or too deep to be kept")
        self._depth += 1
        try:
            return _form(value, self)
        finally:
            self._depth -= 1

    def parameters(self, kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a class that differ from their defaults. Each that has no form is a fault."""
        parameters = {}
        for name, value in _changed(kind, values):
            try:
                parameters[name] = self.value(value)
            except NoName as fault:
                self.faults.append(f"{kind.__name__}.{name} is {fault}")
        if _is_prefit(values):
            self.faults.append(f"{kind.__name__} has an estimator that is fitted before")
        return parameters


def written(estimator: Any) -> tuple[Step | None, str]:
    """The class and the parameters of an estimator, fitted or not; or why these do not make it again.

    The reason is a clause without a full stop.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> written(LogisticRegression(C=0.5))
        (Step(estimator='sklearn.linear_model:LogisticRegression', parameters={'C': 0.5}), '')
    """
    writer = _Writer()
    try:
        form = writer.value(estimator)
    except NoName as fault:
        writer.faults.append(f"the pipeline is {fault}")
    except Exception as error:  # an estimator of the user's own may raise anything
        writer.faults.append(f"its parameters cannot be asked for: {reason(error)}")
    if writer.faults:
        return None, listed(writer.faults, 5, str)
    if "estimator" not in form:
        return None, f"the pipeline is {_formless(estimator)}"
    name, parameters = form["estimator"]
    return Step(estimator=name, parameters=parameters), ""


def _changed(kind: type, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parameters that are not what the class has by default."""
    defaults = _defaults(kind)
    for name, value in values.items():
        if name not in _WORK and not _same(value, defaults.get(name, inspect.Parameter.empty)):
            yield name, value


def _defaults(kind: type) -> dict[str, Any]:
    """The value of each parameter of a class where it is not given, those of its bases included."""
    makers = [vars(base)["__init__"] for base in reversed(kind.__mro__) if "__init__" in vars(base)]
    signatures = [inspect.signature(maker).parameters for maker in makers]
    return {
        name: each.default
        for signature in signatures
        for name, each in signature.items()
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and repr(value) == repr(default))


def _is_prefit(values: Mapping[str, Any]) -> bool:
    """Whether these parameters of an estimator say that the one inside has been fitted."""
    cv = values.get("cv")
    return values.get("prefit") is True or (isinstance(cv, str) and cv == "prefit")


@singledispatch
def _form(value: Any, writer: _Writer) -> Any:
    """A value as JSON, by its type. Raises NoName."""
    kind = type(value)
    if isinstance(value, FrozenEstimator):
        raise NoName("a FrozenEstimator, which is fitted before")
    if hasattr(value, "get_params"):
        return {"estimator": [callables.name(kind), writer.parameters(kind, value.get_params(deep=False))]}
    if kind.__module__.startswith(callables.SETTINGS):
        names = list(inspect.signature(kind).parameters)
        if all(hasattr(value, name) for name in names):
            values = {name: getattr(value, name) for name in names}
            return {"setting": [callables.name(kind), writer.parameters(kind, values)]}
    if callable(value) and hasattr(value, "__name__"):
        return {"function": callables.name(value)}
    raise NoName(_formless(value))


def _formless(value: Any) -> str:
    return f"an object of {type(value).__name__}, which is no value to write down"


@_form.register(type(None))
@_form.register(bool)
def _plain(value: Any, writer: _Writer) -> Any:
    return value


@_form.register
def _whole(value: int, writer: _Writer) -> Any:
    if type(value) is not int:
        raise NoName(_formless(value))
    # JSON keeps 64 bits of it.
    return value if -(2**63) <= value < 2**63 else {"int": str(value)}


@_form.register
def _real(value: float, writer: _Writer) -> Any:
    return value if math.isfinite(value) else {"float": str(value)}


@_form.register
def _text(value: str, writer: _Writer) -> Any:
    if len(value) > LONGEST:
        raise NoName(f"a text of {counted(len(value), 'character')}, which may hold rows")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NoName("no Unicode text") from None
    return value if type(value) is str else {"scalar": ["str", str(value)]}


@_form.register
def _list(value: list, writer: _Writer) -> Any:  # type: ignore[type-arg]
    return _several(value, writer)


@_form.register
def _tuple(value: tuple, writer: _Writer) -> Any:  # type: ignore[type-arg]
    return {"tuple": _several(value, writer)}


@_form.register
def _dict(value: dict, writer: _Writer) -> Any:  # type: ignore[type-arg]
    return {"dict": [_several(pair, writer) for pair in _few(value.items())]}


@_form.register
def _slice(value: slice, writer: _Writer) -> Any:
    return {"slice": _several((value.start, value.stop, value.step), writer)}


@_form.register(np.generic)
def _scalar(value: Any, writer: _Writer) -> Any:
    if value.dtype.name not in _NUMBERS:
        raise NoName(_formless(value))
    return {"scalar": [value.dtype.name, writer.value(value.item())]}


@_form.register(np.ndarray)
def _array(value: npt.NDArray[Any], writer: _Writer) -> Any:
    if value.ndim != 1 or value.size > CELLS:
        raise NoName(f"an array {value.shape}, which may hold rows")
    dtype = {"U": "str", "O": "object"}.get(value.dtype.kind, value.dtype.name)
    if dtype not in _NUMBERS | {"str", "object"}:
        raise NoName(f"an array of {dtype}, which is no value to write down")
    return {"array": [dtype, _several(value.tolist(), writer)]}


@_form.register(np.dtype)
def _dtype(value: Any, writer: _Writer) -> Any:
    if value.name not in _NUMBERS | {"object"}:
        raise NoName(f"the dtype {value.name}, which is no value to write down")
    return {"dtype": value.name}


@_form.register(np.random.RandomState)
@_form.register(np.random.Generator)
def _random(value: Any, writer: _Writer) -> Any:
    raise NoName(f"a {type(value).__name__}, which draws other numbers each time: a number is kept")


@_form.register(type(pd.NA))
def _missing(value: Any, writer: _Writer) -> Any:
    return {"constant": "pandas.NA"}


@_form.register
def _type(value: type, writer: _Writer) -> Any:
    return {"type": callables.name(value)}


@_form.register
def _partial(value: partial, writer: _Writer) -> Any:  # type: ignore[type-arg]
    function, keywords = writer.value(value.func), writer.value(value.keywords)
    return {"partial": [function, _several(value.args, writer), keywords]}


def _several(values: Iterable[Any], writer: _Writer) -> list[Any]:
    return [writer.value(value) for value in _few(list(values))]


def _few(values: Collection[Any]) -> Collection[Any]:
    """The values, where they are not so many that they may be those of rows. Raises NoName."""
    if len(values) > CELLS:
        raise NoName(f"of {counted(len(values), 'value')}, which may hold rows")
    return values


def made(step: Step, trusted: bool = False) -> Any:
    """The unfitted estimator of a class and its parameters.

    Nothing of a package that is no known library is imported unless the recipe is ``trusted``.

    Raises:
        DataError: The recipe names code that is not trusted or not installed, or is damaged.
    """
    return _Reader(trusted).estimator(step.estimator, step.parameters)


class _Reader:
    """Makes values of their forms. Raises DataError."""

    def __init__(self, trusted: bool) -> None:
        self._trusted = trusted
        self._depth = 0
        self._left = MOST

    def value(self, form: Any) -> Any:
        """The value of a form."""
        self._left -= 1
        if self._left < 0 or self._depth >= DEEPEST:
            raise DataError("The parameters in the recipe are too many or too deep: export the model again.")
        self._depth += 1
        try:
            return self._valued(form)
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            raise DataError(
                f"The recipe has a value that cannot be made, {quoted(form)}: export the model again."
            ) from error
        finally:
            self._depth -= 1

    def _valued(self, form: Any) -> Any:
        if isinstance(form, str) and len(form) > LONGEST:
            # In an array, each cell is as wide as the longest one.
            raise ValueError(form)
        if isinstance(form, list):
            return [self.value(each) for each in form]
        if not isinstance(form, dict):
            return form
        [(kind, content)] = form.items()
        return _MADE[kind](self, content)

    def estimator(self, name: str, parameters: Mapping[str, Any]) -> Any:
        """An unfitted estimator, or a setting of one."""
        kind = callables.estimator(name, self._trusted)
        if not self._trusted:
            _check_harmless(kind, parameters)
        values = {key: self.value(form) for key, form in parameters.items()}
        if not self._trusted:
            _check_words(kind, parameters)
        try:
            return kind(**values)
        except Exception as error:
            raise DataError(
                f"{quoted(name)} cannot be made with the parameters of the recipe ({reason(error)}): install "
                "the version of its library that the recipe was made with."
            ) from error

    def function(self, name: str) -> Callable[..., Any]:
        return callables.function(name, self._trusted)

    def type_named(self, name: str) -> Any:
        """A type of Python's or NumPy's, or the class of an estimator."""
        return _TYPES.get(name) or callables.estimator(name, self._trusted)

    def array(self, dtype: str, forms: list[Any]) -> npt.NDArray[Any]:
        """An array (cells,)."""
        values = [self.value(form) for form in forms]
        if dtype == "object":
            cells = np.empty(len(values), object)
            cells[:] = values
            return cells
        return np.array(values, _dtype_named(dtype)).reshape(len(values))

    def scalar(self, dtype: str, form: Any) -> Any:
        return _dtype_named(dtype).type(self.value(form))

    def partial(self, function: Any, arguments: list[Any], keywords: Any) -> Any:
        return partial(self.value(function), *self.value(arguments), **self.value(keywords))


def _dtype_named(name: str) -> Any:
    if name not in _NUMBERS | {"str", "object"}:
        raise ValueError(name)
    return np.dtype(name)


def _check_harmless(kind: type, parameters: Mapping[str, Any]) -> None:
    """Raise DataError if a parameter names a file or a machine, or is a text that the class does not know.

    LightGBM and XGBoost pass on whatever they are given, and some of it opens files and connections.
    """
    known = _defaults(kind)
    for name, form in parameters.items():
        is_number = name.isidentifier() and isinstance(form, (int, float))
        if name in _PLACES or (name not in known and not is_number):
            raise DataError(f"The recipe gives {kind.__name__} the parameter {quoted(name)}: {TRUST}.")


def _check_words(kind: type, parameters: Mapping[str, Any]) -> None:
    """Raise DataError if a text for LightGBM has several words.

    LightGBM writes all parameters into one text, and parts that again at blanks: a second word such as
    "forcedsplits_filename=..." would be a parameter of its own.
    """
    if kind.__module__.partition(".")[0] != "lightgbm":
        return
    for name, form in parameters.items():
        if _has_blanks(form):
            raise DataError(
                f"The recipe gives {kind.__name__} several words as {quoted(name)}, which may be more "
                f"parameters: {TRUST}."
            )


def _has_blanks(form: Any) -> bool:
    """Whether a text in a form has a blank; the form has been read, and is not too deep."""
    if isinstance(form, str):
        return len(form.split()) > 1 or form != form.strip()
    parts = [*form, *form.values()] if isinstance(form, dict) else form if isinstance(form, list) else []
    return any(_has_blanks(part) for part in parts)


_MADE: Mapping[str, Callable[[_Reader, Any], Any]] = {
    "int": lambda reader, text: int(text),
    "float": lambda reader, text: float(text),
    "tuple": lambda reader, forms: tuple(reader.value(form) for form in forms),
    "dict": lambda reader, pairs: {reader.value(key): reader.value(form) for key, form in pairs},
    "slice": lambda reader, forms: slice(*(reader.value(form) for form in forms)),
    "scalar": lambda reader, content: reader.scalar(*content),
    "array": lambda reader, content: reader.array(*content),
    "dtype": lambda reader, name: _dtype_named(name),
    "constant": lambda reader, name: {"pandas.NA": pd.NA}[name],
    "type": lambda reader, name: reader.type_named(name),
    "function": lambda reader, name: reader.function(name),
    "partial": lambda reader, content: reader.partial(*content),
    "setting": lambda reader, content: reader.estimator(*content),
    "estimator": lambda reader, content: reader.estimator(*content),
}
