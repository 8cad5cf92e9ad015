"""The reference of drift in a model file, and the counting of rows in its cells."""

import numpy as np
import pandas as pd
import pytest
from conftest import FLOWERS
from handmade import MANIFEST, embed, graph
from msgspec.json import encode
from msgspec.structs import replace
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unpickled.export import export_pipeline
from unpickled.export.reference import make
from unpickled.server.artifact import manifest as artifact
from unpickled.server.artifact.manifest import Feature
from unpickled.server.artifact.reference import FEWEST, Reference, Spread
from unpickled.server.drift.binning import Binning
from unpickled.server.drift.judgement import judge
from unpickled.server.errors import ArtifactError
from unpickled.server.model.feeds import Matrix, Rows

RNG = np.random.default_rng(3)
# Columns of numbers of every kind.
COLUMNS = {
    "normal": RNG.normal(size=1000),
    "long tail": RNG.lognormal(0, 3, 500),
    "tenths": np.round(RNG.normal(size=150), 1),
    "counts": RNG.poisson(2, 800).astype(float),
    "mostly 0": np.where(RNG.random(600) < 0.7, 0.0, RNG.normal(size=600)),
    "0 below": np.where(RNG.random(600) < 0.3, 0.0, 1 + RNG.random(600)),
    "constant": np.full(50, 7.0),
    "two values": RNG.integers(0, 2, 90).astype(float),
    "gaps": np.where(RNG.random(400) < 0.2, np.nan, RNG.normal(size=400)),
    "few gaps": np.where(np.arange(400) < 3, np.nan, RNG.normal(size=400)),
    "neighbors": np.nextafter(np.repeat([1.0, 1.0 + 2**-52, 2.0], 30), 3.0),
    "few": RNG.normal(size=25),
    "infinite": np.concatenate([RNG.normal(size=100), [np.inf] * 12, [-np.inf] * 3]),
    "huge": RNG.normal(size=200) * 1e300,
}


def manifest(models, name):
    return artifact.read((models.path / name / "1" / "model.onnx").read_bytes())


def spread(values):
    """The spread of one feature with these values; None if it has no reference."""
    kind = "category" if values.dtype == object else "number"
    feature = Feature(name="x", kind=kind, missing=True)
    labels = np.zeros(len(values), np.int64)
    features = make(pd.DataFrame({"x": values}), [feature], labels, (0, 1), ("a", "b")).features
    return features[0] if features else None


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_cells_of_numbers(values):
    """Each cell has ten rows or more, which lie between its bounds, and about a tenth of all at the most."""
    found, present = spread(values), values[~np.isnan(values)]
    cells = np.searchsorted(found.bounds, present, side="left")
    counts = np.bincount(cells, minlength=len(found.counts))
    assert list(found.bounds) == sorted(set(found.bounds))
    assert min(found.counts) >= FEWEST
    assert sum(found.counts) + found.missing == len(values)
    assert abs(counts - found.counts).max() <= (FEWEST if found.missing == FEWEST else 0)
    several = [cell for cell, count in enumerate(counts) if len(set(present[cells == cell])) > 1]
    assert max(counts[several], default=0) <= max(0.16 * len(values), 2 * FEWEST)


@pytest.mark.parametrize("column", ["mostly 0", "0 below", "counts"])
def test_a_frequent_value_has_a_cell_of_its_own(column):
    """A value that alone makes more than a tenth of the rows shares its cell with no other."""
    values, found = COLUMNS[column], spread(COLUMNS[column])
    numbers, counts = np.unique(values, return_counts=True)
    for number in numbers[counts > len(values) / 10]:
        cell = np.searchsorted(found.bounds, number)
        assert set(values[np.searchsorted(found.bounds, values) == cell]) == {number}


def test_few_missing_values_are_told_as_ten():
    """Nobody learns that three rows have no value: ten stand there, and the sum is that of all rows."""
    found = spread(COLUMNS["few gaps"])
    assert (found.missing, sum(found.counts)) == (10, 390)
    assert spread(COLUMNS["gaps"]).missing == np.isnan(COLUMNS["gaps"]).sum()


@pytest.mark.parametrize("rows", [0, 1, 9])
def test_too_few_rows_have_no_reference(rows):
    """Nothing is told of fewer than ten values."""
    values = np.full(40, np.nan)
    values[:rows] = np.arange(rows)
    assert spread(values) is None
    assert spread(np.array(["a"] * rows + [None] * (40 - rows), object)) is None


def test_categories():
    """The frequent ones have cells; the others hold ten rows or none, whatever that takes."""
    texts = np.array(["a"] * 40 + ["b"] * 25 + ["c"] * 12 + ["d"] * 4 + ["e"], object)
    found = spread(texts)
    assert (found.categories, found.counts, found.unseen) == (("a", "b"), (40, 25, 17), 10)
    found = spread(texts[:77])
    assert (found.categories, found.counts, found.unseen) == (("a", "b", "c"), (40, 25, 12, 0), 0)


