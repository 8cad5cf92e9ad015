"""How a version was made: its data, steps, recipe, training curve and libraries."""

from collections.abc import Iterator
from html import escape
from typing import Any

from unpickled.server.artifact.manifest import Curve, Training
from unpickled.server.artifact.recipe import Recipe
from unpickled.server.card.parts import below, digits, paragraph, picture, pictures
from unpickled.server.card.plot import Plot, figure, numbers
from unpickled.server.card.version import Version
from unpickled.server.quote import counted, listed, printable, shortened, size

# The most characters of a step or of a value of the recipe, and the most values.
_LONGEST, _MOST = 600, 60
# The most points of a curve that are drawn.
_POINTS = 400


def cost(version: Version) -> str:
    """The size of the file, and the time that a row takes."""
    found = version.manifest.card.cost if version.manifest.card else None
    file = f"the file has {size(version.size)}"
    if found is None:
        return paragraph(f"{file}; how long a row takes was not measured")
    return paragraph(
        f"{file}, its graph {size(found.graph_bytes)}. A row takes {digits(found.one_row)} microseconds "
        f"alone, and {digits(found.of_many)} among 1,000: the graph by itself, on one thread of the machine "
        "that exported it"
    )


def curve(found: Curve | None) -> str:
    """The loss in training, by epoch or boosting stage."""
    if found is None or len(found.loss) < 2:
        return ""
    loss = found.loss
    every = -(-len(loss) // _POINTS)
    places = sorted({*range(0, len(loss), every), len(loss) - 1})
    lowest, highest = min(loss), max(loss)
    plot = Plot(
        numbers(1, len(loss), found.unit),
        numbers(min(0.0, lowest), highest, "loss in training"),
        f"Loss in training by {found.unit}",
    )
    line = plot.line([(place + 1, loss[place]) for place in places], "c0")
    note = f"From {figure(loss[0])} to {figure(loss[-1])} in {counted(len(loss), found.unit)}."
    return pictures([picture(f"Loss in training by {found.unit}", plot.svg([line]), escape(note))])


def steps(training: Training) -> str:
    """The steps of the pipeline, as scikit-learn writes them."""
    items = "".join(
        f"<li><code>{escape(printable(shortened(step, _LONGEST)))}</code></li>" for step in training.pipeline
    )
    return below("Steps of the pipeline", f'<ol class="steps">{items}</ol>' if items else "")


def facts(version: Version) -> str:
    """Data, seed, digests and libraries, as a list."""
    manifest, training = version.manifest, version.manifest.training
    pairs = {
        "exported": manifest.created,
        "exported as": manifest.name if manifest.name != version.name else None,
        "data": training.data,
        "target": training.target,
        "training rows": None if training.rows is None else f"{training.rows:,}",
        "held-out rows": None if training.held_out is None else f"{training.held_out:,}",
        "seed": training.seed,
        "libraries": ", ".join(f"{name} {number}" for name, number in training.versions.items()),
        "keeps rows": "the graph itself keeps rows of the training table" if training.holds_rows else None,
        "sha256 of the training table": training.fingerprint,
        "sha256 of the file": version.sha256,
    }
    return _list(pairs)


def recipe(found: Recipe | None) -> str:
    """How the pipeline can be made again."""
    if found is None:
        return ""
    missing = found.missing_from_step
    again = f"it cannot be made again from its parameters: {missing}" if missing else ""
    return below("Recipe", paragraph(again, "note"), _list(dict(_recipe(found))))


def _recipe(found: Recipe) -> Iterator[tuple[str, Any]]:
    yield (
        "made by",
        {"train": "unpickled train", "pipeline": "a pipeline of its own", "function": "a function"}[found.by],
    )
    yield "data", found.data
    yield "target", listed(found.target) or None
    yield "function", found.function or None
    yield from list(found.options.items())[:_MOST]
    if found.step is not None:
        yield "estimator", found.step.estimator
        yield from list(found.step.parameters.items())[:_MOST]
        more = len(found.step.parameters) - _MOST
        yield "and", counted(more, "further parameter") if more > 0 else None


def _list(pairs: dict[str, Any]) -> str:
    """Names with their values; those without one are left out."""
    items = "".join(
        f"<dt>{escape(printable(name))}</dt><dd>{escape(printable(shortened(str(value), _LONGEST)))}</dd>"
        for name, value in pairs.items()
        if value not in (None, "")
    )
    return f"<dl>{items}</dl>" if items else ""
