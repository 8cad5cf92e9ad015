"""The card in a model file: its figures, held to scikit-learn's, and its rules."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from conftest import mixed_columns, people
from handmade import MANIFEST, embed, graph
from msgspec.json import decode, encode
from msgspec.structs import replace
from scipy.stats import norm
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from unpickled.export import DataError, export_pipeline
from unpickled.export.card import cells, importance, intervals, slices, targets
from unpickled.export.card.dependence import MOST, values
from unpickled.export.card.losses import Loss
from unpickled.export.card.served import Served
from unpickled.export.convert import convert
from unpickled.export.labelled import Labelled
from unpickled.export.publish import runner
from unpickled.server.artifact import manifest as artifact
from unpickled.server.artifact.card import (
    MOST_IMPORTANCES,
    Card,
    ClassCard,
    Dependence,
    Importance,
    Measured,
    SliceCard,
    TargetCard,
    Threshold,
)
from unpickled.server.artifact.manifest import Feature, Notation
from unpickled.server.artifact.reference import FEWEST, Spread
from unpickled.server.errors import ArtifactError


def carded(estimator, X, y, folder, **options):
    """(card, pipeline, held-out rows, their truth) of an estimator that is fitted on half of the rows."""
    rows, held_out, truth, held_out_truth = train_test_split(X, y, test_size=0.5, random_state=0)
    pipeline = estimator.fit(rows, truth)
    options |= {"held_out": held_out, "held_out_y": held_out_truth}
    export = export_pipeline(pipeline, rows, truth, name="model", models=folder, **options)
    return export.manifest.card, pipeline, held_out, held_out_truth


def scaled(estimator):
    return make_pipeline(StandardScaler(), estimator)


@pytest.fixture(scope="module")
def cancer(tmp_path_factory):
    """A logistic regression that tells two kinds of tumors apart."""
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    return carded(scaled(LogisticRegression()), X, y, tmp_path_factory.mktemp("cancer"))


def test_areas_are_those_of_scikit_learn(cancer):
    """Both areas under the curves of each class are the known ones, and lie in their intervals."""
    card, pipeline, rows, truth = cancer
    for place, each in enumerate(card.classes):
        scores, inside = pipeline.predict_proba(rows)[:, place], truth == place
        assert each.rows == inside.sum()
        for figure, expected in (
            (each.roc_auc, roc_auc_score(inside, scores)),
            (each.average_precision, average_precision_score(inside, scores)),
        ):
            assert figure.value == pytest.approx(expected, rel=1e-5)
            assert figure.lowest < figure.value < figure.highest <= 1


def test_thresholds(cancer):
    """Each threshold parts the rows as it says, and lies at least ten rows from its neighbors."""
    card, pipeline, rows, truth = cancer
    scores, inside = pipeline.predict_proba(rows)[:, 1], (truth == 1).to_numpy()
    thresholds, before = card.classes[1].thresholds, 0
    assert 5 <= len(thresholds) <= 40
    for point in thresholds:
        taken = scores >= point.score
        assert taken.sum() - before >= FEWEST <= (~taken).sum()
        figures = taken.mean(), inside[taken].mean(), taken[inside].mean(), taken[~inside].mean()
        assert (point.rows, point.precision, point.recall, point.false_alarms) == pytest.approx(
            figures, rel=1e-5
        )
        before = taken.sum()


def test_quality_is_that_of_the_metrics(cancer):
    """Accuracy and log loss are those of the rows that were held out, as in the metrics."""
    card, pipeline, rows, truth = cancer
    assert card.held_out
    assert card.accuracy.value == pytest.approx(pipeline.score(rows, truth), rel=1e-5)
    assert card.accuracy.lowest < card.accuracy.value < card.accuracy.highest < 1
    of_truth = pipeline.predict_proba(rows)[np.arange(len(truth)), truth]
    assert (card.loss, card.loss_value.value) == (
        "log loss",
        pytest.approx(-np.log(of_truth).mean(), rel=1e-5),
    )
    assert card.rows == len(truth)


def test_calibration(cancer):
    """The bins part all rows by the probability of the predicted class; none has fewer than ten."""
    card, pipeline, rows, truth = cancer
    probabilities = pipeline.predict_proba(rows)
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth.to_numpy()
    assert sum(each.rows for each in card.calibration) == len(truth)
    assert min(each.rows for each in card.calibration) >= FEWEST
    first, last = card.calibration[0], card.calibration[-1]
    assert (first.lowest, last.highest) == (pytest.approx(top.min(), abs=0.05), 1.0)
    inside = top <= first.highest
    assert (first.rows, first.came_true) == (inside.sum(), pytest.approx(right[inside].mean(), rel=1e-5))
    assert first.probability == pytest.approx(top[inside].mean(), rel=1e-5)


def test_importances_are_those_of_scikit_learn(tmp_path):
    """The features stand in the order of their permutation importances, which lie in the intervals."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    card, pipeline, rows, truth = carded(scaled(LogisticRegression()), X, y, tmp_path)
    expected = permutation_importance(
        pipeline, rows, truth, scoring="neg_log_loss", n_repeats=15, random_state=1
    )
    means = dict(zip(X.columns, expected.importances_mean, strict=True))
    assert [each.feature for each in card.importances] == sorted(means, key=means.get, reverse=True)
    for each in card.importances:
        assert each.rise.lowest < means[each.feature] < each.rise.highest