def test_many_categories():
    """At most twenty have a cell; categories that one row has are expected among new rows."""
    names = np.array([f"city {number}" for number in range(400)], object)
    found = spread(np.concatenate([np.repeat(names[:50], 10), names[50:]]))
    assert (len(found.categories), found.counts[-1], found.unseen) == (20, 650, 350)


def test_predicted_classes(models):
    """The shares of the classes are those of the pipeline's predictions for the training rows."""
    for name in ("iris", "people"):
        read, rows = manifest(models, name), models.rows[name]
        labels, counts = np.unique(models.pipelines[name].predict(rows), return_counts=True)
        names = dict(zip(read.classes, read.class_names, strict=True))
        [prediction] = read.reference.predictions
        told = dict(zip(prediction.categories, prediction.counts[:-1], strict=True))
        assert told == {names[label]: count for label, count in zip(labels.tolist(), counts, strict=True)}


def test_predicted_numbers(regressors):
    """A regressor has the spread of each target's predictions."""
    predicted = regressors.pipelines["areas"].predict(regressors.rows["areas"])
    for column, found in zip(predicted.T, manifest(regressors, "areas").reference.predictions, strict=True):
        cells = np.searchsorted(found.bounds, column)
        assert tuple(np.bincount(cells)) == found.counts
    assert [each.name for each in manifest(regressors, "areas").reference.predictions] == ["sepal", "petal"]


@pytest.mark.parametrize(("load", "most"), [(load_iris, 800), (load_breast_cancer, 6_000)])
def test_size(load, most, tmp_path):
    """A reference takes few bytes: at most 0.8 kB of 4 features, and 6 kB of 30."""
    X, y = load(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    export = export_pipeline(pipeline, X, y, name="model", models=tmp_path)
    assert len(encode(export.manifest.reference)) <= most


SOUND = Spread(name="x", counts=(10, 20), bounds=(0.0,))
PREDICTED = Spread(name="prediction", counts=(10, 20, 0), categories=("negative", "positive"))
FAULTS = {
    "of no feature": (replace(SOUND, name="y"), PREDICTED, "the feature 'y', which is none"),
    "of another kind": (replace(SOUND, categories=("a",)), PREDICTED, "'x' is of another kind"),
    "bounds in disorder": (replace(SOUND, counts=(10, 10, 10), bounds=(1, 1)), PREDICTED, "do not ascend"),
    "too few counts": (replace(SOUND, counts=(30,)), PREDICTED, "has 1 counts"),
    "another sum": (replace(SOUND, missing=10), PREDICTED, "do not add up to its 30 rows"),
    "less than nothing": (replace(SOUND, counts=(40, -10)), PREDICTED, "do not add up"),
    "no class": (SOUND, replace(PREDICTED, categories=("negative", "zero")), "class 'zero', which is none"),
    "class twice": (SOUND, replace(PREDICTED, categories=("negative",) * 2), "a category twice"),
    "of no target": (SOUND, replace(PREDICTED, name="price"), "the prediction 'price', which is none"),
}


@pytest.mark.parametrize(("feature", "prediction", "reason"), FAULTS.values(), ids=FAULTS)
def test_refused(feature, prediction, reason):
    """A reference that contradicts itself or the manifest is refused with the rule that it breaks."""
    sound = Reference(rows=30, features=(SOUND,), predictions=(PREDICTED,))
    assert artifact.read(embed(graph(), replace(MANIFEST, reference=sound))).reference == sound
    wrong = replace(sound, features=(feature,), predictions=(prediction,))
    with pytest.raises(ArtifactError, match=reason):
        artifact.read(embed(graph(), replace(MANIFEST, reference=wrong)))


def requests(rows):
    """Training rows as requests have them: tuples, with None for a missing value."""
    table = rows.astype(object).where(rows.notna(), None) if isinstance(rows, pd.DataFrame) else rows
    return list(map(tuple, np.asarray(table).tolist()))


def answers(models, name):
    """Training rows, and the pipeline's answers to them."""
    rows, pipeline = models.rows[name], models.pipelines[name]
    return requests(rows), pipeline.predict(rows), pipeline.predict_proba(rows)


@pytest.mark.parametrize("name", ["iris", "people"])
def test_training_rows_are_counted_as_the_reference_has_them(models, name):
    """The export and the server put each row into the same cell, in one chunk or in many."""
    binning = Binning(manifest(models, name))
    rows, labels, scores = answers(models, name)
    counts = binning.count(rows, labels, scores)
    chunks = [slice(start, start + 7) for start in range(0, len(rows), 7)]
    parts = [binning.count(rows[part], labels[part].tolist(), scores[part]) for part in chunks]
    assert np.array_equal(sum(parts), counts)
    assert (counts[0], len(counts)) == (len(rows), binning.size)
    for part in (*binning.features, *binning.predictions):
        assert tuple(counts[part.first : part.after]) == part.spread.counts
    for part in binning.features:
        assert tuple(counts[part.after : part.after + 2]) == (part.spread.missing, 0)


@pytest.mark.parametrize("name", ["area", "areas", "spending"])
def test_training_rows_of_regressors(regressors, name):
    """A regressor's predictions are counted by target."""
    binning = Binning(manifest(regressors, name))
    rows = regressors.rows[name]
    predicted = regressors.pipelines[name].predict(rows).reshape(len(rows), -1)
    counts = binning.count(requests(rows), np.zeros(len(rows)), predicted)
    for part in (*binning.features, *binning.predictions):
        assert tuple(counts[part.first : part.after]) == part.spread.counts


def test_forms_of_rows(models):
    """Tuples, columns and a block of numbers are counted alike."""
    binning = Binning(manifest(models, "iris"))
    rows, labels, scores = answers(models, "iris")
    columns = models.rows["iris"].T.copy()
    for form in (Matrix(models.rows["iris"]), Rows(list(columns)), [list(row) for row in rows]):
        assert np.array_equal(binning.count(form, labels, scores), binning.count(rows, labels, scores))


def test_outside_and_missing(models):
    """A row outside the range, of an unknown category or without a value is counted, and in a cell too."""
    binning = Binning(manifest(models, "people"))
    rows = [(17.0, 1e9, "Köln", "pro"), (None, 2000.0, None, "gold"), (41.0, 2000.0, "", "free")]
    counts = binning.count(rows, ["stays", "stays", "leaves"], np.zeros((3, 2)))
    told = {part.spread.name: counts[part.first : part.after + 2] for part in binning.features}
    assert {name: tuple(numbers[-2:]) for name, numbers in told.items()} == {
        "age": (1, 1), "income": (0, 1), "city": (1, 1), "plan": (0, 1),
    }  # fmt: skip
    assert {name: numbers[:-2].sum() for name, numbers in told.items()} == {
        "age": 2, "income": 3, "city": 2, "plan": 3,
    }  # fmt: skip


def test_truth_values_are_never_outside(tmp_path):
    """A value that was always true, and is false now, is in the range; that it has moved, the index tells."""
    rows = pd.DataFrame(
        {"express": [True] * 60, "rare": [True] * 55 + [False] * 5, "weight": [1.0, 2.0] * 30}
    )
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, rows["weight"] > 1)
    binning = Binning(export_pipeline(pipeline, rows, name="parcels", models=tmp_path).manifest)
    for values, moved in (([1.0] * 600, set()), ([0.0] * 600, {"express"})):
        lines = [(each, 1.0, weight) for each, weight in zip(values, [1.0, 2.0] * 300, strict=True)]
        found = judge(1, binning, binning.count(lines, [False, True] * 300, np.zeros((600, 2))))
        express, rare, _ = found.features
        assert {each.name for each in found.features if each.drifted} == moved
        assert (express.outside.now, rare.outside.now) == (0, 0)
        assert [cell.label for cell in express.bins] == ["false", "true"]
        assert [cell.label for cell in rare.bins] == ["any"]


