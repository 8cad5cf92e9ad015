"""ONNX Runtime answers the graph of a pipeline as scikit-learn answers the pipeline."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sessions import opened
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ConversionError
from unpickled.export.gate.thresholds import near
from unpickled.export.publish import export_pipeline
from unpickled.export.trees import Tree, before_scaling
from unpickled.server.artifact.manifest import MISSING_CATEGORY

Array = npt.NDArray[Any]


def run(conversion: Conversion, inputs: dict[str, Array]) -> tuple[Array, Array]:
    """Labels and scores of a graph in ONNX Runtime, without the server."""
    session = opened(conversion.model)
    outputs = conversion.outputs
    labels, scores = session.run([outputs.label, outputs.scores], inputs)
    return labels, scores


def feeds(conversion: Conversion, X: Any) -> dict[str, Array]:
    """The graph's input tensors for rows in the form that the pipeline takes."""
    return conversion.layout.feeds(conversion.layout.frame(X), conversion.inputs)


def fitted(pipeline: Any, X: Any, y: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few iterations and few samples
        return pipeline.fit(X, y)


def expected(pipeline: Any, X: Any) -> tuple[Array, Array]:
    """Labels and scores of the pipeline; two classes have a score each."""
    method = "predict_proba" if hasattr(pipeline, "predict_proba") else "decision_function"
    scores = getattr(pipeline, method)(X)
    return pipeline.predict(X), scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)


def verify(pipeline: Any, X: Any, rows: Any, tolerance: float = 1e-6) -> Conversion:
    """The conversion of a pipeline, whose graph agrees with it on ``rows`` and on the first row alone."""
    conversion = convert(pipeline, X)
    for part in (rows, rows[:1]):
        labels, scores = run(conversion, feeds(conversion, part))
        expected_labels, expected_scores = expected(pipeline, part)
        ranked = np.sort(expected_scores, axis=1)
        clear = ranked[:, -1] - ranked[:, -2] > tolerance
        assert labels[clear].tolist() == expected_labels[clear].tolist()
        assert scores.shape == (len(part), len(conversion.classes))
        np.testing.assert_allclose(scores, expected_scores, rtol=tolerance, atol=tolerance)
    return conversion


SCALERS = [StandardScaler(), MinMaxScaler(clip=True), RobustScaler(), MaxAbsScaler()]
CLASSIFIERS = [
    LogisticRegression(),
    LogisticRegressionCV(Cs=2, cv=2, scoring="accuracy", l1_ratios=(0,), use_legacy_attributes=False),
    DecisionTreeClassifier(),
    RandomForestClassifier(5),
    ExtraTreesClassifier(5),
    GradientBoostingClassifier(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    AdaBoostClassifier(n_estimators=3),
    MLPClassifier((5,), max_iter=5),
    MLPClassifier((4, 3), activation="tanh", max_iter=5),
    SVC(),
    SVC(kernel="poly"),
    NuSVC(nu=0.1, kernel="sigmoid"),
    LinearSVC(),
    KNeighborsClassifier(3),
    KNeighborsClassifier(3, weights="distance"),
    GaussianNB(),
    SGDClassifier(),
    SGDClassifier(loss="log_loss"),
    SGDClassifier(loss="modified_huber"),
    RidgeClassifier(),
    Perceptron(),
    LinearDiscriminantAnalysis(),
    QuadraticDiscriminantAnalysis(),
    CalibratedClassifierCV(LinearSVC(), cv=2),
    CalibratedClassifierCV(RandomForestClassifier(3), method="isotonic", cv=2),
    VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft", weights=[1, 2]),
    BaggingClassifier(n_estimators=3, max_features=0.7),
    StackingClassifier([("a", LinearSVC()), ("b", GaussianNB())], cv=2, passthrough=True),
]


@pytest.mark.parametrize("scaler", SCALERS, ids=lambda scaler: type(scaler).__name__)
@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=lambda classifier: repr(classifier)[:40])
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("int", 2),
        ("str", 3),
        pytest.param("int", 3, marks=pytest.mark.long),
        pytest.param("str", 2, marks=pytest.mark.long),
    ],
)
def test_every_scaler_with_every_classifier(scaler: Any, classifier: Any, labels: str, classes: int) -> None:
    """The graph takes one float64 tensor and gives the pipeline's labels and scores, on new rows too."""
    X, y = make_classification(90, 5, n_informative=4, n_redundant=0, n_classes=classes, random_state=3)
    answers = np.array(["no", "yes", "maybe"])[y] if labels == "str" else y * 2
    if "random_state" in classifier.get_params():
        classifier = classifier.set_params(random_state=0)
    pipeline = fitted(make_pipeline(scaler, classifier), X[:60], answers[:60])
    conversion = verify(pipeline, X[:60], X)
    assert [(item.dtype, len(item.features)) for item in conversion.inputs] == [("float64", 5)]
    assert list(conversion.classes) == pipeline.classes_.tolist()


