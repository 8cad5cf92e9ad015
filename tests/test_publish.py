"""Exported files: whole versions only, checked, and without rows of the data."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import conftest
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from conftest import PATIENCE, started
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from unpickled.export import (
    ConversionError,
    DataError,
    ExportError,
    ParityError,
    QualityError,
    export_pipeline,
)
from unpickled.export.privacy import KEEPS_ROWS, keeps_rows
from unpickled.export.publish import _explained
from unpickled.server.artifact import manifest as artifact
from unpickled.server.errors import ArtifactError

X, Y = load_iris(return_X_y=True)
NAMES = ["a", "b", "c", "d"]

# Fits a small pipeline; the code of a test comes after it.
SCRIPT = """
import os, resource, signal, sys
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from unpickled.export import ExportError, export_pipeline
X, y = load_iris(return_X_y=True)
pipeline = LogisticRegression(max_iter=1000).fit(X, y)
models = sys.argv[1]
"""


def run(models: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run SCRIPT with more code in a process of its own."""
    return conftest.run([sys.executable, "-c", SCRIPT + code, str(models)])


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


@pytest.fixture(scope="module")
def exported(pipeline, tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    titles = load_iris().target_names
    return export_pipeline(
        pipeline, X, Y, name="iris", models=models, class_names=titles, feature_names=NAMES
    )


def test_the_file_carries_the_manifest_that_was_returned(exported):
    """The file models/<name>/<version>/model.onnx has the sha256, size and manifest of the result."""
    payload = exported.path.read_bytes()
    assert exported.path.parts[-3:] == ("iris", "1", "model.onnx")
    assert (hashlib.sha256(payload).hexdigest(), len(payload)) == (exported.sha256, exported.size)
    assert artifact.read(payload) == exported.manifest


def test_the_manifest_says_what_a_server_needs(exported):
    """The manifest has features, classes, parity, versions, and metrics if labels are given."""
    manifest = exported.manifest
    assert [feature.name for feature in manifest.features] == NAMES
    assert (manifest.classes, manifest.class_names) == ((0, 1, 2), ("setosa", "versicolor", "virginica"))
    assert sum(manifest.parity.rows.values()) > 150
    assert manifest.parity.max_difference <= manifest.parity.tolerance
    assert manifest.training.metrics.accuracy > 0.9
    assert manifest.training.pipeline == ("StandardScaler()", "LogisticRegression()")
    assert {"scikit-learn", "onnx", "numpy", "python"} <= set(manifest.training.versions)


@pytest.mark.parametrize("names", [{2: "c", 0: "a", 1: "b"}, {np.int64(1): "b", False: "a", 2.0: "c"}])
def test_class_names_may_be_given_by_label(pipeline, tmp_path, names):
    """A mapping from labels to names may have any order; labels that are equal are the same."""
    export = export_pipeline(pipeline, X, Y, name="iris", models=tmp_path, class_names=names)
    assert export.manifest.class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({0: "a", 1: "b"}, "lack a name for 2: give a name for each of the pipeline's labels, 0, 1, 2"),
        ({0: "a", 1: "b", 2: "c", 7: "d"}, "name 7: give"),
        ({"0": "a", "1": "b", "2": "c"}, "lack a name for 0, 1, 2: give"),
        ({0: "a", 1: "b", 2: "a"}, "3 different class names are needed"),
        ("abc", "are one text, 'abc': give a list"),
        ({"a", "b", "c"}, "are a set, which has no order"),
    ],
    ids=["lacking", "unknown", "texts", "twice", "text", "set"],
)
def test_class_names_that_do_not_fit_are_refused(pipeline, tmp_path, names, sentence):
    """Each class needs one name of its own, and no other label has one."""
    with pytest.raises(DataError, match=sentence):
        export_pipeline(pipeline, X, Y, name="iris", models=tmp_path, class_names=names)


@pytest.mark.parametrize(
    ("estimator", "unit"),
    [
        (GradientBoostingClassifier(n_estimators=20), "stage"),
        (make_pipeline(StandardScaler(), MLPClassifier(tol=0.1)), "epoch"),
    ],
)
def test_a_loss_that_the_estimator_kept_is_kept(tmp_path, estimator, unit):
    """A pipeline that was fitted elsewhere has its training curve, if it has kept one itself."""
    X, y = load_iris(return_X_y=True)
    curve = export_pipeline(estimator.fit(X, y), X, name="iris", models=tmp_path).manifest.training.curve
    assert curve.unit == unit
    assert len(curve.loss) >= 10
    assert curve.loss[-1] < curve.loss[0]


