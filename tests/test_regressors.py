"""Regressors: every family answers the pipeline's own numbers, on rows far outside of training too."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from estimators import asked
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.feature_selection import SelectFromModel
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Matern,
    RationalQuadratic,
    WhiteKernel,
)
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    MultiTaskLasso,
    OrthogonalMatchingPursuit,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.neighbors import KNeighborsRegressor, RadiusNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVR, LinearSVR, NuSVR
from sklearn.tree import DecisionTreeRegressor

from unpickled.export.convert import Conversion, convert
from unpickled.export.errors import ConversionError, DataError, ParityError
from unpickled.export.gate.pair import answers_of
from unpickled.export.gate.parity import check
from unpickled.export.privacy import keeps_rows
from unpickled.export.publish import export_pipeline, runner
from unpickled.server import Config, create_app
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.session import load

Array = npt.NDArray[Any]


def questions(targets: int = 0) -> tuple[Array, Array]:
    """150 rows of four numbers, the last ones far out, and their positive targets: (rows,) if 0."""
    random = np.random.default_rng(4)
    X = random.normal(size=(150, 4)) * [1.0, 5.0, 0.2, 30.0] + [0.0, 20.0, 1.0, -7.0]
    y = np.exp(0.5 * X[:, 0] - 0.05 * X[:, 1] + X[:, 2]) + 0.2 * random.random(150) + 1.0
    X[140:] *= 20.0
    return X, np.stack([y, 7.0 - X[:, 1], y * X[:, 3]], axis=1)[:, :targets] if targets else y


def fitted(step: Any, X: Any, y: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few iterations and few samples
        return step.fit(X, y)


def served(conversion: Conversion, rows: Any) -> Array:
    """The graph's predictions (rows, targets)."""
    frame = conversion.layout.frame(rows)
    return runner(conversion)(conversion.layout.feeds(frame, conversion.inputs))[1]


def verify(pipeline: Any, X: Any, rows: Any, tolerance: float = 1e-9) -> Conversion:
    """The conversion, which passes the gate and predicts the same for all ``rows`` and for one alone."""
    conversion = convert(pipeline, X)
    check(pipeline, conversion, runner(conversion), X)
    for part in (rows, rows[:1]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers without a power
            expected = answers_of(pipeline, conversion, part).scores
        np.testing.assert_allclose(served(conversion, part), expected, rtol=tolerance, atol=tolerance)
    return conversion


def named(value: Any) -> str:
    return " ".join(repr(value).split())


TREE, LINEAR = DecisionTreeRegressor(max_depth=3, random_state=0), LinearRegression()
REGRESSORS = [
    LINEAR,
    ElasticNet(),
    LassoLarsIC(),
    OrthogonalMatchingPursuit(),
    HuberRegressor(),
    QuantileRegressor(),
    SGDRegressor(random_state=0),
    LinearSVR(random_state=0),
    RANSACRegressor(random_state=0),
    PoissonRegressor(),
    GammaRegressor(),
    TweedieRegressor(),
    TweedieRegressor(power=1.5),
    TweedieRegressor(power=1.5, link="identity", max_iter=3),
    SVR(),
    SVR(kernel="poly", degree=2, coef0=0.5),
    SVR(kernel="sigmoid"),
    SVR(kernel="linear"),
    SVR(epsilon=1e6),
    NuSVR(),
    KNeighborsRegressor(),
    KNeighborsRegressor(3, weights="distance"),
    KNeighborsRegressor(3, weights="distance", p=1),
    KNeighborsRegressor(3, weights="distance", p=3),
    KNeighborsRegressor(1, metric="chebyshev"),
    MLPRegressor(hidden_layer_sizes=(6,), max_iter=50, random_state=0),
    MLPRegressor(hidden_layer_sizes=(6, 3), activation="tanh", max_iter=50, random_state=0),
    MLPRegressor(hidden_layer_sizes=(6, 3), activation="logistic", max_iter=50, random_state=0),
    MLPRegressor(hidden_layer_sizes=(6, 3), activation="identity", max_iter=50, random_state=0),
    GaussianProcessRegressor(normalize_y=True, alpha=0.1, optimizer=None),
    KernelRidge(),
    KernelRidge(kernel="rbf", gamma=0.2),
    KernelRidge(kernel="laplacian"),
    KernelRidge(kernel="poly", degree=2),
    KernelRidge(kernel="cosine"),
    PLSRegression(2),
    DummyRegressor(),
    DummyRegressor(strategy="constant", constant=3),
    BaggingRegressor(LINEAR, 3, max_features=0.5, random_state=0),
    BaggingRegressor(TREE, 3, random_state=0),
    AdaBoostRegressor(LINEAR, n_estimators=5, random_state=0),
    VotingRegressor([("a", LINEAR), ("b", TREE)], weights=[1, 3]),
    VotingRegressor([("a", LINEAR), ("b", "drop"), ("c", SVR())]),
    StackingRegressor([("a", LINEAR), ("b", TREE)], cv=2, passthrough=True),
    StackingRegressor([("a", TREE)], TREE, cv=2),
    GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2),
    FrozenEstimator(Ridge().fit(*questions())),
    TransformedTargetRegressor(VotingRegressor([("a", LINEAR)]), func=np.log, inverse_func=np.exp),
]
SEVERAL = [
    LINEAR,
    MultiTaskLasso(),
    KNeighborsRegressor(3, weights="distance"),
    MLPRegressor(hidden_layer_sizes=(6,), max_iter=50, random_state=0),
    GaussianProcessRegressor(normalize_y=True, alpha=0.1, optimizer=None),
    KernelRidge(kernel="rbf"),
    PLSRegression(2),
    DummyRegressor(),
    RANSACRegressor(random_state=0),
    BaggingRegressor(LINEAR, 3, max_features=0.5, random_state=0),
    MultiOutputRegressor(SVR()),
    MultiOutputRegressor(make_pipeline(StandardScaler(), TREE)),
    RegressorChain(Ridge(), order=[2, 0, 1]),
    RegressorChain(SVR(), cv=2),
    RegressorChain(TREE, order="random", random_state=1),
    TransformedTargetRegressor(LINEAR, transformer=QuantileTransformer(n_quantiles=20)),
    TransformedTargetRegressor(LINEAR, transformer=PowerTransformer()),
]


