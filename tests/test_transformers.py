"""ONNX Runtime transforms rows as scikit-learn's transformers do, to the last bit where trees follow."""

import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from sessions import opened
from sklearn.base import clone
from sklearn.cluster import Birch, BisectingKMeans, FeatureAgglomeration, KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import NMF, FactorAnalysis, FastICA, KernelPCA, MiniBatchSparsePCA, SparsePCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.kernel_approximation import (
    AdditiveChi2Sampler,
    Nystroem,
    PolynomialCountSketch,
    RBFSampler,
    SkewedChi2Sampler,
)
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor, NeighborhoodComponentsAnalysis
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.tree import DecisionTreeClassifier
from test_convert import Array, feeds, fitted, is_sentence, people, run, verify

from unpickled.export import export_pipeline
from unpickled.export.convert import convert
from unpickled.export.converters import curves, quantiles
from unpickled.export.errors import ConversionError, ParityError
from unpickled.export.gate import golden
from unpickled.export.gate.parity import check
from unpickled.export.gate.thresholds import near
from unpickled.export.graph import Graph, Output
from unpickled.export.publish import runner
from unpickled.server import Config, create_app
from unpickled.server.artifact.manifest import Feature, Parity


def judged(pipeline: Any, X: Any) -> tuple[Parity, dict[str, Feature]]:
    """The gate's report about a pipeline and its graph, and the features by name."""
    conversion = convert(pipeline, X)
    report, features = check(pipeline, conversion, runner(conversion), X)
    return report, {feature.name: feature for feature in features}


def flowers(holes: float = 0.0) -> tuple[Array, Array]:
    """The irises, with some digits more, as no two rows are then equally far from a third."""
    X, y = load_iris(return_X_y=True)
    random = np.random.default_rng(0)
    X += random.normal(0, 0.01, X.shape)
    X[random.random(X.shape) < holes] = np.nan
    return X, y


def binned(**options: Any) -> KBinsDiscretizer:
    return KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf", **options)


FUNCTIONS = [
    *(
        np.log,
        np.log1p,
        np.log2,
        np.log10,
        np.cbrt,
        np.exp,
        np.expm1,
        np.sin,
        np.cos,
        np.tan,
        np.sinh,
        np.cosh,
    ),
    *(np.tanh, np.arcsinh),
]
EXACT_FUNCTIONS = [
    *(np.abs, np.fabs, np.sign, np.square, np.sqrt, np.reciprocal, np.floor, np.ceil, np.rint, np.trunc),
    np.round,
    *(np.negative, partial(np.clip, a_min=1, a_max=5.5)),
]
EXACT = [
    *(FunctionTransformer(function) for function in EXACT_FUNCTIONS),
    FunctionTransformer(np.clip, kw_args={"a_min": None, "a_max": 5.0}),
    Binarizer(threshold=3.0),
    *(binned(encode=encode) for encode in ("onehot-dense", "ordinal")),
    binned(encode="ordinal", dtype=np.float32),
    KBinsDiscretizer(3, encode="ordinal", strategy="uniform"),
    PolynomialFeatures(),
    PolynomialFeatures((2, 4), include_bias=False),
    PolynomialFeatures(3, interaction_only=True, order="F"),
    QuantileTransformer(n_quantiles=150),
    QuantileTransformer(n_quantiles=7),
]
SMOOTH = [
    *(FunctionTransformer(function) for function in FUNCTIONS),
    PowerTransformer(),
    PowerTransformer(standardize=False),
    PowerTransformer("box-cox"),
    SplineTransformer(degree=0),
    SplineTransformer(degree=1, include_bias=False),
    SplineTransformer(extrapolation="linear", knots="quantile", sparse_output=True),
    *(SplineTransformer(extrapolation=end) for end in ("continue", "periodic", "error")),
    binned(encode="onehot"),
    *(RBFSampler(random_state=0), Nystroem(random_state=0), SkewedChi2Sampler(random_state=0)),
    *(
        Nystroem(kernel, n_components=9, random_state=0)
        for kernel in ("laplacian", "cosine", "poly", "linear")
    ),
    *(AdditiveChi2Sampler(sample_steps=steps) for steps in (1, 2, 3)),
    PolynomialCountSketch(degree=3, coef0=1, n_components=9, random_state=0),
    *(KernelPCA(3, kernel=kernel) for kernel in ("linear", "poly", "rbf", "cosine")),
    *(FactorAnalysis(2), FastICA(2, random_state=0), FastICA(whiten=False, random_state=0)),
    *(LinearDiscriminantAnalysis(), LinearDiscriminantAnalysis(solver="eigen", n_components=1)),
    *(GaussianRandomProjection(3, random_state=0), SparseRandomProjection(3, random_state=0)),
    *(KMeans(4, n_init=1, random_state=0), MiniBatchKMeans(4, n_init=1, random_state=0)),
    *(BisectingKMeans(4, random_state=0), Birch(), FeatureAgglomeration(2)),
    NeighborhoodComponentsAnalysis(2, random_state=0),
    QuantileTransformer(n_quantiles=60, output_distribution="normal"),
]


