"""The simulation of tests that are looked at again and again."""

import argparse

import pytest
from conftest import ROOT

from benchmarks.errors import BenchmarkError
from benchmarks.peeking import command
from benchmarks.peeking.simulation import Simulation
from benchmarks.reporting import markdown
from benchmarks.reporting.peeking import ALLOWED, LATEST, picture


@pytest.fixture(scope="module")
def figures():
    return Simulation(tests=200, looks=10, rows=2000, seed=1).measure()


def test_the_judge_errs_rarely_and_a_repeated_test_often(figures):
    """It does so in every case, and tells a gain of three points all the same."""
    assert figures.holds
    assert all(case.judged[-1] <= ALLOWED < case.repeated[-1] for case in figures.alike)
    assert [case.judged == sorted(case.judged) for case in figures.cases] == [True] * 14
    best = figures.better[-1]
    assert best.judged[-1] > 0.9
    assert figures.rows_until(best, 0.5) < 1000
    assert figures.rows_until(figures.better[0], 1.0) is None


def test_figures_are_kept_and_shown(figures, tmp_path):
    """The page gets a picture and two tables, the folder the picture."""
    (tmp_path / "README.md").write_text(f"{markdown.begin(LATEST.name)}\n{markdown.end(LATEST.name)}\n")
    written = LATEST.save(figures, tmp_path, tmp_path)
    assert [path.name for path in written] == ["latest.json", "peeking.svg", "README.md"]
    assert LATEST.stored(tmp_path) == figures
    page = (tmp_path / "README.md").read_text()
    assert "| accuracy 90%, correlation 0.5 |" in page
    assert "(peeking/peeking.svg)" in page


def test_the_page_shows_what_is_stored():
    """Tables and picture are those of the stored figures."""
    page = markdown.holder(ROOT, LATEST.name)
    assert page.read_text("utf-8") == LATEST.page_text(page)
    stored, drawn = LATEST.stored(), LATEST.file().with_name("peeking.svg").read_text()
    assert drawn.count("<path") == picture(stored).count("<path")
    assert (stored.tests, stored.looks, stored.holds) == (2000, 50, True)


def test_the_command(capsys):
    """It prints both tables; a wrong number ends with a sentence."""
    parser = argparse.ArgumentParser()
    command.declare(parser)
    assert command.run(parser.parse_args(["--tests", "50", "--looks", "5", "--rows", "500"])) == 0
    assert "wrong promotions by the judge" in capsys.readouterr().out
    for words, sentence in (("--tests 0", "--tests 0"), ("--rows 90", "at least ten for each of --looks 50")):
        with pytest.raises(BenchmarkError, match=sentence):
            command.run(parser.parse_args(words.split()))