@pytest.mark.parametrize("regressor", REGRESSORS, ids=named)
def test_every_regressor_answers_as_scikit_learn(regressor: Any) -> None:
    """The graph gives the pipeline's predictions, on rows far outside of training too."""
    X, y = questions()
    pipeline = fitted(make_pipeline(StandardScaler(), clone(regressor)), X[:100], y[:100])
    conversion = verify(pipeline, X[:100], X)
    assert (conversion.outputs.kind, conversion.outputs.targets) == ("prediction", ("prediction",))


@pytest.mark.parametrize("regressor", SEVERAL, ids=named)
def test_several_targets_are_answered_side_by_side(regressor: Any) -> None:
    """Each row has a number for every target, in the order of the fit."""
    X, y = questions(targets=3)
    pipeline = fitted(make_pipeline(StandardScaler(), clone(regressor)), X[:100], y[:100])
    conversion = verify(pipeline, X[:100], X)
    assert conversion.outputs.targets == ("target_0", "target_1", "target_2")


def test_a_linear_regressor_is_one_node() -> None:
    """Its graph has a product of matrices, and nothing else."""
    X, y = questions(targets=2)
    nodes = [node.op_type for node in convert(Ridge().fit(X, y), X).model.graph.node]
    assert nodes == ["Gemm"]


KERNELS = [
    1.0 * RBF([1.0, 2.0, 1.0, 0.5]) + WhiteKernel(0.1),
    2.0 * Matern(nu=1.5) * ConstantKernel(1.0),
    Matern(nu=2.5) + DotProduct(),
    RationalQuadratic(),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_processes_answer_their_mean(kernel: Any) -> None:
    """The mean of a Gaussian process is in the units of its targets; the file holds training rows."""
    X, y = questions()
    process = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.01, normalize_y=True)
    pipeline = make_pipeline(StandardScaler(), process).fit(X[:60], y[:60])
    verify(pipeline, X[:60], X)
    assert keeps_rows(pipeline)
    assert keeps_rows(KernelRidge().fit(X, y))


