"""The README is true and short: its commands run, and print what it shows."""

import re
import shutil

import pytest
from conftest import ROOT, copied
from documents import blocks, reading

README = ROOT / "README.md"


@pytest.mark.skipif(not shutil.which("make") or not shutil.which("curl"), reason="needs make and curl")
def test_it_runs(tmp_path):
    """Every block runs, from a tree without a model, and prints what the README shows."""
    with reading(copied(tmp_path / "copy")) as reader:
        reader.run(blocks(README))


def test_it_is_short():
    """README fits on a few screens."""
    assert len(README.read_text("utf-8").splitlines()) <= 160


def test_links():
    """Every file that README links to exists."""
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text("utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []
