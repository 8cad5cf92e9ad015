"""The version that answers plain requests, which a challenger has to beat."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

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
        challenger: The version that shadows as its challenger, and has to be beaten too.
        function: The function of the user's own, as ``module:function``, that makes the unfitted pipeline in
            place of the recipe; empty without one.
    """

    version: int
    home: Path
    model: Model
    challenger: "Champion | None" = None
    function: str = ""

    @property
    def versions(self) -> tuple[int, ...]:
        """The numbers of the versions to beat, this one first."""
        return (self.version,) if self.challenger is None else (self.version, self.challenger.version)

    @property
    def name(self) -> str:
        """The name of the model: that of its folder, whatever it was when it was exported."""
        return self.home.name

    @property
    def manifest(self) -> Manifest:
        """The manifest in its file."""
        return self.model.manifest

    @property
    def recipe(self) -> Recipe:
        """How it was made. Raises DataError where it does not tell, or answers what cannot be retrained."""
        manifest = self.manifest
        if len(manifest.outputs.targets) > 1:
            raise DataError(
                f"{self.name} predicts {len(manifest.outputs.targets)} numbers at once: only models of "
                "one target can be retrained."
            )
        if manifest.recipe is None and not self.function:
            raise DataError(
                f"Version {self.version} of {self.name} keeps no recipe, as an earlier release wrote it: "
                "train or export it once more, or name a function that makes the pipeline with --recipe."
            )
        kept = manifest.recipe or Recipe(by="function")
        return replace(kept, by="function", function=self.function, step=None) if self.function else kept

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that it predicts, as far as it tells."""
        named = (self.manifest.training.target,) if self.manifest.training.target else ()
        return self.recipe.target or self.manifest.outputs.targets or named

    @property
    def trained_until(self) -> float | None:
        """The time of the newest row of the log that it was trained on, in seconds since 1970, if of any."""
        retrained = self.recipe.retrained
        return None if retrained is None else datetime.fromisoformat(retrained.until).timestamp()