def test_any_onnx_runtime_runs_the_file(exported, pipeline):
    """Any ONNX Runtime runs the graph: the manifest is metadata."""
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    (tensor,) = exported.manifest.inputs
    labels, scores = session.run(None, {tensor.name: X.astype(tensor.dtype)})
    assert np.array_equal(labels, pipeline.predict(X))
    assert np.abs(scores - pipeline.predict_proba(X)).max() < 1e-5


def test_golden_rows_are_made_up_inside_the_training_ranges(exported, pipeline):
    """No golden row is in the data; they reach every class and carry the pipeline's answers."""
    golden = exported.manifest.golden
    rows = np.array(golden.rows)
    assert 8 <= len(rows) <= 16
    assert not (rows[:, None, :] == X[None]).all(axis=2).any()
    assert (rows >= X.min(axis=0)).all()
    assert (rows <= X.max(axis=0)).all()
    assert set(golden.labels) == {0, 1, 2}
    assert np.array_equal(golden.labels, pipeline.predict(rows))
    np.testing.assert_allclose(golden.scores, pipeline.predict_proba(rows), rtol=0, atol=1e-12)


def test_whole_number_columns_get_whole_numbers(tmp_path):
    """A column of whole numbers has whole numbers in the golden rows."""
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.integers(0, 90, 200), rng.normal(size=200)]).astype(float)
    model = LogisticRegression().fit(table, table[:, 0] > 45)
    golden = export_pipeline(
        model, table, name="m", models=tmp_path, feature_names=["n", "x"]
    ).manifest.golden
    rows = np.array(golden.rows)
    assert np.array_equal(rows[:, 0], rows[:, 0].round())
    assert not np.array_equal(rows[:, 1], rows[:, 1].round())


def test_a_table_that_holds_every_row_still_gives_none_away(tmp_path):
    """Where the data has all rows of whole numbers, golden rows have fractions."""
    table = np.array([[a, b] for a in range(3) for b in range(3)] * 4, dtype=float)
    model = LogisticRegression().fit(table, table.sum(axis=1) > 2)
    golden = export_pipeline(
        model, table, name="m", models=tmp_path, feature_names=["a", "b"]
    ).manifest.golden
    assert golden.rows
    assert not {tuple(row) for row in table.tolist()} & set(golden.rows)


def test_golden_rows_of_categories_are_not_in_the_data_either(tmp_path):
    """Where the data has all combinations, a golden row has an unknown category if the model takes one."""
    table = pd.DataFrame([[a, b] for a in "xyz" for b in "pq"] * 4, columns=["a", "b"], dtype=object)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(
        table, table.a == "x"
    )
    golden = export_pipeline(model, table, name="m", models=tmp_path).manifest.golden
    assert golden.rows
    assert not set(table.itertuples(index=False, name=None)) & set(golden.rows)


def test_categories_that_admit_no_other_still_have_a_golden_row(tmp_path):
    """Where the data has every row there can be, one of them is the golden row: it tells nothing."""
    table = pd.DataFrame({"a": ["x", "y", "z"] * 10}, dtype=object)
    model = make_pipeline(OrdinalEncoder(), LogisticRegression()).fit(table, table.a == "x")
    golden = export_pipeline(model, table, name="m", models=tmp_path).manifest.golden
    assert len(golden.rows) == 1


def test_a_golden_row_has_missing_values_where_they_are_accepted(tmp_path):
    """The last golden row has all the missing values that are accepted."""
    table = X.copy()
    table[::7, 1] = np.nan
    model = DecisionTreeClassifier(max_depth=3).fit(table, Y)
    manifest = export_pipeline(model, table, name="m", models=tmp_path, feature_names=NAMES).manifest
    accepted = [feature.missing for feature in manifest.features]
    assert accepted[1]
    assert [cell is None for cell in manifest.golden.rows[-1]] == accepted


def test_versions_count_up_and_are_never_overwritten(pipeline, tmp_path):
    """The next version is one above the highest, whatever gaps and other files there are."""
    home = tmp_path / "m"
    for name in ("2", "7", ".new-leftover", "notes"):
        (home / name).mkdir(parents=True)
        (home / name / "model.onnx").write_bytes(b"keep")
    versions = [
        export_pipeline(pipeline, X, name="m", models=tmp_path, feature_names=NAMES).version for _ in range(2)
    ]
    assert versions == [8, 9]
    assert all((home / name / "model.onnx").read_bytes() == b"keep" for name in ("2", "7"))


