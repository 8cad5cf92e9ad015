"""Classifiers whose label is not simply their best probability: votes, thresholds, distances, kernels."""

import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from imblearn.ensemble import (
    BalancedBaggingClassifier,
    BalancedRandomForestClassifier,
    EasyEnsembleClassifier,
    RUSBoostClassifier,
)
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampled
from imblearn.under_sampling import RandomUnderSampler
from sessions import opened
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ConversionError, ParityError
from unpickled.export.gate.answers import Answers, answers_of
from unpickled.export.gate.pair import TIE_GAP, Run
from unpickled.export.gate.parity import check
from unpickled.export.privacy import keeps_rows
from unpickled.export.publish import export_pipeline
from unpickled.server.model.session import load

Array = npt.NDArray[Any]


def runner(conversion: Conversion) -> Run:
    """A function that runs the graph."""
    session = opened(conversion.model)

    def run(feeds: dict[str, Array]) -> tuple[Array, Array]:
        labels, scores = session.run(None, feeds)
        return labels, scores

    return run


def served(conversion: Conversion, rows: Any) -> Answers:
    """The graph's answers."""
    frame = conversion.layout.frame(rows)
    return Answers(*runner(conversion)(conversion.layout.feeds(frame, conversion.inputs)))


def fitted(step: Any, X: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few iterations and few samples
        return step.fit(X, y)


def verify(pipeline: Any, X: Any, rows: Any, tolerance: float = 1e-6, ties: bool = False) -> Conversion:
    """The conversion, which passes the gate and gives the labels of all ``rows``, and of one alone.

    With ``ties``, other labels may stand where two are equally near.
    """
    conversion = convert(pipeline, X)
    check(pipeline, conversion, runner(conversion), X, rows)
    for part in (rows, rows[:1]):
        expected, answers = answers_of(pipeline, conversion, part), served(conversion, part)
        assert expected.margins is not None
        decided = (expected.margins > TIE_GAP) | (not ties)
        assert answers.labels[decided].tolist() == expected.labels[decided].tolist()
        np.testing.assert_allclose(answers.scores, expected.scores, rtol=tolerance, atol=tolerance)
    return conversion


def questions(classes: int, labels: str = "int") -> tuple[Array, Array]:
    """150 rows of five numbers, the last ones far out, and their labels."""
    X, y = make_classification(150, 5, n_informative=4, n_redundant=0, n_classes=classes, random_state=3)
    X[140:] *= 50.0
    return X, np.array(["no", "yes", "maybe"])[y] if labels == "str" else y * 2


TREE = DecisionTreeClassifier(max_depth=3, random_state=0)
FOREST = RandomForestClassifier(10, random_state=0)
LOGISTIC = LogisticRegression()
MEMBERS = [("a", LOGISTIC), ("b", GaussianNB()), ("c", TREE)]
CLASSIFIERS = [
    DummyClassifier(),
    DummyClassifier(strategy="most_frequent"),
    NearestCentroid(),
    NearestCentroid(metric="manhattan"),
    NearestCentroid(priors="empirical"),
    NearestCentroid(metric="manhattan", priors="empirical"),
    OneVsRestClassifier(LOGISTIC),
    OneVsRestClassifier(LinearSVC()),
    OneVsRestClassifier(FOREST),
    OneVsRestClassifier(make_pipeline(StandardScaler(), GaussianNB())),
    OneVsOneClassifier(LOGISTIC),
    OneVsOneClassifier(TREE),
    OneVsOneClassifier(KNeighborsClassifier(3)),
    OneVsOneClassifier(GradientBoostingClassifier(n_estimators=3)),
    OutputCodeClassifier(LOGISTIC, random_state=1),
    OutputCodeClassifier(FOREST, code_size=3, random_state=1),
    VotingClassifier(MEMBERS),
    VotingClassifier([*MEMBERS, ("d", LinearSVC())], weights=[0.1, 0.2, 0.3, 0.2]),
    CalibratedClassifierCV(LOGISTIC, method="temperature", cv=2),
    CalibratedClassifierCV(FOREST, method="temperature", cv=2),
    CalibratedClassifierCV(MLPClassifier((5,), max_iter=50), cv=2),
    GaussianProcessClassifier(),
]


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda classifier: " ".join(repr(classifier).split()))
@pytest.mark.parametrize(("classes", "labels"), [(3, "int"), pytest.param(2, "str", marks=pytest.mark.long)])
def test_every_classifier_answers_as_scikit_learn(classifier: Any, classes: int, labels: str) -> None:
    """The graph gives the pipeline's labels and scores, on rows far outside of training too."""
    X, answers = questions(classes, labels)
    pipeline = fitted(make_pipeline(StandardScaler(), clone(classifier)), X[:100], answers[:100])
    # Which of two codes that are equally near is taken depends on the processor, in scikit-learn too.
    conversion = verify(pipeline, X[:100], X, ties=isinstance(classifier, OutputCodeClassifier))
    assert list(conversion.classes) == pipeline.classes_.tolist()


