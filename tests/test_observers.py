"""The cost of observers: medians of each variant, their spread, and the page that shows them."""

import sys
from datetime import UTC, datetime

import pytest
from conftest import ROOT, run

from benchmarks.measuring import generators
from benchmarks.observers.campaign import RUNGS, VARIANTS
from benchmarks.reporting import markdown
from benchmarks.reporting.observers import ALL, LATEST, OFF, Figure, Figures, table
from benchmarks.results import Machine

MACHINE = Machine(processor="A processor", cores=2, memory_mb=4096, system="Linux", server_core=0)
PAGE = f"# Cost\n\n{markdown.begin(LATEST.name)}\n{markdown.end(LATEST.name)}\n"


def figure(variant: str, repeat: int, us: float, failures: int = 0) -> Figure:
    """A turn in which every time is a multiple of ``us``, and one rung was disturbed."""
    return Figure(
        variant=variant, repeat=repeat, requests_per_s=1e6 / us, cpu_us=us, p50s_us=[5 * us] * RUNGS,
        p99s_us=[10 * us, 12 * us, 900 * us], failures=failures, rows={"written": 3.0, "dropped": 1.0},
        memory_mb=100.0,
    )  # fmt: skip


def measured(*figures: Figure) -> Figures:
    """A run of these turns."""
    return Figures(
        started=datetime(2026, 11, 29, tzinfo=UTC), machine=MACHINE, versions={}, commit=None,
        model="logistic regression on iris", connections=32, rate=2000.0, figures=list(figures),
    )  # fmt: skip


def test_multiples_are_those_of_medians():
    """A variant's median is compared with the median without observers, not turn by turn."""
    off = [figure(OFF, repeat, us) for repeat, us in enumerate((10, 20, 90))]
    on = [figure(ALL, repeat, us) for repeat, us in enumerate((80, 30, 20))]
    costs = measured(*off, *on)
    assert costs.ratio(ALL, "cpu_us") == 1.5
    assert costs.ratio(ALL, "p99_us") == 1.5
    assert costs.median(ALL, "p99_us") == 360


def test_a_table_shows_the_spread():
    """Each cell has the median, the lowest and the highest turn, and the multiple; failures are named."""
    turns = figure(ALL, 0, 45), figure(ALL, 1, 45, failures=2)
    off, on = table(measured(figure(OFF, 0, 20), figure(OFF, 1, 40), *turns)).rows
    assert [cell.text for cell in off[2:4]] == ["30 us (20 us to 40 us)", "150 us"]
    assert on[2].text == "45 us (45 us to 45 us), 1.50x"
    assert on[4].text == "540 us (540 us to 540 us), 1.50x, 2 failed"
    assert on[-1].text == "75.0%"


def test_figures_are_kept_and_shown(tmp_path):
    """Saved figures read back unchanged, and the page has their table between its markers."""
    (tmp_path / "README.md").write_text(PAGE)
    costs = measured(figure(OFF, 0, 20), figure(ALL, 0, 30))
    assert LATEST.save(costs, tmp_path, tmp_path) == [LATEST.file(tmp_path), tmp_path / "README.md"]
    assert LATEST.stored(tmp_path) == costs
    page = (tmp_path / "README.md").read_text()
    assert "Figures are those of one turn;" in page
    assert "| all | 33,300, 0.67x | 30 us, 1.50x |" in page


@pytest.mark.skipif(not LATEST.is_stored(), reason="nothing is measured yet")
def test_the_page_shows_what_is_stored():
    """The table of the page is that of the stored figures."""
    page = markdown.holder(ROOT, LATEST.name)
    assert page.read_text("utf-8") == LATEST.page_text(page)


@pytest.mark.long
@pytest.mark.skipif(generators.saturating() == "locust", reason="wrk and h2load are missing")
def test_the_command():
    """The command measures every variant at a real server, and prints a line for each."""
    options = "--repeats 1 --seconds 1 --connections 4 --rate 200 --unpinned"
    completed = run([sys.executable, "-m", "benchmarks", "observers", *options.split()], cwd=ROOT)
    assert completed.returncode == 0, completed.stderr
    title, head, *lines = completed.stdout.splitlines()
    assert title == "logistic regression on iris, 4 connections; latency at 200 requests/s"
    assert "CPU a request" in head
    assert all(line.strip().startswith(name) for line, name in zip(lines, VARIANTS, strict=True))
