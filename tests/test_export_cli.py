"""The commands train and convert: their output, their files, and their refusals."""

import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from conftest import BIN, run
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unpickled.__main__ import main
from unpickled.export.privacy import KEEPS_ROWS
from unpickled.export.tasks.regression import REGRESSORS
from unpickled.server.model.session import load


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    """A table with numbers, text and gaps, a column with one value, and the target ``left``."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 150).astype(float),
            "city": rng.choice(["Oslo", "Bergen"], 150),
            "plan": "basic",
        }
    )
    frame["left"] = np.where(frame.age > 50, "yes", "no")
    frame.loc[::11, "age"] = np.nan
    frame.loc[::13, "city"] = None
    return frame


@pytest.fixture
def iris(tmp_path) -> Path:
    """iris.csv in ``tmp_path``, beside a pipeline fitted on the frame and one fitted on its array."""
    frame = load_iris(as_frame=True).frame
    rows, labels = frame.drop(columns="target"), frame["target"]
    for name, fitted_on in (("frame", rows), ("array", rows.to_numpy())):
        joblib.dump(
            make_pipeline(StandardScaler(), LogisticRegression()).fit(fitted_on, labels), tmp_path / name
        )
    frame.to_csv(tmp_path / "iris.csv", index=False)
    return tmp_path / "iris.csv"


def test_train_tells_what_it_did_and_what_to_do_next(tmp_path):
    """train reports on stdout, prints its phases on stderr, and names the file and the next command."""
    command = [sys.executable, "-m", "unpickled", "train", "iris", "--models", str(tmp_path / "my models")]
    completed = run(command)
    assert completed.returncode == 0, completed.stderr
    for part in (
        "iris: 150 rows, 4 features",
        "120 rows, 30 held out",
        "accuracy 0.9667   log loss 0.1395",
        "versicolor",
        "parity: ",
        "largest difference",
        "serve it: unpickled serve --models '",
    ):
        assert part in completed.stdout
    path = tmp_path / "my models" / "iris" / "1" / "model.onnx"
    assert f"wrote {path}" in completed.stdout
    assert load(path.read_bytes()).manifest.class_names == ("setosa", "versicolor", "virginica")
    assert "training logistic" in completed.stderr
    assert "comparing missing values" in completed.stderr
    assert "splits" not in completed.stderr
    assert "warning" not in completed.stderr.lower()


@pytest.mark.long
@pytest.mark.parametrize(
    ("low", "high", "classifier"),
    [
        (-1e308, 1e308, "decision_tree"),
        (-1.7e308, 1e200, "hist_gradient_boosting"),
        (0.0, 5e-324, "decision_tree"),
    ],
)
def test_the_widest_and_the_narrowest_ranges_have_golden_rows(tmp_path, low, high, classifier):
    """A column whose range is infinite, or the least there is, trains like any other."""
    numbers = [low, high, low / 2 + high / 2, low / 3] * 10
    y = ["n" if number == low else "y" for number in numbers]
    table = pd.DataFrame({"x": numbers, "z": np.arange(40) % 7 / 2, "y": y})
    table.to_csv(tmp_path / "wide.csv", index=False)
    command = [str(BIN / "unpickled"), "train", "--data", str(tmp_path / "wide.csv"), "--target", "y"]
    options = ["--scaler", "minmax" if low < -1e308 else "standard", "--classifier", classifier]
    completed = run([*command, *options, "--models", str(tmp_path)])
    assert completed.returncode == 0, completed.stderr
    golden = load((tmp_path / "wide" / "1" / "model.onnx").read_bytes()).manifest.golden
    drawn = {row[0] for row in golden.rows} - {None}
    assert all(low <= number <= high for number in drawn)
    assert len(drawn) > 5 or high < 1e-300


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_every_bundled_set_trains_and_exports(tmp_path, name):
    """The manifest has metrics, a training curve and the seed of its data set."""
    models = str(tmp_path)
    assert (
        main(["train", name, "--scaler", "minmax", "--classifier", "mlp", "--models", models, "--seed", "1"])
        == 0
    )
    manifest = load((tmp_path / name / "1" / "model.onnx").read_bytes()).manifest
    assert manifest.training.metrics.accuracy > 0.9
    assert manifest.training.curve.unit == "epoch"
    assert manifest.training.seed == 1
    assert len(manifest.training.fingerprint) == 64


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_users_own_table_trains_and_exports(table, tmp_path, capsys, suffix):
    """Numbers, text and gaps go into one pipeline; the report names the columns left out."""
    path = tmp_path / f"my table.{suffix}"
    table.to_csv(path, index=False) if suffix == "csv" else table.to_parquet(path)
    status = main(
        [
            "train",
            "--data",
            str(path),
            "--target",
            "left",
            "--models",
            str(tmp_path / "models"),
            "--class-names",
            "stayed,left",
            "--classifier",
            "forest",
        ]
    )
    assert status == 0
    manifest = load((tmp_path / "models" / "my-table" / "1" / "model.onnx").read_bytes()).manifest
    assert [(f.name, f.kind, f.missing) for f in manifest.features] == [
        ("age", "number", True),
        ("city", "category", True),
    ]
    assert (manifest.classes, manifest.class_names) == (("no", "yes"), ("stayed", "left"))
    assert "plan    constant         -  left out: it holds nothing but basic" in capsys.readouterr().out


def test_a_model_below_the_asked_accuracy_is_not_written(tmp_path, capsys):
    """A model below --min-accuracy is refused with status 1, after its figures."""
    assert main(["train", "iris", "--min-accuracy", "0.999", "--models", str(tmp_path)]) == 1
    output = capsys.readouterr()
    assert "accuracy 0.9667" in output.out
    assert output.err.splitlines()[-1].startswith("error: Accuracy 0.9667 is below the 0.999")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fitted", ["frame", "array"])
def test_convert_exports_and_measures_a_joblib_file(iris, tmp_path, capsys, fitted):
    """convert takes columns by name or position, as the fit did, and warns before it runs the file."""
    command = [
        "convert",
        str(tmp_path / fitted),
        "--sample",
        str(iris),
        "--target",
        "target",
        "--models",
        str(tmp_path / "models"),
        "--class-names",
        "setosa, versicolor, virginica",
    ]
    assert main(command) == 0
    output = capsys.readouterr()
    assert output.err.index("runs the code in it") < output.err.index("converting")
    assert "virginica" in output.out
    assert "accuracy 0.97" in output.out
    manifest = load((tmp_path / "models" / fitted / "1" / "model.onnx").read_bytes()).manifest
    assert manifest.features[0].name == "sepal length (cm)"


def test_convert_without_a_target_measures_nothing(iris, tmp_path, capsys):
    """Without a target, nothing is measured, and columns unknown to the pipeline are ignored."""
    command = [
        "convert",
        str(tmp_path / "frame"),
        "--sample",
        str(iris),
        "--models",
        str(tmp_path),
        "--name",
        "plain",
    ]
    assert main(command) == 0
    assert "accuracy" not in capsys.readouterr().out
    assert load((tmp_path / "plain" / "1" / "model.onnx").read_bytes()).manifest.training.metrics is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frame", "--sample", "absent.csv"], "There is no file"),
        (["iris.csv", "--sample", "iris.csv"], "cannot be loaded"),
        (["absent", "--sample", "iris.csv"], "There is no file absent"),
        (["frame", "--sample", "iris.csv", "--target", "label"], "There is no column 'label'"),
        (["frame", "--sample", "short.csv"], "petal width (cm), which the pipeline was fitted on"),
        (["frame", "--sample", "other.csv"], "The rows lack the column(s) sepal length (cm)"),
        (["frame", "--sample", "iris.csv", "--name", ""], "'' cannot name a model"),
        (["array", "--sample", "short.csv"], "4"),
        (["frame", "--sample", "iris.csv", "--min-accuracy", "0.5"], "--min-accuracy needs true answers"),
        (["frame", "--sample", "iris.csv", "--name", "a/b"], "cannot name a model"),
        (["number", "--sample", "iris.csv"], "holds an int, not a fitted classifier"),
        (["dict", "--sample", "iris.csv"], "holds a dict, not a fitted classifier or pipeline: save"),
    ],
)
def test_convert_refuses_in_one_line(iris, tmp_path, capsys, monkeypatch, arguments, sentence):
    """convert refuses with status 1 and one line, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    joblib.dump(42, tmp_path / "number")
    joblib.dump({"pipeline": joblib.load(tmp_path / "frame")}, tmp_path / "dict")
    pd.read_csv(iris).drop(columns="petal width (cm)").iloc[:, :3].to_csv("short.csv", index=False)
    pd.DataFrame({"age": [1, 2]}).to_csv("other.csv", index=False)
    assert main(["convert", *arguments, "--models", "models"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert sentence in error
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["train"],
        ["train", "mnist"],
        ["train", "iris", "--data", "x.csv"],
        ["train", "iris", "--target", "y"],
        ["train", "--data", "x.csv"],
        ["train", "iris", "--scaler", "log"],
        ["train", "iris", "--held-out", "1.5"],
        ["train", "iris", "--held-out", "some"],
        ["train", "iris", "--seed", "x"],
        ["train", "iris", "--seed", "-1"],
        ["train", "iris", "--min-accuracy", "2"],
        ["train", "iris", "--min-accuracy", "nan"],
        ["train", "diabetes", "--max-error", "-1"],
        ["train", "diabetes", "--max-error", "low"],
        ["train", "diabetes", "--task", "ranking"],
        ["convert", "fitted.joblib"],
    ],
)
def test_wrong_usage_exits_with_2(arguments, capsys):
    """Wrong usage prints the usage and, in the last line, the error and the command for help."""
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Usage: unpickled")
    assert not arguments or lines[-1].startswith("error: ")
    assert not arguments or f"(help: unpickled {arguments[0]} --help)" in lines[-1]