# These answer no row alone in scikit-learn.
IN_BATCHES = [SparsePCA(2, random_state=0), MiniBatchSparsePCA(2, random_state=0)]


def named(value: Any) -> str:
    """A short name for a test, without the address of a function."""
    return re.sub(r" at 0x\w+|\n", "", repr(value))[:60]


@pytest.mark.parametrize("transformer", SMOOTH + EXACT, ids=named)
def test_linear_models_answer_alike_behind_it(transformer: Any) -> None:
    """A last digit is all that is apart, in training rows, between them, and beyond if there is an answer."""
    X, y = flowers()
    pipeline = fitted(make_pipeline(transformer, LogisticRegression()), X, y)
    beyond = [row for row in (*X[:4] * 1.3, *X[-4:] * 0.5, *X[:4] * 1e3, *-X[:4]) if answers(pipeline, row)]
    rows = np.vstack([X, (X[::-1] + X) / 2, *beyond])
    assert verify(pipeline, X, rows, tolerance=1e-7).foreign == ()


@pytest.mark.parametrize("transformer", IN_BATCHES, ids=named)
def test_single_rows_are_answered_even_where_scikit_learn_answers_none(transformer: Any) -> None:
    """The gate compares single rows with the same rows in a batch."""
    X, y = flowers()
    report, _ = judged(fitted(make_pipeline(transformer, LogisticRegression()), X, y), X)
    assert report.max_difference < 1e-9
    assert report.rows["single"] == 100