@pytest.mark.parametrize("labels", ["int", "str"])
def test_a_constant_is_answered(labels: str) -> None:
    """A constant strategy answers its label with certainty."""
    X, answers = questions(3, labels)
    dummy = DummyClassifier(strategy="constant", constant=answers[1]).fit(X, answers)
    scores = served(verify(dummy, X, X), X[:2]).scores
    assert scores.max(axis=1).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("inside", [TREE, LOGISTIC, make_pipeline(StandardScaler(), LOGISTIC)])
def test_a_self_training_classifier_is_the_one_inside(inside: Any) -> None:
    """Rows without a label are no class."""
    X, answers = questions(3)
    some = np.where(np.arange(len(answers)) % 3, answers, -1)
    pipeline = fitted(make_pipeline(StandardScaler(), SelfTrainingClassifier(inside)), X[:100], some[:100])
    assert verify(pipeline, X[:100], X).classes == (0, 2, 4)


@pytest.mark.parametrize("strategy", ["uniform", "stratified"])
def test_answers_drawn_at_random_are_refused(strategy: Any) -> None:
    """No graph repeats random answers."""
    X, answers = questions(2)
    with pytest.raises(ConversionError, match=f"sklearn.dummy.DummyClassifier.*{strategy}.*at random; use"):
        convert(DummyClassifier(strategy=strategy).fit(X, answers), X)


def test_hard_votes_are_served_as_shares(tmp_path) -> None:
    """The scores of a hard vote are the shares of the votes; where they are equal the first class wins."""
    X, y = load_iris(return_X_y=True)
    trees = [(f"t{i}", DecisionTreeClassifier(max_depth=1, random_state=i)) for i in range(4)]
    pipeline = make_pipeline(StandardScaler(), VotingClassifier(trees, weights=[1, 2, 2, 3])).fit(X, y)
    export = export_pipeline(pipeline, X, y, name="votes", models=tmp_path)
    assert export.manifest.outputs.kind == "scores"
    assert {sum(row) for row in export.manifest.golden.scores} == {1.0}
    model = load(export.path.read_bytes())
    assert [model.run_row(list(row))[0] for row in X[::10]] == pipeline.predict(X[::10]).tolist()


def test_a_member_fitted_on_other_labels_is_refused() -> None:
    """Hard voting counts the numbers that its members answer: these have to be positions of classes."""
    X, y = load_iris(return_X_y=True)
    frozen = FrozenEstimator(LogisticRegression(max_iter=500).fit(X, y * 2))
    with pytest.raises(ConversionError, match="fitted on other labels; fit it inside"):
        convert(VotingClassifier([("a", frozen)]).fit(X, y * 2), X)


THRESHOLDS = [
    FixedThresholdClassifier(LOGISTIC, threshold=0.3, pos_label="yes"),
    FixedThresholdClassifier(LOGISTIC, threshold=0.3, pos_label="no"),
    FixedThresholdClassifier(LOGISTIC, threshold=0.7, pos_label="no", response_method="decision_function"),
    FixedThresholdClassifier(LinearSVC(), threshold=-0.4, pos_label="yes"),
    FixedThresholdClassifier(FOREST, threshold=0.1, pos_label="no"),
    FixedThresholdClassifier(SVC()),
    TunedThresholdClassifierCV(FOREST, cv=2, scoring=make_scorer(f1_score, pos_label="no")),
    TunedThresholdClassifierCV(LOGISTIC, cv=2),
    VotingClassifier([("a", FixedThresholdClassifier(LOGISTIC, threshold=0.3)), ("b", TREE)]),
    BaggingClassifier(FixedThresholdClassifier(LOGISTIC, threshold=0.3), 3, random_state=0),
    GridSearchCV(FixedThresholdClassifier(LOGISTIC), {"threshold": [0.2]}, cv=2),
]


@pytest.mark.parametrize("classifier", THRESHOLDS, ids=lambda classifier: " ".join(repr(classifier).split()))
def test_a_threshold_decides_the_label(classifier: Any) -> None:
    """The label is that of the threshold, the scores those of the classifier inside."""
    X, answers = questions(2, "str")
    pipeline = fitted(make_pipeline(StandardScaler(), clone(classifier)), X[:100], answers[:100])
    verify(pipeline, X[:100], X)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.6, 0.7])
