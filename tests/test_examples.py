"""The examples run as they stand."""

import contextlib
import json
import shutil

import pytest
from conftest import ROOT
from documents import blocks, reading

EXAMPLES = ROOT / "examples"


@pytest.fixture
def folder(tmp_path):
    """A copy of the examples, which write models beside themselves."""
    return shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("models", "__*"))


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_scripts(folder):
    """The commands of the examples' own page run one after the other, and print what it shows."""
    with reading(folder) as reader:
        reader.run(blocks(EXAMPLES / "README.md"))


def test_notebook(folder):
    """Every code cell of the notebook runs in order, and is stored without outputs."""
    cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    names = {}
    with contextlib.chdir(folder):
        for cell in code:
            exec("".join(cell["source"]), names)
    assert names["answer"]["predicted_class"] == "yes"


def test_all_are_listed():
    """The examples' page has a line for every file."""
    page = (EXAMPLES / "README.md").read_text()
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert {name for name in files if f"| [{name}]({name}) |" in page} == files