TURNS = [
    {},
    {"func": np.log1p, "inverse_func": np.expm1},
    {"func": np.sqrt, "inverse_func": np.square},
    {"func": np.log1p, "inverse_func": np.exp, "check_inverse": False},
    {"transformer": StandardScaler()},
    {"transformer": StandardScaler(with_mean=False)},
    {"transformer": MinMaxScaler()},
    {"transformer": MaxAbsScaler()},
    {"transformer": RobustScaler()},
    {"transformer": PowerTransformer()},
    {"transformer": PowerTransformer("box-cox")},
    {"transformer": PowerTransformer("box-cox", standardize=False)},
    {"transformer": QuantileTransformer(n_quantiles=30)},
    {"transformer": QuantileTransformer(n_quantiles=30, output_distribution="normal")},
    {"transformer": make_pipeline(FunctionTransformer(np.log1p, np.expm1), StandardScaler())},
]


@pytest.mark.parametrize("turn", TURNS, ids=named)
@pytest.mark.parametrize("targets", [0, pytest.param(1, marks=pytest.mark.long)])
def test_transformed_targets_are_turned_back(turn: dict[str, Any], targets: int) -> None:
    """The prediction is in the units of the target, whichever function or transformer changed them."""
    X, y = questions(targets)
    regressor = TransformedTargetRegressor(Ridge(), **turn)
    pipeline = fitted(make_pipeline(StandardScaler(), regressor), X[:100], y[:100])
    verify(pipeline, X[:100], X)


@pytest.mark.parametrize("powers", [[-0.5, 0.0, 0.7], [1.0, 2.0, 2.5]])
@pytest.mark.parametrize("method", ["yeo-johnson", "box-cox"])
def test_curves_of_every_power_are_turned_back(method: str, powers: list[float]) -> None:
    """A power of 0 is the logarithm, as is 2 for the negative numbers of Yeo and Johnson."""
    X, y = questions(targets=3)
    y = y - y.min(axis=0) + 0.5
    model = TransformedTargetRegressor(Ridge(), transformer=PowerTransformer(method, standardize=False))
    model.fit(X[:100], y[:100] / y.max(axis=0))
    model.transformer_.lambdas_ = np.array(powers)
    conversion = convert(model, X[:100])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numbers without a power
        expected = model.predict(X)
    np.testing.assert_allclose(served(conversion, X), expected, rtol=1e-9, atol=1e-9)
    assert np.isfinite(expected).any(axis=0).all()


def test_a_prediction_that_overflows_limits_the_features(tmp_path) -> None:
    """Rows whose exponential is infinite are refused by the limits, on data that nobody scaled."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, y = X[:120, 2:6], y[:120]
    pipeline = fitted(make_pipeline(PoissonRegressor(max_iter=300)), X, y)
    export = export_pipeline(pipeline, X, y, name="counts", models=tmp_path)
    ends = [(feature.lowest, feature.highest) for feature in export.manifest.features]
    assert all(any(end is not None for end in pair) for pair in ends)
    furthest = [[low or feature.minimum for low, _ in ends] for feature in export.manifest.features[:1]]
    assert np.isfinite(pipeline.predict(furthest)).all()


@pytest.mark.parametrize("bounds", ["nan", "clip", "raise"])
def test_isotonic_regression_is_answered_where_it_is_defined(bounds: str) -> None:
    """Beyond training it clips, or answers nothing there: then the limits end at training."""
    X = np.linspace(0.0, 9.0, 60)[:, None]
    model = IsotonicRegression(out_of_bounds=bounds).fit(X, np.sin(X[:, 0] / 4.0))
    conversion = convert(model, X)
    _, [feature] = check(model, conversion, runner(conversion), X, X[3:50] + 0.05)
    assert ((feature.lowest, feature.highest) == (0.0, 9.0)) == (bounds != "clip")


def test_missing_values_and_texts_reach_a_regressor(tmp_path) -> None:
    """A table with gaps and categories is served as the pipeline answers it."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"rooms": random.normal(3, 1, 120), "city": random.choice(["Bonn", "Ulm"], 120)})
    prices = table["rooms"] * 100 + (table["city"] == "Ulm") * 50
    table.loc[::7, "rooms"] = np.nan
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    columns = make_column_transformer((numbers, ["rooms"]), (OneHotEncoder(), ["city"]))
    pipeline = make_pipeline(columns, Ridge()).fit(table, prices)
    model = load(export_pipeline(pipeline, table, prices, name="p", models=tmp_path).path.read_bytes())
    assert [feature.missing for feature in model.manifest.features] == [True, False]
    expected = pipeline.predict(table[:1].assign(city="Ulm"))
    assert Predictor(model, max_rows=1).run([[None, "Ulm"]]).scores[0] == pytest.approx(expected)


