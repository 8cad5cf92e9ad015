"""Recipes: how a model was made, kept in its manifest, and the same made again.

A recipe holds names, paths and parameters, and never rows.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from sklearn.base import is_outlier_detector
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from unpickled.export import callables, parameters, store, train
from unpickled.export.data.dataset import Dataset
from unpickled.export.errors import DataError, ExportError, reason
from unpickled.export.tasks.registry import TASKS
from unpickled.server.artifact import manifest as contract
from unpickled.server.artifact.manifest import FILE, Manifest
from unpickled.server.artifact.recipe import Recipe
from unpickled.server.errors import ArtifactError
from unpickled.server.quote import hint, listed, quoted


def completed(pipeline: Any, recipe: Recipe | str | None) -> Recipe:
    """The recipe of a fitted pipeline.

    Args:
        pipeline: The fitted pipeline, whose parameters are kept where no ``recipe`` says how it was made.
        recipe: ``module:function``, which is called to see that it makes an unfitted estimator of the same
            class; or a recipe, whose step is filled in where it has to have one.

    Raises:
        DataError: The function cannot be imported, or makes another thing.
    """
    if isinstance(recipe, str):
        recipe = Recipe(by="function", function=recipe)
    recipe = recipe or Recipe(by="pipeline")
    if recipe.by == "function":
        _check_function(recipe.function, pipeline)
    elif recipe.by == "pipeline" and recipe.step is None:
        step, missing = parameters.written(pipeline)
        recipe = replace(recipe, step=step, missing_from_step=missing)
    return recipe


def of_model(models: Path, name: str, version: int | None = None) -> tuple[int, Manifest]:
    """A version of a model that has a recipe, and its manifest: the newest, or the one with that number.

    Raises:
        DataError: There is no such model or version, or it keeps no recipe.
        ExportError: Its file is damaged.
    """
    versions = store.versions(models, name)
    if not versions:
        names = store.names(models)
        question = hint(name, names).strip() or (f"it has {listed(names)}." if names else "it has none.")
        raise DataError(f"There is no model {quoted(name)} in {models}: {question}")
    number = versions[-1] if version is None else version
    if number not in versions:
        raise DataError(f"{name} has no version {number}: it has {listed([*map(str, versions)])}.")
    path = models / name / str(number) / FILE
    try:
        manifest = contract.read(path.read_bytes())
    except (ArtifactError, OSError) as error:
        raise ExportError(f"{path} cannot be read: {reason(error)}.") from error
    if manifest.recipe is None:
        raise DataError(
            f"{name} {number} keeps no recipe, as an earlier release wrote it: give unpickled train its data "
            f"and options once more, with --name {name}, or export the pipeline again."
        )
    return number, manifest


def pipeline(recipe: Recipe, dataset: Dataset, trusted: bool = False) -> Any:
    """The unfitted pipeline of a recipe, for a table.

    Args:
        recipe: How the model was made.
        dataset: The table that the pipeline is to be fitted on.
        trusted: Whether to import whatever the recipe names, which runs its code.

    Raises:
        DataError: The recipe names code that is not trusted or not installed, or cannot make a pipeline.
    """
    if recipe.by == "train":
        return _trained(recipe.options, dataset)
    made = _called(recipe.function, trusted) if recipe.by == "function" else _rebuilt(recipe, trusted)
    if is_outlier_detector(made):
        raise DataError(
            f"{type(made).__name__} is fitted without a target, and train fits to one: fit it in Python, and "
            "export it with export_pipeline."
        )
    return made


def _trained(given: Mapping[str, Any], dataset: Dataset) -> Any:
    """The pipeline of a scaler and an estimator by name."""
    task = TASKS[dataset.task]
    scaler, estimator = given.get("scaler", "standard"), given.get(task.step) or task.default
    for option, word, choices in (("scaler", scaler, train.SCALERS), (task.step, estimator, task.estimators)):
        if word not in list(choices):
            raise DataError(
                f"The recipe has the {option} {quoted(word)}, which this release does not know: give "
                f"--{option}, one of {listed(choices)}."
            )
    return train.chosen(dataset, scaler, estimator, given.get("seed", 0))


def _rebuilt(recipe: Recipe, trusted: bool) -> Any:
    """The estimator of a class and its parameters."""
    if recipe.step is None:
        raise DataError(
            "The parameters in the recipe do not make the pipeline again: "
            f"{recipe.missing_from_step or 'there are none'}. Name a function that makes it with "
            "--recipe module:function."
        )
    return parameters.made(recipe.step, trusted)


def _called(name: str, trusted: bool) -> Any:
    """The estimator that a function of the user's own makes."""
    make = callables.function(name, trusted)
    try:
        made = make()
    except Exception as error:  # the code of the function may raise anything
        raise DataError(
            f"{name} cannot make the pipeline ({reason(error)}): it is called without arguments, and returns "
            "the unfitted pipeline."
        ) from error
    if not hasattr(made, "fit") or _is_fitted(made):
        kind = type(made).__name__
        what = f"a fitted {kind}" if hasattr(made, "fit") else f"an object of {kind}"
        raise DataError(f"{name} returns {what}: let it return the unfitted pipeline.")
    return made


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    except Exception:
        # An estimator of another library may not answer the question.
        return False
    return True


def _check_function(name: str, fitted: Any) -> None:
    """Raise DataError if a function makes something of another class than the fitted pipeline."""
    made = _called(name, trusted=True)
    if type(made) is not type(fitted):
        raise DataError(
            f"{name} makes a {type(made).__name__}, and the pipeline is a {type(fitted).__name__}: name the "
            "function that made it."
        )
