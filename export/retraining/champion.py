"""The version that answers plain requests, which a challenger has to beat."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from unpickled.export.errors import DataError
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.artifact.recipe import Recipe
from unpickled.server.model.session import Model


@dataclass(frozen=True, slots=True)
class Champion:
    """A version that is served.

    Attributes:
        version: Its number.
        home: The folder of the model.
        model: The version, loaded.
    """

    version: int
    home: Path
    model: Model

    @property
    def manifest(self) -> Manifest:
        """What is known of it."""
        return self.model.manifest

    @property
    def recipe(self) -> Recipe:
        """How it was made. Raises DataError where it does not tell, or answers what cannot be retrained."""
        manifest = self.manifest
        if manifest.recipe is None:
            raise DataError(
                f"Version {self.version} of {manifest.name} keeps no recipe, so nobody knows how to make it "
                "again: train or export it once more with this release."
            )
        if len(manifest.outputs.targets) > 1:
            raise DataError(
                f"{manifest.name} predicts {len(manifest.outputs.targets)} numbers at once: only models of "
                "one target can be retrained."
            )
        return manifest.recipe

    @property
    def trained_until(self) -> float | None:
        """The time of the newest row of the log that it was trained on, in seconds since 1970, if of any."""
        retrained = self.recipe.retrained
        return None if retrained is None else datetime.fromisoformat(retrained.until).timestamp()