def test_a_process_killed_before_the_rename_leaves_no_version(tmp_path):
    """A process killed before the rename leaves no version, and the next export is the first."""
    kill = """
sys.addaudithook(lambda event, args: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)
export_pipeline(pipeline, X, name="m", models=models, feature_names=list("abcd"))
"""
    assert run(tmp_path, kill).returncode == -signal.SIGKILL
    (leftover,) = (tmp_path / "m").iterdir()
    assert leftover.name.startswith(".new-")
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    assert export_pipeline(model, X, name="m", models=tmp_path, feature_names=NAMES).version == 1


def test_a_disk_that_takes_no_more_leaves_nothing(tmp_path):
    """A write that fails half way is undone, and the error is one sentence."""
    limit = """
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    export_pipeline(pipeline, X, name="m", models=models, feature_names=list("abcd"))
except ExportError as error:
    sys.exit(str(error))
"""
    completed = run(tmp_path, limit)
    assert "no version was added" in completed.stderr
    assert "Traceback" not in completed.stderr
    assert list(tmp_path.rglob("*.onnx")) == []
    assert list(tmp_path.rglob(".new-*")) == []


@pytest.mark.long
def test_exports_at_the_same_time_all_get_a_version(tmp_path):
    """Two processes that export at the same time get a version for each export."""
    many = """
for _ in range(3):
    export_pipeline(pipeline, X, name="m", models=models, feature_names=list("abcd"))
"""
    command = [sys.executable, "-c", SCRIPT + many, str(tmp_path)]
    with started(command) as first, started(command) as second:
        assert [process.wait(PATIENCE) for process in (first, second)] == [0, 0]
    versions = sorted(int(path.name) for path in (tmp_path / "m").iterdir())
    assert versions == list(range(1, 7))
    for path in tmp_path.rglob("model.onnx"):
        assert artifact.read(path.read_bytes()).name == "m"


@pytest.mark.long
@pytest.mark.parametrize("fault", ["SIGINT", "full"])
def test_an_interrupted_write_leaves_no_folder(tmp_path, fault):
    """After Ctrl-C or a full disk while writing, no folder of the export is left."""
    stop = f"""
import errno
from unpickled.export import store
def write(path, payload):
    path.write_bytes(payload[:100])
    if {fault!r} == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    raise KeyboardInterrupt
store.numbered.write = write
try:
    export_pipeline(pipeline, X, name="m", models=models + "/new/models", feature_names=list("abcd"))
except (KeyboardInterrupt, ExportError) as error:
    sys.exit(type(error).__name__)
"""
    assert run(tmp_path, stop).stderr.strip() == {"full": "ExportError", "SIGINT": "KeyboardInterrupt"}[fault]
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_exports_are_removed_a_day_later(pipeline, tmp_path):
    """Leftovers of an export are removed after a day; a younger one may still be written."""
    old, young = tmp_path / "m" / ".new-old", tmp_path / "m" / ".new-young"
    for leftover in (old, young):
        leftover.mkdir(parents=True)
        (leftover / "model.onnx").write_bytes(b"half")
    os.utime(old, (time.time() - 100_000,) * 2)
    export_pipeline(pipeline, X, name="m", models=tmp_path, feature_names=NAMES)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    ("classifier", "holds"),
    [(SVC(), True), (KNeighborsClassifier(150), True), (LogisticRegression(max_iter=1000), False)],
)
def test_a_file_that_holds_training_rows_says_so(tmp_path, classifier, holds):
    """The manifest and the progress of an export say whether the file holds training rows."""
    messages = []
    fitted = make_pipeline(StandardScaler(), classifier).fit(X, Y)
    exported = export_pipeline(
        fitted, X, name="m", models=tmp_path, feature_names=NAMES, progress=messages.append
    )
    assert artifact.read(exported.path.read_bytes()).training.holds_rows is holds
    assert (KEEPS_ROWS in messages) is holds


