"""One small pipeline of every kind that the export writes in its own way, on this release of scikit-learn.

Run as a program in any environment with unpickled[export], it exports all of them, loads each file as a
server does, and prints the largest difference of each between file and pipeline. It saves one in a folder
too, with rows for it.
"""

import inspect
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    QuantileRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    RidgeCV,
    SGDClassifier,
    SGDOneClassSVM,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    LocalOutlierFactor,
    NearestCentroid,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, NuSVR, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from unpickled.export import export_pipeline
from unpickled.server.model.session import load

FLOWERS, SPECIES = load_iris(return_X_y=True)
VIRGINICA = SPECIES == 2
# Rows of four numbers, and what follows from them, above 0.
NUMBERS = np.random.default_rng(4).normal(size=(120, 4)) * [1.0, 5.0, 0.2, 30.0]
AMOUNTS = np.exp(NUMBERS[:, 0] / 2 - NUMBERS[:, 1] / 20 + NUMBERS[:, 2]) + 1.0
# An unfitted pipeline, rows, and labels, numbers, or nothing for an outlier detector.
Kind = tuple[Any, Any, Any]

CLASSIFIERS = [
    LogisticRegression(),
    LogisticRegressionCV(Cs=2, cv=2, max_iter=1000),
    LinearDiscriminantAnalysis(),
    QuadraticDiscriminantAnalysis(),
    RidgeClassifier(),
    SGDClassifier(loss="log_loss", random_state=0),
    LinearSVC(),
    SVC(),
    NuSVC(nu=0.2, kernel="poly"),
    KNeighborsClassifier(3, weights="distance"),
    GaussianNB(),
    BernoulliNB(),
    MLPClassifier((4,), max_iter=50, random_state=0),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(5, random_state=0),
    ExtraTreesClassifier(5, random_state=0),
    GradientBoostingClassifier(n_estimators=4, random_state=0),
    HistGradientBoostingClassifier(max_iter=4, random_state=0),
    AdaBoostClassifier(n_estimators=4, random_state=0),
    BaggingClassifier(n_estimators=3, random_state=0),
    CalibratedClassifierCV(LinearSVC(), cv=3),
    VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft"),
    StackingClassifier([("a", LinearSVC()), ("b", GaussianNB())], cv=2, passthrough=True),
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
    GaussianProcessClassifier(random_state=0),
    NearestCentroid(),
    OneVsRestClassifier(LogisticRegression()),
    OneVsOneClassifier(LinearSVC()),
]
OF_TWO = [
    FixedThresholdClassifier(LogisticRegression(), threshold=0.3),
    TunedThresholdClassifierCV(LogisticRegression(), cv=2),
]
STUMP = DecisionTreeRegressor(max_depth=2, random_state=0)
MEMBERS = [("a", LinearRegression()), ("b", STUMP)]
REGRESSORS = [
    LinearRegression(),
    Ridge(),
    RidgeCV(),
    ElasticNet(),
    LassoLarsIC(),
    BayesianRidge(),
    HuberRegressor(),
    QuantileRegressor(alpha=0.0),
    RANSACRegressor(random_state=0),
    SGDRegressor(random_state=0),
    PoissonRegressor(),
    GammaRegressor(),
    TweedieRegressor(power=1.5),
    PLSRegression(2),
    KernelRidge(kernel="rbf"),
    LinearSVR(),
    SVR(C=100.0),
    NuSVR(C=100.0, kernel="poly"),
    KNeighborsRegressor(3, weights="distance"),
    MLPRegressor(hidden_layer_sizes=(4,), max_iter=50, random_state=0),
    GaussianProcessRegressor(alpha=0.1, normalize_y=True, random_state=0),
    DecisionTreeRegressor(random_state=0),
    RandomForestRegressor(5, random_state=0),
    ExtraTreesRegressor(5, random_state=0),
    AdaBoostRegressor(n_estimators=4, random_state=0),
    BaggingRegressor(n_estimators=3, random_state=0),
    VotingRegressor(MEMBERS, weights=[1, 3]),
    StackingRegressor(MEMBERS, cv=2, passthrough=True),
    GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2),
    TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
]
# Those with a target of their own for each column of numbers.
OF_SEVERAL = [
    LinearRegression(),
    RandomForestRegressor(5, random_state=0),
    MultiOutputRegressor(SVR()),
    RegressorChain(Ridge()),
    TransformedTargetRegressor(Ridge(), transformer=QuantileTransformer(n_quantiles=20)),
]
LOSSES: dict[type, tuple[str, ...]] = {
    GradientBoostingRegressor: ("squared_error", "absolute_error", "huber", "quantile"),
    HistGradientBoostingRegressor: ("squared_error", "absolute_error", "gamma", "poisson", "quantile"),
}
DETECTORS = [
    IsolationForest(n_estimators=10, random_state=0),
    OneClassSVM(nu=0.1),
    SGDOneClassSVM(nu=0.2, random_state=0),
    EllipticEnvelope(random_state=0),
    LocalOutlierFactor(novelty=True),
]
TRANSFORMERS = [
    MinMaxScaler(clip=True),
    RobustScaler(),
    MaxAbsScaler(),
    Normalizer(),
    PCA(2),
    QuantileTransformer(n_quantiles=20),
    SelectKBest(k=2),
    make_union(StandardScaler(), MinMaxScaler()),
]
ENCODERS = [
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(drop="first"),
    OneHotEncoder(min_frequency=0.34, handle_unknown="infrequent_if_exist"),
    OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
]


