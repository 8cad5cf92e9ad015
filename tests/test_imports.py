"""An export and a server import no library that only some pipelines, or other processes, need."""

import json
import sys

import pytest
from conftest import run

CODE = """
import json, sys, sklearn.impute
import unpickled.export.publish, unpickled.server.app
print(json.dumps([[*sys.modules], [*vars(sklearn.impute)]]))
"""


@pytest.fixture(scope="module")
def loaded() -> tuple[set[str], set[str]]:
    """In a process that can export and serve: the modules, and the names in sklearn.impute."""
    completed = run([sys.executable, "-c", CODE])
    assert completed.returncode == 0, completed.stderr
    modules, names = json.loads(completed.stdout)
    return set(modules), set(names)


@pytest.mark.parametrize("library", ["catboost", "imblearn", "lightgbm", "xgboost"])
def test_a_library_is_not_imported_for_others(loaded: tuple[set[str], set[str]], library: str) -> None:
    """Users without the library export and serve; it is needed only where a pipeline has brought it."""
    assert "sklearn" in loaded[0]
    assert library not in loaded[0]


def test_no_experimental_estimator_is_enabled(loaded: tuple[set[str], set[str]]) -> None:
    """Conversion leaves IterativeImputer for users to enable: in their process it stays out of the lists."""
    assert "SimpleImputer" in loaded[1]
    assert "IterativeImputer" not in loaded[1]


def test_a_serving_process_writes_no_files_of_the_log() -> None:
    """The libraries that write and upload the payload log are in the process that does so, in no worker."""
    modules = "app", "commands.serve", "payloads.schema", "payloads.parts", "payloads.retention"
    code = f"import sys, {', '.join(f'unpickled.server.{name}' for name in modules)}\nprint(*sys.modules)"
    completed = run([sys.executable, "-c", code])
    assert completed.returncode == 0, completed.stderr
    assert not {"pyarrow", "obstore", "zstandard", "pandas"}.intersection(completed.stdout.split())