def test_dependences(cancer):
    """The answers are the means over all rows with one of the five most important features set to a value."""
    card, pipeline, rows, _ = cancer
    assert [each.feature for each in card.dependences] == [each.feature for each in card.importances[:5]]
    for each in card.dependences:
        assert 2 <= len(each.at) <= MOST
        assert list(each.at) == sorted(set(each.at))
        for value, answer in zip(each.at, each.answers, strict=True):
            means = pipeline.predict_proba(rows.assign(**{each.feature: value})).mean(axis=0)
            assert answer == pytest.approx(means, rel=1e-4)


def test_a_regressor(tmp_path):
    """A regressor has the errors of its metrics, bands of predictions and cells of residuals."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    card, pipeline, rows, truth = carded(Ridge(), X, y, tmp_path)
    residuals = pipeline.predict(rows) - truth
    [target] = card.targets
    figures = np.abs(residuals).mean(), np.sqrt((residuals**2).mean()), pipeline.score(rows, truth)
    assert (target.mae.value, target.rmse.value, target.r2.value) == pytest.approx(figures, rel=1e-5)
    assert (card.loss, card.loss_value, card.accuracy) == ("mean absolute error", target.mae, None)
    assert sum(band.rows for band in target.bands) == sum(target.residual_counts) == card.rows == len(truth)
    counts = np.bincount(np.searchsorted(target.residual_bounds, residuals))
    assert counts.tolist() == list(target.residual_counts)
    assert card.importances[0].feature in ("bmi", "s5")


def test_several_targets(tmp_path):
    """Errors of targets with units of their own count alike: the loss is 1, its rise a share of it."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    both = pd.DataFrame({"score": y, "thousandfold": 1000 * y})
    card, *_ = carded(Ridge(), X, both, tmp_path)
    assert [target.name for target in card.targets] == ["score", "thousandfold"]
    assert card.loss_value.value == 1
    assert {len(answer) for each in card.dependences for answer in each.answers} == {2}
    alone, *_ = carded(Ridge(), X, y, tmp_path)
    risen = alone.importances[0].rise.value / alone.loss_value.value
    assert card.importances[0].rise.value == pytest.approx(risen, rel=0.2)


