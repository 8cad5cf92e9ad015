"""The options that several commands have, and their types."""

import functools
import math
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, get_args

import click
from click.core import ParameterSource

from unpickled.export.commands import printing
from unpickled.export.convert import Operators
from unpickled.export.data.columns import Choices
from unpickled.export.errors import memory_reported
from unpickled.export.tasks.task import Demands
from unpickled.server import console


class Number(click.FloatRange):
    """A float in a range. NaN is refused, as it is in no range: comparisons alone would let it pass."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number.", param, ctx)
        return number


class Share(Number):
    """A part of a whole."""

    name = "share"


class Whole(click.IntRange):
    """An integer in a range."""

    name = "whole number"


def separated(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """The names in a text that separates them by commas."""
    return None if text is None else [name.strip() for name in text.split(",")]


class Output(TypedDict):
    """The options that every command has that writes a model."""

    missing: list[str] | None
    text: list[str] | None
    models: Path
    name: str | None
    class_names: list[str] | None
    min_accuracy: float | None
    max_error: float | None
    operators: Operators


FILE = click.Path(path_type=Path)


def exporting(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``Output``; print each warning in one line; report an interrupt."""

    @click.option(
        "--missing",
        callback=separated,
        metavar="NA,...",
        help="texts that stand for a missing value in every column  [default: NA and the like among numbers]",
    )
    @click.option(
        "--text", callback=separated, metavar="COLUMN,...", help="columns that are text, whatever they hold"
    )
    @click.option(
        "--models", type=FILE, default="models", show_default=True, metavar="DIR", help="models folder"
    )
    @click.option("--name", metavar="NAME", help="name of the model  [default: that of the data or file]")
    @click.option(
        "--class-names", callback=separated, metavar="A,B,...", help="names in the order of the sorted labels"
    )
    @click.option(
        "--min-accuracy", type=Share(0, 1), metavar="F", help="refuse to write a model of lower accuracy"
    )
    @click.option(
        "--max-error",
        type=Number(0),
        metavar="F",
        help="refuse to write a model of larger mean absolute error",
    )
    @click.option(
        "--operators",
        type=console.Choice(list(get_args(Operators))),
        default="fastest",
        show_default=True,
        metavar="standard",
        help="those of ai.onnx alone, which any execution provider may run, or the fastest on a CPU",
    )
    @functools.wraps(command)
    def run(**options: Any) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = printing.warn
            try:
                with memory_reported():
                    command(**options)
            except KeyboardInterrupt:
                print("interrupted: nothing was written", file=sys.stderr)
                raise

    return run


class Making(TypedDict):
    """The options of every command that makes a pipeline of a recipe."""

    recipe: str | None
    trust_recipe: bool


def making(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``Making``; find modules in the working directory where one of them is given."""

    @from_function
    @click.option(
        "--trust-recipe",
        is_flag=True,
        help="import the code that the recipe of the model names, which runs it",
    )
    @functools.wraps(command)
    def run(**options: Any) -> None:
        if options["recipe"] or options["trust_recipe"]:
            add_working_directory()
        command(**options)

    return run


from_function = click.option(
    "--recipe",
    metavar="MODULE:FUNCTION",
    help="function of your own that makes the unfitted pipeline, kept so that it can be made again",
)


def add_working_directory() -> None:
    """Let modules in the working directory be imported, behind all that are installed."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


# The options that choose the steps of a pipeline, and have no part in one of the user's own; and all options
# that a recipe keeps.
CHOOSING = ("task", "scaler", "classifier", "regressor")
KEPT = (
    *CHOOSING,
    *("seed", "held_out", "dates", "missing", "text"),
    *("class_names", "operators", "min_accuracy", "max_error"),
)


def kept(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command that its recipe keeps, without those that have no value."""
    return {name: given[name] for name in KEPT if given.get(name) is not None}


def demands(output: Output) -> Demands:
    return Demands(output["min_accuracy"], output["max_error"], on_command_line=True)


def chosen(output: Output) -> Choices:
    """The user's words about the columns of a table."""
    return Choices(missing=frozenset(output["missing"] or ()), text=frozenset(output["text"] or ()))


def command_words() -> list[str]:
    """The words of the command as it was given, so that it can be given again elsewhere."""
    context = click.get_current_context()
    words = [str(context.info_name)]
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT:
            value = context.params[str(parameter.name)]
            text = ",".join(value) if isinstance(value, list) else str(value)
            words += [text] if isinstance(parameter, click.Argument) else [parameter.opts[0], text]
    return words
