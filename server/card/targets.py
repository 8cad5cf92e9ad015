"""The quality of a regressor, drawn: predicted against true numbers, and residuals."""

from collections.abc import Iterator
from html import escape
from itertools import pairwise

from unpickled.server.artifact.card import Band, TargetCard
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.card.parts import below, digits, figures, or_dash, paragraph, picture, pictures, three
from unpickled.server.card.plot import Axis, Plot, figure, numbers
from unpickled.server.quote import counted
from unpickled.server.report.table import short_name, table

# Targets with pictures; all have a line in the table.
_PICTURED = 6


def quality(manifest: Manifest) -> str:
    """Every picture and table about the targets of a version."""
    card = manifest.card
    if card is None:
        return _of_errors(manifest)
    more = len(card.targets) - _PICTURED
    note = f"pictures of the first {_PICTURED} of {len(card.targets)} targets" if more > 0 else ""
    drawn = [each for target in card.targets[:_PICTURED] for each in _pictures(target, len(card.targets) > 1)]
    heads = ("target", "rows", "mean absolute error", "root mean squared error", "R²")
    errors = table("", heads, map(_target, card.targets)) if len(card.targets) > 1 else ""
    return "\n".join([below("Errors", errors), paragraph(note, "note"), pictures(drawn)])


def _of_errors(manifest: Manifest) -> str:
    """The table that files without a card have."""
    lines = (
        (
            short_name(each.target),
            f"{each.rows:,}",
            digits(each.mae),
            digits(each.rmse),
            "-" if each.r2 is None else three(each.r2),
        )
        for each in manifest.training.errors
    )
    return table("", ("target", "rows", "mean absolute error", "root mean squared error", "R²"), lines)


def _target(target: TargetCard) -> tuple[str, ...]:
    measured = (or_dash(target.mae, digits), or_dash(target.rmse, digits), or_dash(target.r2, three))
    return short_name(target.name), f"{target.rows:,}", *map(escape, measured)


def _pictures(target: TargetCard, several: bool) -> Iterator[str]:
    of = f" of {target.name}" if several else ""
    if target.bands:
        yield picture(f"Predicted and true numbers{of}", _bands(target), _BANDS)
        heads = ("predicted", "rows", "true: median", "half of them")
        yield figures(f"In figures{of}", heads, map(_line, target.bands))
    if target.residual_counts:
        yield picture(f"Residuals{of}", _residuals(target), _RESIDUALS)


_BANDS = (
    "A stroke is a group of rows with similar predictions: the dot is the median of their true numbers, the "
    "thick part holds half of them, the whole stroke 8 of 10. On the dashed diagonal, predictions are right."
)
_RESIDUALS = (
    "How far predictions lie above (right of 0) or below the true numbers. The area of a bar is its share of "
    "the rows; the outer bars may reach further than is drawn."
)


def _bands(target: TargetCard) -> str:
    bands = target.bands
    lowest = min(min(each.predicted, each.truths[0]) for each in bands)
    highest = max(max(each.predicted, each.truths[-1]) for each in bands)
    room = (highest - lowest) * 0.04
    name = short_axis(target.name)
    across = numbers(lowest - room, highest + room, f"predicted {name}", most=4)
    plot = Plot(across, across._replace(title=f"true {name}"), "Predicted and true numbers")
    ends = across.lowest, across.highest
    diagonal = plot.line(list(zip(ends, ends, strict=True)), "diagonal")
    return plot.svg([diagonal, *(part for each in bands for part in _band(plot, each))])


def _line(band: Band) -> tuple[str, ...]:
    _, p25, p50, p75, _ = band.truths
    return digits(band.predicted), f"{band.rows:,}", digits(p50), f"{digits(p25)} to {digits(p75)}"


def short_axis(name: str) -> str:
    """A name that fits an axis."""
    return name if len(name) <= 30 else f"{name[:28]}..."


def _band(plot: Plot, band: Band) -> Iterator[str]:
    p10, p25, p50, p75, p90 = band.truths
    told = (
        f"{counted(band.rows, 'row')} predicted {figure(band.lowest)} to {figure(band.highest)}: true "
        f"numbers {figure(p25)} to {figure(p75)} of half of them, {figure(p10)} to {figure(p90)} of 8 in "
        f"10, median {figure(p50)}"
    )
    yield plot.upright(band.predicted, p10, p90, "wide", told)
    yield plot.upright(band.predicted, p25, p75, "half", told)
    yield plot.dot((band.predicted, p50), "c0", told)


def _residuals(target: TargetCard) -> str:
    """Bars whose area is the share of the rows; the outer cells, without an end, are as wide as the next."""
    bounds, counts = target.residual_bounds, target.residual_counts
    if not bounds:
        return ""
    first = bounds[1] - bounds[0] if len(bounds) > 1 else abs(bounds[0]) or 1.0
    last = bounds[-1] - bounds[-2] if len(bounds) > 1 else first
    ends = [bounds[0] - first, *bounds, bounds[-1] + last]
    shares = [count / (sum(counts) or 1) for count in counts]
    cells = [
        (low, high, share, share / (high - low))
        for (low, high), share in zip(pairwise(ends), shares, strict=True)
    ]
    most = max(density for *_, density in cells) or 1.0
    across = numbers(ends[0], ends[-1], f"predicted - true {short_axis(target.name)}", most=4)
    plot = Plot(across, Axis(0.0, most * 1.05, (), "how frequent"), "Residuals", height=180, left=14)
    bars = (
        plot.bar(low, high, density, "rows", _told(low, high, share)) for low, high, share, density in cells
    )
    zero = plot.upright(0.0, 0.0, most * 1.05, "zero") if across.lowest < 0 < across.highest else ""
    return plot.svg([*bars, zero])


def _told(low: float, high: float, share: float) -> str:
    return f"{figure(low)} to {figure(high)}: {share:.1%} of the rows"
