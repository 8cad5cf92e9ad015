"""Every estimator of scikit-learn that answers or transforms, in pipelines on real data, and their judge."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from flask.testing import FlaskClient
from sklearn.base import OutlierMixin
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MinMaxScaler, StandardScaler
from sklearn.utils import all_estimators

from unpickled.export import export_pipeline
from unpickled.export.convert import convert
from unpickled.export.gate.exactness import TOLERANCE
from unpickled.export.gate.thresholds import near
from unpickled.server import Config, create_app
from unpickled.server.artifact.manifest import Feature
from unpickled.server.errors import InvalidInput
from unpickled.server.model.session import load
from unpickled.server.model.signature import Signature

Array = npt.NDArray[Any]

CLASSIFIERS: dict[str, type] = dict(all_estimators(type_filter="classifier"))
REGRESSORS: dict[str, type] = dict(all_estimators(type_filter="regressor"))
OUTLIERS: dict[str, type] = {name: kind for name, kind in all_estimators() if issubclass(kind, OutlierMixin)}
# The experimental one, and two that are transformers by their method only.
TRANSFORMERS: dict[str, type] = dict(all_estimators(type_filter="transformer")) | {
    kind.__name__: kind for kind in (IterativeImputer, CountVectorizer, TfidfVectorizer)
}
# scikit-learn itself refuses them in front of a classifier: they transform labels or images, give one
# number a row, as IsotonicRegression does, or cannot transform other rows than those of the fit. It is a
# regressor too, and tested as one.
NO_STEPS = {
    "IsotonicRegression",
    "LabelBinarizer",
    "LabelEncoder",
    "MultiLabelBinarizer",
    "PatchExtractor",
    "TSNE",
}
TWO_CLASSES = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}
# scikit-learn cannot fit these, or takes rows equally far away in no defined order.
UNSUITED = {
    ("NuSVC", "a few rows"),
    ("QuadraticDiscriminantAnalysis", "a few rows"),
    ("QuadraticDiscriminantAnalysis", "two texts and a constant"),
    ("KNeighborsClassifier", "two texts and a constant"),
    ("KNNImputer", "two texts and a constant"),
    ("LocalOutlierFactor", "two texts and a constant"),
    ("StackingRegressor", "two texts and a constant"),
    ("VotingRegressor", "two texts and a constant"),
}

# Regressors that take rows equally far away in no defined order.
TIED = {("KNeighborsRegressor", of) for of in ("three numbers", "two texts and a constant")}

LINEAR, LOGISTIC = LinearRegression(), LogisticRegression(max_iter=1000)
MEMBERS = [("logistic", LOGISTIC), ("bayes", GaussianNB())]
_AROUND = (
    "ClassifierChain",
    "FixedThresholdClassifier",
    "MultiOutputClassifier",
    "OneVsOneClassifier",
    "OneVsRestClassifier",
    "OutputCodeClassifier",
    "RFE",
    "RFECV",
    "SelectFromModel",
    "SelfTrainingClassifier",
    "SequentialFeatureSelector",
    "TunedThresholdClassifierCV",
)
# Parameters that have no default in scikit-learn, or one that a small table is too small for.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "LocalOutlierFactor": {"novelty": True},
    **{name: {"estimator": LOGISTIC} for name in _AROUND},
    **{name: {"estimator": LINEAR} for name in ("MultiOutputRegressor", "RegressorChain")},
    "OutputCodeClassifier": {"estimator": LOGISTIC, "code_size": 4, "random_state": 0},
    **{
        name: {"n_components": 3}
        for name in ("FastICA", "GaussianRandomProjection", "SparseRandomProjection")
    },
    **{name: {"n_components": 1} for name in ("CCA", "PLSCanonical", "PLSRegression", "PLSSVD")},
    **{name: {"estimators": MEMBERS} for name in ("StackingClassifier", "VotingClassifier")},
    **{
        name: {"estimators": [("a", LinearRegression())]} for name in ("StackingRegressor", "VotingRegressor")
    },
    **{name: {"max_iter": 2} for name in ("DictionaryLearning", "MiniBatchDictionaryLearning")},
    "ColumnTransformer": {"transformers": [("scaled", StandardScaler(), [0, 2])]},
    "FeatureUnion": {"transformer_list": [("scaled", StandardScaler()), ("ranged", MinMaxScaler())]},
    "SparseCoder": {"dictionary": np.eye(5)},
    # They make a million columns each by default.
    **{name: {"n_features": 16} for name in ("FeatureHasher", "HashingVectorizer")},
}

OF_CATEGORIES = {"OneHotEncoder", "OrdinalEncoder", "TargetEncoder"}
OF_GAPS = {"IterativeImputer", "KNNImputer", "MissingIndicator", "SimpleImputer"}
OF_TEXTS = {"CountVectorizer", "HashingVectorizer", "TfidfVectorizer"}
OF_DICTS = {"DictVectorizer", "FeatureHasher"}
OF_SEVERAL = {"ClassifierChain", "MultiOutputClassifier"}
OF_TARGETS = {
    "MultiOutputRegressor",
    "MultiTaskElasticNet",
    "MultiTaskElasticNetCV",
    "MultiTaskLasso",
    "MultiTaskLassoCV",
    "RegressorChain",
}
OF_ANSWERS = {"CCA", "PLSCanonical", "PLSRegression", "PLSSVD"}


@dataclass(frozen=True)
class Case:
    """A fitted pipeline, with the rows and labels of its fit, and rows that it has not seen."""

    pipeline: Pipeline
    rows: Any
    labels: Array
    held_out: Any


def table(name: str) -> tuple[pd.DataFrame, Array]:
    """Five columns of a real table, with labels of three classes or two, numbers or texts."""
    wine = load_wine(as_frame=True)
    order = np.random.default_rng(0).permutation(len(wine.data))
    rows, labels = wine.data.iloc[order, :5].reset_index(drop=True), wine.target.to_numpy()[order]
    if name == "three numbers":
        return rows, labels * 5 - 3
    if name == "a few rows":
        return rows[:15], np.array(["wine", "Wein", "vin à table"])[labels[:15]]
    cells = load_breast_cancer(as_frame=True)
    rows = cells.data.iloc[:180, [0, 4, 5, 6]].assign(constant=2.5)
    return rows, np.where(cells.target[:180], "benign", "malignant")


def classifier(name: str, of: str) -> Case:
    """A classifier behind a scaler, fitted on two thirds of a table."""
    rows, labels = table(of)
    scaler = StandardScaler()
    if name == "CategoricalNB":
        scaler = KBinsDiscretizer(3, encode="ordinal", strategy="uniform")
    elif name in ("ComplementNB", "MultinomialNB"):
        scaler = MinMaxScaler(clip=True)
    if name == "SelfTrainingClassifier" and labels.dtype.kind == "U":
        labels = labels.astype(object)
    if name in OF_SEVERAL:
        labels = np.stack([labels == labels[0], labels == labels[-1]], axis=1)
    arguments = ARGUMENTS.get(name, {})
    if (name, of) == ("CalibratedClassifierCV", "a few rows"):
        # One of the folds lacks a class.
        arguments = {"ensemble": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a release is to lose
        step = CLASSIFIERS[name](**arguments)
    return _fitted(make_pipeline(scaler, step), rows, labels)


def regressor(name: str, of: str) -> Case:
    """A regressor behind a scaler, fitted on two thirds of a table, whose last columns it predicts."""
    rows, _ = table(of)
    numbers = rows.iloc[:, 2:4].to_numpy() + 0.5
    columns = rows.iloc[:, :1] if name == "IsotonicRegression" else rows.drop(columns=rows.columns[2:4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a release is to lose
        step = REGRESSORS[name](**ARGUMENTS.get(name, {}))
    return _fitted(
        make_pipeline(StandardScaler(), step), columns, numbers if name in OF_TARGETS else numbers[:, 0]
    )


def outlier(name: str, of: str) -> Case:
    """An outlier detector behind a scaler, fitted on two thirds of a table, and labels of -1 and 1."""
    rows, labels = table(of)
    step = OUTLIERS[name](**ARGUMENTS.get(name, {}))
    return _fitted(make_pipeline(StandardScaler(), step), rows, np.where(labels == labels[0], 1, -1))


def transformer(name: str, of: str) -> Case:
    """A transformer before a logistic regression, fitted on two thirds of a table that suits it."""
    rows, labels = table(of)
    step = TRANSFORMERS[name](**ARGUMENTS.get(name, {}))
    if name in OF_ANSWERS:
        # Its own answer to rows and labels would be two tables.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of constant columns
            step = FrozenEstimator(step.fit(rows, labels == labels[0]))
    return _fitted(make_pipeline(step, LOGISTIC), _suited(name, rows), labels)


def _suited(name: str, rows: pd.DataFrame) -> Any:
    if name in OF_CATEGORIES:
        return _words(rows)
    if name in OF_TEXTS:
        return _words(rows).agg(" ".join, axis=1)
    if name in OF_DICTS:
        return rows.to_dict("records")
    if name == "KernelCenterer":
        return rows.to_numpy() @ rows.to_numpy()[: len(rows) * 2 // 3].T
    if name not in OF_GAPS:
        return rows
    random = np.random.default_rng(1)
    # With some digits more: the imputer by neighbors is refused where rows are equally far.
    noise = rows.std().to_numpy() * random.normal(0.0, 0.01, rows.shape)
    return (rows + noise).mask(random.random(rows.shape) < 0.1)


def _words(rows: pd.DataFrame) -> pd.DataFrame:
    words = np.array(["low", "middling", "high", "très haut"])
    return pd.DataFrame({name: words[rows[name].rank(pct=True).mul(3.9).astype(int)] for name in rows})


def _fitted(pipeline: Pipeline, rows: Any, labels: Array) -> Case:
    count = len(rows) * 2 // 3 if len(rows) > 20 else len(rows)
    held_out = rows[count:] if count < len(rows) else rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few iterations, few samples, collinear columns
        pipeline.fit(rows[:count], labels[:count])
    return Case(pipeline, rows[:count], labels[:count], held_out)


def wrong(case: Case, models: Path) -> int:
    """How many of the rows that are asked for over HTTP are answered wrongly by the exported model.

    Raises ExportError if the pipeline is refused.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of unknown categories, and of numbers without a logarithm
        export = export_pipeline(case.pipeline, case.rows, case.labels, name="model", models=models)
        features = export.manifest.features
        signature = load(export.path.read_bytes()).signature
        beside = _beside(case)
        asked_for = pd.concat([case.held_out, beside, _extremes(case.rows, features)])
        frame, rows = _taken(signature, asked_for)
        assert len(rows) > 0.8 * (len(case.held_out) + len(beside))
        client = create_app(Config(models=str(models))).test_client()
        answers = [asked(client, rows), *(asked(client, [row]) for row in rows)]
        apart = _apart if export.manifest.classes else _far
        return int(apart(case.pipeline, frame, answers[0], _joined(answers[1:])).sum())