def test_float32(tmp_path):
    """A feature that is trained as float32 counts 0.7 where its own 0.7 was counted."""
    X = np.repeat(np.arange(1, 10) / 10, 20).astype(np.float32).reshape(-1, 1)
    y = (X[:, 0] > 0.45).astype(int)
    export = export_pipeline(LogisticRegression().fit(X, y), X, y, name="narrow", models=tmp_path)
    binning = Binning(export.manifest)
    counts = binning.count([(tenth / 10,) for tenth in range(1, 10)], [0] * 9, np.zeros((9, 2)))
    [part] = binning.features
    assert counts[part.first : part.after + 2].tolist() == [1.0] * 9 + [0.0, 0.0]


def test_older_files(models):
    """A file without a reference has nothing to count but its rows."""
    binning = Binning(replace(manifest(models, "iris"), reference=None))
    assert (binning.size, binning.rows, binning.unmeasured) == (1, 0, tuple(FLOWERS))
    assert binning.count([(5.1, 3.5, 1.4, 0.2)], [0], np.zeros((1, 3))).tolist() == [1.0]


def test_a_small_table(tmp_path):
    """A table of few rows has fewer cells, down to none, and is exported."""
    X, y = load_iris(return_X_y=True)
    for rows, cells in ((np.arange(0, 150, 5), 3), (np.arange(0, 150, 20), 0)):
        pipeline = Ridge().fit(X[rows], y[rows])
        export = export_pipeline(pipeline, X[rows], y[rows], name="few", models=tmp_path)
        found = export.manifest.reference.features
        assert max((len(each.counts) for each in found), default=0) == cells
        assert Binning(export.manifest).count([(5.1, 3.5, 1.4, 0.2)], [0], [[0.0]])[0] == 1