def test_a_forest_that_meets_the_threshold_exactly_reaches_it(share: float) -> None:
    """The share of the trees is divided as in scikit-learn, so it equals the threshold to the last bit."""
    X, answers = questions(2)
    cut = FixedThresholdClassifier(FOREST, threshold=share, pos_label=2).fit(X[:100], answers[:100])
    conversion = verify(cut, X[:100], X)
    on_it = cut.predict_proba(X)[:, 1] == share
    assert on_it.any()
    assert (served(conversion, X).labels[on_it] == 2).all()


def test_a_label_of_the_best_score_is_caught_at_another_threshold() -> None:
    """Equal scores are no tie where a threshold decides; scores at the threshold are."""
    X = np.array([[0.0], [0.0], [1.0], [1.0]] * 10)
    y = np.array([0, 1, 1, 1] * 10)
    tree = FixedThresholdClassifier(DecisionTreeClassifier(), threshold=0.4).fit(X, y)
    assert tree.predict_proba(X)[0].tolist() == [0.5, 0.5]
    conversion = convert(tree, X)
    right = runner(conversion)

    def run(feeds: dict[str, Array]) -> tuple[Array, Array]:
        scores = right(feeds)[1]
        return scores.argmax(axis=1), scores

    with pytest.raises(ParityError, match="20 of 40 training rows differ, 20 of them in the label"):
        check(tree, conversion, run, X)
    tree.set_params(threshold=0.5)
    assert check(tree, conversion, run, X)[0].ties > 0


