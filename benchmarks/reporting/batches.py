"""Files that were scored: as text, as a stored document, as tables and a picture of the memory."""

import io
import statistics
from datetime import datetime

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter
from msgspec import Struct

from benchmarks.reporting import charts, markdown
from benchmarks.reporting.latest import Latest
from benchmarks.reporting.tables import Table, row
from benchmarks.results import Commit, Machine
from benchmarks.units import memory, number, seconds

OURS, JOBLIB = "unpickled predict", "scikit-learn, joblib"
# Seconds besides the start.
_SHORTEST = 0.5
PICTURE = "batches.svg"
ALT = "Memory of unpickled predict against the rows that are scored: level"


class Turn(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run of one program over the files of one case.

    ``seconds`` of all of it, ``start_s`` of the same program with one row a file; ``bytes`` of the files.
    ``memory_mb``: the most of all its processes. ``difference``: the largest one between probabilities of
    the two programs.
    """

    case: str
    title: str
    features: int
    program: str
    repeat: int
    rows: int
    files: int
    bytes: int
    seconds: float
    start_s: float
    memory_mb: float
    difference: float = 0.0

    @property
    def rows_per_s(self) -> float:
        """Rows of a second, from the start of the program to its end."""
        return self.rows / self.seconds

    @property
    def net_rows_per_s(self) -> float:
        """The same without what the program takes for files of one row."""
        return self.rows / max(self.seconds - self.start_s, 1e-3)


class Level(Struct, kw_only=True, forbid_unknown_fields=True):
    """The memory of one run: of all processes, in MiB, beside the rows that were done by then."""

    rows: int
    files: int
    seconds: float
    done: list[int]
    memory_mb: list[float]

    @property
    def quarters(self) -> tuple[float, float]:
        """The most in the second quarter of the rows, and in the last one."""
        quarter = len(self.memory_mb) // 4 or 1
        return max(self.memory_mb[quarter : 2 * quarter] or self.memory_mb), max(self.memory_mb[-quarter:])


class Figures(Struct, kw_only=True, forbid_unknown_fields=True):
    """One run: every turn of every case, and the memory over many rows."""

    started: datetime
    machine: Machine
    versions: dict[str, str]
    commit: Commit | None
    workers: int
    turns: list[Turn]
    levels: list[Level]

    def of(self, case: str, program: str) -> list[Turn]:
        """The turns of one program in one case."""
        return [turn for turn in self.turns if (turn.case, turn.program) == (case, program)]

    @property
    def cases(self) -> list[str]:
        """The cases in their order."""
        return list(dict.fromkeys(turn.case for turn in self.turns))

    def median(self, case: str, program: str, name: str) -> float:
        """The median of a figure over the turns of a program."""
        values: list[float] = [getattr(turn, name) for turn in self.of(case, program)]
        return statistics.median(values)

    def is_long(self, case: str) -> bool:
        """Whether both programs take long enough that their starts do not decide the figure without them."""
        pairs = [(turn.seconds, turn.start_s) for turn in self.turns if turn.case == case]
        return all(whole - start >= _SHORTEST for whole, start in pairs)

    def ratio(self, case: str, name: str) -> float:
        """The median of Unpickled in multiples of that of scikit-learn."""
        return self.median(case, OURS, name) / self.median(case, JOBLIB, name)


def text(run: Figures) -> str:
    """Lines for a terminal."""
    return "\n\n".join("\n".join(each.lines()) for each in (speed(run), levels(run)) if each.rows)


def speed(run: Figures) -> Table:
    """Rows/s with start and without, start and memory of each program in each case."""
    head = ["model", "rows", "program", "rows/s", "without start", "start", "memory"]
    lines = []
    for case in run.cases:
        for program in (OURS, JOBLIB):
            first = run.of(case, program)[0]
            lines.append(
                row(
                    f"{first.title}, {first.features} features",
                    number(first.rows),
                    program,
                    *(_rate(run, case, program, name) for name in ("rows_per_s", "net_rows_per_s")),
                    seconds(run.median(case, program, "start_s")),
                    memory(run.median(case, program, "memory_mb")),
                )
            )
    return Table(head, lines)


def _rate(run: Figures, case: str, program: str, name: str) -> str:
    if name == "net_rows_per_s" and not run.is_long(case):
        return "too few rows"
    ratio = f", {run.ratio(case, name):.1f}x" if program == OURS else ""
    return f"{number(run.median(case, program, name))}{ratio}"


def levels(run: Figures) -> Table:
    """The memory in the second quarter of many rows and in the last one."""
    head = ["rows", "files", "time", "memory, second quarter", "memory, last quarter"]
    lines = [
        row(number(each.rows), f"{each.files}", seconds(each.seconds), *map(memory, each.quarters))
        for each in run.levels
    ]
    return Table(head, lines)


def picture(run: Figures) -> str:
    """The memory against the rows, as SVG."""
    with charts.style("batches"):
        canvas = _draw(run)
        file = io.StringIO()
        canvas.savefig(file, format="svg", metadata={"Date": None})
    return charts.finished(file.getvalue(), "batches", ALT)


def _draw(run: Figures) -> Canvas:
    canvas, [panel, *_] = charts.grid(1, 3.0, share=False)
    for level, shade in zip(run.levels, (charts.BLUE, charts.SERIES[1]), strict=False):
        name = "one file" if level.files == 1 else f"{level.files} files"
        panel.plot(level.done, level.memory_mb, color=shade, linewidth=1.4, label=name)
    panel.set_xlim(left=0)
    panel.set_ylim(bottom=0)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda rows, _: number(rows)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: memory(value)))
    panel.set_title("memory of all processes of unpickled predict")
    panel.set_xlabel("rows scored")
    panel.grid(axis="y")
    panel.tick_params(length=0)
    panel.legend(frameon=False)
    return canvas


def _block(run: Figures, folder: str) -> str:
    """The method in a few sentences, the tables and the picture."""
    turns = len({turn.repeat for turn in run.turns})
    medians = f"medians of {turns} turns" if turns > 1 else "those of one turn"
    largest = max((turn.difference for turn in run.turns), default=0.0)
    files = run.turns[0].files if run.turns else 0
    method = (
        f"Measured on {run.started:%Y-%m-%d} on {markdown.escaped(run.machine.processor)}, {run.workers} "
        f"processes each, {files} Parquet files. Figures are {medians}; a multiple is that of scikit-learn. "
        "The start is the time for the same files with one row each. Labels are equal in every row, and "
        f"probabilities differ by {largest:.1g} at most."
    )
    parts = [method, markdown.table(speed(run))]
    if run.levels:
        parts += [f"![{ALT}]({folder}/{PICTURE})", markdown.table(levels(run))]
    return "\n\n".join(parts)


def _pictures(run: Figures) -> dict[str, str]:
    return {PICTURE: picture(run)} if run.levels else {}


LATEST = Latest("batches", Figures, _block, _pictures)