def answers(pipeline: Any, row: Array) -> bool:
    """Whether the pipeline has a finite answer to a row."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return bool(np.isfinite(pipeline.predict_proba(row[None])).all())
        except ValueError:
            return False


@pytest.mark.parametrize("transformer", EXACT, ids=named)
@pytest.mark.parametrize("dtype", [np.float64, pytest.param(np.float32, marks=pytest.mark.long)])
def test_trees_behind_it_see_the_very_numbers(transformer: Any, dtype: type) -> None:
    """Rows beside every split fall to the side where scikit-learn has them."""
    X, y = flowers()
    X = (X - 3.0 if transformer in EXACT[:4] else X).astype(dtype)
    for classifier in (RandomForestClassifier(5, random_state=0), HistGradientBoostingClassifier(max_iter=2)):
        pipeline = fitted(make_pipeline(transformer, classifier), X, y)
        layout = convert(pipeline, X).layout
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers without a value
            beside = near(pipeline, layout, layout.frame(X), limit=400).to_numpy()
        assert len(beside) >= 4
        verify(pipeline, X, np.vstack([X, beside]).astype(dtype))


@pytest.mark.parametrize("transformer", SMOOTH, ids=named)
def test_trees_are_refused_behind_what_rounds(transformer: Any) -> None:
    """A split may part two answers to one row, if the last digit in front of it is uncertain."""
    if isinstance(transformer, KBinsDiscretizer):
        return
    X, y = flowers()
    for inner in (
        RandomForestClassifier(2, random_state=0),
        make_pipeline(Binarizer(), LogisticRegression()),
    ):
        pipeline = fitted(make_pipeline(transformer, inner), X, y)
        with pytest.raises(ConversionError, match=r"may differ in the last digit.*leave it out") as caught:
            convert(pipeline, X)
        assert is_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("curve", "function", "lowest"),
    [
        (curves.log1p, np.log1p, -0.999),
        (curves.expm1, np.expm1, -800.0),
        (curves.cbrt, np.cbrt, -1e300),
        (curves.sinh, np.sinh, -700.0),
        (curves.cosh, np.cosh, -700.0),
        (curves.arcsinh, np.arcsinh, -1e300),
        (curves.arctanh, np.arctanh, -0.999),
    ],
)
def test_functions_are_as_exact_as_numpys(curve: Any, function: Any, lowest: float) -> None:
    """They keep 15 digits, right beside 0 and far from it, and give infinities and NaN where NumPy does."""
    random = np.random.default_rng(0)
    sizes = 10.0 ** random.uniform(-300, np.log10(-lowest), 20_000)
    x = np.concatenate([sizes, -sizes, random.uniform(lowest, -lowest, 20_000)])
    x = np.concatenate([x, [0.0, 1.0, -1.0, 1e-17, -1e-17, 2.0, -2.0, np.inf, -np.inf, np.nan]])[:, None]
    with np.errstate(all="ignore"):
        values, expected = computed(curve, x), function(x)
    finite = np.isfinite(expected) & (np.abs(expected) > np.finfo(float).tiny)
    np.testing.assert_allclose(values[~finite], expected[~finite], atol=1e-320)
    assert np.abs(values[finite] / expected[finite] - 1.0).max() < 4e-15


def test_the_normal_quantile_is_as_exact_as_scipys() -> None:
    """It keeps 14 digits from 1e-7 to the middle and on to 1 - 1e-7, NaN stays NaN."""
    near_ends = 10.0 ** np.linspace(-7, np.log10(0.5), 5_000)
    p = np.concatenate([near_ends, 1.0 - near_ends, [0.5, np.nan]])[:, None]
    np.testing.assert_allclose(computed(curves.normal, p), ndtri(p), rtol=0.0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_quantiles_that_repeat_and_columns_of_one_number_are_placed(distribution: Any, dtype: type) -> None:
    """The very numbers of scikit-learn at, beside and beyond quantiles; a thousand of them take few nodes."""
    random = np.random.default_rng(0)
    X = np.c_[random.exponential(size=900) ** 9, random.integers(0, 3, 900), np.full(900, 7.0)].astype(dtype)
    transformer = QuantileTransformer(n_quantiles=900, output_distribution=distribution).fit(X)
    beside = [np.nextafter(X, end, dtype=dtype) for end in (-np.inf, np.inf)]
    rows = np.vstack([X, *beside, -X * 10, X * 3, np.full((1, 3), np.nan)]).astype(dtype)
    graph = Graph()
    tensor = graph.input("x", "float64" if dtype is np.float64 else "float32", 3)
    model = graph.traced(
        [quantiles.CONVERTERS[QuantileTransformer](graph, transformer, tensor.columns())[0].tensor]
    )
    placed = opened(model).run(None, {"x": rows})[0]
    np.testing.assert_allclose(placed, transformer.transform(rows), rtol=0.0, atol=1e-14)
    assert len(model.graph.node) < 70


def computed(curve: Any, x: Array) -> Array:
    """The values of a curve in ONNX Runtime."""
    graph = Graph()
    value = curve(graph, graph.input("x", "float64", 1).name)
    model = graph.model([Output("scores", value, "float64", 1)])
    session = opened(model)
    answer: Array = session.run(["scores"], {"x": x})[0]
    return answer


@pytest.mark.parametrize("function", [np.cbrt, np.abs, np.square, np.arcsinh, np.expm1, np.floor, np.tanh])
def test_functions_take_negative_numbers(function: Any) -> None:
    """Functions that have values below 0 answer alike there."""
    X, y = flowers()
    report, features = judged(
        fitted(make_pipeline(FunctionTransformer(function), LogisticRegression()), X - 3, y), X - 3
    )
    assert report.max_difference < 1e-9
    assert all(feature.lowest is None or feature.lowest < -100 for feature in features.values())


@pytest.mark.parametrize("function", [np.log, np.log10, np.reciprocal])
def test_numbers_without_a_finite_value_are_out_of_bounds(function: Any) -> None:
    """A zero that the pipeline refuses is no number of the feature, but what is above it is."""
    X, y = flowers()
    pipeline = fitted(make_pipeline(FunctionTransformer(function), LogisticRegression()), X, y)
    _, features = judged(pipeline, X)
    for feature in features.values():
        assert feature.minimum is not None
        assert feature.lowest is not None
        assert 0.0 < feature.lowest <= feature.minimum


IMPUTERS = [
    KNNImputer(),
    KNNImputer(n_neighbors=2, add_indicator=True, keep_empty_features=True),
    IterativeImputer(max_iter=3),
    *(
        pytest.param(imputer, marks=pytest.mark.long)
        for imputer in (
            IterativeImputer(Ridge(), max_iter=2, add_indicator=True),
            IterativeImputer(LinearRegression(), max_iter=2, min_value=0.0, max_value=6.0),
            IterativeImputer(Lasso(0.01), max_iter=2, imputation_order="roman", n_nearest_features=2),
        )
    ),
]


@pytest.mark.parametrize("imputer", IMPUTERS, ids=named)
def test_what_is_missing_is_guessed_from_the_other_columns(imputer: Any) -> None:
    """Rows with holes get scikit-learn's guesses, in any mixture of holes."""
    X, y = flowers(holes=0.15)
    pipeline = fitted(make_pipeline(imputer, StandardScaler(), LogisticRegression()), X, y)
    report, features = judged(pipeline, X)
    assert report.max_difference < 1e-9
    assert all(feature.missing for feature in features.values())
    assert report.rows["missing"] > 2000


