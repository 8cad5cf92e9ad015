"""From a table, a scaler and a classifier to a fitted pipeline, measured on held-out rows."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from unpickled.export.data.columns import MANY, RARE
from unpickled.export.data.dataset import Dataset, fingerprint
from unpickled.export.dates import DateParts
from unpickled.export.errors import DataError, QualityError, reason
from unpickled.export.inside import decides_by_probability, split
from unpickled.export.releases import ADA_BOOST, LOGISTIC_CV
from unpickled.server.artifact.manifest import ClassReport, Curve, Metrics, Training
from unpickled.server.quote import listed

SCALERS: Mapping[str, Callable[[], Any] | None] = {
    "standard": StandardScaler,
    "minmax": MinMaxScaler,
    "robust": RobustScaler,
    "maxabs": MaxAbsScaler,
    "none": None,
}

SMALL = 1_000_000  # cells

# The names of the classes: in the order of the labels, or by label.
ClassNames = Sequence[str] | Mapping[Any, str]

# Each takes the seed. Iteration limits are high enough to converge on unscaled columns too.
CLASSIFIERS: Mapping[str, Callable[[int], Any]] = {
    "logistic": lambda seed: LogisticRegression(max_iter=10_000, random_state=seed),
    "logistic_cv": lambda seed: LogisticRegressionCV(
        Cs=[0.001, 0.01, 0.1, 1, 10, 100],
        cv=3,
        scoring="neg_log_loss",
        max_iter=10_000,
        random_state=seed,
        **LOGISTIC_CV,
    ),
    "forest": lambda seed: RandomForestClassifier(100, random_state=seed),
    "extra_trees": lambda seed: ExtraTreesClassifier(100, random_state=seed),
    "decision_tree": lambda seed: DecisionTreeClassifier(random_state=seed),
    "gradient_boosting": lambda seed: GradientBoostingClassifier(random_state=seed),
    "hist_gradient_boosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "adaboost": lambda seed: AdaBoostClassifier(random_state=seed, **ADA_BOOST),
    "mlp": lambda seed: MLPClassifier(max_iter=5_000, random_state=seed),
    "svc": lambda seed: SVC(random_state=seed),
    "calibrated_svc": lambda seed: CalibratedClassifierCV(SVC(random_state=seed), cv=3),
    "linear_svc": lambda seed: LinearSVC(max_iter=100_000, random_state=seed),
    "calibrated_linear_svc": lambda seed: CalibratedClassifierCV(
        LinearSVC(max_iter=100_000, random_state=seed), cv=3
    ),
    "sgd": lambda seed: SGDClassifier(loss="log_loss", random_state=seed),
    "knn": lambda seed: KNeighborsClassifier(),
    "naive_bayes": lambda seed: GaussianNB(),
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A pipeline fitted on ``train`` and measured on ``held_out``, both (rows, columns).

    This pipeline is exported. Fitting another one on all rows would use some more of them, but its quality
    would be unknown.
    """

    pipeline: Pipeline
    train: pd.DataFrame
    held_out: pd.DataFrame
    training: Training


def train(dataset: Dataset, scaler: str, classifier: str, seed: int = 0, held_out: float = 0.2) -> Fitted:
    """Fit on a stratified, seeded part of ``dataset``; measure on the rest, the fraction ``held_out``.

    Raises DataError where the table is too small to be split or the classifier refuses it.
    """
    fit_rows, test_rows, fit_labels, test_labels = _split(dataset, seed, held_out)
    pipeline = build(dataset.features, scaler, classifier, seed, dataset.dates)
    # On a small table, several threads mostly wait for each other: for seconds if the machine is busy.
    with threadpool_limits(1 if dataset.features.size < SMALL else None):
        _fit(pipeline, fit_rows, fit_labels)
    # Trees are evaluated one after another, too short a work for several threads.
    with threadpool_limits(1):
        losses = curve(pipeline, fit_rows, fit_labels)
        metrics = measure(pipeline, test_rows, test_labels, dataset.class_names)
    training = Training(
        pipeline=steps(pipeline),
        data=dataset.name,
        target=dataset.target,
        fingerprint=fingerprint(dataset.features, dataset.labels),
        rows=len(fit_rows),
        held_out=len(test_rows),
        seed=seed,
        metrics=metrics,
        curve=losses,
        versions=versions(),
    )
    return Fitted(pipeline, fit_rows, test_rows, training)