@dataclass(frozen=True)
class Answered:
    """The answers to a request: the predictions, and (rows, classes or targets) scores or numbers."""

    predictions: list[Any]
    scores: Array


def asked(client: FlaskClient, rows: list[Any]) -> Answered:
    """The answers to a request for these rows, which the server takes."""
    answer = client.post("/predict", json={"features": rows})
    assert answer.status_code == 200, answer.text
    predictions = answer.json["prediction"]
    scores = answer.json.get("probabilities", answer.json.get("scores", predictions))
    return Answered(predictions, np.array(scores, np.float64).reshape(len(rows), -1))


def _joined(answers: list[Answered]) -> Answered:
    """The answers to single rows, as if they were those to one request."""
    predictions = [prediction for answer in answers for prediction in answer.predictions]
    return Answered(predictions, np.concatenate([answer.scores for answer in answers]))


def _beside(case: Case) -> pd.DataFrame:
    """At most 20 rows beside splits of the pipeline's trees, for there is a request for each row alone."""
    layout = convert(case.pipeline, case.rows).layout
    return near(case.pipeline, layout, layout.frame(case.rows), 20)


def _extremes(rows: pd.DataFrame, features: tuple[Feature, ...]) -> pd.DataFrame:
    """Two rows with each feature in turn at its ends and beyond training, and with all of them there."""
    copies = [rows[:2].assign(**{f.name: value}) for f in features for value in _ends(f)]
    for end in range(2):
        copies.append(rows[:2].assign(**{f.name: _ends(f)[end] for f in features}))
    return pd.concat(copies)