def test_a_row_without_any_value_is_no_golden_row_if_its_company_counts(tmp_path: Path) -> None:
    """IterativeImputer answers a batch of empty rows otherwise than such a row among others."""
    X, y = flowers(holes=0.15)
    pipeline = fitted(make_pipeline(IterativeImputer(max_iter=3), LogisticRegression()), X, y)
    export = export_pipeline(pipeline, X, name="flowers", models=tmp_path)
    assert all(None not in row for row in export.manifest.golden.rows)
    assert all(feature.missing for feature in export.manifest.features)
    empty = np.full((1, 4), np.nan)
    verify(pipeline, X, np.vstack([empty, X[:3], empty]))
    verify(pipeline, X, np.vstack([empty, empty]))


def test_guesses_that_ties_decide_are_refused() -> None:
    """Training rows equally far away give their numbers in no defined order."""
    X, y = flowers(holes=0.15)
    pipeline = fitted(make_pipeline(KNNImputer(n_neighbors=2), LogisticRegression()), X.round(), y)
    with pytest.raises(ParityError, match=r"KNNImputer takes training rows equally far.*SimpleImputer"):
        judged(pipeline, X.round())


@pytest.mark.parametrize("features", ["missing-only", pytest.param("all", marks=pytest.mark.long)])
def test_holes_are_indicated_before_trees(features: Any) -> None:
    """An indicator alone, and beside an imputer, is exact; text columns have holes too."""
    table, survived = people()
    numbers = make_union(MissingIndicator(features=features), SimpleImputer())
    text = MissingIndicator(features=features)
    columns = make_column_transformer((numbers, ["age, years", "class"]), (text, ["port", "sex"]))
    for classifier in (RandomForestClassifier(9, random_state=0), HistGradientBoostingClassifier(max_iter=4)):
        judged(fitted(make_pipeline(columns, classifier), table, survived), table)