def test_categories_gaps_and_text_labels(tmp_path):
    """Categories are shuffled and set as numbers are; missing values stay such; classes have their names."""
    X, y = people()
    X.loc[X.index % 9 == 0, "city"] = None
    card, pipeline, rows, _ = carded(make_pipeline(mixed_columns(), LogisticRegression()), X, y, tmp_path)
    assert [each.name for each in card.classes] == ["leaves", "stays"]
    assert {each.feature for each in card.importances} == set(X.columns)
    assert card.importances[0].feature == "age"
    [plan] = [each for each in card.dependences if each.feature == "plan"]
    assert plan.at == ("free", "pro")
    means = pipeline.predict_proba(rows.assign(plan="pro")).mean(axis=0)
    assert plan.answers[1] == pytest.approx(means, rel=1e-4)


def test_scores_without_probabilities(tmp_path):
    """A classifier without probabilities has curves, and its loss is the share of wrong labels."""
    X, y = load_iris(return_X_y=True)
    card, pipeline, rows, truth = carded(scaled(LinearSVC()), X, y, tmp_path)
    assert (card.loss, card.calibration) == ("share of wrong labels", ())
    assert card.loss_value.value == pytest.approx(1 - pipeline.score(rows, truth), rel=1e-5)
    assert card.classes[0].roc_auc.value == 1