def _ends(feature: Feature) -> list[Any]:
    if feature.kind == "category":
        return ["unheard of", "", None]
    low, high = feature.minimum or 0.0, feature.maximum or 0.0
    lowest = -1e300 if feature.lowest is None else feature.lowest
    highest = 1e300 if feature.highest is None else feature.highest
    beyond = [low + (high - low + 1.0) * far for far in (-1e5, -3, 3, 1e5)]
    return [lowest, highest, low, high, *beyond, np.nan]


def _taken(signature: Signature, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Any]]:
    """The rows that the server takes, for the pipeline and for requests."""
    names, taken = list(signature.names), []
    cells = frame[names].astype(object).where(frame[names].notna(), None).to_numpy().tolist()
    for place, row in enumerate(cells):
        with suppress(InvalidInput):
            signature.check_row(row, 0)
            taken.append(place)
    return frame.iloc[taken], [cells[place] for place in taken]


def _apart(pipeline: Pipeline, frame: pd.DataFrame, batch: Answered, alone: Answered) -> Array:
    """bool (rows,): whether label or scores of each row are others, in one batch, or alone."""
    labels, scores = pipeline.predict(frame).tolist(), _scores(pipeline, frame)
    other = np.zeros(len(labels), np.bool_)
    for answer in (batch, alone):
        other |= [label != served for label, served in zip(labels, answer.predictions, strict=True)]
        if scores is not None:
            size = np.maximum(1.0, np.abs(scores).max(axis=1, keepdims=True))
            other |= ~(np.abs(answer.scores - scores) <= TOLERANCE * size).all(axis=1)
    return other


def _far(pipeline: Pipeline, frame: pd.DataFrame, batch: Answered, alone: Answered) -> Array:
    """bool (rows,): whether the predictions for each row are others, in one batch, or alone."""
    expected = np.asarray(pipeline.predict(frame), np.float64).reshape(len(frame), -1)
    size, other = np.maximum(1.0, np.abs(expected)), np.zeros(len(frame), np.bool_)
    for answer in (batch, alone):
        other |= ~(np.abs(answer.scores - expected) <= TOLERANCE * size).all(axis=1)
    return other


def _scores(pipeline: Pipeline, frame: pd.DataFrame) -> Array | None:
    """Probabilities, or decision scores of every class; None for a classifier without either."""
    method = next((m for m in ("predict_proba", "decision_function") if hasattr(pipeline, m)), None)
    if method is None:
        return None
    scores = np.asarray(getattr(pipeline, method)(frame))
    return scores if scores.ndim == 2 else np.stack([-scores, scores], axis=1)