FAMILIES = [
    LINEAR,
    PoissonRegressor(),
    SVR(),
    KNeighborsRegressor(3),
    MLPRegressor(hidden_layer_sizes=(4,), max_iter=50, random_state=0),
    KernelRidge(kernel="rbf"),
    StackingRegressor([("a", LINEAR), ("b", TREE)], cv=2),
    TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
]


@pytest.mark.parametrize("regressor", FAMILIES, ids=named)
def test_a_regressor_of_each_family_is_served(regressor: Any, tmp_path) -> None:
    """Over HTTP its answers are the pipeline's, in one request and to a row alone."""
    X, y = questions()
    pipeline = fitted(make_pipeline(StandardScaler(), clone(regressor)), X[:100], y[:100])
    export_pipeline(pipeline, X[:100], y[:100], name="m", models=tmp_path)
    client, rows = create_app(Config(models=str(tmp_path))).test_client(), X[:20].tolist()
    for answered in (asked(client, rows), asked(client, rows[:1])):
        expected = pipeline.predict(rows[: len(answered.predictions)])
        np.testing.assert_allclose(answered.predictions, expected, rtol=1e-9, atol=1e-9)


def test_a_regressor_that_selects_columns_is_no_last_step() -> None:
    """A regressor inside a selector chooses columns for a classifier, which answers."""
    X, y = questions()
    selector = SelectFromModel(RandomForestRegressor(5, random_state=0), threshold="median")
    pipeline = make_pipeline(StandardScaler(), selector, LogisticRegression()).fit(X, y > 2.0)
    assert convert(pipeline, X).classes == (0, 1)


@pytest.mark.parametrize("last", [TREE, HistGradientBoostingRegressor(max_iter=2), AdaBoostRegressor(TREE)])
def test_trees_behind_rounding_columns_are_refused(last: Any) -> None:
    """Trees notice the last digit of a projection, and say which step it comes from."""
    X, y = questions()
    pipeline = make_pipeline(StandardScaler(), PCA(2), clone(last)).fit(X, y)
    with pytest.raises(ConversionError, match=r"'pca'.*may differ in the last digit.*without trees"):
        convert(pipeline, X)


@pytest.mark.parametrize(
    "regressor",
    [
        SVR(kernel="linear"),
        KernelRidge(),
        GaussianProcessRegressor(3.3 * RBF() + DotProduct(), alpha=0.5, optimizer=None),
    ],
    ids=named,
)
def test_a_single_column_is_not_rounded(regressor: Any) -> None:
    """A scale that is one number stays in double precision in front of a product of matrices."""
    X, y = questions()
    pipeline = make_pipeline(StandardScaler(), regressor).fit(X[:100, :1], y[:100])
    verify(pipeline, X[:100, :1], X[:, :1], tolerance=1e-12)


NOTES = pd.DataFrame(questions()[0], columns=list("abcd")).assign(note=["some text", "more of it"] * 75)
SCALED = make_column_transformer((StandardScaler(), ["a", "b"]))
TRANSPARENT = [
    VotingRegressor([("a", make_pipeline(SCALED, Ridge()))]),
    StackingRegressor([("a", make_pipeline(SCALED, Ridge()))], cv=2),
    TransformedTargetRegressor(make_pipeline(SCALED, Ridge())),
    MultiOutputRegressor(make_pipeline(SCALED, Ridge())),
    GridSearchCV(make_pipeline(SCALED, Ridge()), {}, cv=2),
]


@pytest.mark.parametrize("outer", TRANSPARENT, ids=named)
def test_columns_that_no_regressor_inside_reads_are_no_features(outer: Any) -> None:
    """A regressor around a pipeline takes the columns that the pipeline takes."""
    model = outer.fit(NOTES, questions(targets=2 * isinstance(outer, MultiOutputRegressor))[1])
    conversion = convert(model, NOTES)
    assert [feature.name for feature in conversion.features] == ["a", "b"]
    expected = answers_of(model, conversion, conversion.layout.own(NOTES)).scores
    np.testing.assert_allclose(served(conversion, NOTES), expected, rtol=1e-9, atol=1e-9)


