"""The version of a model that is made again, and what differs between it and the new one."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from unpickled.export.commands.options import CHOOSING, KEPT, is_given
from unpickled.export.data.dataset import BUNDLED
from unpickled.export.errors import DataError
from unpickled.export.recipe import of_model
from unpickled.server.artifact.manifest import Manifest, Training
from unpickled.server.artifact.recipe import Recipe
from unpickled.server.quote import counted, printable, quoted, shortened

# Options that are those of one task: another task takes none of them.
_OF_A_TASK = ("classifier", "regressor", "class_names", "min_accuracy", "max_error")


@dataclass(frozen=True, slots=True)
class Earlier:
    """A version that has a recipe.

    Attributes:
        name: The model.
        version: Its number.
        manifest: That of its file.
        recipe: How it was made.
    """

    name: str
    version: int
    manifest: Manifest
    recipe: Recipe

    @classmethod
    def of(cls, models: Path, name: str, version: int | None) -> "Earlier":
        """A version of a model: the newest, or the one with that number. Raises ExportError."""
        number, manifest = of_model(models, name, version)
        assert manifest.recipe is not None  # of_model refuses a version without one
        return cls(name, number, manifest, manifest.recipe)

    def options(self) -> dict[str, Any]:
        """The options of the recipe that are not given on the command line. Raises DataError."""
        context = click.get_current_context()
        given = {name for name in context.params if is_given(context, name)}
        self._check_given(given)
        left_out = set(given)
        if context.params["task"] not in (None, self.recipe.options.get("task")):
            left_out |= set(_OF_A_TASK)
        parameters = {str(parameter.name): parameter for parameter in context.command.params}
        return {
            name: self._converted(context, parameters[name], value)
            for name, value in self.recipe.options.items()
            if name in KEPT and name in parameters and name not in left_out
        }

    def described(self, recipe: Recipe) -> str:
        """One line that says what is repeated; ``recipe`` is the recipe with the options that were given."""
        if recipe.by == "pipeline":
            steps = " -> ".join(step.partition("(")[0] for step in self.manifest.training.pipeline)
            rows = "" if recipe.data is None else f" on {recipe.data}, target {', '.join(recipe.target)}"
            what = f"{steps}{rows}"
        else:
            what = shlex.join(["unpickled", "train", *_words(recipe)])
        # The file may be anybody's.
        return printable(shortened(f"repeats {self.name} {self.version}: {what}", 1_000))

    def differences(self, now: Training) -> Iterator[str]:
        """Sentences about what differs from then: the rows of the table, and the versions of libraries."""
        then = self.manifest.training
        if then.fingerprint is not None and then.fingerprint != now.fingerprint:
            rows = [(each.rows or 0) + (each.held_out or 0) for each in (then, now)]
            yield (
                f"The rows differ from those of version {self.version}: "
                f"{counted(rows[0], 'row')} then, {rows[1]:,} now."
            )
        for library in sorted(then.versions.keys() | now.versions.keys()):
            versions = [each.versions.get(library, "none") for each in (then, now)]
            if versions[0] != versions[1]:
                text = (
                    f"{library} differs from version {self.version}: {versions[0]} then, {versions[1]} now."
                )
                yield printable(shortened(text, 200))

    def compared(self, now: Manifest) -> str:
        """A sentence that says whether the graph is the earlier one, or takes other columns."""
        if now.graph_sha256 == self.manifest.graph_sha256:
            return f"The graph is that of version {self.version}, byte by byte."
        names = [{feature.name for feature in each.features} for each in (self.manifest, now)]
        changes = [f"no longer takes {quoted(name)}" for name in sorted(names[0] - names[1])]
        changes += [f"takes {quoted(name)} too" for name in sorted(names[1] - names[0])]
        columns = f": it {', '.join(changes[:5])}" if changes else ""
        return f"The graph is another than that of version {self.version}{columns}."

    def _check_given(self, given: set[str]) -> None:
        """Raise DataError for an option that has no part in a pipeline of the user's own."""
        if self.recipe.by == "train":
            return
        for name in CHOOSING:
            if name in given:
                raise DataError(
                    f"{self.name} {self.version} is a pipeline of your own, which --{name} does not "
                    "change: leave it out, or train without --like."
                )

    def _converted(self, context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        """The value of an option in the recipe, checked as one on the command line is."""
        text = ",".join(map(str, value)) if isinstance(value, list) else value
        try:
            return parameter.process_value(context, text)
        except (click.BadParameter, TypeError, ValueError) as error:
            raise DataError(
                f"{self.name} {self.version} was made with {parameter.opts[0]} {quoted(text)}, "
                f"which is not taken here: give another {parameter.opts[0]}."
            ) from error


def _words(recipe: Recipe) -> list[str]:
    """The words after ``unpickled train`` that make the same, without the options that have their default."""
    context = click.get_current_context()
    own = [] if recipe.data is None else ["--data", recipe.data, "--target", ",".join(recipe.target)]
    words = [recipe.data] if recipe.data in BUNDLED else own
    for parameter in context.command.params:
        value = recipe.options.get(str(parameter.name))
        if value is not None and value != parameter.get_default(context):
            words += [parameter.opts[0], ",".join(value) if isinstance(value, list) else str(value)]
    return [*words, "--recipe", recipe.function] if recipe.function else words
