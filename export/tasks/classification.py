"""Classification: pipelines that answer with one of some classes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from unpickled.export import detectors
from unpickled.export.errors import DataError, QualityError
from unpickled.export.inside import decides_by_probability, split
from unpickled.export.places import places
from unpickled.export.releases import ADA_BOOST, LOGISTIC_CV
from unpickled.export.tasks.boosters import boosters
from unpickled.export.tasks.task import ClassNames, Demands, Task
from unpickled.server.artifact.manifest import ClassReport, Curve, Metrics, Training
from unpickled.server.quote import listed

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
    **boosters({"lightgbm": "LGBMClassifier", "xgboost": "XGBClassifier", "catboost": "CatBoostClassifier"}),
}


def measure(pipeline: Any, rows: Any, labels: npt.NDArray[Any], class_names: Sequence[str]) -> Metrics:
    """Quality of ``pipeline`` on ``rows`` (rows, columns) and their ``labels`` (rows,)."""
    classes = detectors.classes(pipeline)
    labels = truth(pipeline, len(rows), labels)
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


def truth(pipeline: Any, rows: int, labels: Any) -> npt.NDArray[Any]:
    """The pipeline's classes that the user's labels of so many rows are equal to. Raises DataError."""
    labels = np.ravel(labels)
    if len(labels) != rows:
        raise DataError(f"{rows:,} rows and {len(labels):,} labels: give each row its own.")
    return _aligned(labels, detectors.classes(pipeline))


def require(metrics: Metrics | None, min_accuracy: float | None) -> None:
    """Raise QualityError if the measured accuracy is below ``min_accuracy``; None demands nothing."""
    if min_accuracy is None:
        return
    if metrics is None:
        raise DataError("A least accuracy needs labels to measure it with: give y.")
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


def curve(pipeline: Any, rows: Any, labels: npt.NDArray[Any]) -> Curve | None:
    """The training loss of classifiers that are fitted in epochs or stages; see Task."""
    model = pipeline[-1]
    # The solver lbfgs keeps no losses.
    if isinstance(model, MLPClassifier) and hasattr(model, "loss_curve_"):
        return Curve(unit="epoch", loss=tuple(float(loss) for loss in model.loss_curve_))
    if isinstance(model, GradientBoostingClassifier):
        return Curve(unit="stage", loss=tuple(float(loss) for loss in model.train_score_))
    if isinstance(model, (HistGradientBoostingClassifier, AdaBoostClassifier)) and rows is not None:
        stages = model.staged_predict_proba(split(pipeline, rows)[1])
        losses = (_log_loss(labels, stage, model.classes_) for stage in stages)
        return Curve(unit="stage", loss=tuple(losses))
    return None


def _split(rows: Any, labels: npt.NDArray[Any], seed: int, held_out: float) -> Any:
    try:
        return train_test_split(rows, labels, test_size=held_out, random_state=seed, stratify=labels)
    except ValueError as error:
        raise DataError(
            f"{len(labels)} rows of {len(np.unique(labels))} classes cannot be split with "
            f"{held_out:g} of them held out: give more rows, or another fraction between 0 and 1."
        ) from error


def _measured(
    training: Training, pipeline: Any, rows: Any, labels: Any, class_names: Sequence[str]
) -> Training:
    return replace(training, metrics=measure(pipeline, rows, labels, class_names))


def no_distance(subject: str) -> Callable[[Demands], None]:
    """A function that refuses a largest error; ``subject`` begins its sentence."""

    def admit(demands: Demands) -> None:
        if demands.max_error is not None:
            raise DataError(
                f"{subject}, which are no distance apart: give {demands.spelled('min_accuracy')} instead of "
                f"{demands.spelled('max_error')}."
            )

    return admit


def _require(training: Training, demands: Demands) -> None:
    require(training.metrics, demands.min_accuracy)


def _described(labels: npt.NDArray[Any], class_names: Sequence[str]) -> str:
    return f"{len(class_names):,} classes"


def _report(training: Training, rows: str) -> list[str]:
    metrics = training.metrics
    if metrics is None:
        return []
    loss = "" if metrics.log_loss is None else f"   log loss {metrics.log_loss:.4f}"
    width = max(len("class"), *(len(report.name) for report in metrics.classes))
    return [
        f"accuracy {metrics.accuracy:.4f}{loss}   ({rows})",
        "",
        f"{'class':<{width}}  precision  recall     f1    rows",
        *(
            f"{report.name:<{width}}  {report.precision:>9.3f}  {report.recall:>6.3f}  {report.f1:>5.3f}  "
            f"{report.support:>6,}"
            for report in metrics.classes
        ),
    ]


def _log_loss(labels: npt.NDArray[Any], probabilities: npt.NDArray[Any], classes: npt.NDArray[Any]) -> float:
    """scikit-learn's log_loss, without its warning that the rows of naive Bayes sum to 1 only within 1e-7."""
    of_labels = probabilities[np.arange(len(labels)), places(classes, labels)]
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
    aligned: npt.NDArray[Any] = classes[places(class_values, label_values)]
    return aligned


CLASSIFICATION = Task(
    name="classification",
    step="classifier",
    default="logistic",
    estimators=CLASSIFIERS,
    split=_split,
    titles=titles,
    truth=truth,
    measured=_measured,
    curve=curve,
    admit=no_distance("A classifier answers with classes"),
    require=_require,
    described=_described,
    report=_report,
)
