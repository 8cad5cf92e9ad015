"""Outlier detectors: each answers -1 or 1 and its score, as it does in scikit-learn, through a server too."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDOneClassSVM
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from unpickled.__main__ import main
from unpickled.export import ConversionError, DataError, QualityError, export_pipeline
from unpickled.export.convert import convert
from unpickled.export.gate.answers import answers_of
from unpickled.export.gate.thresholds import near
from unpickled.export.publish import Export, runner
from unpickled.server import Config, create_app

Array = npt.NDArray[Any]

X = load_wine().data[:, :4]
NAMES = ["alcohol", "malic", "ash", "alcalinity"]
# The middle of the data, a row at its edge, and one far outside.
ROWS = [X.mean(axis=0).round(3).tolist(), X.max(axis=0).tolist(), (X.max(axis=0) * 3).tolist()]
FOREST = {"random_state": 0, "n_estimators": 20}
DETECTORS = {
    "forest": IsolationForest(**FOREST),
    "forest, a share": IsolationForest(contamination=0.1, **FOREST),
    "forest, two columns": IsolationForest(max_features=2, max_samples=0.5, bootstrap=True, **FOREST),
    "forest, one row": IsolationForest(max_samples=1, **FOREST),
    "one tree": IsolationForest(n_estimators=1, max_features=1, random_state=0),
    "svm": OneClassSVM(nu=0.1),
    "svm, linear": OneClassSVM(kernel="linear", nu=0.3),
    "svm, polynomial": OneClassSVM(kernel="poly", degree=2, coef0=1.0),
    "svm, sigmoid": OneClassSVM(kernel="sigmoid", gamma=0.1),
    "sgd": SGDOneClassSVM(nu=0.2, random_state=0),
    "envelope": EllipticEnvelope(random_state=0),
    "envelope, centred": EllipticEnvelope(
        assume_centered=True, contamination=0.3, store_precision=False, random_state=0
    ),
    "factor": LocalOutlierFactor(novelty=True),
    "factor, a share": LocalOutlierFactor(
        novelty=True, contamination=0.2, n_neighbors=30, metric="manhattan"
    ),
}

# None of their outliers has a score that is clearly below 0.
ALL_CLOSE = ("forest, one row", "svm, linear")


def exported(
    detector: Any, models: Path, rows: Any = X, y: Any = None, **how: Any
) -> tuple[Pipeline, Export]:
    """A detector behind a scaler, fitted on these rows, and its export."""
    steps = detector if isinstance(detector, list) else [StandardScaler(), detector]
    pipeline = make_pipeline(*steps).fit(rows)
    return pipeline, export_pipeline(pipeline, rows, y, name="odd", models=models, feature_names=NAMES, **how)


def answers(pipeline: Any, rows: Array) -> tuple[Array, Array]:
    """The graph's labels and scores."""
    conversion = convert(pipeline, X)
    return runner(conversion)(conversion.layout.feeds(conversion.layout.frame(rows), conversion.inputs))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_server_answers_label_and_score(name: str, tmp_path: Path) -> None:
    """The label, its name, and [-d, d] for the decision d, which is 0 or less for an outlier."""
    pipeline, export = exported(DETECTORS[name], tmp_path)
    client = create_app(Config(models=str(tmp_path))).test_client()
    served = client.post("/predict", json={"instances": ROWS}).get_json()["predictions"]
    expected = pipeline.decision_function(ROWS)
    assert [row["prediction"] for row in served] == pipeline.predict(ROWS).tolist()
    assert np.allclose([row["scores"]["inlier"] for row in served], expected, rtol=1e-9, atol=1e-12)
    assert np.allclose([row["scores"]["outlier"] for row in served], -expected, rtol=1e-9, atol=1e-12)
    assert {(row["prediction"], row["predicted_class"]) for row in served} <= {(-1, "outlier"), (1, "inlier")}
    assert export.manifest.outputs.kind == "scores"
    assert set(export.manifest.golden.labels) == {-1, 1} or name in ALL_CLOSE
    assert export.manifest.training.holds_rows is ("svm" in name or "factor" in name)


