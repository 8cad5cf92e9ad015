"""Reference pages made from the code.

A page writes ``{generated} settings`` as a directive; the function of that name in ``PARTS`` returns the
Markdown that takes its place. Nothing here is written by hand a second time: a new setting, error, converter,
metric or field of the manifest is on its page with the next build.
"""

import importlib
import json
import pkgutil
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, get_args, get_type_hints

import click
import msgspec
from kernels import left
from kinds import graphs
from sklearn.base import ClassifierMixin, OutlierMixin, RegressorMixin

from unpickled import Config, create_app
from unpickled.__main__ import unpickled
from unpickled.export import converters as export_converters
from unpickled.export import refusals as export_refusals
from unpickled.export.converters import foreign
from unpickled.server import config
from unpickled.server.artifact import manifest
from unpickled.server.errors import RequestError, UnpickledError
from unpickled.server.lifecycle.rules import Rules
from unpickled.server.observe import exposition


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """A text without marks that end a cell or begin a tag; code between backticks stays as it is."""
    parts = text.replace("|", "\\|").split("`")
    return "`".join(part if index % 2 else part.replace("<", "\\<") for index, part in enumerate(parts))


def settings() -> str:
    """Every setting with its default and its description; those of a part under its name."""
    groups = {
        "General": ("The models that are served.", [key for key in config.FIELDS if hasattr(Config, key)])
    }
    groups |= {f"`[{name}]`": (_first(part), part.__struct_fields__) for name, part in config.PARTS.items()}
    return "\n\n".join(f"## {title}\n\n{text}\n\n{_settings(keys)}" for title, (text, keys) in groups.items())


def _settings(keys: Iterable[str]) -> str:
    defaults = config.settings(Config())
    rows = ((f"`{key}`", _default(defaults[key]), config.description(key)) for key in keys)
    return table(("setting", "default", "meaning"), rows)


def _default(value: object) -> str:
    if value is None or value == ():
        return ""
    first = value[0] if isinstance(value, tuple) else value
    text = str(getattr(first, "name", first))
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def rules() -> str:
    """Every rule of the judge with its default and its description."""
    hints = get_type_hints(Rules, include_extras=True)
    rows = (
        (f"`{key}`", f"`{json.dumps(getattr(Rules(), key))}`", get_args(hints[key])[1].description)
        for key in Rules.__struct_fields__
    )
    return table(("rule", "default", "meaning"), rows)


def commands() -> str:
    """The help text of every command, as a terminal shows it."""
    texts = _helps(unpickled, "unpickled", None)
    return "\n\n".join(f"## {name}\n\n```text\n{text}\n```" for name, text in texts)


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=80, max_content_width=80)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            assert child is not None
            yield from _helps(child, word, context)


def routes() -> str:
    """Every route that ``GET /`` lists, in its words."""
    with tempfile.TemporaryDirectory() as folder:
        # Without a scan of the folder, no thread looks for it once it is deleted.
        client = create_app(Config(models=folder, reload_seconds=0)).test_client()
        summaries = client.get("/").get_json()["routes"]
    return table(("route", "answer"), ((f"`{route}`", text) for route, text in summaries.items()))


def answers() -> str:
    """Every error that a client may get: status, code, meaning, remedy."""
    rows = [
        (str(error.status), f"`{error.code}`", _first(error), _paragraph(error, 1))
        for error in _below(RequestError)
    ]
    return table(("status", "code", "meaning", "remedy"), sorted(rows))


def exceptions() -> str:
    """Every error that Python code may catch, without those of requests."""
    errors = [error for error in _below(UnpickledError) if not issubclass(error, RequestError)]
    return table(
        ("exception", "base class", "meaning"),
        ((f"`{e.__name__}`", f"`{e.__bases__[0].__name__}`", _first(e)) for e in errors),
    )


def _below(base: type[Any]) -> Iterator[type[Any]]:
    for child in base.__subclasses__():
        if not child.__name__.startswith("_"):
            yield child
        yield from _below(child)


def _first(documented: type) -> str:
    return _paragraph(documented, 0)


def _paragraph(documented: type, number: int) -> str:
    """A paragraph of a docstring, in one line."""
    return " ".join((documented.__doc__ or "").split("\n\n")[number].split()).replace("``", "`")


def converters() -> str:
    """The classifiers and transformers with a converter, by its file; then those of skl2onnx."""
    rows = list(_converters(_is_neither))
    rows.append(("by skl2onnx", _names((*foreign.CLASSIFIERS, *foreign.TRANSFORMERS))))
    return table(("converters", "estimators"), rows)


def regressors() -> str:
    """The regressors with a converter, by the file of the converter."""
    return table(("converters", "regressors"), _converters(_is_regressor))