def test_an_outlier_detector(tmp_path):
    """An outlier detector is measured as a classifier is, if it is known which rows are outliers."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 2)), rng.uniform(-9, 9, size=(60, 2))])
    y = np.repeat([1, -1], [300, 60])
    card, pipeline, rows, truth = carded(IsolationForest(n_estimators=10, random_state=0), X, y, tmp_path)
    assert [each.name for each in card.classes] == ["outlier", "inlier"]
    scores = pipeline.decision_function(rows)
    assert card.classes[1].roc_auc.value == pytest.approx(roc_auc_score(truth, scores), rel=1e-4)
    assert export_pipeline(pipeline, rows, name="blind", models=tmp_path).manifest.card is None


def test_without_held_out_rows(models):
    """With y alone the card is of X, and says that the pipeline was fitted on it."""
    card = artifact.read((models.path / "people" / "1" / "model.onnx").read_bytes()).card
    assert (card.rows, card.held_out) == (200, False)


def test_rows_held_out_are_measured(tmp_path):
    """The quality is that of the rows that were held out, in the place of X."""
    X, y = load_iris(return_X_y=True)
    pipeline = scaled(LogisticRegression()).fit(X, y)
    wrong = np.roll(y, 50)
    export = export_pipeline(pipeline, X, y, name="iris", models=tmp_path, held_out=X, held_out_y=wrong)
    training, card = export.manifest.training, export.manifest.card
    assert card.accuracy.value == pytest.approx(training.metrics.accuracy, rel=1e-5)
    assert card.accuracy.value < 0.1
    assert (training.rows, training.held_out) == (150, 150)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"held_out_y": [0, 1]}, "held_out, which is missing: give both"),
        ({"held_out": [[5.0, 3.0, 1.0, 0.2]] * 3, "held_out_y": [0, 1]}, "3 rows and 2 labels"),
        ({"held_out": [[5.0, 3.0, 1.0, 0.2]] * 2, "held_out_y": [0, 7]}, "The label 7 is none"),
    ],
)
def test_answers_that_do_not_fit(options, message, models, tmp_path):
    """True answers without their rows, of other rows, or of an unknown class are refused."""
    X, y = load_iris(return_X_y=True)
    with pytest.raises(DataError, match=message):
        export_pipeline(models.pipelines["iris"], X, y, name="iris", models=tmp_path, **options)


def test_refused_rows(tmp_path):
    """Held-out rows that the pipeline refuses are refused with its own reason."""
    X = pd.DataFrame({"city": ["Bonn", "Trier"] * 20, "x": np.arange(40.0)})
    y = np.arange(40) // 20
    columns = make_column_transformer((OrdinalEncoder(), ["city"]), remainder="passthrough")
    pipeline = make_pipeline(columns, LogisticRegression()).fit(X, y)
    options = {"name": "model", "models": tmp_path, "held_out": X.assign(city="Köln"), "held_out_y": y}
    with pytest.raises(DataError, match=r"refuses rows that it is to be measured on .*Köln"):
        export_pipeline(pipeline, X, y, **options)


def test_few_rows(models, tmp_path):
    """Nine rows have no card, and a sentence says so; of a single class, there is one without areas."""
    X, y = load_iris(return_X_y=True)
    pipeline, said = models.pipelines["iris"], []
    options = {"name": "iris", "models": tmp_path, "progress": said.append}
    nine = export_pipeline(pipeline, X, y, held_out=X[:9], held_out_y=y[:9], **options)
    assert nine.manifest.card is None
    assert "note: no card: 9 rows with true answers, and it takes 10" in said
    card = export_pipeline(pipeline, X, y, held_out=X[:40], held_out_y=y[:40], **options).manifest.card
    assert [(each.rows, each.roc_auc, each.thresholds) for each in card.classes] == [
        (40, None, ()),
        (0, None, ()),
        (0, None, ()),
    ]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_answers_that_are_no_numbers(tmp_path):
    """A feature whose shuffled cells make numbers overflow has no importance, and a note says so."""
    rng = np.random.default_rng(0)
    huge = rng.choice([-8e307, 8e307], 100)
    X = np.column_stack([huge, -huge, rng.normal(size=100)])
    model = LinearRegression().fit(np.column_stack([rng.normal(size=(100, 2)), X[:, 2]]), X[:, 2])
    model.coef_ = np.array([2.0, 2.0, 1.0])
    card = export_pipeline(model, X, X[:, 2], name="sum", models=tmp_path).manifest.card
    assert [each.feature for each in card.importances] == ["feature_2"]
    assert card.notes == (
        "Importances lack those of feature_0, feature_1: shuffled, answers are no numbers.",
    )


def test_size_is_bounded(tmp_path):
    """Thirty importances of many features are kept, and twenty of many classes have thresholds."""
    X, y = make_classification(
        800, 40, n_informative=20, n_classes=51, n_clusters_per_class=1, random_state=0
    )
    card, *_ = carded(LinearDiscriminantAnalysis(), X, y, tmp_path)
    assert (len(card.importances), len(card.classes), card.dependences) == (MOST_IMPORTANCES, 51, ())
    assert sum(bool(each.thresholds) for each in card.classes) <= 20
    assert len(card.notes) >= 3
    assert len(encode(card)) < 100_000


def test_a_planted_slice(tmp_path):
    """A category whose labels are drawn by chance is the worst slice, beyond chance; gaps are a slice too."""
    rng = np.random.default_rng(5)
    X = pd.DataFrame({"x": rng.normal(size=1200), "city": rng.choice(["Bonn", "Trier"], 1200)})
    X["age"] = np.where(rng.random(1200) < 0.2, np.nan, rng.integers(18, 80, 1200))
    y = np.where(X["city"] == "Trier", rng.integers(0, 2, 1200), X["x"] > 0).astype(int)
    columns = make_column_transformer(
        (SimpleImputer(), ["x", "age"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])
    )
    card, pipeline, rows, truth = carded(make_pipeline(columns, LogisticRegression()), X, y, tmp_path)
    first, inside = card.slices[0], (rows["city"] == "Trier").to_numpy()
    assert (first.feature, first.value, first.rows, first.beyond_chance) == (
        "city",
        "Trier",
        inside.sum(),
        True,
    )
    assert first.figure.value == pytest.approx((pipeline.predict(rows) == truth)[inside].mean(), rel=1e-5)
    assert all(each.figure.value <= after.figure.value for each, after in pairwise(card.slices))
    assert not any(each.beyond_chance for each in card.slices if each.feature == "age")


SLICED = {
    "number": (Feature(name="a", kind="number", missing=True), ["up to 0.5", "0.5 to 1.5", "above 1.5"]),
    "boolean": (Feature(name="a", kind="number", missing=True, boolean=True), ["false", "true"]),
    "dates": (
        Feature(name="a", kind="number", missing=True, notation=Notation(date="year first")),
        ["up to 1970-01-02", "above 1970-01-02"],
    ),
    "texts": (Feature(name="a", kind="category", missing=True), ["Bonn", "any other"]),
}


@pytest.mark.parametrize("kind", SLICED)
def test_slices_in_words(kind):
    """A slice is named as people read it: by its ends, its date, its truth value, its category."""
    feature, words = SLICED[kind]
    bounds = {"number": (0.5, 1.5), "boolean": (0.5,), "dates": (90_000.0,)}.get(kind, ())
    categories = ("Bonn",) if kind == "texts" else ()
    spread = Spread(name="a", counts=(40,) * len(words), bounds=bounds, categories=categories)
    numbers = np.repeat([0.0, 1.0, 2.0] if kind == "number" else [0.0, 1e5], 20)
    cells = np.repeat(["Bonn", "Köln"], 20) if kind == "texts" else numbers
    column = pd.Series([*cells, *[None] * 10], dtype=object if kind == "texts" else float)
    parts = list(slices.parted(pd.DataFrame({"a": column}), [(feature, spread)]))
    assert [part.value for part in parts] == [*words, "missing"]
    assert [part.rows.sum() for part in parts] == [*[20] * len(words), 10]


@pytest.mark.parametrize("are_errors", [False, True])
def test_false_alarms_of_slices(are_errors):
    """Where all rows are alike, at most one table in twenty has a slice beyond chance."""
    rng = np.random.default_rng(1)
    features = [(Feature(name=f"{at}", kind="number", missing=False), quarters(at)) for at in range(10)]
    alarms = 0
    for _ in range(80):
        frame = pd.DataFrame(rng.normal(size=(200, 10)), columns=[feature.name for feature, _ in features])
        losses = rng.lognormal(size=200) if are_errors else (rng.random(200) < 0.1).astype(float)
        alarms += any(each.beyond_chance for each in slices.worst(frame, features, losses, are_errors, rng))
    assert alarms <= 8


def quarters(name):
    """The spread of a normal feature."""
    return Spread(name=f"{name}", counts=(25,) * 4, bounds=(-0.674, 0.0, 0.674))


def coverage(draw, figure, expected):
    """The share of 400 samples whose interval holds the true value."""
    rng = np.random.default_rng(2)
    measured = [figure(*draw(rng)) for _ in range(400)]
    return np.mean([each.lowest <= expected <= each.highest for each in measured])


def normal_scores(rng, inside=20, outside=60):
    """Scores of a class and of the others, whose true area is that of normals one and a half apart."""
    return rng.normal(1.5, 1, inside), rng.normal(size=outside)


def area_of(inside, outside):
    value = (inside[:, None] > outside).mean()
    return intervals.area(value, len(inside), len(outside))


def linear(rng):
    """Numbers and predictions of them that leave a fifth of the variance: an R2 of 0.8."""
    predicted = rng.normal(0, 2, 60)
    return predicted + rng.normal(size=60), predicted


COVERED = {
    "mean": (lambda rng: (rng.exponential(size=40),), intervals.mean, 1.0),
    "share": (lambda rng: (rng.binomial(40, 0.9), 40), intervals.share, 0.9),
    "area": (normal_scores, area_of, norm.cdf(1.5 / np.sqrt(2))),
    "root mean square": (lambda rng: (rng.normal(size=40),), intervals.root_mean_square, 1.0),
    "R2": (linear, intervals.determination, 0.8),
}


@pytest.mark.parametrize(("draw", "figure", "expected"), COVERED.values(), ids=COVERED)
def test_intervals_hold_the_true_value(draw, figure, expected):
    """About 95% of 400 samples of 40 to 80 rows have an interval that holds the true value."""
    assert 0.9 <= coverage(draw, figure, expected) <= 0.99


def test_intervals_of_importances_hold_the_true_rise():
    """At least 90% of samples of 100 rows have an interval that holds the rise which all rows would have."""
    rng = np.random.default_rng(6)

    def draw(count):
        X = rng.normal(size=(count, 2))
        return X, (X @ [1.5, 0.5] + rng.logistic(size=count) > 0).astype(int)

    model = LogisticRegression().fit(*draw(500))
    conversion = convert(model, draw(100)[0], None, "fastest")
    graph, loss, (X, y) = Served(runner(conversion), conversion), Loss("log loss", np.ones(0)), draw(50_000)
    shuffled = np.column_stack([rng.permutation(X[:, 0]), X[:, 1]])
    rise = log_loss(y, model.predict_proba(shuffled)) - log_loss(y, model.predict_proba(X))
    held = 0
    for _ in range(100):
        X, y = draw(100)
        rows = Labelled(conversion.layout.frame(X), y, True)
        [found] = importance.measure(graph, rows, loss, ["feature_0"], 1e-6, rng).importances
        held += found.rise.lowest <= rise <= found.rise.highest
    assert held >= 90


def test_an_area_of_1_has_an_interval():
    """Ten rows that are told apart without a mistake do not prove that all are."""
    assert intervals.area(1.0, 10, 20) == Measured(value=1.0, lowest=0.848921, highest=1.0)
    assert intervals.area(0.0, 10, 20) == Measured(value=0.0, lowest=0.0, highest=0.151079)
    assert intervals.area(0.5, 10, 20).lowest == pytest.approx(1 - intervals.area(0.5, 10, 20).highest)


RNG = np.random.default_rng(4)
# Predictions and truths that rounding, squares or ties may break.
ODD = {
    "equal": np.full(40, 3.3),
    "ties": RNG.integers(0, 3, 40).astype(float),
    "huge": RNG.normal(size=40) * 1e149,
    "smallest": RNG.normal(size=40) * 1e-310,
    "far from 0": 1e9 + RNG.normal(size=40) * 1e-7,
    "neighbors": np.nextafter(1.0, RNG.choice([0.0, 2.0], 40)),
    "long tail": np.where(RNG.random(40) < 0.7, 0.0, RNG.lognormal(0, 20, 40)),
}


@pytest.mark.parametrize("predicted", ODD.values(), ids=ODD)
@pytest.mark.parametrize("truth", ODD.values(), ids=ODD)
def test_odd_numbers(predicted, truth):
    """The figures of any predictions are numbers, and each row lies between the ends of its band."""
    with np.errstate(all="ignore"):
        card = targets.make("odd", predicted, truth)
        parts = list(cells.parted(predicted))
    # A number that is none would be written as null.
    assert decode(encode(card), type=TargetCard) == card
    assert sum(len(part.rows) for part in parts) == len(predicted)
    for part in parts:
        assert len(part.rows) >= FEWEST
        assert part.lowest <= predicted[part.rows].min() <= predicted[part.rows].max() <= part.highest


NUMBER = Feature(name="a", kind="number", missing=False, minimum=0.0, maximum=10.0)
VALUES = {
    "no spread": (NUMBER, None, [0.0, 5.0, 10.0]),
    "bounds": (NUMBER, Spread(name="a", counts=(9, 9), bounds=(4.0,)), [0.0, 4.0, 10.0]),
    "boolean": (replace(NUMBER, boolean=True), None, [0.0, 1.0]),
    "known": (replace(NUMBER, values=(3.0, 1.0), closed=True), None, [1.0, 3.0]),
    "nothing known": (replace(NUMBER, minimum=None, maximum=None), None, []),
    "categories": (Feature(name="a", kind="category", missing=True, categories=("b", "c")), None, ["b", "c"]),
    "dates": (
        replace(NUMBER, minimum=3600.0, maximum=200_000.0, notation=Notation(date="year first")),
        Spread(name="a", counts=(9, 9), bounds=(90_000.0,)),
        [3600.0, 86400.0, 172_800.0],
    ),
}


@pytest.mark.parametrize(("feature", "spread", "expected"), VALUES.values(), ids=VALUES)
def test_values_of_dependences(feature, spread, expected):
    """A feature is set to values that it may have: within its range, known ones, whole days."""
    assert values(feature, spread) == expected


def test_few_values_of_many():
    """Twenty of a thousand known numbers are taken, the first and the last among them."""
    feature = replace(NUMBER, values=tuple(map(float, range(1000))), closed=True)
    chosen = values(feature, None)
    assert (len(chosen), chosen[0], chosen[-1]) == (MOST, 0.0, 999.0)


FIGURE = Measured(value=0.5, lowest=0.4, highest=0.6)
POINTS = tuple(
    Threshold(score=score, rows=0.5, precision=0.5, recall=0.5, false_alarms=0.5) for score in (0.9, 0.4)
)
SOUND = Card(
    rows=30,
    held_out=True,
    loss="log loss",
    loss_value=FIGURE,
    accuracy=FIGURE,
    classes=(ClassCard(name="negative", rows=15), ClassCard(name="positive", rows=15, thresholds=POINTS)),
    importances=(Importance(feature="x", rise=FIGURE),),
    dependences=(Dependence(feature="x", at=(0.0, 1.0), answers=((0.5, 0.5), (0.4, 0.6))),),
    slices=(SliceCard(feature="x", value="above 0", rows=10, figure=FIGURE),),
)
FAULTS = {
    "too few rows": ({"rows": 9}, "is of 9 rows, fewer than 10"),
    "another class": ({"classes": SOUND.classes[::-1]}, "the classes of its card are not those"),
    "of a regressor": ({"accuracy": None}, "that of another kind of model"),
    "no such feature": ({"importances": (Importance(feature="y", rise=FIGURE),)}, "'y', which is no feature"),
    "twice": ({"importances": SOUND.importances * 2}, "the importance of 'x' twice"),
    "a small slice": ({"slices": (replace(SOUND.slices[0], rows=9),)}, "a group of 9 rows"),
    "too few answers": (
        {"dependences": (replace(SOUND.dependences[0], at=(0.0,)),)},
        "the dependence on 'x' has answers that do not fit",
    ),
    "of another width": (
        {"dependences": (replace(SOUND.dependences[0], answers=((1.0,), (1.0,))),)},
        "the dependence on 'x' has answers that do not fit",
    ),
    "texts of numbers": (
        {"dependences": (replace(SOUND.dependences[0], at=("0", "1")),)},
        "the dependence on 'x' has values that do not fit",
    ),
    "falling numbers": (
        {"dependences": (replace(SOUND.dependences[0], at=(1.0, 0.0)),)},
        "the dependence on 'x' has values that do not fit",
    ),
    "no share": (
        {
            "classes": (
                SOUND.classes[0],
                replace(SOUND.classes[1], thresholds=(replace(POINTS[0], rows=-1.0),)),
            )
        },
        "a share of -1, which is not between 0 and 1",
    ),
    "rising thresholds": (
        {"classes": (SOUND.classes[0], replace(SOUND.classes[1], thresholds=POINTS[::-1]))},
        "the thresholds of 'positive' in its card do not fall",
    ),
}


@pytest.mark.parametrize(("changes", "reason"), FAULTS.values(), ids=FAULTS)
def test_refused(changes, reason):
    """A card that contradicts itself or the manifest is refused with the rule that it breaks."""
    assert artifact.read(embed(graph(), replace(MANIFEST, card=SOUND))).card == SOUND
    with pytest.raises(ArtifactError, match=reason):
        artifact.read(embed(graph(), replace(MANIFEST, card=replace(SOUND, **changes))))
