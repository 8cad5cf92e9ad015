"""From a file to a fitted, measured pipeline: columns read and left out, refusals, and quality."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

from unpickled.export.data import files as data
from unpickled.export.errors import DataError, QualityError
from unpickled.export.train import CLASSIFIERS, SCALERS, build, measure, require, train

ROWS = 120


@pytest.fixture
def people() -> pd.DataFrame:
    """Numbers, text and truth values, some of them missing, and columns that hold nothing to learn."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "customer": np.arange(ROWS) + 1000,
            "age": rng.integers(18, 80, ROWS).astype(float),
            "income": rng.lognormal(10, 1, ROWS),
            "city": rng.choice(["Oslo", "Bergen", "Ålesund, sør"], ROWS),
            "member": rng.random(ROWS) < 0.5,
            "joined": [f"2024-01-{day % 28 + 1:02d}" for day in range(ROWS)],
            "email": [f"{n}@example.org" for n in range(ROWS)],
            "country": "NO",
            "notes": np.nan,
        }
    )
    frame["churned"] = np.where(frame.income < frame.income.median(), "yes", "no")
    frame.loc[3:9, "age"] = np.nan
    frame.loc[20:25, "city"] = np.nan
    return frame


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame as CSV or Parquet, by the suffix of the path."""
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def lines(path: Path, *rows: str) -> Path:
    """Write lines into a file."""
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "features", "classes"),
    [("iris", 4, "setosa"), ("wine", 13, "class_0"), ("breast_cancer", 30, "malignant"), ("digits", 64, "0")],
)
def test_bundled_sets_have_names_that_work_as_json_keys(name, features, classes):
    """Features have plain names; labels are 0, 1, 2 and so on, and classes keep their own names."""
    table = data.bundled(name)
    assert table.features.shape[1] == features
    assert all(column.isidentifier() and column == column.lower() for column in table.features)
    assert table.class_names[0] == classes
    assert table.labels.tolist()[:1] == [0]
    assert table.labels.dtype == np.int64


def test_iris_has_the_names_of_its_requests():
    """The README's record is a row of this table."""
    assert list(data.bundled("iris").features) == [
        "sepal_length",
        "sepal_width",
        "petal_length",
        "petal_width",
    ]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_are_typed_and_the_useless_ones_left_out_and_named(people, tmp_path, suffix):
    """Numbers become float64, text stays text, and a note names every column that is left out."""
    table = data.read(write(people, tmp_path / f"people{suffix}"), "churned")
    kinds = {name: column.dtype.kind for name, column in table.features.items()}
    assert kinds == {"age": "f", "income": "f", "city": "O", "member": "f"}
    for name in ("customer", "joined", "email", "country", "notes", "age", "city"):
        assert any(f"'{name}'" in note for note in table.notes), name
    assert table.class_names == ("no", "yes")


def test_csv_and_parquet_of_one_table_have_one_fingerprint(people, tmp_path):
    """The fingerprint depends on the values, not on the file or its types."""
    people = people.drop(columns="notes")
    typed = people.assign(city=people.city.astype("category"), age=people.age.astype("Int64"))
    tables = [
        data.read(write(frame, tmp_path / name), "churned")
        for frame, name in ((people, "a.csv"), (typed, "b.parquet"))
    ]
    first, second = [data.fingerprint(table.features, table.labels) for table in tables]
    assert first == second
    tables[0].features.iloc[0, 0] += 1
    assert data.fingerprint(tables[0].features, tables[0].labels) != first


def test_numbers_are_read_to_the_last_bit(tmp_path):
    """A number in a file is the same double as in a request."""
    numbers = np.random.default_rng(0).lognormal(0, 20, 5000)
    path = lines(tmp_path / "x.csv", "x,y", *(f"{x!r},{i % 2}" for i, x in enumerate(numbers.tolist())))
    assert np.array_equal(data.read(path, "y").features["x"].to_numpy(), numbers)


