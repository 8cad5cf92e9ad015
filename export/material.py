"""The table that a model is made from again, read with the words of its recipe about the columns."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unpickled.export.data import dataset as tables
from unpickled.export.data import files
from unpickled.export.data.columns import Choices, Kind, Reading
from unpickled.export.data.dataset import BUNDLED, Dataset
from unpickled.export.data.target import TaskName
from unpickled.export.errors import DataError, reason
from unpickled.export.tasks.registry import TASKS
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.artifact.recipe import Recipe
from unpickled.server.quote import listed, printable, quoted


def data_of(path: Path) -> str:
    """The path of a table as a recipe keeps it, where the name of a bundled set means that set."""
    return f"./{path}" if str(path) in BUNDLED else str(path)


def table(recipe: Recipe, manifest: Manifest | None = None) -> Dataset:
    """The rows to make a model from again, read with the words of its recipe about their columns.

    Another table or target is given by another recipe: ``replace(recipe, data=..., target=(...,))``. For a
    pipeline of the user's own, the table has only the columns that the model takes, in its order.

    Args:
        recipe: How to make the model.
        manifest: That of the version that is made again; None for a new one.

    Raises:
        DataError: There is no such table, it lacks a column, or it has no such target.
    """
    given, task = recipe.options, _task(recipe, manifest)
    own = manifest is not None and recipe.by != "train"
    if recipe.data in BUNDLED:
        rows = _bundled(str(recipe.data), task)
    else:
        path, target = _place(recipe, manifest)
        choices = Choices(
            missing=frozenset(_words(given, "missing")),
            text=frozenset(_words(given, "text")),
            kinds=_kinds(manifest) if manifest is not None and own else {},
            expand=given.get("dates") == "expand",
        )
        rows = tables.read(path, target, choices, task)
    if manifest is not None and own:
        rows = _shaped(rows, manifest)
    names = _words(given, "class_names") or (_names(rows, manifest) if own else None)
    return replace(rows, class_names=TASKS[rows.task].titles(rows.class_names, names or None))


def _task(recipe: Recipe, manifest: Manifest | None) -> TaskName | None:
    """The task of a recipe; None lets the target decide."""
    task = recipe.options.get("task")
    if task is None and manifest is not None:
        task = "classification" if manifest.classes else "regression"
    if task is not None and task not in TASKS:
        raise DataError(f"The recipe has the task {quoted(task)}: give --task, one of {listed(TASKS)}.")
    return task


def _bundled(name: str, task: TaskName | None) -> Dataset:
    """A bundled data set, whose task is its own. Raises DataError for another one."""
    rows = tables.bundled(name)
    if task not in (None, rows.task):
        raise DataError(f"{name} is a data set for {rows.task}: leave --task out, or take another one.")
    return rows


def _place(recipe: Recipe, manifest: Manifest | None) -> tuple[Path, str]:
    """The file of the table and the column to predict. Raises DataError."""
    words = {"--data FILE": recipe.data, "--target COLUMN": recipe.target}
    lacking = [option for option, value in words.items() if not value]
    if lacking:
        raise DataError(f"The recipe does not say what table it was made from: give {' and '.join(lacking)}.")
    if len(recipe.target) > 1:
        raise DataError(
            f"The recipe has {len(recipe.target)} targets, and train fits to one: fit the pipeline in "
            "Python, and export it with export_pipeline."
        )
    path = Path(str(recipe.data))
    try:
        files.check_file(path)
    except DataError as error:
        where = "" if manifest is None else ", from which the recipe makes the model: give --data FILE"
        raise DataError(printable(f"{reason(error)}{where}.")) from error
    return path, recipe.target[0]


def _words(given: Mapping[str, Any], option: str) -> list[str]:
    """The words of an option that takes several."""
    words = given.get(option) or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"The recipe has {option} that are no texts: give --{option.replace('_', '-')}.")
    return words


def _kinds(manifest: Manifest) -> dict[str, Kind]:
    """The kinds of the columns of a model, so that another table of them is read likewise."""
    features = [feature for feature in manifest.features if not feature.boolean]
    return {feature.name: "date" if feature.date else feature.kind for feature in features}


def _shaped(rows: Dataset, manifest: Manifest) -> Dataset:
    """The table with the columns that a model takes, in its order. Raises DataError if one is not there."""
    names = [feature.name for feature in manifest.features]
    lacking = [name for name in names if name not in rows.features]
    if lacking:
        reasons = {reading.name: reading.reason for reading in rows.readings}
        why = reasons.get(lacking[0]) or "it has no such column"
        raise DataError(
            f"{manifest.name} takes the column {quoted(lacking[0])}, which {rows.name} does not give: {why}. "
            f"Give a table with {listed(names, 5, quoted)}."
        )
    readings = tuple(_unused(each) if each.name not in names else each for each in rows.readings)
    return replace(rows, features=rows.features[names], readings=readings)


def _unused(reading: Reading) -> Reading:
    return replace(reading, role="unused") if reading.role == "feature" else reading


def _names(rows: Dataset, manifest: Manifest | None) -> list[str]:
    """The names that the model had for the classes of these labels; none where they are others."""
    if manifest is None or tuple(sorted(set(rows.labels.tolist()))) != manifest.classes:
        return []
    return list(manifest.class_names)
