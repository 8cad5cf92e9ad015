"""The charts of the report: SVG for light and dark pages, the same bytes for the same figures."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import ceil
from statistics import fmean
from textwrap import fill
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from benchmarks import units
from benchmarks.reporting.crossovers import compute_crossover, computing
from benchmarks.reporting.figures import P50, P99, REQUESTS, At, Figures
from benchmarks.results import UNPICKLED, Compute, Latency, Stages

# Colours on a light ground, and the colour of each on a dark one.
INK, MUTED, GRID, GROUND = "#1f2328", "#59636e", "#d8dee4", "#ffffff"
BLUE, GREY = "#0969da", "#8c959f"
SERIES = ["#cf222e", "#bc4c00", "#8250df", "#1a7f37", "#bf3989", "#9a6700", "#0f766e", "#7d4e3a", "#5b6b8c"]
SEGMENTS = ["#c4ccd4", "#97a3af", "#0a3069", "#54aeff", "#8250de", "#0969db", "#1a7f38", "#80ccff", "#bf398a"]
LIGHT = (SEGMENTS[0], SEGMENTS[1], SEGMENTS[3], SEGMENTS[7])
DARKER = ["#ff7b72", "#ffa657", "#bc8cff", "#56d364", "#ff9bce", "#e3b341", "#5eead4", "#d0a68f", "#a5b4d4"]
DARKER += ["#3d444d", "#656d78", "#a5d6ff", "#388bfd", "#bc8cfe", "#4ca0fe", "#56d365", "#1f4f8f", "#ff9bcf"]
DARK = {
    INK: "#e6edf3", MUTED: "#9ba5b0", GRID: "#333b45", GROUND: "#0d1117", BLUE: "#4ca0ff", GREY: "#7d8590",
    **dict(zip([*SERIES, *SEGMENTS], DARKER, strict=True)),
}  # fmt: skip
# Matplotlib lays out with its own font; pages show theirs, which is narrower.
FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"
WIDTH = 9.0
LETTERS, LINE = 22, 10.5
LEADER = {"arrowstyle": "-", "linewidth": 0.7, "alpha": 0.7, "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5)}


# A label at the end of a line: text, colour, and its place (in data).
End = tuple[str, str, float, float]

# The name of each chart, and its description for readers who do not see it.
ALT = {
    "throughput": "Requests per second of each server, one row per request",
    "latency": "Latency of each server against the rate of requests",
    "crossover": "Time per row of ONNX Runtime and scikit-learn by batch size",
    "stages": "CPU time of one request, stage by stage",
}


def draw(figures: Figures) -> dict[str, str]:
    """The SVG of every chart that has figures, by name."""
    plots = {"throughput": throughput, "latency": latency, "crossover": crossover, "stages": stages}
    svgs = {name: render(name, plot, figures) for name, plot in plots.items()}
    return {name: svg for name, svg in svgs.items() if svg}


def render(name: str, plot: Callable[[Figures], Canvas | None], figures: Figures) -> str | None:
    """One chart as SVG; None without figures."""
    with style(name):
        canvas = plot(figures)
        if canvas is None:
            return None
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata={"Date": None})
    return finished(file.getvalue(), name)


@contextmanager
def style(name: str) -> Iterator[None]:
    """Matplotlib's settings for every chart; the name makes the ids in the SVG its own."""
    settings: dict[Any, Any] = {
        "svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 9,
        "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": GRID, "axes.titlecolor": INK,
        "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 8.5,
        "xtick.color": GRID, "ytick.color": GRID, "xtick.labelcolor": MUTED, "ytick.labelcolor": MUTED,
        "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "grid.color": GRID, "grid.linewidth": 0.7,
        "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
        "figure.facecolor": GROUND, "axes.facecolor": "none", "lines.solid_capstyle": "round",
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        yield


def finished(svg: str, name: str, alt: str = "") -> str:
    """Matplotlib's SVG without its prologue, with ids of its own, the page's fonts and dark colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", FONTS, svg)
    rules = "".join(
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in DARK.items()
        for part in ("fill", "stroke")
        if f"{part}: {light}" in svg
    )
    head = f"<title>{alt or ALT[name]}</title><style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    return re.sub(r"(<svg[^>]*)>", rf'\1 role="img">\n {head}', svg, count=1)


def colour(figures: Figures, server: str) -> str:
    """The colour of a server, the same in every chart of a run."""
    group = figures.server(server).group
    servers = figures.run.servers.items()
    compared = [name for name, entry in servers if entry.group in ("baseline", "peer")]
    if group in ("ours", "floor"):
        return BLUE if group == "ours" else GREY
    return SERIES[compared.index(server) % len(SERIES)]


def throughput(figures: Figures) -> Canvas | None:
    """Requests/s of each server: horizontal bars from zero, so that their lengths compare."""
    models = figures.models()
    servers = ordered(figures, models)
    if not servers:
        return None
    canvas = Canvas(figsize=(WIDTH, 0.9 + 0.34 * len(servers)), layout="constrained")
    panels = canvas.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for panel, model in zip(panels, models, strict=True):
        bars(panel, figures, model, servers, letters=76 // len(models))
    panels[0].set_yticks(range(len(servers)), [fill(figures.title(name), 26) for name in servers])
    for label, name in zip(panels[0].get_yticklabels(), servers, strict=True):
        label.set(color=INK, fontweight="bold" if name == UNPICKLED else "normal")
    canvas.supxlabel("requests/s at saturation, one row per request", color=MUTED, fontsize=8.5)
    return canvas


def ordered(figures: Figures, models: Sequence[str]) -> list[str]:
    """The servers of all models, in the order of the first model."""
    names = {name for model in models for name in figures.servers(model)}
    return sorted(names, key=lambda name: figures.rank(models[0], name))


def bars(panel: Axes, figures: Figures, model: str, servers: Sequence[str], letters: int) -> None:
    """The bars of one model; ``letters`` is how many fit into a line of its title."""
    measured = [figures.of(REQUESTS, model, name) for name in servers]
    most = max(figure.median for figure in measured if figure)
    for position, (name, figure) in enumerate(zip(servers, measured, strict=True)):
        length = figure.median if figure else 0
        panel.barh(position, length, height=0.62, color=colour(figures, name))
        panel.text(
            length + 0.03 * most, position, units.number(length) if figure else "not measured", va="center",
            color=INK if figure else MUTED, fontsize=8.5,
            fontweight="bold" if name == UNPICKLED else "normal",
        )  # fmt: skip
    panel.set(xlim=(0, 1.42 * most), ylim=(len(servers) - 0.4, -0.6))
    panel.set_title(fill(figures.model(model), letters))
    panel.tick_params(left=False, bottom=False, labelbottom=False)
    panel.spines["bottom"].set_visible(False)


def latency(figures: Figures) -> Canvas | None:
    """p99 against the rate, p50 fainter; hollow where a server does not answer every request in time."""
    models = [model for model in figures.models(Latency) if loaded(figures, model)]
    if not models:
        return None
    canvas, panels = grid(len(models), 3.3, share=True)
    ends: dict[Axes, list[End]] = {}
    for panel, model in zip(panels, models, strict=False):
        logarithmic(panel, units.number, units.duration)
        servers = loaded(figures, model)
        ends[panel] = [
            (figures.title(name).split(":")[0], colour(figures, name), *curve(panel, figures, model, name))
            for name in servers
        ]
        panel.set_title(figures.model(model))
        panel.set_xlabel("requests/s sent, at fixed times")
    label_ends(canvas, ends)
    note(
        canvas,
        "p99; fainter: p50. Hollow: the server answered more slowly than the rate, or requests failed.",
    )
    return canvas


def loaded(figures: Figures, model: str) -> list[str]:
    """The servers measured at the rates of the ladder; none for a single rate, which makes no line."""
    rates = {name: len(timed(figures, model, name)) for name in figures.servers(model, Latency)}
    return [name for name in rates if rates[name]] if max(rates.values(), default=0) > 1 else []


def timed(figures: Figures, model: str, server: str) -> list[At]:
    """The rates of the ladder at which a server has a p99; half of the tutorial's rate is not one of them."""
    points = figures.points(Latency, model, server)
    return [at for at in points if not isinstance(at, str) and figures.of(P99, model, server, at)]


def curve(panel: Axes, figures: Figures, model: str, server: str) -> tuple[float, float]:
    """Draw the lines of a server, and return the end of the upper one (requests/s, us)."""
    points = timed(figures, model, server)
    rates = [figures.rate(model, at) or 0 for at in points]
    shade, width, front = colour(figures, server), *((2.4, 4) if server == UNPICKLED else (1.4, 3))
    for metric, opacity in ((P50, 0.4), (P99, 1.0)):
        values = [figure.median for at in points if (figure := figures.of(metric, model, server, at))]
        panel.plot(rates, values, color=shade, alpha=opacity, linewidth=width, zorder=front)
    faces = [shade if sound(figures, model, server, at) else GROUND for at in points]
    panel.scatter(rates, values, s=22, c=faces, edgecolors=shade, linewidths=1.3, zorder=front + 1)
    return rates[-1], values[-1]


def sound(figures: Figures, model: str, server: str, at: At) -> bool:
    """Whether a server answered every request, and in time."""
    return figures.keeps_up(model, server, at) and not figures.failed(model, server, at)


def crossover(figures: Figures) -> Canvas | None:
    """Time per row against rows per call, in process, and the batch from which scikit-learn is faster."""
    models = [model for model in figures.models(Compute) if computing(figures, model)]
    if not models:
        return None
    canvas, panels = grid(len(models), 2.7, share=True)
    ends: dict[Axes, list[End]] = {panel: [] for panel in panels[: len(models)]}
    for panel, model in zip(panels, models, strict=False):
        logarithmic(panel, units.number, units.duration)
        sizes, onnxruntime, sklearn = zip(*computing(figures, model), strict=True)
        for name, shade, times in (("ONNX Runtime", BLUE, onnxruntime), ("scikit-learn", SERIES[1], sklearn)):
            per_row = [time / size for time, size in zip(times, sizes, strict=True)]
            panel.plot(sizes, per_row, color=shade, linewidth=1.8, marker="o", markersize=4)
            ends[panel].append((name, shade, sizes[-1], per_row[-1]))
        point = compute_crossover(figures, model)
        panel.set_title(figures.model(model) + "\n", linespacing=1.3)
        panel.text(0, 1.03, f"crossover: {point}", transform=panel.transAxes, color=MUTED, fontsize=8.5)
        if point and point.rows:
            panel.axvspan(point.below or point.rows, point.rows, color=GRID, alpha=0.6, linewidth=0)
        panel.set_xlabel("rows in one call, in process, without HTTP")
    label_ends(canvas, ends)
    note(canvas, "time per row")
    return canvas


def stages(figures: Figures) -> Canvas | None:
    """A bar for each model: the whole of a request, and beside it the part of the application, enlarged."""
    models = [model for model in figures.models(Stages) if figures.stages(model)]
    if not models:
        return None
    # A bar has no negative part.
    parts = {
        model: {name: max(length, 0) for name, length in figures.stages(model).items()} for model in models
    }
    names = list(parts[models[0]])
    shades = dict(zip(names, SEGMENTS * len(names), strict=False))
    canvas = Canvas(figsize=(WIDTH, 1.25 + 0.5 * len(models)), layout="constrained")
    whole, inside = canvas.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    limit(whole, [sum(parts[model].values()) for model in models])
    limit(inside, [sum(list(parts[model].values())[2:]) for model in models])
    for position, model in enumerate(models):
        stack(whole, position, parts[model], shades)
        stack(inside, position, {name: parts[model].get(name, 0) for name in names[2:]}, shades)
    for panel, title in ((whole, "CPU time of one request"), (inside, "of that, inside the application")):
        panel.set_title(title)
        panel.set_ylim(len(models) - 0.4, -0.6)
        panel.tick_params(left=False, bottom=False, labelbottom=False)
        panel.spines["bottom"].set_visible(False)
    whole.set_yticks(range(len(models)), [fill(figures.model(model), 22) for model in models])
    whole.tick_params(labelcolor=INK)
    handles = [Patch(color=shades[name], label=STAGES.get(name, name)) for name in names]
    canvas.legend(
        handles=handles, loc="outside lower left", ncols=len(names), frameon=False, fontsize=8.5,
        handlelength=0.9, handleheight=0.9, columnspacing=1.4, handletextpad=0.5,
    )  # fmt: skip
    return canvas


def limit(panel: Axes, lengths: Sequence[float]) -> None:
    """Leave room for the longest bar and the sum beside it."""
    panel.set_xlim(0, 1.16 * max(lengths))


STAGES = {"floor": "floor", "HTTP": "HTTP, rest"}


def stack(panel: Axes, position: float, parts: dict[str, float], shades: dict[str, str]) -> None:
    """Draw one bar of parts (us), with its sum at the end."""
    left = 0.0
    for name, length in parts.items():
        panel.barh(
            position, length, left=left, height=0.5, color=shades[name], edgecolor=GROUND, linewidth=0.6
        )
        if length > 0.09 * panel.get_xlim()[1]:
            ink = INK if shades[name] in LIGHT else GROUND
            middle = left + length / 2
            panel.text(
                middle, position, units.number(length), va="center", ha="center", color=ink, fontsize=8
            )
        left += length
    panel.text(left + 0.015 * panel.get_xlim()[1], position, units.duration(left), va="center", fontsize=8.5)


def grid(count: int, height: float, share: bool) -> tuple[Canvas, list[Axes]]:
    """Panels in two columns; a panel too many is hidden."""
    lines = ceil(count / 2)
    columns = min(count, 2)
    spaced = ConstrainedLayoutEngine(wspace=0.06, hspace=0.06)
    canvas = Canvas(figsize=(WIDTH, 0.3 + height * lines), layout=spaced)
    panels = list(canvas.subplots(lines, columns, sharex=share, sharey=share, squeeze=False).flat)
    for panel in panels[count:]:
        panel.set_visible(False)
    return canvas, panels


def logarithmic(panel: Axes, across: Callable[[float], str], upwards: Callable[[float], str]) -> None:
    """Give a panel two logarithmic axes, with a function for the unit of each."""
    panel.set(xscale="log", yscale="log")
    for axis, unit in ((panel.xaxis, across), (panel.yaxis, upwards)):
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _, unit=unit: unit(value)))
    panel.grid(axis="y")
    panel.tick_params(length=0, labelbottom=True, labelleft=True)
    panel.spines["left"].set_visible(False)


