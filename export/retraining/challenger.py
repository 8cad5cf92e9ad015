"""The challenger: the champion's recipe fitted on newer rows, exported, and compared with the champion.

It is exported into a folder of its own, which has the versions to beat and no others. The folder of the model
gets the file once it is known to be better.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd
from msgspec.structs import replace

from unpickled.export import recipe as recipes
from unpickled.export.comparison.against import Against
from unpickled.export.data.dataset import Dataset
from unpickled.export.errors import DataError
from unpickled.export.progress import Say, running
from unpickled.export.publish import export_pipeline
from unpickled.export.retraining.base import readings
from unpickled.export.retraining.champion import Champion
from unpickled.export.retraining.material import Asked, Material
from unpickled.export.retraining.window import written
from unpickled.export.train import Fitted, fitted
from unpickled.server.artifact.comparison import Comparison
from unpickled.server.artifact.manifest import FILE, Manifest
from unpickled.server.artifact.recipe import Recipe, Retrained
from unpickled.server.quote import listed, quoted


@dataclass(frozen=True, slots=True)
class Challenger:
    """A model file that is not written yet.

    Attributes:
        payload: Its bytes.
        manifest: The manifest in it.
        comparisons: How it does beside the champion, and beside the version that shadows as challenger, if
            there is one, on rows that it was not fitted on.
    """

    payload: bytes
    manifest: Manifest
    comparisons: tuple[Comparison, ...]

    @property
    def deciding(self) -> Comparison:
        """The comparison that decides: the first one in which it is not better, or else the champion's."""
        lost = (each for each in self.comparisons if each.verdict != "better")
        return next(lost, self.comparisons[0])

    @property
    def sha256(self) -> str:
        """The digest of the file, in hex."""
        return hashlib.sha256(self.payload).hexdigest()


def make(champion: Champion, asked: Asked, material: Material, trusted: bool, progress: Say) -> Challenger:
    """Fit the champion's recipe on the rows, export it through the gate, and compare it.

    Args:
        champion: The version to beat.
        asked: The request, which says how the rows are used.
        material: The rows.
        trusted: Whether to import code of the user's own that the recipe names.
        progress: Called with a line of text for each phase of the work.

    Raises:
        ExportError: It cannot be fitted or exported; the message says why.
    """
    model = _fitted(champion, asked, material, trusted, progress)
    manifest = champion.manifest
    with _aside(champion) as models:
        export = export_pipeline(
            model.pipeline,
            model.train,
            model.train_truth,
            name=champion.name,
            models=models,
            class_names=manifest.class_names or None,
            held_out=model.held_out,
            held_out_y=model.held_out_truth,
            training=model.training,
            readings=readings(manifest),
            operators=champion.recipe.options.get("operators", "fastest"),
            progress=_without_writing(progress),
            recipe=_recipe(champion.recipe, asked, material),
            against=Against(versions=champion.versions, unseen=_unseen(champion, material)),
        )
        return Challenger(export.path.read_bytes(), export.manifest, _beside(champion, export.manifest))


def _beside(champion: Champion, manifest: Manifest) -> tuple[Comparison, ...]:
    """The comparisons with the versions to beat. Raises DataError where one of them lacks."""
    by_version = {each.version: each for each in manifest.comparisons}
    for version in champion.versions:
        if version not in by_version:
            raise DataError(
                f"The challenger cannot be compared with version {version} of {champion.name}, as the notes "
                "above say: promote or withdraw that version first."
            )
    return tuple(by_version[version] for version in champion.versions)


def _unseen(champion: Champion, material: Material) -> bool:
    """Whether none of the versions to beat was trained on rows that are held out."""
    until = None if champion.challenger is None else champion.challenger.trained_until
    return material.unseen and (until is None or until < material.start)


def _without_writing(progress: Say) -> Say:
    """Leave out that the file is written: it is not yet where people look for it."""
    return lambda line: None if line == "writing" else progress(line)


def _fitted(champion: Champion, asked: Asked, material: Material, trusted: bool, progress: Say) -> Fitted:
    table = _dataset(champion, material)
    older = np.arange(len(table.labels) - len(material.new))
    newest = np.arange(len(older), len(table.labels))
    progress("training the challenger")
    with running(progress, "training the challenger"):
        pipeline = recipes.pipeline(champion.recipe, table, trusted)
        return fitted(table, pipeline, older, newest, _weights(asked.weight, material))


def _dataset(champion: Champion, material: Material) -> Dataset:
    """All rows as one table: those of the base, the older ones of the log, and the newest."""
    manifest = champion.manifest
    parts = [part for part in (material.base, material.old, material.new) if part is not None]
    truth = np.concatenate([part.truth for part in parts])
    lacking = [label for label in manifest.classes if label not in truth]
    if lacking:
        raise DataError(
            f"No row is of the class {listed([*map(str, lacking)], 5, quoted)}, which the model answers: "
            "name a base table with --data that has some."
        )
    log = f"the log of {champion.name}"
    return Dataset(
        name=log if material.base is None else f"{material.base.name} and {log}",
        features=pd.concat([material.frame, material.new.frame], ignore_index=True),
        labels=truth if manifest.classes else truth.ravel(),
        target=manifest.training.target or next(iter(manifest.outputs.targets), "target"),
        class_names=manifest.class_names,
        readings=readings(manifest),
        task="classification" if manifest.classes else "regression",
    )


def _weights(weight: float, material: Material) -> npt.NDArray[np.float64] | None:
    """How much each row to fit on counts; None if all count the same."""
    if weight == 1:
        return None
    of_base = np.ones(0 if material.base is None else len(material.base))
    return np.concatenate([of_base, np.full(len(material.old), weight)])


def _recipe(recipe: Recipe, asked: Asked, material: Material) -> Recipe:
    """The champion's recipe, with what was asked for now: the next retraining goes on from it."""
    retrained = Retrained(
        log=str(asked.log),
        since=written(asked.since),
        until=written(float(material.old.times.max())),
        weight=asked.weight,
    )
    data = recipe.data if asked.data is None else asked.data
    return replace(recipe, data=data, target=asked.target or recipe.target, retrained=retrained)


@contextmanager
def _aside(champion: Champion) -> Iterator[Path]:
    """A models folder for the time of the work, which has the versions to beat and no others."""
    with TemporaryDirectory(prefix="unpickled-") as folder:
        for version in champion.versions:
            home = Path(folder) / champion.name / str(version)
            home.mkdir(parents=True)
            shutil.copy(champion.home / str(version) / FILE, home)
        yield Path(folder)