def test_a_table_in_place_of_a_data_set_is_met_with_the_options_for_it(capsys):
    """The usual mistake, ``train rows.csv``, gets the words that would work."""
    assert main(["train", "my rows.csv"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "a table of your own is given as --data 'my rows.csv' --target COLUMN. (help: " in error


def test_a_model_that_keeps_training_rows_is_noted(tmp_path, capsys):
    """A note on stderr says that a model holds training rows."""
    assert main(["train", "iris", "--classifier", "svc", "--models", str(tmp_path)]) == 0
    noted = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert noted == [KEEPS_ROWS]
    assert load((tmp_path / "iris" / "1" / "model.onnx").read_bytes()).manifest.training.holds_rows


def test_a_directory_is_no_table(tmp_path, capsys):
    """The error about a directory names the directory, not a model named after it."""
    assert main(["train", "--data", ".", "--target", "y", "--models", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: . is a directory without files of a payload log: name a file.\n"


def test_help_says_that_a_joblib_file_runs_code(capsys):
    """The help of convert warns that a joblib file runs code."""
    assert main(["convert", "--help"]) == 0
    assert "runs the code in it" in " ".join(capsys.readouterr().out.split())


def test_a_file_of_another_version_is_warned_of_in_one_line(iris, tmp_path):
    """The warning is one line without file names, source lines or repetition."""
    installed = sklearn.__version__.encode()
    pickle = (tmp_path / "frame").read_bytes().replace(installed, installed[:-1] + b"x")
    (tmp_path / "other").write_bytes(pickle)
    command = [BIN / "unpickled", "convert", str(tmp_path / "other"), "--sample", str(iris)]
    command += ["--models", str(tmp_path / "models")]
    completed = run(command)
    assert completed.returncode == 0, completed.stderr
    (warned,) = [line for line in completed.stderr.splitlines() if "was saved by scikit-learn" in line]
    assert warned.startswith("warning: ")
    assert "Trying to unpickle" not in completed.stderr
    assert "sklearn/" not in completed.stderr


def prices(folder: Path) -> Path:
    """A table with a whole number of rooms, a text, and two prices in euros, one of them missing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"area": rng.integers(30, 200, 120), "rooms": rng.integers(1, 5, 120)})
    frame["place"] = rng.choice(["city", "coast"], 120)
    cents = (frame.area * 2_345 + frame.rooms * 10_000 + rng.normal(0, 9_000, 120)).round(2)
    frame["price"] = [f"{number:,.2f} €" for number in cents]
    frame.loc[3, "price"] = ""
    frame["rent"] = (cents / 250).round(1)
    frame.to_csv(folder / "prices.csv", index=False)
    return folder / "prices.csv"


def test_train_predicts_a_number_and_says_why(tmp_path, capsys):
    """A target of different numbers is predicted: the reason, the errors and the residuals are printed."""
    command = ["train", "--data", str(prices(tmp_path)), "--target", "price"]
    assert main([*command, "--models", str(tmp_path / "models")]) == 0
    output = capsys.readouterr().out
    assert "prices.csv: 119 rows, 4 features, numbers from " in output
    assert "'price' has 119 different numbers: a number is predicted.\n" in output
    assert "1 row without 'price' dropped." in output
    (errors,) = load(
        (tmp_path / "models" / "prices" / "1" / "model.onnx").read_bytes()
    ).manifest.training.errors
    assert f"R2 {errors.r2:.4f}   (on the held-out rows; always the median: MAE " in output
    assert "predicted" in output
    assert (errors.target, errors.rows, errors.mae < errors.baseline / 2) == ("price", 24, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--target price --classifier forest", "of 'price' is regression: give --regressor instead."),
        ("--target rooms --regressor ridge", "give --classifier instead, or --task regression"),
        (
            "--target price --min-accuracy 0.5",
            "have no accuracy: give --max-error, the largest mean absolute error, instead of --min-accuracy.",
        ),
        (
            "--target place --max-error 5",
            "which are no distance apart: give --min-accuracy instead of --max-error.",
        ),
        ("--target price --class-names a,b", "predicts numbers and has no classes to name"),
        ("--target place --regressor ridge", "of 'place' is classification: give --classifier instead."),
        ("--target place --task regression", "or say --task classification to tell classes apart"),
        ("--target price --max-error 10", "is above the 10 asked for, so nothing was written"),
    ],
)
def test_words_of_the_other_task_are_refused(tmp_path, capsys, words, sentence):
    """An option that does not suit the task, or an error that is too large, ends with the remedy."""
    command = ["train", "--data", str(prices(tmp_path)), *words.split()]
    assert main([*command, "--models", str(tmp_path / "models")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert sentence in error
    assert not (tmp_path / "models").exists()


def test_few_whole_numbers_are_predicted_where_the_user_says_so(tmp_path, capsys):
    """With --task regression, a number of rooms is predicted, by the regressor that was named."""
    command = ["train", "--data", str(prices(tmp_path)), "--target", "rooms", "--task", "regression"]
    assert main([*command, "--regressor", "linear", "--max-error", "2", "--models", str(tmp_path)]) == 0
    assert "LinearRegression()" in capsys.readouterr().out
    manifest = load((tmp_path / "prices" / "1" / "model.onnx").read_bytes()).manifest
    assert (manifest.outputs.targets, manifest.training.target) == (("rooms",), "rooms")


@pytest.mark.parametrize("name", ["diabetes", "houses"])
def test_every_bundled_set_of_numbers_trains_and_exports(tmp_path, name):
    """A bundled regression has errors in its manifest, and no other task."""
    assert main(["train", name, "--models", str(tmp_path)]) == 0
    training = load((tmp_path / name / "1" / "model.onnx").read_bytes()).manifest.training
    assert training.metrics is None
    assert training.errors[0].mae < training.errors[0].baseline
    assert main(["train", name, "--task", "classification", "--models", str(tmp_path)]) == 1


@pytest.mark.long
@pytest.mark.parametrize("name", ["diabetes", "houses"])
@pytest.mark.parametrize("regressor", sorted(REGRESSORS))
def test_every_regressor_passes_the_gate(tmp_path, regressor, name):
    """A regressor that train fits by its name on a bundled set is exported."""
    assert main(["train", name, "--regressor", regressor, "--models", str(tmp_path)]) == 0


@pytest.mark.parametrize("targets", ["price", "price,rent"])
def test_convert_measures_numbers(tmp_path, capsys, targets):
    """The numbers of each target are read as in training, and the worst of them decides."""
    frame = pd.read_csv(prices(tmp_path)).drop(index=3)
    frame.to_csv(tmp_path / "sample.csv", index=False)
    frame["price"] = [float(text.strip(" €").replace(",", "")) for text in frame.price]
    named = targets.split(",") if "," in targets else targets
    joblib.dump(LinearRegression().fit(frame[["area", "rooms"]], frame[named]), tmp_path / "fitted")
    command = ["convert", str(tmp_path / "fitted"), "--sample", str(tmp_path / "sample.csv")]
    command += ["--target", targets, "--models", str(tmp_path / "models")]
    assert main(command) == 0
    assert "R2 0.99" in capsys.readouterr().out
    manifest = load((tmp_path / "models" / "fitted" / "1" / "model.onnx").read_bytes()).manifest
    assert [errors.target for errors in manifest.training.errors] == targets.split(",")
    assert main([*command, "--max-error", "100"]) == 1
    assert "The mean absolute error of 'price', " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--target place", "Column 'place' holds text such as 'c"),
        ("--target price", "'price' is missing in some rows: leave those rows out"),
        ("--target rent,prize", "There is no column 'prize'"),
        ("--target rent,rooms", "have 2 numbers to predict each, the pipeline predicts 1"),
        ("--max-error 5", "--max-error needs true answers to measure the pipeline with: name their column"),
        ("--target rent --min-accuracy 1", "absolute error, instead of --min-accuracy."),
    ],
)
def test_convert_refuses_other_targets(tmp_path, capsys, words, sentence):
    """A target of a regressor's sample that holds no numbers, or not as many, is refused."""
    frame = pd.read_csv(prices(tmp_path))
    joblib.dump(LinearRegression().fit(frame[["area", "rooms"]], frame.rent), tmp_path / "fitted")
    command = ["convert", str(tmp_path / "fitted"), "--sample", str(tmp_path / "prices.csv")]
    assert main([*command, *words.split(), "--models", str(tmp_path / "models")]) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "models").exists()


def test_convert_refuses_fractions_where_the_pipeline_has_classes(tmp_path, capsys):
    """The error offers nothing that only a training can do."""
    frame = pd.read_csv(prices(tmp_path))
    joblib.dump(LogisticRegression().fit(frame[["area"]], frame.rooms), tmp_path / "fitted")
    command = ["convert", str(tmp_path / "fitted"), "--sample", str(tmp_path / "prices.csv")]
    assert main([*command, "--target", "rent", "--models", str(tmp_path / "models")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("not whole, but the pipeline answers with classes: name the column of these.")