def note(canvas: Canvas, text: str) -> None:
    """Write a remark above all panels."""
    canvas.suptitle(text, x=0.01, ha="left", fontsize=8.5, color=MUTED)


def label_ends(canvas: Canvas, ends: Mapping[Axes, Sequence[End]]) -> None:
    """Write names beside the ends of lines, moved up or down until none covers another."""
    for panel in ends:
        panel.margins(x=0.05, y=0.08)
    # Ends have a place in points only after the layout.
    canvas.draw_without_rendering()
    for panel, labels in ends.items():
        for (text, shade, x, y), shift in zip(labels, shifts(panel, labels), strict=True):
            panel.annotate(
                fill(text, LETTERS), (x, y), xytext=(9, shift), textcoords="offset points", va="center",
                color=shade, fontsize=8.5, fontweight="bold" if shade == BLUE else "normal", linespacing=1.0,
                annotation_clip=False, zorder=9, arrowprops=LEADER | {"color": shade},
                bbox={"facecolor": GROUND, "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
            )  # fmt: skip


def shifts(panel: Axes, ends: Sequence[End]) -> list[float]:
    """The distance (points) that each label moves up, so that labels keep their order and do not overlap."""
    scale = 72 / panel.get_figure(root=True).dpi  # type: ignore[union-attr]
    middles = [scale * panel.transData.transform((x, y))[1] for _, _, x, y in ends]
    heights = [LINE * (1 + fill(text, LETTERS).count("\n")) for text, *_ in ends]
    order = sorted(range(len(ends)), key=lambda end: middles[end])
    placed = apart([middles[end] for end in order], [heights[end] for end in order])
    moved = dict(zip(order, placed, strict=True))
    return [moved[end] - middles[end] for end in range(len(ends))]


def apart(middles: Sequence[float], heights: Sequence[float]) -> list[float]:
    """New middles of boxes that touch at most, in the same order and as close to the old ones as possible."""
    tops = list(accumulate(heights))
    starts = [middle - (top - height / 2) for middle, top, height in zip(middles, tops, heights, strict=True)]
    # Neighbours that would overlap move as one block, to the mean of their places.
    blocks: list[list[float]] = []
    for start in starts:
        blocks.append([start])
        while len(blocks) > 1 and fmean(blocks[-2]) > fmean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    moved = [fmean(block) for block in blocks for _ in block]
    return [start + top - height / 2 for start, top, height in zip(moved, tops, heights, strict=True)]