KERNELS = [
    1.0 * RBF([1.0, 2.0, 1.0, 0.5, 1.0]) + WhiteKernel(0.1),
    Matern(nu=0.5),
    2.0 * Matern(nu=1.5) * ConstantKernel(1.0),
    Matern(nu=2.5) + DotProduct(),
    RationalQuadratic(),
    DotProduct() ** 2 + Matern(nu=np.inf),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize("classes", [3, pytest.param(2, marks=pytest.mark.long)])
def test_kernels_of_gaussian_processes_are_computed(kernel: Any, classes: int) -> None:
    """Probabilities need the spread of the latent function, the file holds training rows."""
    X, answers = questions(classes)
    process = GaussianProcessClassifier(kernel, optimizer=None)
    pipeline = fitted(make_pipeline(StandardScaler(), process), X[:60], answers[:60])
    verify(pipeline, X[:60], X, tolerance=1e-10)
    assert keeps_rows(pipeline)


def people(rows: int, seed: int) -> tuple[pd.DataFrame, Array]:
    """Two numbers with gaps, three columns of categories, one of them numbers; and two or three classes."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": random.normal(size=rows),
            "job": random.choice(list("abcdefghijklmnopq"), rows),
            "floor": random.integers(0, 12, rows),
            "income": random.normal(size=rows),
            "port": random.choice(["x", "y", "z w", ""], rows),
        }
    )
    points = table["job"].isin(list("acfkm")) + (table["age"] > 0) + table["floor"].isin([1, 5, 9]) * 1
    table.loc[random.random(rows) < 0.1, "job"] = None
    table.loc[random.random(rows) < 0.1, "age"] = np.nan
    return table, np.asarray(points)


@pytest.mark.parametrize("classes", [3, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "chosen", ["from_dtype", ["job", "floor", "port"], [1, 2], [False, True, False, False, True]]
)
def test_native_categories_take_scikit_learns_way(chosen: Any, classes: int) -> None:
    """Known, unknown and missing categories of histogram gradient boosting take the branch of its splits."""
    table, points = people(400, 0)
    native = table.assign(**{name: pd.Categorical(table[name]) for name in ("job", "floor", "port")})
    if chosen == [1, 2]:
        native = native.assign(port=pd.factorize(native["port"])[0])
    elif chosen == [False, True, False, False, True]:
        native = native.assign(floor=table["floor"])
    model = HistGradientBoostingClassifier(max_iter=4, categorical_features=chosen)
    model.fit(native, points % classes)
    conversion = convert(model, native)
    parity, features = check(model, conversion, runner(conversion), native)
    assert parity.rows["near_threshold"] > 100
    assert [feature.missing for feature in features] == [True] * 5
    assert not any(feature.closed for feature in features)


@pytest.mark.parametrize("known", [[1, 2], [Decimal("0.5"), Decimal(3)]], ids=["int", "decimal"])
def test_native_categories_may_be_numbers_of_python(known: list[Any]) -> None:
    """Histogram gradient boosting finds numbers in dtype object among objects only."""
    zones = pd.Series(np.random.default_rng(0).choice(np.array(known, object), 200), dtype=object)
    table = pd.DataFrame({"age": np.arange(200.0), "zone": pd.Categorical(zones)})
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype")
    model.fit(table, (zones == known[0]) ^ (table["age"] > 120))
    conversion = convert(model, table)
    parity, _ = check(model, conversion, runner(conversion), table)
    assert parity.max_difference <= 1e-12


def test_native_categories_are_right_inside_other_classifiers() -> None:
    """A vote computes with the probabilities in float64; rows with new categories are answered too."""
    table, points = people(300, 0)
    strange, _ = people(200, 1)
    strange.loc[::5, "job"] = "pilot"
    boosting = HistGradientBoostingClassifier(max_iter=5, categorical_features=["job", "port", "floor"])
    vote = VotingClassifier([("a", boosting)], voting="soft").fit(table, points % 2)
    verify(vote, table, strange, tolerance=1e-14)


SAMPLED = [
    make_sampled(StandardScaler(), SMOTE(random_state=0), LOGISTIC),
    make_sampled(RandomUnderSampler(random_state=0), StandardScaler(), "passthrough", FOREST),
    GridSearchCV(make_sampled(StandardScaler(), SMOTE(random_state=0), LOGISTIC), {}, cv=2),
    BalancedRandomForestClassifier(5, random_state=0),
    BalancedBaggingClassifier(LOGISTIC, n_estimators=3, random_state=0),
    EasyEnsembleClassifier(2, random_state=0),
    RUSBoostClassifier(n_estimators=4, random_state=0),
]


@pytest.mark.parametrize(
    "classifier", SAMPLED, ids=lambda classifier: " ".join(repr(classifier).split())[:60]
)
@pytest.mark.parametrize("classes", [3, pytest.param(2, marks=pytest.mark.long)])
def test_samplers_do_nothing_to_a_row_that_is_answered(classifier: Any, classes: int) -> None:
    """Pipelines and ensembles of imblearn answer as they would without their samplers."""
    X, answers = questions(classes, "str")
    pipeline = fitted(clone(classifier), X[:100], answers[:100])
    conversion = convert(pipeline, X[:100])
    check(pipeline, conversion, runner(conversion), X[:100], X)
    assert served(conversion, X).labels.tolist() == pipeline.predict(X).tolist()


def test_a_sampler_before_columns_keeps_the_contract() -> None:
    """A column that a sampled pipeline drops is no feature."""
    table, points = people(300, 0)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["port"]), ("passthrough", ["income"])
    )
    pipeline = make_sampled(columns, RandomOverSampler(random_state=0), LOGISTIC).fit(table, points % 2)
    conversion = verify(pipeline, table, table)
    assert [feature.name for feature in conversion.features] == ["income", "port"]


def test_numbers_of_categories_are_looked_up() -> None:
    """Categorical naive Bayes reads whole numbers; numbers that are no category are refused by the limits."""
    random = np.random.default_rng(0)
    X = np.c_[random.integers(0, 4, 200), random.integers(1, 7, 200)].astype(float)
    model = CategoricalNB().fit(X, X.sum(axis=1) % 3)
    conversion = convert(model, X)
    _, features = check(model, conversion, runner(conversion), X, X + 0.4)
    assert [(feature.lowest, feature.highest) for feature in features] == [(0.0, 3.0), (1.0, 6.0)]


@pytest.mark.parametrize(
    ("classifier", "sentence"),
    [
        (
            GaussianProcessClassifier(ExpSineSquared() + WhiteKernel()),
            "ExpSineSquared has no graph; use one of ConstantKernel",
        ),
        (GaussianProcessClassifier(Matern(nu=1.1)), "nu=1.1.*use 0.5, 1.5 or 2.5"),
        (GaussianProcessClassifier(ConstantKernel() + WhiteKernel()), "does not look at the rows; add RBF"),
        (GaussianProcessClassifier(multi_class="one_vs_one"), "use multi_class='one_vs_rest'"),
        (LabelSpreading(), r"LabelSpreading\) cannot.*use SelfTrainingClassifier"),
        (
            OneVsRestClassifier(BaggingClassifier(LOGISTIC, 2)),
            "BaggingClassifier inside have no graph; use a linear",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_others_are_refused_with_their_module(classifier: Any, sentence: str) -> None:
    """A refusal says where the class comes from, why it has no graph, and what to use."""
    X, answers = questions(3)
    X, answers = X[:50], answers[:50]
    if isinstance(classifier, GaussianProcessClassifier):
        classifier.set_params(optimizer=None)
    model = fitted(classifier, X, answers)
    with pytest.raises(ConversionError, match=sentence) as caught:
        convert(make_pipeline(StandardScaler().fit(X), model), X)
    assert f"(sklearn.{type(classifier).__module__.split('.')[1]}." in str(caught.value)