@pytest.mark.parametrize(
    ("classifier", "holds"),
    [
        (NuSVC(), True),
        (GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5]}), True),
        (BaggingClassifier(SVC(), 3), True),
        (CalibratedClassifierCV(SVC(), cv=3), True),
        (VotingClassifier([("a", LogisticRegression(max_iter=1000)), ("b", SVC())]), True),
        (StackingClassifier([("a", DecisionTreeClassifier())], KNeighborsClassifier()), True),
        (BaggingClassifier(DecisionTreeClassifier(), 3), False),
        (make_pipeline(SelectFromModel(SVC(kernel="linear")), DecisionTreeClassifier()), False),
    ],
)
def test_training_rows_are_found_however_deep(classifier, holds):
    """Training rows are found inside searches, ensembles and calibration, not in selectors."""
    assert keeps_rows(make_pipeline(StandardScaler(), classifier).fit(X, Y)) is holds


def test_a_pipeline_without_numbers_for_made_up_rows_is_refused(tmp_path):
    """The error names the scores that are NaN, not a null in a manifest."""
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    model.intercept_[:] = np.nan
    with pytest.raises(ParityError, match="answers NaN or infinity to every row made up") as caught:
        export_pipeline(model, X, name="m", models=tmp_path, feature_names=NAMES)
    assert "$." not in str(caught.value)


def test_an_export_opens_two_sessions(pipeline, tmp_path, monkeypatch):
    """An export opens one session for the gate, and one with the bytes that it writes."""
    opened = []

    class Session(onnxruntime.InferenceSession):
        def __init__(self, content, *options, **more):
            opened.append(content)
            super().__init__(content, *options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    export = export_pipeline(pipeline, X, name="m", models=tmp_path, feature_names=NAMES)
    assert len(opened) == 2
    assert opened[-1] == export.path.read_bytes()


def test_a_refusal_of_the_server_is_put_in_words():
    """The reason of the server is one line; a null in the manifest is put in words."""
    null = ArtifactError("its manifest cannot be read: Expected `float`, got `null` - at `$.training.x`")
    assert _explained(null) == "a number of its manifest (training.x) is NaN or infinite"
    assert _explained(ArtifactError("ONNX Runtime cannot load it: a\nb")) == "ONNX Runtime cannot load it: a"


@pytest.mark.parametrize("labels", [None, Y])
@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_rows_the_pipeline_refuses_come_with_a_remedy(pipeline, tmp_path, hole, labels):
    """The error names the column, the number of rows and the remedy, with labels and without."""
    table = X.copy()
    table[:3, 1] = hole
    with pytest.raises(
        DataError, match=r"'b' holds NaN or infinity, in 3 of 150 rows\. Leave those rows out"
    ):
        export_pipeline(pipeline, table, labels, name="m", models=tmp_path, feature_names=NAMES)


def test_no_name_is_refused_in_a_sentence(pipeline, tmp_path):
    """None is refused as a name."""
    with pytest.raises(DataError, match="None cannot name a model"):
        export_pipeline(pipeline, X, name=None, models=tmp_path, feature_names=NAMES)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", ".hidden", "-x", "a b", "é", "x" * 129, "a\n"]
)
def test_a_name_that_is_no_name_is_refused(pipeline, tmp_path, name):
    """The error lists the characters of which names consist."""
    with pytest.raises(DataError, match="cannot name a model: use up to 128 of A-Z"):
        export_pipeline(pipeline, X, name=name, models=tmp_path, feature_names=NAMES)


def test_a_file_in_the_way_is_named(pipeline, tmp_path):
    """A file in place of the model's folder is named before any work."""
    (tmp_path / "m").write_text("in the way")
    with pytest.raises(ExportError, match=r"m is not a directory, .* move it away"):
        export_pipeline(pipeline, X, name="m", models=tmp_path, feature_names=NAMES)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_named(pipeline, tmp_path):
    """A folder without permission to write is named before any work."""
    tmp_path.chmod(0o500)
    with pytest.raises(ExportError, match="cannot be written to: change its permissions"):
        export_pipeline(pipeline, X, name="m", models=tmp_path, feature_names=NAMES)


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "b"], ["a", "b", "c", "d"]])
def test_class_names_must_fit_the_classes(pipeline, tmp_path, names):
    """Class names are as many as the classes, and all different."""
    with pytest.raises(DataError, match="3 different class names are needed, for 0, 1, 2"):
        export_pipeline(pipeline, X, name="m", models=tmp_path, class_names=names, feature_names=NAMES)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"class_names": "abc"}, "The class names are one text, 'abc': give a list of names"),
        ({"held_out": (X, Y)}, "The rows are a tuple: give an array or a data frame"),
        ({"held_out": 0.2}, "The rows must be a table of two dimensions"),
    ],
)
def test_wrong_arguments_are_errors_of_the_export(pipeline, tmp_path, arguments, sentence):
    """An argument of the wrong kind is an ExportError that says what to give."""
    with pytest.raises(ExportError, match=re.escape(sentence)):
        export_pipeline(pipeline, X, Y, name="m", models=tmp_path, feature_names=NAMES, **arguments)


