"""The figures of scored files: rows/s with the start and without, memory, equal answers, and their page."""

import sys
from datetime import UTC, datetime

import pytest
from conftest import ROOT, run

from benchmarks.reporting import markdown
from benchmarks.reporting.batches import JOBLIB, LATEST, OURS, Figures, Level, Turn, levels, picture, speed
from benchmarks.results import Machine

MACHINE = Machine(processor="A processor", cores=2, memory_mb=4096, system="Linux")
PAGE = f"# Speed\n\n{markdown.begin(LATEST.name)}\n{markdown.end(LATEST.name)}\n"


def turn(program: str, seconds: float, start: float = 1.0, repeat: int = 0) -> Turn:
    return Turn(
        case="iris", title="logistic regression on iris", features=4, program=program, repeat=repeat,
        rows=1_000_000, files=8, bytes=10**7, seconds=seconds, start_s=start, memory_mb=300.0,
        difference=2e-16,
    )  # fmt: skip


def measured(*turns: Turn) -> Figures:
    level = Level(
        rows=8_000_000, files=1, seconds=8.0, done=[10**6 * row for row in range(1, 9)],
        memory_mb=[100.0, 290.0, 300.0, 295.0, 301.0, 300.0, 302.0, 299.0],
    )  # fmt: skip
    return Figures(
        started=datetime(2026, 11, 30, tzinfo=UTC), machine=MACHINE, versions={}, commit=None, workers=2,
        turns=list(turns), levels=[level],
    )  # fmt: skip


def test_rows_per_second_are_medians():
    """The start is part of one figure and not of the other; a multiple is that of the medians."""
    ours = [turn(OURS, seconds, repeat=repeat) for repeat, seconds in enumerate((2.0, 3.0, 30.0))]
    run = measured(*ours, turn(JOBLIB, 11.0))
    assert run.median("iris", OURS, "rows_per_s") == pytest.approx(1e6 / 3)
    assert run.median("iris", OURS, "net_rows_per_s") == pytest.approx(5e5)
    assert run.ratio("iris", "net_rows_per_s") == pytest.approx(5.0)
    assert not measured(turn(OURS, 1.2), turn(JOBLIB, 11.0)).is_long("iris")
    cells = [cell.text for cell in speed(run).rows[0]]
    assert cells[:5] == [
        "logistic regression on iris, 4 features",
        "1,000,000",
        OURS,
        "333,000, 3.7x",
        "500,000, 5.0x",
    ]


def test_memory_is_compared_by_quarters():
    """The most memory of the second quarter of the rows stands beside that of the last one."""
    run = measured(turn(OURS, 2.0), turn(JOBLIB, 2.0))
    assert run.levels[0].quarters == (300.0, 302.0)
    assert [cell.text for cell in levels(run).rows[0]][-2:] == ["300 MiB", "302 MiB"]
    assert picture(run).startswith("<svg")


def test_figures_are_kept_and_shown(tmp_path):
    """Saved figures read back unchanged, and the page has their tables and the picture."""
    (tmp_path / "README.md").write_text(PAGE)
    run = measured(turn(OURS, 2.0), turn(JOBLIB, 11.0))
    LATEST.save(run, tmp_path, tmp_path)
    assert LATEST.stored(tmp_path) == run
    page = (tmp_path / "README.md").read_text()
    assert "probabilities differ by 2e-16 at most" in page
    assert "| 8,000,000 | 1 |" in page
    assert (tmp_path / LATEST.name / "batches.svg").is_file()


@pytest.mark.skipif(not LATEST.is_stored(), reason="nothing is measured yet")
def test_the_page_shows_what_is_stored():
    """The tables of the page are those of the stored figures."""
    page = markdown.holder(ROOT, LATEST.name)
    assert page.read_text("utf-8") == LATEST.page_text(page)


@pytest.mark.long
def test_the_command():
    """The command scores every case with both programs, finds equal answers, and watches the memory."""
    options = "--rows 20000 --files 2 --repeats 1 --level 20000 --level-files 2"
    completed = run([sys.executable, "-m", "benchmarks", "batches", *options.split()], cwd=ROOT)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.count(OURS) == completed.stdout.count(JOBLIB) == 3
