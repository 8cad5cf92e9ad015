"""Recipes: how a model was made, kept in its manifest, and the same made again.

A recipe holds names, paths and parameters, and never rows.
"""

from pathlib import Path
from typing import Any

from unpickled.export.data.dataset import Dataset
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.artifact.recipe import Recipe


def completed(pipeline: Any, recipe: "Recipe | str | None") -> Recipe:
    """The recipe of a fitted pipeline.

    Args:
        pipeline: The fitted pipeline, whose parameters are kept where no ``recipe`` says how it was made.
        recipe: ``module:function``, which is called to see that it makes an unfitted estimator of the same
            class; or a recipe, whose step is filled in where it has to have one.

    Raises:
        DataError: The function cannot be imported, or makes another thing.
    """
    raise NotImplementedError


def of_model(models: Path, name: str, version: int | None = None) -> tuple[int, Manifest]:
    """A version of a model that has a recipe, and its manifest: the newest, or the one with that number.

    Raises:
        DataError: There is no such model or version, or it keeps no recipe.
        ExportError: Its file is damaged.
    """
    raise NotImplementedError


def table(recipe: Recipe, manifest: Manifest, data: Path | None = None, target: str | None = None) -> Dataset:
    """The rows to make a model from again, read with the words of its recipe about their columns.

    For a pipeline of the user's own, only the columns that the model takes, in its order.

    Args:
        recipe: How the model was made.
        manifest: What is known of the model.
        data: Another table than that of the recipe.
        target: Another column to predict.

    Raises:
        DataError: There is no such table, or it lacks a column.
    """
    raise NotImplementedError


def pipeline(recipe: Recipe, dataset: Dataset, trusted: bool = False) -> Any:
    """The unfitted pipeline of a recipe, for a table.

    Args:
        recipe: How the model was made.
        dataset: The table that the pipeline is to be fitted on.
        trusted: Whether to import whatever the recipe names, which runs its code.

    Raises:
        DataError: The recipe names code that is not trusted or not installed, or cannot make a pipeline.
    """
    raise NotImplementedError
