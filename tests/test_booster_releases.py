"""The oldest release of each boosting library that its extra allows passes the tests of that library.

Each is installed into a folder of its own, which comes before the tests' libraries.
"""

import os
import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT, run

# Extra -> the package that is installed for it.
PACKAGES = {"catboost": "catboost", "lightgbm": "lightgbm", "xgboost": "xgboost-cpu"}


def bounds(package: str) -> set[str]:
    """The lower bounds of a package in setup.cfg."""
    return set(re.findall(rf"^ +{package} >=([\d.]+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE))


@pytest.mark.parametrize("library", sorted(PACKAGES))
def test_extras_and_documentation_have_one_bound(library: str) -> None:
    """The library's extra, those of the tests and of the documentation, and the page say the same."""
    (oldest,) = bounds(library) | bounds(PACKAGES[library])
    page = (ROOT / "docs" / "how-to" / "boosters.md").read_text()
    assert re.search(rf"^\| `{library}` \| {re.escape(oldest)}[ ,.]", page, re.MULTILINE)


def in_front(folder: Path, wanted: str, *commands: list[str]) -> list[str]:
    """The output of Python for each of these commands, where a release comes before the tests' own."""
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--target"]
    variables = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    outputs = []
    for words in ([*pip, str(folder), wanted], *commands):
        completed = run([sys.executable, *words], cwd=ROOT, env=variables)
        assert completed.returncode == 0, completed.stdout + completed.stderr
        outputs.append(completed.stdout.strip())
    return outputs[1:]


@pytest.mark.long
@pytest.mark.parametrize("library", sorted(PACKAGES))
def test_the_oldest_release_passes_its_tests(library: str, tmp_path: Path) -> None:
    """Its trees, links, categories and refusals are as those of the newest."""
    (oldest,) = bounds(PACKAGES[library])
    tests = ["-m", "pytest", "-W", "ignore", "-n", "0", "-p", "no:cacheprovider", f"tests/test_{library}.py"]
    version = ["-c", f"import {library}; print({library}.__version__)"]
    installed, _ = in_front(tmp_path, f"{PACKAGES[library]}=={oldest}", version, tests)
    assert installed.startswith(oldest)


REFUSED = """
from sklearn.datasets import load_iris
from xgboost import XGBClassifier
from unpickled.export import ConversionError, export_pipeline
X, y = load_iris(return_X_y=True)
try:
    export_pipeline(XGBClassifier(n_estimators=2).fit(X, y), X, y, name="iris")
except ConversionError as error:
    print(error)
"""


@pytest.mark.long
def test_a_release_from_before_the_tags_of_scikit_learn_is_refused_by_name(tmp_path: Path) -> None:
    """It does not say in scikit-learn's way what its models answer; the remedy is the extra."""
    (sentence,) = in_front(tmp_path, "xgboost-cpu==2.1.1", ["-W", "ignore", "-c", REFUSED])
    assert "cannot tell what xgboost.sklearn.XGBClassifier answers" in sentence
    assert sentence.endswith("fit it again: pip install 'unpickled[xgboost]'.")