def kinds() -> dict[str, Kind]:
    """Name -> a pipeline that this release of scikit-learn can fit."""
    return classifications() | dict([*_regressions(), *_detections(), *_categories()])


def classifications() -> dict[str, Kind]:
    """Those among them that tell classes by numbers or encoded text."""
    return dict([*_numbers(), *_narrow(), *_tables(), *_of_some_releases()])


def _numbers() -> Iterator[tuple[str, Kind]]:
    """Every classifier on three classes and on two, and every transformer."""
    for classifier in CLASSIFIERS:
        name = type(classifier).__name__
        yield name, (make_pipeline(StandardScaler(), classifier), FLOWERS, SPECIES)
        yield f"{name} of two", (make_pipeline(StandardScaler(), clone(classifier)), FLOWERS, VIRGINICA)
    for classifier in OF_TWO:
        yield type(classifier).__name__, (make_pipeline(StandardScaler(), classifier), FLOWERS, VIRGINICA)
    for transformer in TRANSFORMERS:
        name = type(transformer).__name__
        yield name, (make_pipeline(transformer, LogisticRegression()), FLOWERS, SPECIES)


def _narrow() -> Iterator[tuple[str, Kind]]:
    """Trees behind scalers that compute in float32, where every digit counts; and trees with gaps."""
    narrow = FLOWERS.astype(np.float32)
    for scaler in (StandardScaler(), MinMaxScaler(), RobustScaler(), MaxAbsScaler()):
        forest = RandomForestClassifier(5, random_state=0)
        yield f"{type(scaler).__name__} in float32", (make_pipeline(scaler, forest), narrow, SPECIES)
    gaps = np.where(np.arange(FLOWERS.size).reshape(FLOWERS.shape) % 7, FLOWERS, np.nan)
    for classifier in (RandomForestClassifier(5, random_state=0), HistGradientBoostingClassifier(max_iter=4)):
        yield f"{type(classifier).__name__} with gaps", (make_pipeline(classifier), gaps, SPECIES)