def outliers() -> str:
    """The outlier detectors with a converter, and where a score of exactly 0 falls."""
    names = [name for _, words in _converters(_is_detector) for name in re.findall(r"`(\w+)`", words)]
    strict = {"OneClassSVM": "outlier"}
    rows = ((f"`{name}`", strict.get(name, "inlier")) for name in sorted(names))
    return table(("outlier detector", "a score of exactly 0"), rows)


def _is_regressor(kind: type) -> bool:
    return issubclass(kind, RegressorMixin)


def _is_detector(kind: type) -> bool:
    return issubclass(kind, OutlierMixin)


def _is_neither(kind: type) -> bool:
    return not _is_regressor(kind) and not _is_detector(kind)


def _converters(belongs: Callable[[type], bool]) -> Iterator[tuple[str, str]]:
    """The file of each converter, and the estimators in it that belong to one table."""
    names = [module.name for module in pkgutil.iter_modules(export_converters.__path__)]
    for name in names:
        module = importlib.import_module(f"{export_converters.__name__}.{name}")
        tables = ("CONVERTERS", "REGRESSORS", "FORESTS")
        kinds = [kind for name in tables for kind in getattr(module, name, ())]
        words = {kind.__name__ for kind in kinds if belongs(kind)}
        # Classes of libraries that no module imports stand there by their names.
        words |= {
            word for word in getattr(module, "NAMES", ()) if belongs(_BOOSTED[word.endswith("Regressor")])
        }
        if any(not word.startswith("_") for word in words):
            yield name, _listed(words)


# Classes of libraries that are not imported here count as these do: classifiers, and regressors.
_BOOSTED = (ClassifierMixin, RegressorMixin)


def _names(types: Iterable[type]) -> str:
    return _listed({kind.__name__ for kind in types})


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names) if not name.startswith("_"))


def refusals() -> str:
    """The estimators that are refused by name, with the reasons."""
    return _refused(export_refusals.REFUSED)


def rankers() -> str:
    """Those among them that are of LightGBM, XGBoost or CatBoost."""
    beginnings = ("LGBM", "XGB", "CatBoost", "Booster")
    return _refused(name for name in export_refusals.REFUSED if name.startswith(beginnings))


def _refused(names: Iterable[str]) -> str:
    refusals = ((name, export_refusals.REFUSED[name]) for name in sorted(names))
    return table(
        ("estimator", "reason, and what to use instead"),
        (
            (f"`{name}` {refusal.when}".strip(), f"{refusal.reason}; {refusal.remedy}")
            for name, refusal in refusals
        ),
    )


def metrics() -> str:
    """Every metric that is served."""
    return table(
        ("metric", "type", "labels", "meaning"),
        (
            (f"`{metric.name}`", metric.type, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
            for metric in exposition.families()
        ),
    )


def fields() -> str:
    """Every part of the manifest, with its fields, from the outside in."""
    return "\n\n".join(_struct(kind) for kind in _structs(manifest.Manifest, []))


def _structs(kind: Any, visited: list[Any]) -> list[Any]:
    """The Structs that a type holds, each once."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in visited:
        visited.append(kind)
        for part in get_type_hints(kind).values():
            _structs(part, visited)
    for part in get_args(kind):
        _structs(part, visited)
    return visited


def _struct(kind: type[msgspec.Struct]) -> str:
    hints = get_type_hints(kind)
    rows = [
        (f"`{field.name}`", f"`{_type(hints[field.name])}`", "required" if field.required else "optional")
        for field in msgspec.structs.fields(kind)
    ]
    text = re.sub(r"``", "`", "\n".join(line.strip() for line in (kind.__doc__ or "").strip().splitlines()))
    return f"**{kind.__name__}.** {text}\n\n{table(('field', 'type', ''), rows)}"


def _type(kind: Any) -> str:
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return re.sub(r"\b(?:typing|[a-z_.]+(?:manifest|reference|card|comparison|recipe))\.", "", text)


def kernels() -> str:
    """How many nodes of each kind of graph have a CUDA kernel, and the operators of the others."""
    return table(
        ("graph", "`--operators`", "nodes", "with a CUDA kernel", "without one"),
        (_kernels(kind, operators, model) for kind, operators, model in graphs()),
    )


def _kernels(kind: str, operators: str, model: Any) -> tuple[str, ...]:
    without, count = left(model), len(model.graph.node)
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(without))
    return kind, operators, str(count), str(count - len(without)), names


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        settings,
        rules,
        commands,
        routes,
        answers,
        exceptions,
        converters,
        regressors,
        outliers,
        refusals,
        rankers,
        metrics,
        fields,
        kernels,
    )
}
