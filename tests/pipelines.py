"""One small pipeline of every kind that the export writes in its own way, on this release of scikit-learn.

Run as a program in any environment with unpickled[export], it exports all of them and prints the largest
difference of each between graph and pipeline. It saves one in a folder too, with rows for it.
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
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
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
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
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
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier

from unpickled.export import export_pipeline

FLOWERS, SPECIES = load_iris(return_X_y=True)
VIRGINICA = SPECIES == 2
# An unfitted pipeline, rows and labels.
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
    return dict([*_numbers(), *_narrow(), *_tables(), *_of_some_releases()])


def _numbers() -> Iterator[tuple[str, Kind]]:
    """Every classifier on three classes and on two, and every transformer."""
    for classifier in CLASSIFIERS:
        name = type(classifier).__name__
        yield name, (make_pipeline(StandardScaler(), classifier), FLOWERS, SPECIES)
        yield f"{name} of two", (make_pipeline(StandardScaler(), clone(classifier)), FLOWERS, VIRGINICA)
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
    """The largest difference between the graph and the pipeline that is fitted here."""
    pipeline, rows, labels = kind
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few iterations, and of defaults that will change
        pipeline.fit(rows, labels)
        return export_pipeline(
            pipeline, rows, labels, name="kind", models=folder
        ).manifest.parity.max_difference


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