def test_rows_without_a_class_are_dropped_and_counted(people, tmp_path):
    """A row whose target is missing is left out, and a note says how many."""
    people.loc[[0, 1], "churned"] = np.nan
    table = data.read(write(people, tmp_path / "people.csv"), "churned")
    assert len(table.labels) == ROWS - 2
    assert table.notes[0].startswith("2 rows without 'churned' dropped")


@pytest.mark.parametrize(
    ("cells", "labels", "names"),
    [
        (["True", "False"], [1, 0], ("false", "true")),
        (["2.0", "1.0"], [2, 1], ("1", "2")),
        (["b", "a"], ["b", "a"], ("a", "b")),
    ],
)
def test_labels_are_integers_or_text(tmp_path, cells, labels, names):
    """Whole floats are integers, truth values 0 and 1 with their own names, text stays text."""
    path = lines(tmp_path / "x.csv", "x,y", *(f"{i / 7},{cells[i % 2]}" for i in range(40)))
    table = data.read(path, "y")
    assert table.labels.tolist()[:2] == labels
    assert table.class_names == names


def test_a_nameless_index_column_is_left_out(tmp_path):
    """pandas writes the index as a column without a name; it is no feature."""
    path = lines(tmp_path / "x.csv", ",x,y", *(f"{i * i},{i / 7},{i % 2}" for i in range(40)))
    table = data.read(path, "y")
    assert list(table.features) == ["x"]
    assert "no name" in table.notes[0]


