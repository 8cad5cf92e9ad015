"""Exports of wide tables, odd names of columns, progress, and too little memory."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import PATIENCE
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from unpickled.export import export_pipeline
from unpickled.export.convert import convert
from unpickled.export.gate import overflow, probes, sweep
from unpickled.export.gate.answers import answers_of
from unpickled.export.gate.pair import Pair
from unpickled.export.progress import Counter, Passing, running
from unpickled.server.app import flask_app
from unpickled.server.config import Config
from unpickled.server.service import Service

NAMES = ["self", "class", "index", "columns", "%", "%s", "{}", "{name}", "None", "", "a.b", "/", "x" * 400]


def numbers(columns: int, rows: int = 60) -> tuple[pd.DataFrame, np.ndarray]:
    """Random columns, of which the first decides the class."""
    X = np.random.default_rng(0).normal(size=(rows, columns))
    return pd.DataFrame(X, columns=[f"f{i}" for i in range(columns)]), (X[:, 0] > 0).astype(int)


def paired(pipeline, X) -> Pair:
    """A pipeline with a graph that answers as it does."""
    conversion = convert(pipeline, X)

    def run(feeds):
        answers = answers_of(pipeline, conversion, pd.DataFrame(feeds["numbers"], columns=X.columns))
        return answers.labels, answers.scores

    return Pair(pipeline, conversion, run)


@pytest.mark.parametrize("kind", ["number", "text"])
def test_any_text_names_a_column(kind, tmp_path):
    """A column may have any name: the export does not trip over it, and /predict takes and returns it."""
    X, y = numbers(len(NAMES))
    X.columns = NAMES
    if kind == "text":
        X = X.gt(0).replace({True: "up", False: "down"}).astype(object)
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), list(X.columns)))
    steps = (encoder,) if kind == "text" else ()
    pipeline = make_pipeline(*steps, DecisionTreeClassifier(random_state=0)).fit(X, y)
    export_pipeline(pipeline, X, y, name="m", models=tmp_path)
    record = X.iloc[0].to_dict()
    client = flask_app(Service(Config(models=str(tmp_path), default_model="m"))).test_client()
    answer = client.post("/predict", json=record)
    assert answer.status_code == 200, answer.text
    for name in NAMES:
        refused = client.post("/predict", json={**record, name: []})
        assert refused.status_code == 400, name


def test_cells_of_a_wide_table_share_copies():
    """Up to 100 columns each cell has a copy of its own; beyond, 64 copies hold one cell of every column."""
    cells = [(f"f{i}", side) for i in range(500) for side in (-1.0, 1.0)]
    copies = sweep.shared(cells, 500)
    assert sorted(index for copy in copies for index in copy) == list(range(1000))
    assert len(copies) == 2 * sweep.COPIES
    assert all(len({cells[index][0] for index in copy}) == len(copy) for copy in copies)
    assert sweep.shared(cells[:200], 100) == [[index] for index in range(200)]


def test_one_bad_cell_in_a_shared_copy_is_found():
    """The verdict on each cell of a wide table is its own: a refused one does not condemn its companions."""
    X, y = numbers(150)
    scaler = make_column_transformer((SimpleImputer(), X.columns[:140]), ("passthrough", X.columns[140:]))
    pipeline = make_pipeline(scaler, StandardScaler(), LogisticRegression()).fit(X, y)
    trials = sweep.swept(paired(pipeline, X), X[:3], [(name, np.nan) for name in X])
    assert [trial.verdict for trial in trials] == ["alike"] * 140 + ["refused"] * 10


def test_rows_that_overflow_are_suspected():
    """Exactly the rows that the pipeline refuses are taken as refused: NaN, and numbers beyond float32."""
    X, y = numbers(3)
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=0)).fit(X, y)
    rows = probes.each(X[:1], [("f0", 1.0), ("f0", 1e300), ("f1", np.nan), ("f2", 1e30)])
    assert overflow.suspects(forest, rows).tolist() == [False, True, False, False]
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    assert overflow.suspects(linear, rows).tolist() == [False, False, True, False]


@pytest.mark.parametrize("forest", [RandomForestClassifier, ExtraTreesClassifier])
def test_a_forest_decides_by_its_probabilities(forest):
    """The labels that the gate takes from a forest's probabilities are those of predict, ties included."""
    X, y = numbers(3, 200)
    pipeline = make_pipeline(StandardScaler(), forest(4, random_state=0)).fit(X[:100], y[:100][::-1])
    answers = answers_of(pipeline, convert(pipeline, X), X)
    assert (answers.scores[:, 0] == 0.5).any()
    assert answers.labels.tolist() == pipeline.predict(X).tolist()


def test_progress_tells_what_is_left():
    """From two seconds on, work says how much is done and how long the rest takes; then every two seconds."""
    now, lines = iter([0.0, 1.0, 4.0, 5.0, 8.0, 9.0]), []
    counter = Counter(lines.append, "comparing rows", clock=lambda: next(now))
    for done in (0, 1000, 2000, 3000, 4000):
        counter(done, 4000)
    assert lines == [
        "comparing rows: 1,000 of 4,000, about 12 s left",
        "comparing rows: 3,000 of 4,000, about 3 s left",
    ]
    assert all(isinstance(line, Passing) for line in lines)


def test_fitting_tells_how_long_it_has_taken():
    """Work that cannot be counted says how long it has run; once it has ended, its line is cleared."""
    lines = []
    with running(lines.append, "training forest", pause=0.01):
        while not lines:
            time.sleep(0.01)
    count = len(lines)
    time.sleep(0.05)
    # One second, or more where the thread that tells it is late.
    assert re.fullmatch(r"training forest: \d+ s so far", lines[0])
    assert lines[-1] == ""
    assert len(lines) == count


# Libraries are loaded and have run once before memory gets scarce: only the export's tables meet the limit.
SCARCE = """
import resource, sys
import numpy as np
from sklearn.linear_model import LogisticRegression
from unpickled.export import ExportError, export_pipeline
X = np.random.default_rng(0).normal(size=(60, 3))
pipeline = LogisticRegression().fit(X, X[:, 0] > 0)
export_pipeline(pipeline, X, name="small", models=sys.argv[1])
rows = np.broadcast_to(X[:1], (20_000_000, 3))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
try:
    export_pipeline(pipeline, rows, name="m", models=sys.argv[1])
except ExportError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's address space so")
def test_too_little_memory_is_one_sentence(tmp_path):
    """An export that does not fit into memory is no refusal of the pipeline, but ends with one sentence."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    completed = subprocess.run(
        [sys.executable, "-c", SCARCE, str(tmp_path)],
        env={**os.environ, **single},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert completed.stdout.startswith("The memory does not suffice"), completed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