def build(
    features: pd.DataFrame, scaler: str, classifier: str, seed: int, dates: Mapping[str, bool] | None = None
) -> Pipeline:
    """The unfitted pipeline for these columns.

    Numbers are scaled; missing ones are replaced by the median first. Texts are one-hot encoded: a missing
    text is a category of its own, and a text that training has not seen is all zeros. In a column of many
    texts, the rare ones and those that training has not seen are one category. Columns of ``dates``, by
    name, become their parts, with the hour where they have a time of day; these are treated as numbers are.
    """
    final = ("classifier", CLASSIFIERS[classifier](seed))
    parts = _parts(features, SCALERS[scaler], dates or {})
    if len(parts) == 1:
        _, steps, _ = parts[0]
        return Pipeline([*steps, final])
    branches = [
        (name, Pipeline(steps) if steps else "passthrough", columns) for name, steps, columns in parts
    ]
    return Pipeline([("columns", ColumnTransformer(branches, sparse_threshold=0.0)), final])


def measure(pipeline: Any, rows: Any, labels: npt.NDArray[Any], class_names: tuple[str, ...]) -> Metrics:
    """Quality of ``pipeline`` on ``rows`` (rows, columns) and their ``labels`` (rows,)."""
    classes = pipeline.classes_
    if len(labels) != len(rows):
        raise DataError(f"{len(rows):,} rows and {len(labels):,} labels: give each row its own.")
    labels = _aligned(labels, classes)
    last, prepared = split(pipeline, rows)
    probabilities = last.predict_proba(prepared) if hasattr(last, "predict_proba") else None
    if probabilities is not None and decides_by_probability(last):
        predicted = classes.take(np.argmax(probabilities, axis=1))
    else:
        predicted = np.ravel(last.predict(prepared))
    report = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0.0)
    loss = None if probabilities is None else _log_loss(labels, probabilities, classes)
    return Metrics(
        accuracy=float(accuracy_score(labels, predicted)),
        log_loss=loss,
        classes=tuple(
            ClassReport(name=name, precision=float(p), recall=float(r), f1=float(f), support=int(n))
            for name, p, r, f, n in zip(class_names, *report, strict=True)
        ),
        confusion=tuple(tuple(row) for row in confusion_matrix(labels, predicted, labels=classes).tolist()),
    )


def require(metrics: Metrics | None, min_accuracy: float | None) -> None:
    """Raise QualityError if the measured accuracy is below ``min_accuracy``; None demands nothing."""
    if min_accuracy is None:
        return
    if metrics is None:
        raise DataError(
            "A least accuracy needs labels to measure it with: give y, or on the command line --target."
        )
    if metrics.accuracy < min_accuracy:
        raise QualityError(
            f"Accuracy {metrics.accuracy:.4f} is below the {min_accuracy:g} asked for, so nothing was "
            "written: try another classifier or scaler, more rows, or ask for less."
        )


def titles(classes: Sequence[int | str], class_names: ClassNames | None) -> tuple[str, ...]:
    """The name of each class: ``class_names`` if given, else the classes themselves."""
    if class_names is None:
        return tuple(str(label) for label in classes)
    if isinstance(class_names, str | set | frozenset):
        kind = "one text" if isinstance(class_names, str) else "a set, which has no order"
        raise DataError(f"The class names are {kind}, {class_names!r}: give a list of names.")
    if isinstance(class_names, Mapping):
        class_names = _ordered(classes, class_names)
    names = tuple(str(name) for name in class_names)
    if len(names) != len(classes) or len(set(names)) != len(names):
        raise DataError(
            f"{len(classes)} different class names are needed, for {listed([*map(str, classes)], 10)}; "
            f"given: {listed(names, 10)}."
        )
    return names


def _ordered(classes: Sequence[int | str], by_label: Mapping[Any, str]) -> list[str]:
    """The names in the order of the classes; DataError unless there is one for each, and no other."""
    lacking = [repr(label) for label in classes if label not in by_label]
    unknown = [repr(label) for label in by_label if label not in classes]
    if lacking or unknown:
        fault = f"lack a name for {listed(lacking, 10)}" if lacking else f"name {listed(unknown, 10)}"
        raise DataError(
            f"The class names {fault}: give a name for each of the pipeline's labels, "
            f"{listed([*map(repr, classes)], 10)}, and for no other."
        )
    return [by_label[label] for label in classes]


def curve(pipeline: Pipeline, rows: Any, labels: npt.NDArray[Any]) -> Curve | None:
    """The training loss of classifiers that are fitted in epochs or stages; None where it is not finite."""
    losses = _curve(pipeline, rows, labels)
    return losses if losses is not None and np.isfinite(losses.loss).all() else None