@pytest.mark.parametrize("name", [name for name in DETECTORS if "forest" in name or "tree" in name])
def test_forests_are_exact_beside_their_splits(name: str) -> None:
    """No row beside a split has another label, or a score that differs by more than its last digit."""
    pipeline = make_pipeline(StandardScaler(), DETECTORS[name]).fit(X)
    conversion = convert(pipeline, X)
    rows = near(pipeline, conversion.layout, conversion.layout.frame(X), 2000).to_numpy()
    labels, scores = answers(pipeline, np.concatenate([X, rows]))
    expected = answers_of(pipeline, conversion, np.concatenate([X, rows]))
    assert len(rows) > 100 or name == "forest, one row"
    assert labels.tolist() == expected.labels.tolist()
    assert np.abs(scores - expected.scores).max() < 1e-15


def test_every_split_of_an_isolation_forest_is_proven(tmp_path: Path) -> None:
    """Also where each tree has columns of its own."""
    for name in ("forest", "forest, two columns"):
        pipeline, export = exported(DETECTORS[name], tmp_path)
        trees = [member.tree_ for member in pipeline[-1].estimators_]
        assert export.proof is not None
        assert export.proof.trees == len(trees)
        assert export.proof.leaves == sum(tree.n_leaves for tree in trees)


@pytest.mark.parametrize("count", range(41, 161, 10))
def test_a_forest_has_training_rows_on_a_score_of_zero(count: int) -> None:
    """A share as contamination ends at a training row, which is an inlier with a score of exactly 0."""
    rows = X[:count]
    pipeline = make_pipeline(StandardScaler(), IsolationForest(contamination=0.1, **FOREST)).fit(rows)
    at_zero = pipeline.decision_function(rows) == 0.0
    labels, scores = answers(pipeline, rows)
    assert at_zero.any()
    assert (labels[at_zero] == 1).all()
    assert np.abs(scores[at_zero]).max() < 1e-15
    assert labels.tolist() == pipeline.predict(rows).tolist()


def test_a_score_of_zero_falls_as_in_scikit_learn() -> None:
    """It is an outlier's where OneClassSVM gives it, and an inlier's where SGDOneClassSVM does."""
    svm, sgd = OneClassSVM(kernel="linear").fit(X), SGDOneClassSVM(random_state=0).fit(X)
    svm._intercept_ = svm.intercept_ = np.zeros(1)
    sgd.offset_ = np.zeros(1)
    for detector, label in ((svm, -1), (sgd, 1)):
        labels, scores = answers(detector, np.zeros((1, 4)))
        assert labels.tolist() == detector.predict(np.zeros((1, 4))).tolist() == [label]
        assert not scores.any()


def test_an_offset_of_ones_own_decides() -> None:
    """A forest whose offset was moved gives the labels of that offset, up to none or all of the rows."""
    forest = IsolationForest(**FOREST).fit(X)
    for offset in (-2.0, -0.55, -0.45, 0.0, 0.5):
        forest.offset_ = offset
        labels, _ = answers(forest, X)
        assert labels.tolist() == forest.predict(X).tolist()


@pytest.mark.parametrize("name", ["forest", "svm", "envelope"])
def test_an_imputer_in_front_fills_gaps(name: str, tmp_path: Path) -> None:
    """A missing value is answered as the pipeline does."""
    gappy = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    steps = [SimpleImputer(strategy="median"), StandardScaler(), DETECTORS[name]]
    pipeline, export = exported(steps, tmp_path, gappy)
    client = create_app(Config(models=str(tmp_path))).test_client()
    [served] = client.post("/predict", json={"instances": [[None, *ROWS[0][1:]]]}).get_json()["predictions"]
    expected = pipeline.decision_function([[np.nan, *ROWS[0][1:]]])[0]
    assert all(feature.missing for feature in export.manifest.features)
    assert served["scores"]["inlier"] == pytest.approx(expected, rel=1e-9)