@pytest.mark.parametrize("classes", [3, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "classifier", [LogisticRegression(), HistGradientBoostingClassifier(max_iter=4)], ids=named
)
def test_targets_encode_text_and_numbers(classes: int, classifier: Any) -> None:
    """Unknown and missing categories, texts or numbers, get the encodings that scikit-learn gives them."""
    table, survived = people()
    answers = survived if classes == 2 else np.where(table["class"] == 1, "first", survived)
    columns = make_column_transformer(
        (TargetEncoder(random_state=0), ["sex", "class", "port"]), (SimpleImputer(), ["age, years"])
    )
    pipeline = fitted(make_pipeline(columns, classifier), table, answers)
    report, features = judged(pipeline, table)
    assert report.max_difference < 1e-6
    assert report.rows["unknown_category"] > 0
    assert features["port"].missing
    assert features["class"].missing
    assert not features["class"].closed


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 0.3, "b": np.float64(7.0)},
        pytest.param({"remainder": 2, "a": 0.1}, marks=pytest.mark.long),
        pytest.param(None, marks=pytest.mark.long),
    ],
)
def test_outputs_are_multiplied_by_their_weights(weights: Any) -> None:
    """The weights of a ColumnTransformer, of its passthrough and of its remainder too, are in the graph."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.columns = list("abcd")
    columns = ColumnTransformer(
        [("a", StandardScaler(), ["a"]), ("b", "passthrough", ["b"])],
        remainder=MinMaxScaler(),
        transformer_weights=weights,
    )
    for classifier in (LogisticRegression(), RandomForestClassifier(9, random_state=0)):
        judged(fitted(make_pipeline(columns, classifier), X, y), X)


def months() -> tuple[pd.DataFrame, Array]:
    """Numbers that are categories, with and without gaps, and one that is none."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "month": random.integers(1, 13, 200),
            "rate": random.choice([0.5, 1.5, np.nan], 200),
            "dose": random.choice(np.array([0.1, 0.2], np.float32), 200),
            "age": random.normal(40, 12, 200).round(1),
        }
    )
    return table, np.where(table["month"] > 6, "late", "early")


@pytest.mark.parametrize("encoder", [OneHotEncoder(sparse_output=False), OrdinalEncoder()], ids=named)
@pytest.mark.parametrize(
    "classifier",
    [
        RandomForestClassifier(9),
        pytest.param(LogisticRegression(), marks=pytest.mark.long),
        pytest.param(HistGradientBoostingClassifier(max_iter=4), marks=pytest.mark.long),
    ],
    ids=named,
)
def test_numbers_that_an_encoder_does_not_know_are_closed_out(encoder: Any, classifier: Any) -> None:
    """A number column whose encoder refuses unknown numbers has a list of them, and probes keep to it."""
    table, season = months()
    columns = make_column_transformer(
        (encoder, ["month", "dose"]),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), encoder), ["rate"]),
        (StandardScaler(), ["age", "month"]),
    )
    pipeline = fitted(make_pipeline(columns, classifier), table, season)
    report, features = judged(pipeline, table)
    assert features["month"].closed
    assert features["month"].values == tuple(map(float, range(1, 13)))
    assert (features["rate"].values, features["rate"].missing) == ((0.5, 1.5), True)
    assert {0.1, float(np.float32(0.1))} < set(features["dose"].values)
    assert features["month"].median in features["month"].values
    assert not features["age"].closed
    assert report.rows["known_number"] > 0


def test_golden_rows_hold_known_numbers_only() -> None:
    """Golden rows take the numbers of a closed feature from its list, those that training lacks too."""
    table, season = months()
    encoder = OneHotEncoder(categories=[np.arange(20)])
    pipeline = fitted(
        make_pipeline(make_column_transformer((encoder, ["month"])), LogisticRegression()), table, season
    )
    conversion = convert(pipeline, table)
    _, features = check(pipeline, conversion, runner(conversion), table)
    rows = golden.make(pipeline, conversion, features, [conversion.layout.frame(table)]).rows
    assert features[0].values == tuple(map(float, range(20)))
    assert {row[0] for row in rows} <= set(features[0].values)