def _curve(pipeline: Pipeline, rows: Any, labels: npt.NDArray[Any]) -> Curve | None:
    classifier = pipeline[-1]
    if isinstance(classifier, MLPClassifier):
        return Curve(unit="epoch", loss=tuple(float(loss) for loss in classifier.loss_curve_))
    if isinstance(classifier, GradientBoostingClassifier):
        return Curve(unit="stage", loss=tuple(float(loss) for loss in classifier.train_score_))
    if isinstance(classifier, (HistGradientBoostingClassifier, AdaBoostClassifier)):
        scaled = pipeline[:-1].transform(rows) if len(pipeline) > 1 else rows
        stages = classifier.staged_predict_proba(scaled)
        losses = (_log_loss(labels, stage, classifier.classes_) for stage in stages)
        return Curve(unit="stage", loss=tuple(losses))
    return None


def steps(pipeline: Any) -> tuple[str, ...]:
    """Each step as scikit-learn writes it, on one line: ``LogisticRegression(C=0.5)``."""
    parts = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else [pipeline]
    return tuple(" ".join(repr(step).split()) for step in parts)


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that fitted and converted the pipeline."""
    libraries = ("scikit-learn", "skl2onnx", "onnx", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in libraries}


def _parts(
    features: pd.DataFrame, scaler: Callable[[], Any] | None, dates: Mapping[str, bool]
) -> list[tuple[str, list[Any], list[str]]]:
    """(name, steps, columns) for each kind of column that the table has."""
    text = [name for name in features if features[name].dtype == object]
    many = [name for name in text if features[name].nunique() > MANY]
    numbers = [name for name in features if name not in text and name not in dates]
    encoder = ("encoder", OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    grouping = OneHotEncoder(min_frequency=RARE, handle_unknown="infrequent_if_exist", sparse_output=False)
    parts: list[tuple[str, list[Any], list[str]]] = [
        *_with_gaps("numbers", "gaps", [], features[numbers], scaler),
        ("texts", [encoder], [name for name in text if name not in many]),
        ("many_texts", [("encoder", grouping)], many),
    ]
    for kind, hour in (("dates", False), ("times", True)):
        columns = features[[name for name in features if dates.get(name) is hour]]
        parts += _with_gaps(kind, f"{kind}_with_gaps", [("parts", DateParts(hour))], columns, scaler)
    return [part for part in parts if part[2]]


def _with_gaps(
    name: str, name_of_gaps: str, steps: list[Any], columns: pd.DataFrame, scaler: Callable[[], Any] | None
) -> Iterator[tuple[str, list[Any], list[str]]]:
    """The part of the complete columns of numbers, and that of the columns with gaps, which are filled in."""
    for part, has_gaps in ((name, False), (name_of_gaps, True)):
        imputer = [("imputer", SimpleImputer(strategy="median"))] if has_gaps else []
        scaling = [("scaler", scaler())] if scaler else []
        chosen = [column for column in columns if columns[column].isna().any() == has_gaps]
        yield part, [*steps, *imputer, *scaling], chosen


def _split(dataset: Dataset, seed: int, held_out: float) -> Any:
    try:
        return train_test_split(
            dataset.features, dataset.labels, test_size=held_out, random_state=seed, stratify=dataset.labels
        )
    except ValueError as error:
        raise DataError(
            f"{len(dataset.labels)} rows of {len(dataset.class_names)} classes cannot be split with "
            f"{held_out:g} of them held out: give more rows, or another fraction between 0 and 1."
        ) from error


def _fit(pipeline: Pipeline, rows: pd.DataFrame, labels: npt.NDArray[Any]) -> None:
    try:
        pipeline.fit(rows, labels)
    except ValueError as error:
        raise DataError(f"{type(pipeline[-1]).__name__} cannot be fitted: {reason(error)}.") from error


def _log_loss(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any], classes: npt.NDArray[Any]) -> float:
    """scikit-learn's log_loss, without its warning that the rows of naive Bayes sum to 1 only within 1e-7."""
    of_labels = probabilities[np.arange(len(labels)), np.searchsorted(classes, labels)]
    # Adding 0 makes a 0 of -0.
    return float(-np.log(np.clip(of_labels, np.finfo(probabilities.dtype).eps, 1.0)).mean()) + 0.0


def _aligned(labels: npt.NDArray[Any], classes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The classes that ``labels`` are equal to: files do not distinguish 1, 1.0, '1' and true."""
    numbers = classes.dtype.kind in "biuf" and labels.dtype.kind in "biuf"
    class_values, label_values = (classes, labels) if numbers else (classes.astype(str), labels.astype(str))
    unknown = label_values[~np.isin(label_values, class_values)]
    if len(unknown):
        names = [str(label) for label in classes]
        raise DataError(f"The label {unknown[0]} is none of the pipeline's classes: {listed(names, 10)}.")
    order = np.argsort(class_values)
    aligned: npt.NDArray[Any] = classes[order[np.searchsorted(class_values, label_values, sorter=order)]]
    return aligned
