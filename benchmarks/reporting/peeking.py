"""Repeated looks at simulated comparisons: as text, as a stored document, as tables and a picture."""

import io

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter
from msgspec import Struct

from benchmarks.reporting import charts, markdown
from benchmarks.reporting.latest import Latest
from benchmarks.reporting.tables import Table, row
from benchmarks.units import number

PICTURE = "peeking.svg"
ALT = "Wrong promotions of the judge and of a repeated test, and promotions at a true gain, against the rows"
# The gain of a challenger that is better, in accuracy, and the share of wrong promotions that is allowed.
GAIN, ALLOWED = 0.03, 0.05


class Case(Struct, kw_only=True, forbid_unknown_fields=True):
    """One kind of test, whose true gain is known.

    ``judged`` and ``repeated``: the share of tests that have shown a gain at any look up to each one, by the
    judge, and by a test at 5% that is repeated.
    """

    title: str
    gain: float
    judged: list[float]
    repeated: list[float]


class Figures(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run: ``tests`` of each kind, looked at ``looks`` times while they grow to ``rows`` rows."""

    tests: int
    looks: int
    rows: int
    seed: int
    cases: list[Case]

    @property
    def alike(self) -> list[Case]:
        """The cases in which the challenger is no better."""
        return [case for case in self.cases if not case.gain]

    @property
    def better(self) -> list[Case]:
        """The cases in which it is."""
        return [case for case in self.cases if case.gain]

    @property
    def holds(self) -> bool:
        """Whether the judge promotes no more often wrongly than is allowed."""
        return all(case.judged[-1] <= ALLOWED for case in self.alike)

    def rows_until(self, case: Case, share: float) -> int | None:
        """The rows at the look by which so many tests have shown the gain; None where they have not."""
        looks = (look for look, shown in enumerate(case.judged, start=1) if shown >= share)
        first = next(looks, None)
        return None if first is None else first * (self.rows // self.looks)


def text(run: Figures) -> str:
    """Lines for a terminal."""
    title = f"{run.tests:,} tests of each kind, looked at {run.looks} times in {run.rows:,} rows"
    return "\n".join([title, "", *wrong(run).lines(), "", *right(run).lines()])


def wrong(run: Figures) -> Table:
    """How often a challenger that is no better is promoted."""
    head = ["no better challenger", "wrong promotions by the judge", "by a test at 5% at each look"]
    lines = [row(case.title, _share(case.judged[-1]), _share(case.repeated[-1])) for case in run.alike]
    return Table(head, lines)


def right(run: Figures) -> Table:
    """How soon a better challenger is promoted."""
    head = [
        f"challenger better by {100 * GAIN:g} points",
        "promoted by the judge",
        "half of them by",
        "80% by",
    ]
    lines = [
        row(
            case.title,
            _share(case.judged[-1]),
            *(_rows(run.rows_until(case, share)) for share in (0.5, 0.8)),
        )
        for case in run.better
    ]
    return Table(head, lines)


def _share(share: float) -> str:
    return f"{100 * share:.1f}%"


def _rows(rows: int | None) -> str:
    return "-" if rows is None else f"{number(rows)} rows"


def picture(run: Figures) -> str:
    """Two panels as SVG: wrong promotions, and right ones, against the rows."""
    with charts.style("peeking"):
        canvas = _draw(run)
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata={"Date": None})
    return charts.finished(file.getvalue(), "peeking", ALT)


def _draw(run: Figures) -> Canvas:
    canvas, panels = charts.grid(2, 3.1, share=False)
    errors, power = panels[:2]
    ends: dict[Axes, list[charts.End]] = {errors: [], power: []}
    for case in run.alike:
        _line(run, errors, case.repeated, charts.SERIES[0])
        _line(run, errors, case.judged, charts.BLUE)
    highest = max(case.repeated[-1] for case in run.alike)
    ends[errors] = [
        ("a test at 5%, at each look", charts.SERIES[0], run.rows, highest),
        ("the judge", charts.BLUE, run.rows, max(case.judged[-1] for case in run.alike)),
    ]
    errors.axhline(ALLOWED, color=charts.GREY, linewidth=1.0, linestyle=(0, (4, 3)))
    _axes(run, errors, "no better challenger: promoted all the same")
    for case in run.better:
        _line(run, power, case.judged, charts.BLUE)
    _axes(run, power, f"better by {100 * GAIN:g} points: promoted by the judge")
    charts.label_ends(canvas, ends)
    return canvas


def _line(run: Figures, panel: Axes, shares: list[float], shade: str) -> None:
    step = run.rows // run.looks
    panel.plot([step * look for look in range(1, run.looks + 1)], shares, color=shade, linewidth=1.4)


def _axes(run: Figures, panel: Axes, title: str) -> None:
    panel.set_xlim(0, run.rows)
    panel.set_ylim(bottom=0)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda rows, _: f"{rows:,.0f}"))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    panel.set_title(title)
    panel.set_xlabel("rows with truth, looked at again and again")
    panel.grid(axis="y")
    panel.tick_params(length=0)
    panel.spines["left"].set_visible(False)


def _block(run: Figures, folder: str) -> str:
    """The method in two sentences, the picture and the tables."""
    method = (
        f"Simulated: {run.tests:,} tests of each kind, each looked at {run.looks} times while it grows to "
        f"{run.rows:,} rows. The correlation is that between which rows the two versions have right. The "
        "curves of the right panel are the rows of the second table: its last row is the leftmost curve."
    )
    tables = f"{markdown.table(wrong(run))}\n\n{markdown.table(right(run))}"
    return f"{method}\n\n![{ALT}]({folder}/{PICTURE})\n\n{tables}"


def _pictures(run: Figures) -> dict[str, str]:
    return {PICTURE: picture(run)}


LATEST = Latest("peeking", Figures, _block, _pictures)