@pytest.mark.parametrize(
    ("encoder", "kinds", "gap", "framed"),
    [
        (OneHotEncoder(), (True, False), None, True),
        (OneHotEncoder(handle_unknown="ignore"), (True, False), np.nan, True),
        (OneHotEncoder(), (3, 5), None, False),
        (OrdinalEncoder(), (3, 5), np.nan, True),
        (TargetEncoder(), (True, False), None, False),
    ],
)
def test_objects_that_are_no_texts_are_categories(
    encoder: Any, kinds: Any, gap: Any, framed: bool, tmp_path: Path
) -> None:
    """Truth values and numbers among None or NaN, in dtype object, reach an encoder in front of trees."""
    random = np.random.default_rng(0)
    cells = np.array([*kinds, gap], dtype=object)[random.integers(0, 3, 90)]
    frame = pd.DataFrame({"c": pd.Series(cells, dtype=object), "n": random.normal(size=90)})
    X = frame if framed else frame.to_numpy(dtype=object)
    trees = DecisionTreeClassifier(max_depth=3, random_state=0)
    columns = ColumnTransformer([("c", encoder, [0])], remainder="passthrough")
    pipeline = fitted(make_pipeline(columns, trees), X, (cells == kinds[0]) + (frame["n"] > 0).to_numpy())
    export_pipeline(pipeline, X, name="m", models=tmp_path)
    client = create_app(Config.of(models=str(tmp_path), reload_seconds=0)).test_client()
    rows = [[None if pd.isna(cell) else cell, number] for cell, number in frame.to_numpy()]
    scores = client.post("/predict", json={"features": rows}).json["probabilities"]
    np.testing.assert_allclose(scores, pipeline.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()], ids=named)
@pytest.mark.parametrize("step", [1, 2])
def test_integers_that_doubles_do_not_tell_apart_are_no_categories(encoder: Any, step: int) -> None:
    """Integers from 2**53 up are refused by their reason, and the remedy, a column of text, converts."""
    numbers = pd.DataFrame({"card": 2**53 + step * (np.arange(60) % 4)})
    y = np.arange(60) % 4 > 1
    pipeline = fitted(make_pipeline(encoder, LogisticRegression()), numbers, y)
    sentence = r"knows the integer 9007199254740992.*doubles.*; fit it on the column as text\."
    with pytest.raises(ConversionError, match=sentence):
        convert(pipeline, numbers)
    texts = numbers.astype(str)
    judged(fitted(make_pipeline(clone(encoder), LogisticRegression()), texts, y), texts)


def test_numbers_of_another_step_are_no_list() -> None:
    """An encoder that refuses what another step computes is refused, with the remedy."""
    table, season = months()
    inner = make_pipeline(StandardScaler(), OneHotEncoder())
    pipeline = fitted(
        make_pipeline(make_column_transformer((inner, ["month"])), LogisticRegression()), table, season
    )
    with pytest.raises(ConversionError, match=r"another step computes.*handle_unknown='ignore'") as caught:
        convert(pipeline, table)
    assert is_sentence(str(caught.value))