def people(rows: int = 120) -> tuple[pd.DataFrame, Array]:
    """Passengers: numbers with gaps, an integer, a boolean, text with gaps; and two classes."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age, years": random.normal(40, 12, rows).round(1),
            "sex": random.choice(["male", "female"], rows),
            "class": random.integers(1, 4, rows),
            "port": random.choice(["S", "C", "Q"], rows, p=[0.7, 0.2, 0.1]),
            "alone": random.random(rows) < 0.5,
        }
    )
    survived = (table["sex"] == "female") * 2.0 + (table["age, years"] < 40) + random.normal(
        0, 0.5, rows
    ) > 1.2
    table.loc[random.random(rows) < 0.1, "age, years"] = np.nan
    table.loc[random.random(rows) < 0.1, "port"] = np.nan
    return table, np.where(survived, "yes", "no")


@pytest.mark.parametrize(
    "encoder",
    [
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
        make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(drop="first")),
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(min_frequency=0.2, handle_unknown="infrequent_if_exist"),
        OneHotEncoder(max_categories=2, drop="if_binary", handle_unknown="ignore"),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    ],
    ids=lambda encoder: repr(encoder)[:60],
)
@pytest.mark.parametrize("classifier", [LogisticRegression(), RandomForestClassifier(5, random_state=0)])
def test_categories_with_holes_are_encoded(encoder: Any, classifier: Any) -> None:
    """Imputed, one-hot and ordinal categories go into a tensor of text beside the one of numbers."""
    table, survived = people()
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = make_column_transformer(
        (numbers, ["age, years", "alone"]), (encoder, ["sex", "port"]), remainder="passthrough"
    )
    pipeline = fitted(make_pipeline(columns, classifier), table, survived)
    conversion = verify(pipeline, table, table)
    assert [feature.name for feature in conversion.features] == list(table.columns)
    assert {item.name: item.features for item in conversion.inputs} == {
        "numbers": ("age, years", "class", "alone"),
        "categories": ("sex", "port"),
    }


def test_unknown_and_missing_categories_are_what_scikit_learn_makes_of_them() -> None:
    """An unknown category sets no column; a missing one is the text that stands for it."""
    table, survived = people()
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["sex", "port"]))
    pipeline = fitted(make_pipeline(columns, LogisticRegression()), table, survived)
    strange = pd.DataFrame({"sex": ["divers", "", "male"], "port": ["S", "Å", None]})
    conversion = verify(pipeline, table, strange)
    assert feeds(conversion, strange)["categories"][2].tolist() == ["male", MISSING_CATEGORY]


def test_one_encoder_takes_text_and_numbers_at_once() -> None:
    """Columns of text and numbers leave an imputer and encoder in the order of their names."""
    table, survived = people()
    encoder = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    )
    columns = make_column_transformer((encoder, ["sex", "class", "port"]))
    verify(fitted(make_pipeline(columns, LogisticRegression()), table, survived), table, table)


def test_columns_nobody_looks_at_are_no_features() -> None:
    """A column that a ColumnTransformer drops is no feature."""
    table, survived = people()
    columns = ColumnTransformer(
        [("scale", SimpleImputer(), ["age, years"]), ("code", OrdinalEncoder(), ["sex"])]
    )
    conversion = verify(fitted(make_pipeline(columns, GaussianNB()), table, survived), table, table)
    assert [feature.name for feature in conversion.features] == ["age, years", "sex"]


def test_a_numeric_frame_is_one_tensor() -> None:
    """Numeric columns that are selected by name are one tensor."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    columns = make_column_transformer(
        (StandardScaler(), ["petal width (cm)", "sepal length (cm)"]), (MinMaxScaler(), ["petal length (cm)"])
    )
    conversion = verify(fitted(make_pipeline(columns, LogisticRegression()), X, y), X, X)
    assert [item.features for item in conversion.inputs] == [
        ("sepal length (cm)", "petal length (cm)", "petal width (cm)")
    ]