def test_nothing_is_written_of_a_pipeline_that_is_refused(tmp_path):
    """A refused pipeline leaves not even the model's folder."""
    strange = make_pipeline(FunctionTransformer(np.arctan), LogisticRegression()).fit(X / 10, Y)
    with pytest.raises(ConversionError):
        export_pipeline(strange, X / 10, name="m", models=tmp_path / "models", feature_names=NAMES)
    assert not (tmp_path / "models").exists()


def test_a_pipeline_below_the_asked_accuracy_is_not_written(pipeline, tmp_path):
    """A pipeline below min_accuracy is refused, and nothing is written."""
    with pytest.raises(QualityError, match="so nothing was written"):
        export_pipeline(
            pipeline, X, (Y + 1) % 3, name="m", models=tmp_path, feature_names=NAMES, min_accuracy=0.5
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("numbers", "options", "sentence"),
    [
        (X[:, :2], {"max_error": 1e-9}, "of 'worse', .* is above the 1e-09 asked for"),
        (
            X[:, :2],
            {"min_accuracy": 0.5},
            "which have no accuracy: give max_error, .*instead of min_accuracy\\.$",
        ),
        (X[:, :2], {"class_names": ["a", "b"]}, "has no classes to name"),
        (X[:, :1], {}, "have 1 numbers to predict each, the pipeline predicts 2"),
        (X[1:, :2], {}, "rows and .* numbers to predict: give each row its own"),
        (np.where(X[:, :2] > 3, X[:, :2], np.nan), {}, "is missing or infinite: leave its row out"),
        (np.full((len(X), 2), "much"), {}, "The numbers to predict are none .* give y as numbers"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, numbers, options, sentence):
    """True numbers of another form, and demands that a regressor does not meet, leave no file."""
    model = LinearRegression().fit(X, np.c_[X[:, 0], X[:, 1] + np.arange(len(X)) % 2])
    y = pd.DataFrame(numbers, columns=["better", "worse"][: numbers.shape[1]])
    with pytest.raises(ExportError, match=sentence):
        export_pipeline(model, X, y, name="m", models=tmp_path / "m", feature_names=NAMES, **options)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("names", [["a", "a"], [1, "1"]])
def test_targets_of_one_name_are_refused(tmp_path, names):
    """Two columns of y with the same name, or with names of the same letters, ask for other names."""
    y = pd.DataFrame(X[:, :2], columns=names)
    model = LinearRegression().fit(X, X[:, :2])
    with pytest.raises(DataError, match=f"columns of y are called '{names[0]}': give each target a name"):
        export_pipeline(model, X, y, name="m", models=tmp_path / "m", feature_names=NAMES)
    assert not (tmp_path / "m").exists()


def test_each_phase_is_reported(pipeline, tmp_path):
    """An export reports its phases to the caller."""
    phases = []
    export_pipeline(pipeline, X, name="m", models=tmp_path, feature_names=NAMES, progress=phases.append)
    assert phases[0] == "converting"
    assert phases[-1] == "writing"
    assert len(phases) >= 3


def test_a_frame_brings_its_own_names(tmp_path):
    """A frame names the features; labels of text name the classes."""
    table = pd.DataFrame({"x y": np.linspace(0, 1, 40), "kind": ["p", "q"] * 20})
    labels = np.where(table["x y"] > 0.5, "high", "low")
    columns = make_column_transformer(
        (StandardScaler(), ["x y"]), (OneHotEncoder(handle_unknown="ignore"), ["kind"])
    )
    model = make_pipeline(columns, LogisticRegression()).fit(table, labels)
    manifest = export_pipeline(model, table, name="m", models=tmp_path).manifest
    assert [(feature.name, feature.kind) for feature in manifest.features] == [
        ("x y", "number"),
        ("kind", "category"),
    ]
    assert manifest.classes == manifest.class_names == ("high", "low")