def precisions() -> tuple[pd.DataFrame, Array]:
    """A table of float32, float64, integer and text columns."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.columns = list("abcd")
    random = np.random.default_rng(0)
    X = X * [1e3, 1, 1e-3, 7] + random.normal(0, 0.01, X.shape)
    table = X.astype({"a": "float32", "c": "float32"})
    return table.assign(i=random.integers(0, 5, len(X)), t=random.choice(["u", "v"], len(X))), y


@pytest.mark.parametrize(
    "columns",
    [
        make_column_transformer((StandardScaler(), ["a", "c"]), ("passthrough", ["b", "d"])),
        make_column_transformer(
            (RobustScaler(), ["a"]), (MinMaxScaler(), ["b", "c"]), (MaxAbsScaler(), ["d"])
        ),
        make_column_transformer((StandardScaler(), ["a", "c"]), (OrdinalEncoder(), ["t"])),
        make_column_transformer((StandardScaler(), ["a", "i"]), (StandardScaler(), ["c"])),
        make_column_transformer((PolynomialFeatures(), ["a", "c"]), (Normalizer("max"), ["b", "c"])),
        make_column_transformer((FunctionTransformer(np.square), ["a", "b", "c"])),
        make_column_transformer((binned(encode="ordinal"), ["a", "c"]), (Binarizer(threshold=0.01), ["c"])),
        make_pipeline(
            make_column_transformer(("passthrough", ["a", "b", "c"])), SelectKBest(k=1), StandardScaler()
        ),
    ],
    ids=named,
)
@pytest.mark.parametrize(
    "classifier",
    [
        RandomForestClassifier(9, random_state=0),
        pytest.param(HistGradientBoostingClassifier(max_iter=4), marks=pytest.mark.long),
    ],
    ids=named,
)
def test_columns_of_two_precisions_are_exact_before_trees(columns: Any, classifier: Any) -> None:
    """A column that is float32 among float64 is rounded as in the table, and computed with as there."""
    table, y = precisions()
    pipeline = fitted(make_pipeline(columns, classifier), table, y)
    report, _ = judged(pipeline, table)
    assert report.rows["near_threshold"] > 20
    row = table.iloc[:1].astype({"a": "float64"}).assign(a=5000.1)
    conversion = convert(pipeline, table)
    narrow = pipeline.predict_proba(row.astype({"a": "float32"}))
    np.testing.assert_allclose(run(conversion, feeds(conversion, row))[1], narrow, atol=1e-6)


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (NMF(2, max_iter=5), r"\(sklearn.decomposition.NMF\).*use PCA"),
        (FunctionTransformer(np.arcsin), r"np.arcsin, which has no graph; use one of NumPy's"),
        (FunctionTransformer(lambda X: X), "lambda.*before the pipeline"),
        (FunctionTransformer(np.sqrt, kw_args={"dtype": "float64"}), "np.sqrt with dtype=; leave them out"),
        (FunctionTransformer(np.clip, kw_args={"a_min": [0, 0, 0, 0.1], "a_max": 9}), "no single number"),
        (SplineTransformer(degree=1, extrapolation="linear"), "degree=2 or more"),
        (FunctionTransformer(partial(np.power, 2.0)), "np.power with arguments before the rows; use one of"),
        (Nystroem("chi2", n_components=3), "'chi2' has no graph; use one of linear"),
        (
            Nystroem(np.inner, n_components=3),
            "kernel= a function of your own has no graph; use one of linear",
        ),
        (IterativeImputer(KNeighborsRegressor(2), max_iter=2), "KNeighborsRegressor.*BayesianRidge"),
        (IterativeImputer(sample_posterior=True, max_iter=2), "at random; leave it out"),
        (KNNImputer(weights=lambda distance: distance), "leave metric and weights out"),
        (FeatureAgglomeration(2, pooling_func=np.max), "np.mean"),
    ],
    ids=named,
)
def test_what_has_no_graph_is_refused_by_name(step: Any, sentence: str) -> None:
    """The error is one sentence, which names the class, its module and a remedy."""
    X, y = flowers(holes=0.1 if "Imputer" in repr(step) else 0.0)
    X = np.clip(X, 0.0, None) / 10.0
    pipeline = fitted(make_pipeline(step, LogisticRegression()), X, y)
    with pytest.raises(ConversionError, match=sentence) as caught:
        convert(pipeline, X)
    assert f"({type(step).__module__.split('._')[0]}.{type(step).__name__})" in str(caught.value)
    assert is_sentence(str(caught.value))


def test_a_float64_number_as_weight_or_threshold_widens_the_column() -> None:
    """NumPy's own numbers have a precision, which decides in what a float32 column is computed with."""
    table, y = precisions()
    columns = ColumnTransformer(
        [("b", Binarizer(threshold=np.float64(5.8431)), ["a"]), ("s", StandardScaler(), ["c"])],
        transformer_weights={"s": np.float64(0.1)},
    )
    pipeline = fitted(make_pipeline(columns, RandomForestClassifier(9, random_state=0)), table, y)
    verify(pipeline, table, table)
    judged(pipeline, table)


def test_members_of_a_bag_get_columns_of_one_precision() -> None:
    """Bagging makes one array of the table, so that a member's float32 columns are float64."""
    table, y = precisions()
    member = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0))
    bag = BaggingClassifier(member, 6, max_features=0.5, random_state=0)
    report, _ = judged(fitted(bag, table[list("abcd")], y), table[list("abcd")])
    assert report.rows["near_threshold"] > 20