def test_missing_numbers_take_the_branch_the_trees_learned() -> None:
    """NaN takes the branch that scikit-learn's forests and histogram gradient boosting take."""
    X, y = load_iris(return_X_y=True)
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    for classifier in (
        DecisionTreeClassifier(max_depth=4),
        RandomForestClassifier(10, random_state=0),
        ExtraTreesClassifier(10, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
    ):
        verify(fitted(make_pipeline(StandardScaler(), classifier), X, y), X, X)


def test_float32_rows_stay_float32() -> None:
    """A pipeline fitted on float32 gets a float32 tensor, and its scaler rounds as NumPy does."""
    X, y = load_iris(return_X_y=True)
    X = (X * 1e3 + 0.1).astype(np.float32)
    for scaler in SCALERS:
        pipeline = fitted(make_pipeline(scaler, RandomForestClassifier(10, random_state=0)), X, y)
        conversion = verify(pipeline, X, X)
        assert [item.dtype for item in conversion.inputs] == ["float32"]


@pytest.mark.parametrize(
    "classifier",
    [GaussianNB(), LogisticRegression(), LinearDiscriminantAnalysis(), MLPClassifier((5,), max_iter=5)],
    ids=lambda classifier: type(classifier).__name__,
)
def test_what_a_classifier_learned_in_float32_goes_into_float64(classifier: Any) -> None:
    """Parameters learned in float32 go into a float64 graph, which differs by that rounding alone."""
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    conversion = verify(fitted(make_pipeline(StandardScaler(), classifier), X, y), X, X, tolerance=1e-5)
    assert [item.dtype for item in conversion.inputs] == ["float32"]


@pytest.mark.parametrize("norm", ["l1", "l2", "max"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_zeros_are_left_as_they_are_by_a_normalizer(norm: Any, dtype: Any) -> None:
    """No row is divided by a norm of zero, or by one that scikit-learn takes for zero."""
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)).astype(dtype)
    pipeline = fitted(make_pipeline(Normalizer(norm=norm), LogisticRegression()), X, y)
    small = [X[:1] * size for size in (1e-7, 1e-15, 1e-16, 1e-30)]
    rows = np.vstack([X, 0 * X[:2], -0.0 * X[:1], *small]).astype(dtype)
    assert np.isfinite(pipeline.predict_proba(rows)).all()
    assert verify(pipeline, X, rows).foreign == ()


def test_trees_behind_a_normalizer_see_its_very_numbers() -> None:
    """A maximum has no rounding error, so rows beside the splits of trees fall to the right side."""
    X, y = load_iris(return_X_y=True)
    X = X - X.mean(axis=0)
    forest = RandomForestClassifier(20, random_state=0)
    pipeline = fitted(make_pipeline(Normalizer(norm="max"), forest), X, y)
    table = convert(pipeline, X).layout
    beside = near(pipeline, table, table.frame(X), limit=2000).to_numpy()
    assert len(beside) > 100
    verify(pipeline, X, np.vstack([beside, np.zeros((2, 4))]))


@pytest.mark.parametrize("classifier", [MultinomialNB(), ComplementNB(), BernoulliNB(binarize=0.4)])
def test_other_kinds_of_naive_bayes_go_through_skl2onnx(classifier: Any) -> None:
    """These classifiers are converted by skl2onnx, and agree."""
    X, y = load_iris(return_X_y=True)
    conversion = verify(fitted(make_pipeline(MinMaxScaler(), classifier), X[::2], y[::2]), X, X)
    assert len(conversion.foreign) == 1


@pytest.mark.parametrize("passthrough", [False, True])
def test_rows_beside_the_splits_of_a_stack_are_found(passthrough: bool) -> None:
    """The last classifier of a stack splits the answers of the others and the columns passed through."""
    X, y = load_iris(return_X_y=True)
    stack = StackingClassifier(
        [("a", DecisionTreeClassifier(max_depth=2, random_state=0))],
        final_estimator=DecisionTreeClassifier(max_depth=4, random_state=0),
        passthrough=passthrough,
        cv=2,
    )
    pipeline = fitted(make_pipeline(StandardScaler(), stack), X, y)
    table = convert(pipeline, X).layout
    beside = near(pipeline, table, table.frame(X), limit=1000).to_numpy()
    leaves = stack.final_estimator_.apply(stack.transform(pipeline[0].transform(beside)))
    assert len(set(leaves)) > 1
    verify(pipeline, X, beside)


def test_searches_unions_and_selections_are_seen_through() -> None:
    """A search is converted as its best pipeline, with the union and the selection inside it."""
    X, y = load_iris(return_X_y=True)
    union = FeatureUnion([("pca", PCA(2)), ("best", SelectKBest(k=2))], transformer_weights={"pca": 2.0})
    search = GridSearchCV(make_pipeline(StandardScaler(), union, LogisticRegression()), {}, cv=2)
    conversion = verify(fitted(search, X, y), X, X)
    assert conversion.foreign == ("featureunion/pca (PCA)",)


def test_the_graph_is_small_and_plain() -> None:
    """Scaler and logistic regression are five standard nodes, the same in every conversion."""
    X, y = load_iris(return_X_y=True)
    pipeline = fitted(make_pipeline(StandardScaler(), LogisticRegression()), X, y)
    model = convert(pipeline, X, feature_names=["a", "b", "c", "d"]).model
    assert [node.op_type for node in model.graph.node] == ["Sub", "Div", "Gemm", "ArgMax", "Softmax"]
    assert {(item.domain, item.version) for item in model.opset_import} == {("", 21), ("ai.onnx.ml", 3)}
    assert not model.functions
    assert model == convert(pipeline, X).model


def test_labels_that_are_no_integers_become_those_they_equal() -> None:
    """Labels that are booleans or whole floats become the equal integers."""
    X, y = load_iris(return_X_y=True)
    for labels in (y == 1, y.astype(float)):
        pipeline = fitted(make_pipeline(StandardScaler(), LogisticRegression()), X, labels)
        conversion = verify(pipeline, X, X)
        assert conversion.classes == tuple(range(len(pipeline.classes_)))


def is_sentence(text: str) -> bool:
    return text[0].isupper() and text.endswith(".") and ".." not in text


class Logarithm(TransformerMixin, BaseEstimator):
    """A transformer of the user's own."""

    def fit(self, X: Array, y: Array) -> "Logarithm":
        self.fitted_ = True
        return self

    def transform(self, X: Array) -> Array:
        return np.log1p(X)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (
            make_pipeline(Logarithm(), GaussianNB()),
            r"'logarithm' \(test_convert.Logarithm\).*before the pipeline",
        ),
        (make_pipeline(Normalizer(), DecisionTreeClassifier()), "'normalizer'.*without trees"),
        (make_pipeline(PCA(2), HistGradientBoostingClassifier(max_iter=2)), "'pca'.*without trees"),
        (
            StackingClassifier([("a", LinearSVC())], final_estimator=DecisionTreeClassifier(), cv=2),
            r"an estimator without trees there, such as LogisticRegression\(\)",
        ),
        (SVC(decision_function_shape="ovo"), "decision_function_shape='ovr'"),
        (RadiusNeighborsClassifier(9.0), "KNeighborsClassifier"),
        (KNeighborsClassifier(weights=lambda distance: distance), "'uniform' or 'distance'"),
        (GradientBoostingClassifier(n_estimators=2, init=GaussianNB()), "leave init out"),
        (AdaBoostClassifier(GaussianNB(), n_estimators=2), "decision trees"),
        (KMeans(n_clusters=2, random_state=0), "neither a classifier nor a regressor"),
        (RandomForestClassifier(2), "several questions at once; export one"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_has_no_graph_is_refused_with_a_remedy(step: Any, sentence: str) -> None:
    """The error is one sentence that names the step and a remedy."""
    X, y = load_iris(return_X_y=True)
    X = X.round()
    answers = np.stack([y, y], axis=1) if "several" in sentence else y
    pipeline = fitted(step if hasattr(step, "steps") else make_pipeline(step), X, answers)
    with pytest.raises(ConversionError, match=sentence) as caught:
        convert(pipeline, X)
    assert is_sentence(str(caught.value))


def test_columns_may_come_in_another_order() -> None:
    """Features are in the order of the fit, whatever the order of the columns given for export."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    turned = X[X.columns[::-1]].assign(more=0.0)
    scaled = make_pipeline("passthrough", StandardScaler(), LogisticRegression())
    for step in (scaled, GridSearchCV(make_pipeline(StandardScaler(), GaussianNB()), {}, cv=2)):
        pipeline = fitted(step, X, y)
        conversion = convert(pipeline, turned)
        assert [feature.name for feature in conversion.features] == list(X.columns)
        ordered = conversion.layout.own(turned)
        labels, _ = run(conversion, feeds(conversion, turned))
        assert labels.tolist() == pipeline.predict(ordered).tolist() == pipeline.predict(X).tolist()
        with pytest.raises(ConversionError, match="lack the column"):
            convert(pipeline, turned[turned.columns[1:]])


def test_names_given_follow_the_rows() -> None:
    """feature_names name the columns of the given rows; the features keep the order of the fit."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = fitted(make_pipeline(StandardScaler(), LogisticRegression()), X, y)
    conversion = convert(pipeline, X[X.columns[::-1]], feature_names=["d", "c", "b", "a"])
    assert [feature.name for feature in conversion.features] == ["a", "b", "c", "d"]


def test_float16_is_refused() -> None:
    """No graph computes in half precision, and the remedy says so."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    half = X.astype("float16")
    with pytest.raises(ConversionError, match=r"float16.*X\.astype\('float64'\)"):
        convert(fitted(make_pipeline(MinMaxScaler(), GaussianNB()), half, y), half)


def test_wrong_rows_are_refused() -> None:
    """Unfitted pipelines, and rows of the wrong width, columns or types, are refused in a sentence."""
    table, survived = people()
    encoder = make_column_transformer((OrdinalEncoder(), ["sex"]), remainder="drop")
    pipeline = fitted(make_pipeline(encoder, GaussianNB()), table, survived)
    numbers = fitted(GaussianNB(), np.eye(4), np.array([0, 1, 0, 1]))
    dated = table.assign(sex=pd.to_datetime("2020-01-01"))
    unwritable = table.assign(sex=MISSING_CATEGORY)
    mixed = table.assign(sex=pd.Series([1, "male"] * 60, dtype=object))
    for step, rows, sentence in (
        (GaussianNB(), np.eye(4), "not fitted"),
        (GaussianNB, np.eye(4), "not a scikit-learn"),
        (numbers, np.eye(3), "3 columns, but the pipeline was fitted on 4"),
        (numbers, np.eye(4)[:0], "empty"),
        (pipeline, table.drop(columns="sex"), "lack the column.*sex"),
        (pipeline, dated, "'sex' is of type datetime.*a date: .*DateParts as the first step"),
        (pipeline, unwritable, "'sex' holds the text U.FDD0, which stands for a missing text"),
        (pipeline, mixed, "'sex' mixes text and numbers"),
    ):
        with pytest.raises(ConversionError, match=sentence) as caught:
            convert(step, rows)
        assert is_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (
            [None, *[[0.5, 1.5]] * 5],
            "holds a value of type list, .*: make columns of numbers or of text from",
        ),
        ([*np.zeros((6, 2))], "holds a value of type ndarray, which is neither a number nor a text"),
        ([{"a": 1}] * 6, "holds a value of type dict, which is neither a number nor a text"),
        (pd.cut(np.arange(6), 2), "holds a value of type Interval, which is neither a number nor a text"),
        (pd.Categorical(pd.period_range("2020", periods=6, freq="M")), "is of type period.* as numbers or"),
        ([0.5, 1j, 2.0] * 2, "holds complex numbers: give their parts as columns"),
        ([10**400, *range(5)], "holds a number that is too large for float64"),
    ],
    ids=["list", "array", "dict", "interval", "period", "complex", "large"],
)
def test_a_column_of_other_objects_is_named_with_a_remedy(column: Any, sentence: str) -> None:
    """Lists, records and the like in a column are refused by its name."""
    values = column if isinstance(column, pd.Categorical) else pd.Series(column, dtype=object)
    table = pd.DataFrame({"age": np.arange(6.0), "vector": values})
    pipeline = LogisticRegression().fit(table.assign(vector=0.0), np.arange(6) % 2)
    with pytest.raises(ConversionError, match=f"Column 'vector' {sentence}") as caught:
        convert(pipeline, table)
    assert is_sentence(str(caught.value))


@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(), OrdinalEncoder(), SimpleImputer(strategy="constant", fill_value="\ufdd0")]
)
def test_the_text_of_a_missing_category_is_none(encoder: Any) -> None:
    """A category U+FDD0 is refused by its name: no other last step would help."""
    table = pd.DataFrame({"sex": ["male", MISSING_CATEGORY, "female"] * 20})
    y = np.arange(60) % 3 > 1
    behind = OneHotEncoder() if isinstance(encoder, SimpleImputer) else StandardScaler(with_mean=False)
    pipeline = fitted(make_pipeline(encoder, behind, LogisticRegression()), table, y)
    with pytest.raises(ConversionError, match=r"U.FDD0, which stands for a missing text in every") as caught:
        convert(pipeline, table)
    assert is_sentence(str(caught.value))
    assert "last step" not in str(caught.value)


@pytest.mark.parametrize("scaler", [StandardScaler(), RobustScaler(), MinMaxScaler((-3, 5)), MaxAbsScaler()])
def test_trees_need_no_scaler(scaler):
    """A scaler before trees is folded into their thresholds."""
    X, y = make_classification(300, 6, random_state=3)
    X *= 10.0 ** np.arange(-3, 3)
    pipeline = make_pipeline(scaler, RandomForestClassifier(8, random_state=0)).fit(X, y)
    nodes = [node.op_type for node in convert(pipeline, X).model.graph.node]
    assert nodes == ["TreeEnsemble", "Gemm", "ArgMax"]


@pytest.mark.parametrize("seed", range(5))
def test_folded_thresholds_are_exact(seed):
    """A threshold is the largest float64 that the steps take to the limit or below it, at any magnitude."""
    random = np.random.default_rng(seed)
    size, width = 3000, 7
    magnitude = 10.0 ** random.integers(-300, 300, size)
    limits = np.concatenate([random.normal(size=size - 4) * magnitude[4:], [0.0, -0.0, np.inf, -np.inf]])
    shift = random.normal(size=width) * 10.0 ** random.integers(-9, 9, width)
    scale = random.uniform(0.1, 9, width) * 10.0 ** random.integers(-9, 9, width)
    feature, ends = random.integers(0, width, size), np.ones(size, np.int64)
    tree = Tree(ends, ends, feature, limits, np.zeros(size, bool), np.zeros((size, 1)))
    thresholds = before_scaling(
        tree, [("Sub", shift), ("Div", scale), ("Mul", scale[::-1]), ("Add", shift)]
    ).threshold
    with np.errstate(over="ignore", under="ignore"):
        reached, passed = (
            ((x - shift[feature]) / scale[feature]) * scale[::-1][feature] + shift[feature]
            for x in (thresholds, np.nextafter(thresholds, np.inf))
        )
    assert (reached <= limits).all()
    assert ((passed > limits) | (thresholds == np.inf)).all()


@pytest.mark.parametrize("count", [2, 3, 41, 82, 100])
def test_unanimous_trees_are_certain(count):
    """Where all trees agree the probabilities are exactly 1 and 0, whatever the number of trees."""
    X, y = np.array([[0.0], [1.0]] * 20), np.array([0, 1] * 20)
    forest = RandomForestClassifier(count, random_state=0).fit(X, y)
    session = opened(convert(forest, X).model)
    _, scores = session.run(None, {session.get_inputs()[0].name: X[:2]})
    assert scores.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    "words",
    [CountVectorizer(), make_pipeline(TfidfVectorizer()), make_union(HashingVectorizer())],
)
@pytest.mark.parametrize("container", [list, np.array, pd.Series])
def test_a_first_step_for_texts_is_refused_by_name(words: Any, container: Any, tmp_path: Any) -> None:
    """Rows that are texts are no table; the error is about the step that takes them, not about the rows."""
    texts, y = container(["good film", "bad film", "nice one", "bad bad"]), [1, 0, 1, 0]
    pipeline = make_pipeline(words, LogisticRegression()).fit(texts, y)
    with pytest.raises(ConversionError, match=r"\(sklearn.feature_extraction.text.\w+\).*use OneHotEncoder"):
        export_pipeline(pipeline, texts, y, name="texts", models=tmp_path)


def test_the_estimator_inside_a_frozen_one_is_named() -> None:
    """A refusal is about the estimator that has no graph, not about what freezes it."""
    X, y = load_iris(return_X_y=True)
    frozen = FrozenEstimator(PLSRegression(1).fit(X, y))
    with pytest.raises(ConversionError, match=r"\(sklearn.cross_decomposition.PLSRegression\) cannot"):
        convert(make_pipeline(frozen, LogisticRegression()).fit(X, y), X)