GOOD = [f"{i / 7},{'ab'[i % 2]}" for i in range(40)]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "is empty"),
        (["x,y"], "has no rows"),
        (["x,x,y", "1,2,a"], "more than one column named 'x'"),
        (["x;y", "1,5;a"], "not separated by commas"),
        (["x,y", *GOOD, "1,2,3"], "Expected 2 fields in line 42, saw 3"),
        (["x,z", *GOOD], "no column 'y'"),
        (["x,yy", *GOOD], "did you mean 'yy'"),
        (["x,y", "1,", "2,"], "is empty in every row"),
        (["x,y", *(row.replace("b", "a") for row in GOOD)], "one class only, a"),
        (["x,y", *GOOD, "1,c"], "Class c of 'y' has 1 row, and at least 5 are needed"),
        (["x,y", *(f"{i / 7},{i / 3}" for i in range(40))], "not regressions"),
        (["x,y", *(f"{i / 7},{i}" for i in range(40))], "a number to predict, not a class"),
        (["x,y", *(f"{i / 7},name {i}" for i in range(40))], "an identifier, not a class"),
        (["x,y", *GOOD, "inf,a"], "infinite number in 1 of 41 rows"),
        (["x,y", *GOOD, "1e999,a"], "infinite number in 1 of 41 rows"),
        (["x,y", *GOOD, "?,a"], "also text such as '?'"),
        (["x,y", *(f"1,{'ab'[i % 2]}" for i in range(40))], "holds nothing but 1"),
    ],
)
def test_a_csv_that_cannot_be_trained_on_is_refused_in_a_sentence(tmp_path, rows, sentence):
    """The error names the column or the line, and the remedy."""
    path = tmp_path / "x.csv"
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        data.read(path, "y")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.csv", b"x,y\n\xff\xfe,a\n", "not UTF-8"),
        ("x.parquet", b"PAR1", "cannot be read as Parquet"),
        ("x.xlsx", b"PK", "neither .csv nor .parquet"),
        ("absent.csv", None, "There is no file"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_a_sentence(tmp_path, name, content, sentence):
    """A wrong encoding, a wrong format and a missing file have a sentence each."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        data.read(tmp_path / name, "y")


def test_texts_keep_their_spaces(tmp_path):
    """A space after a comma is part of the value, and a cell of nothing but spaces is missing."""
    rows = [f"  pad,{' ' if i == 7 else i / 7},{'ab'[i % 2]}" for i in range(40)]
    table = data.read(lines(tmp_path / "x.csv", "w,x,y", *rows, *(f"pad ,{i},a" for i in range(9))), "y")
    assert set(table.features["w"]) == {"  pad", "pad "}
    assert table.features["x"].isna().sum() == 1
    spaced = data.read(
        lines(tmp_path / "s.csv", "x, w, y", *(f'{i / 7}, "p,{i % 3}", {i % 2}' for i in range(40))), "y"
    )
    assert set(spaced.features["w"]) == {"p,0", "p,1", "p,2"}


def test_codes_keep_their_leading_zeros(tmp_path):
    """Digits padded with zeros are text, and a note says so; other numbers stay numbers."""
    rows = [f"{i % 7:03},{i % 5},{'' if i == 3 else f'{i % 3:02}'},0{i / 7},{'ab'[i % 2]}" for i in range(60)]
    table = data.read(lines(tmp_path / "x.csv", "code,count,gap,x,y", *rows), "y")
    assert set(table.features["code"]) == {f"{i:03}" for i in range(7)}
    assert table.features["gap"].isna().sum() == 1
    assert [table.features[name].dtype.kind for name in ("code", "count", "gap", "x")] == list("OfOf")
    assert "Column 'code' is read as text, as it holds codes such as 000" in table.notes[0]


@pytest.mark.parametrize("template", ['"{n:,.2f}"', "{n}%", "${n}", '"{n},5"'])
def test_numbers_in_disguise_are_called_that(tmp_path, template):
    """Numbers with separators, signs or decimal commas are left out, with advice on cleaning them."""
    rows = [
        f"{i / 7},{template.format(n=i * 97.0 if ',.2f' in template else i * 97)},{'ab'[i % 2]}"
        for i in range(60)
    ]
    table = data.read(lines(tmp_path / "x.csv", "x,price,y", *rows), "y")
    assert list(table.features) == ["x"]
    assert "Column 'price' left out: its texts are numbers in disguise, such as" in table.notes[0]
    assert "thousands separators, decimal commas, % or currency signs" in table.notes[0]


def test_a_misspelt_target_is_asked_about(tmp_path):
    """The error about a misspelt target suggests the right name."""
    with pytest.raises(DataError) as caught:
        data.read(lines(tmp_path / "x.csv", "x,churn", *GOOD), "chrun")
    assert str(caught.value).endswith("did you mean 'churn'?")


def test_a_column_of_records_is_left_out(tmp_path):
    """A nested column of a Parquet file is left out."""
    frame = pd.DataFrame({"x": [{"a": 1}] * 20, "z": range(0, 40, 2), "y": ["a", "b"] * 10})
    table = data.read(write(frame, tmp_path / "x.parquet"), "y")
    assert list(table.features) == ["z"]
    assert "lists, records or bytes" in table.notes[0]


def test_metrics_are_scikit_learns_on_rows_the_pipeline_never_saw(people, tmp_path):
    """Metrics are scikit-learn's, for rows on which the pipeline was not fitted."""
    table = data.read(write(people, tmp_path / "people.csv"), "churned")
    fitted = train(table, "standard", "logistic", seed=1, held_out=0.25)
    assert set(fitted.train.index).isdisjoint(fitted.held_out.index)
    labels = table.labels[fitted.held_out.index]
    predicted, metrics = fitted.pipeline.predict(fitted.held_out), fitted.training.metrics
    assert metrics.accuracy == accuracy_score(labels, predicted)
    assert metrics.log_loss == pytest.approx(log_loss(labels, fitted.pipeline.predict_proba(fitted.held_out)))
    scores = precision_recall_fscore_support(labels, predicted, labels=["no", "yes"])
    assert [line.f1 for line in metrics.classes] == scores[2].tolist()
    assert sum(map(sum, metrics.confusion)) == len(labels) == fitted.training.held_out


def test_the_same_seed_gives_the_same_model():
    """The same seed gives the same model, and another seed another one."""
    table = data.bundled("iris")
    first, again, different = (train(table, "none", "forest", seed=seed) for seed in (5, 5, 6))
    assert first.training == again.training
    assert first.training.metrics.log_loss != different.training.metrics.log_loss


def test_missing_and_unknown_values_pass_through_the_pipeline(people, tmp_path):
    """The pipeline imputes a missing number, and encodes missing or unknown text."""
    table = data.read(write(people, tmp_path / "people.csv"), "churned")
    fitted = train(table, "robust", "logistic")
    row = fitted.held_out.iloc[[0]].assign(age=np.nan, city=pd.Series([np.nan], dtype=object))
    assert np.isfinite(fitted.pipeline.predict_proba(row)).all()
    assert np.isfinite(fitted.pipeline.predict_proba(row.assign(city="Atlantis"))).all()


def test_a_table_of_whole_number_columns_needs_no_column_transformer():
    """A table of numbers has a pipeline without a ColumnTransformer."""
    features = data.bundled("wine").features
    assert [name for name, _ in build(features, "minmax", "knn", 0).steps] == ["scaler", "classifier"]
    assert [name for name, _ in build(features, "none", "knn", 0).steps] == ["classifier"]


@pytest.mark.parametrize("classifier", sorted(CLASSIFIERS))
def test_every_classifier_learns_iris_without_a_warning(classifier):
    """Each classifier converges on iris, and is right in more than nine of ten rows."""
    assert train(data.bundled("iris"), "standard", classifier).training.metrics.accuracy > 0.9


@pytest.mark.parametrize("scaler", sorted(SCALERS))
def test_every_scaler_serves_a_classifier_without_a_warning(scaler):
    """Each scaler, and none, leads to a good classifier."""
    assert train(data.bundled("wine"), scaler, "logistic").training.metrics.accuracy > 0.9


@pytest.mark.parametrize(
    ("classifier", "unit"),
    [
        ("mlp", "epoch"),
        ("gradient_boosting", "stage"),
        ("hist_gradient_boosting", "stage"),
        ("adaboost", "stage"),
    ],
)
def test_the_training_curve_is_kept_where_there_is_one(classifier, unit):
    """The curve has a loss for each epoch or stage; without AdaBoost's, it falls to a tenth."""
    curve = train(data.bundled("wine"), "standard", classifier).training.curve
    assert curve.unit == unit
    assert len(curve.loss) >= 50
    assert classifier == "adaboost" or curve.loss[-1] < curve.loss[0] / 10


@pytest.mark.parametrize("classifier", ["forest", "logistic", "knn"])
def test_no_curve_is_made_up(classifier):
    """A classifier without epochs or stages has no curve."""
    assert train(data.bundled("iris"), "standard", classifier).training.curve is None


def test_no_log_loss_without_probabilities():
    """A linear SVM has scores only, so it has no log loss."""
    assert train(data.bundled("iris"), "standard", "linear_svc").training.metrics.log_loss is None


def test_a_table_too_small_to_split_is_refused(tmp_path):
    """If there are fewer held-out rows than classes, the error names the remedy."""
    path = lines(tmp_path / "x.csv", "x,y", *(f"{i / 7},{'ab'[i % 2]}" for i in range(10)))
    with pytest.raises(DataError, match="another fraction"):
        train(data.read(path, "y"), "standard", "logistic", held_out=0.1)


def test_a_model_below_the_asked_accuracy_is_refused():
    """The error has both accuracies; without labels it asks for them."""
    metrics = train(data.bundled("iris"), "standard", "logistic").training.metrics
    require(metrics, metrics.accuracy)
    require(None, None)
    with pytest.raises(QualityError, match=r"0\.9667 is below the 0\.99"):
        require(metrics, 0.99)
    with pytest.raises(DataError, match="needs labels"):
        require(None, 0.5)


@pytest.mark.parametrize(
    ("labels", "ok"), [([0.0, 1.0], True), ([True, False], True), (["0", "1"], True), ([3], False)]
)
def test_labels_of_a_sample_are_matched_to_the_pipelines_own(labels, ok):
    """Labels 1, 1.0, true and '1' of a file are the same; an unknown label is refused."""
    fitted = train(data.bundled("iris"), "standard", "logistic")
    rows = fitted.train.iloc[: len(labels)]
    if ok:
        assert 0.0 <= measure(fitted.pipeline, rows, np.array(labels), ("a", "b", "c")).accuracy <= 1.0
        return
    with pytest.raises(DataError, match="The label 3 is none of the pipeline's classes"):
        measure(fitted.pipeline, rows, np.array(labels), ("a", "b", "c"))