def test_labels_measure_a_detector(tmp_path: Path) -> None:
    """With y of -1 and 1, the accuracy is in the manifest and may be demanded; other labels are refused."""
    y = np.where(X[:, 0] > 13, 1, -1)
    pipeline, export = exported(DETECTORS["forest"], tmp_path, y=y)
    metrics = export.manifest.training.metrics
    assert metrics is not None
    assert metrics.accuracy == (pipeline.predict(X) == y).mean()
    assert [report.name for report in metrics.classes] == ["outlier", "inlier"]
    with pytest.raises(QualityError, match="Accuracy"):
        exported(DETECTORS["forest"], tmp_path, y=y, min_accuracy=0.99)
    with pytest.raises(DataError, match="detector answers with outlier or inlier, which are no distance"):
        exported(DETECTORS["forest"], tmp_path, y=y, max_error=1.0)
    with pytest.raises(DataError, match="The label 0 is none of the pipeline's classes: -1, 1"):
        exported(DETECTORS["forest"], tmp_path, y=np.maximum(y, 0))


def test_classes_may_have_other_names(tmp_path: Path) -> None:
    """By label, or in the order of the labels."""
    for names in (["strange", "usual"], {1: "usual", -1: "strange"}):
        _, export = exported(DETECTORS["sgd"], tmp_path, class_names=names)
        assert (export.manifest.classes, export.manifest.class_names) == ((-1, 1), ("strange", "usual"))


def test_the_operators_may_be_standard(tmp_path: Path) -> None:
    """A forest then answers with operators of ai.onnx alone."""
    for name in ("forest", "factor"):
        pipeline = make_pipeline(StandardScaler(), DETECTORS[name]).fit(X)
        conversion = convert(pipeline, X, operators="standard")
        assert {node.domain for node in conversion.model.graph.node} == {""}
        labels, scores = runner(conversion)(
            conversion.layout.feeds(conversion.layout.frame(X), conversion.inputs)
        )
        assert labels.tolist() == pipeline.predict(X).tolist()
        assert np.abs(scores[:, 1] - pipeline.decision_function(X)).max() < 1e-12


def test_a_search_around_a_detector_converts() -> None:
    """It answers as the best detector does."""
    search = GridSearchCV(
        make_pipeline(StandardScaler(), OneClassSVM()),
        {"oneclasssvm__nu": [0.1, 0.2]},
        scoring="accuracy",
        cv=2,
    ).fit(X, np.where(X[:, 0] > 12, 1, -1))
    labels, _ = answers(search, X)
    assert labels.tolist() == search.predict(X).tolist()


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([LocalOutlierFactor()], r"LocalOutlierFactor\) cannot be converted: .*novelty=True"),
        ([LocalOutlierFactor(novelty=True, metric="canberra")], "metric='canberra' has no graph; use one of"),
        ([OneClassSVM(kernel=lambda a, b: a @ b.T)], "has no graph; use linear, rbf"),
        ([PCA(2), IsolationForest(**FOREST)], "'pca'.*without trees"),
    ],
    ids=["not novelty", "metric", "kernel", "rounding"],
)
def test_a_refusal_names_the_remedy(steps: list[Any], sentence: str) -> None:
    """A detector without a graph is refused by its name."""
    pipeline = make_pipeline(StandardScaler(), *steps).fit(X)
    with pytest.raises(ConversionError, match=sentence):
        convert(pipeline, X)


def test_the_command_converts_a_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --target, the labels in the table measure it."""
    table = pd.DataFrame(X, columns=NAMES)
    pipeline = make_pipeline(StandardScaler(), DETECTORS["forest"]).fit(table)
    joblib.dump(pipeline, tmp_path / "odd.joblib")
    table.assign(odd=pipeline.predict(table)).to_csv(tmp_path / "rows.csv", index=False)
    words = ["convert", str(tmp_path / "odd.joblib"), "--sample", str(tmp_path / "rows.csv")]
    assert main([*words, "--target", "odd", "--models", str(tmp_path / "models")]) == 0
    assert "accuracy 1.0000" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["isolation_forest", "OneClassSVM"])
def test_no_training_has_detectors(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A training fits to a target, and the refusal says how a detector is exported."""
    assert main(["train", "iris", "--classifier", word]) == 2
    assert f"{word} is fitted without a target" in capsys.readouterr().err