def _tables() -> Iterator[tuple[str, Kind]]:
    """Tables of numbers with gaps and of text, in each type that this pandas has for text."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    for text, encoder in zip(("object", "str", "category", "string"), ENCODERS, strict=True):
        table = _people().astype({"city": text, "plan": text})
        columns = make_column_transformer((numbers, ["age", "income"]), (encoder, ["city", "plan"]))
        answers = np.where(table["income"] + 0.3 * table["age"].fillna(0) > 60, "stays", "leaves")
        yield f"a table of {text}", (make_pipeline(columns, LogisticRegression()), table, answers)


def _people() -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"age": random.integers(18, 80, 120) * 1.0, "income": random.normal(50, 20, 120)})
    table["city"] = random.choice(["Bonn", "Köln", "Trier"], 120)
    table["plan"] = random.choice(["free", "pro"], 120)
    return table.assign(age=table["age"].where(table["age"] > 25))


def _regressions() -> Iterator[tuple[str, Kind]]:
    """Every regressor of one number, those of two, and boosting with each loss."""
    for regressor in REGRESSORS:
        yield type(regressor).__name__, (make_pipeline(StandardScaler(), regressor), NUMBERS, AMOUNTS)
    for regressor in OF_SEVERAL:
        targets = np.stack([AMOUNTS, NUMBERS[:, 3]], axis=1)
        name = f"{type(regressor).__name__} of two"
        yield name, (make_pipeline(StandardScaler(), clone(regressor)), NUMBERS[:, :3], targets)
    for kind, losses in LOSSES.items():
        for loss in losses:
            of_bins = kind is HistGradientBoostingRegressor
            length = {"max_iter": 4} if of_bins else {"n_estimators": 4}
            quantile = {"quantile": 0.3} if of_bins and loss == "quantile" else {}
            boosting = kind(loss=loss, random_state=0, **length, **quantile)
            yield f"{kind.__name__} with {loss}", (make_pipeline(boosting), NUMBERS, AMOUNTS)


def _detections() -> Iterator[tuple[str, Kind]]:
    """Every outlier detector, fitted without labels."""
    for detector in DETECTORS:
        yield type(detector).__name__, (make_pipeline(StandardScaler(), detector), NUMBERS, None)


def _categories() -> Iterator[tuple[str, Kind]]:
    """Boosting with native categories: of the dtypes of a frame, and at a position of an array."""
    table = _people().astype({"city": "category", "plan": "category"})
    spent = table["income"] * (1.0 + (table["city"] == "Trier")) + table["age"].fillna(20.0)
    codes = np.column_stack([table["income"], table["city"].cat.codes])
    for kind, answers in (
        (HistGradientBoostingClassifier, np.where(spent > spent.median(), "stays", "leaves")),
        (HistGradientBoostingRegressor, spent.to_numpy()),
    ):
        typed = kind(categorical_features="from_dtype", max_iter=8, random_state=0)
        yield f"{kind.__name__} of categories", (make_pipeline(typed), table, answers)
        placed = kind(categorical_features=[1], max_iter=8, random_state=0)
        yield f"{kind.__name__} of codes", (make_pipeline(placed), codes, answers)


def _of_some_releases() -> Iterator[tuple[str, Kind]]:
    """Pipelines that some of the releases cannot fit, or have no name for."""
    fitted = make_pipeline(StandardScaler(), LinearSVC()).fit(FLOWERS, SPECIES)
    if hasattr(AdaBoostClassifier(), "algorithm"):
        forest = AdaBoostClassifier(n_estimators=4, algorithm="SAMME", random_state=0)
        yield "SAMME", (make_pipeline(StandardScaler(), forest), FLOWERS, SPECIES)
    if "multi_class" in inspect.signature(LogisticRegression).parameters:
        for kind in ("ovr", "multinomial"):
            for name, labels in (("three", SPECIES), ("two", VIRGINICA)):
                classifier = make_pipeline(StandardScaler(), LogisticRegression(multi_class=kind))
                yield f"{kind} of {name}", (classifier, FLOWERS, labels)
        for solver in ("liblinear", "newton-cholesky"):
            classifier = make_pipeline(StandardScaler(), LogisticRegression(solver=solver))
            yield solver, (classifier, FLOWERS, SPECIES)
        yield "prefit", (CalibratedClassifierCV(fitted, cv="prefit"), FLOWERS, SPECIES)
    try:
        from sklearn.frozen import FrozenEstimator
    except ModuleNotFoundError:
        return
    yield "frozen", (CalibratedClassifierCV(FrozenEstimator(fitted)), FLOWERS, SPECIES)


def difference(kind: Kind, folder: Path) -> float:
    """The largest difference between the file and the pipeline fitted here: the gate's or ``served``'s."""
    pipeline, rows, labels = kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few iterations, and of defaults that will change
        pipeline.fit(rows, labels)
        export = export_pipeline(pipeline, rows, labels, name="kind", models=folder)
        return max(export.manifest.parity.max_difference, served(pipeline, rows, export.path))


def served(pipeline: Any, rows: Any, path: Path) -> float:
    """The largest difference between the answers of a file, as a server loads it, and those of the pipeline.

    That of numbers and decision scores is relative to them where they are above 1. It is infinite if a label
    is another one.
    """
    model, frame = load(path.read_bytes()), pd.DataFrame(rows)
    cells = frame.astype(object).where(frame.notna(), None)
    labels, scores = model.run(model.signature.feeds(list(cells.itertuples(index=False, name=None))))
    if model.manifest.classes and list(labels) != list(pipeline.predict(rows)):
        return float("inf")
    methods = ("predict_proba", "decision_function") if model.manifest.classes else ("predict",)
    answer = next((getattr(pipeline, method) for method in methods if hasattr(pipeline, method)), None)
    if answer is None:  # NearestCentroid in 1.5
        return 0.0
    expected = np.asarray(answer(rows), np.float64).reshape(len(frame), -1)
    if expected.shape[1] < scores.shape[1]:
        expected = np.hstack([-expected, expected])
    return float((np.abs(scores - expected) / np.maximum(1.0, np.abs(expected))).max())


def _tried(kind: Kind, export: Callable[[Kind, Path], float], folder: Path) -> float | str:
    try:
        return export(kind, folder)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main(folder: Path) -> None:
    """Export every kind, and save a fitted pipeline with rows for it."""
    with tempfile.TemporaryDirectory() as models:
        differences = {name: _tried(kind, difference, Path(models)) for name, kind in kinds().items()}
    print(json.dumps({"scikit-learn": sklearn.__version__, "pandas": pd.__version__, "kinds": differences}))
    frame = load_iris(as_frame=True).data
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(frame, SPECIES)
    joblib.dump(forest, folder / f"iris-{sklearn.__version__}.joblib")
    frame.assign(species=SPECIES).to_csv(folder / "rows.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
