"""The graph of a small pipeline of every kind, fitted on the iris flowers or on a made-up table."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pandas as pd
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from unpickled.export.convert import convert

_FLOWERS, _SPECIES = load_iris(return_X_y=True)
_VIRGINICA = _SPECIES == 2
_WIDTHS = _FLOWERS[:, 3]
_CITIES = pd.DataFrame({"age": _FLOWERS[:, 0], "city": np.array(["Bonn", "Köln", "Trier"])[_SPECIES]})
_PREPARED = make_column_transformer(
    (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
    (OneHotEncoder(handle_unknown="ignore"), ["city"]),
)
_PAIR = [
    ("linear", LogisticRegression(max_iter=500)),
    ("tree", DecisionTreeClassifier(max_depth=3, random_state=0)),
]
_CATBOOST: dict[str, Any] = {
    "iterations": 3,
    "depth": 3,
    "verbose": False,
    "allow_writing_files": False,
    "thread_count": 1,
}
_COUNTED = CatBoostClassifier(cat_features=["city"], one_hot_max_size=1, **_CATBOOST)
_PERCEPTRON = MLPRegressor(hidden_layer_sizes=(8,), tol=1.0, random_state=0)
_FOREST = RandomForestClassifier(5, max_depth=4, random_state=0)

_NUMBERS: dict[str, tuple[Any, Any]] = {
    "logistic regression": (LogisticRegression(max_iter=500), _SPECIES),
    "multi-layer perceptron": (MLPClassifier((8,), tol=1.0, random_state=0), _SPECIES),
    "`SVC`": (SVC(), _SPECIES),
    "`GaussianNB`": (GaussianNB(), _SPECIES),
    "k nearest neighbors": (KNeighborsClassifier(3), _SPECIES),
    "the same, weighted by distance": (KNeighborsClassifier(3, weights="distance"), _SPECIES),
    "Gaussian process": (GaussianProcessClassifier(), _VIRGINICA),
    "ridge regression": (Ridge(), _WIDTHS),
    "multi-layer perceptron, regression": (_PERCEPTRON, _WIDTHS),
    "`SVR`": (SVR(), _WIDTHS),
    "k nearest neighbors, regression": (KNeighborsRegressor(3), _WIDTHS),
    "Gaussian process, regression": (GaussianProcessRegressor(alpha=0.1), _WIDTHS),
    "`EllipticEnvelope`": (EllipticEnvelope(random_state=0), _SPECIES),
    "`OneClassSVM`": (OneClassSVM(), _SPECIES),
    "`LocalOutlierFactor`": (LocalOutlierFactor(5, novelty=True), _SPECIES),
}
_TREES: dict[str, tuple[Any, Any]] = {
    "decision tree": (DecisionTreeClassifier(max_depth=4, random_state=0), _SPECIES),
    "forest, 2 classes": (_FOREST, _VIRGINICA),
    "forest, 3 classes": (_FOREST, _SPECIES),
    "gradient boosting": (GradientBoostingClassifier(n_estimators=3, random_state=0), _SPECIES),
    "histogram gradient boosting": (HistGradientBoostingClassifier(max_iter=3), _SPECIES),
    "AdaBoost": (AdaBoostClassifier(n_estimators=3, random_state=0), _SPECIES),
    "voting of logistic regression and tree": (VotingClassifier(_PAIR, voting="soft"), _SPECIES),
    "stacking of the same": (StackingClassifier(_PAIR, cv=2), _SPECIES),
    "LightGBM": (LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1), _SPECIES),
    "XGBoost": (XGBClassifier(n_estimators=3, n_jobs=1), _SPECIES),
    "CatBoost": (CatBoostClassifier(**_CATBOOST), _SPECIES),
    "isolation forest": (IsolationForest(n_estimators=5, random_state=0), _SPECIES),
    "forest, regression": (RandomForestRegressor(5, max_depth=4, random_state=0), _WIDTHS),
    "histogram gradient boosting, regression": (HistGradientBoostingRegressor(max_iter=3), _WIDTHS),
}


@functools.cache
def graphs() -> tuple[tuple[str, str, onnx.ModelProto], ...]:
    """The name of each kind, the operators that were asked for, and the graph."""
    return tuple(_graphs())


def _graphs() -> Iterator[tuple[str, str, onnx.ModelProto]]:
    text = make_pipeline(_PREPARED, LogisticRegression(max_iter=500)).fit(_CITIES, _SPECIES)
    yield "table with text, logistic regression", "fastest", convert(text, _CITIES).model
    counted = _COUNTED.fit(_CITIES, _SPECIES)
    for operators in ("fastest", "standard"):
        conversion = convert(counted, _CITIES, operators=operators)
        yield "CatBoost that counts categories", operators, conversion.model
    for name, (last, answers) in (_NUMBERS | _TREES).items():
        pipeline = make_pipeline(StandardScaler(), last).fit(_FLOWERS, answers)
        yield name, "fastest", convert(pipeline, _FLOWERS).model
        if name in _TREES:
            yield name, "standard", convert(pipeline, _FLOWERS, operators="standard").model