PLACED = make_column_transformer((StandardScaler(), [0, 2]))
COUNTING = [
    BaggingRegressor(make_pipeline(PLACED, Ridge()), 3),
    AdaBoostRegressor(make_pipeline(PLACED, Ridge()), n_estimators=3),
    RANSACRegressor(make_pipeline(PLACED, Ridge()), min_samples=50),
    RegressorChain(make_pipeline(PLACED, Ridge())),
]


@pytest.mark.parametrize("outer", COUNTING, ids=named)
def test_regressors_that_count_their_columns_take_them_all(outer: Any) -> None:
    """They refuse rows without a column that those inside drop."""
    X, y = questions(targets=2 * isinstance(outer, RegressorChain))
    conversion = verify(fitted(outer, X[:100], y[:100]), X[:100], X)
    assert len(conversion.features) == 4


REFUSALS = [
    (StackingRegressor([("a", LINEAR)], TREE, cv=2), "splits the answers of a LinearReg.*such as Ridge"),
    (RegressorChain(VotingRegressor([("a", LINEAR), ("b", TREE)])), "splits the answers of a LinearReg"),
    (RadiusNeighborsRegressor(9.0), "no neighbor is near; use KNeighborsRegressor"),
    (KNeighborsRegressor(metric="cosine"), "metric='cosine' has no graph; use one of 'euclidean', 'manh"),
    (KNeighborsRegressor(weights=lambda distance: distance), "a function of your own.*use 'uniform'"),
    (SVR(kernel=lambda x, y: x @ y.T), "kernel <function .* has no graph; use linear, rbf"),
    (KernelRidge(kernel="additive_chi2"), "kernel='additive_chi2' has no graph; use one of linear"),
    (
        GaussianProcessRegressor(ExpSineSquared(), alpha=1e3, optimizer=None),
        "ExpSineSquared has no graph; use one",
    ),
    (GaussianProcessRegressor(ConstantKernel(), optimizer=None), "does not look at the rows; add RBF"),
    (TransformedTargetRegressor(LINEAR, transformer=PCA()), "the inverse of its .*PCA; use one of Function"),
    (
        TransformedTargetRegressor(LINEAR, func=np.log, inverse_func=lambda x: np.exp(x)),
        "calls a lambda, which has no graph; use one of NumPy's",
    ),
    (
        TransformedTargetRegressor(LINEAR, func=np.abs, inverse_func=np.rint, check_inverse=False),
        "jumps: the last digit .*; leave inverse_func out",
    ),
]


def kind(value: Any) -> str:
    """A name that is the same in every process: the text of a function has its address in it."""
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(("regressor", "sentence"), REFUSALS, ids=kind)
def test_others_are_refused_with_a_remedy(regressor: Any, sentence: str) -> None:
    """A refusal says where the class comes from, why it has no graph, and what to use."""
    X, y = questions(targets=2 if isinstance(regressor, RegressorChain) else 0)
    X, y = np.abs(X[:60]), np.abs(y[:60])
    model = fitted(regressor, X, y)
    with pytest.raises(ConversionError, match=sentence) as caught:
        convert(make_pipeline(StandardScaler().fit(X), model), X)
    assert f"(sklearn.{type(regressor).__module__.split('.')[1]}." in str(caught.value)


def test_neighbors_in_no_defined_order_are_caught() -> None:
    """Whole numbers have training rows equally far away, of which scikit-learn takes those it meets first."""
    random = np.random.default_rng(0)
    X = random.integers(0, 5, (200, 3)).astype(float)
    model = KNeighborsRegressor(5).fit(X, random.normal(size=200))
    conversion = convert(model, X)
    with pytest.raises(ParityError, match="equally far from a row"):
        check(model, conversion, runner(conversion), X)


def test_a_prediction_that_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    """The inverse of a target's transformation may overflow: the error says for how many rows."""
    X = np.append(np.linspace(-1.0, 1.0, 120), 1e5)[:, None]
    y = np.sinh(np.clip(X[:, 0], -1.0, 1.0))
    steps = TransformedTargetRegressor(LinearRegression(), func=np.arcsinh, inverse_func=np.sinh)
    pipeline = make_pipeline(steps).fit(X[:-1], y[:-1])
    with np.errstate(over="ignore"), pytest.raises(DataError, match="for 1 of 121 rows, the first of them"):
        export_pipeline(pipeline, X, y, name="model", models=tmp_path)
