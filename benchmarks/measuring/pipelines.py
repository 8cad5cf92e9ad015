"""The fitted pipelines of a run: as pickles, as ONNX files, and with scikit-learn's own answers."""

import csv
import importlib.util
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.errors import BenchmarkError, last_line

Rows = list[list[float]]
Floats = npt.NDArray[np.float64]

ROOT = Path(__file__).parent.parent.parent
SAMPLE_ROWS = 10_000


@dataclass(frozen=True)
class Recipe:
    """A pipeline to fit: ``data`` is a data set of scikit-learn, ``decimals`` those of its numbers.

    ``make`` makes the unfitted estimator, a classifier or a regressor, of ``library``.
    """

    data: str
    estimator: str
    decimals: int
    make: Callable[[], Any]
    library: str = "sklearn"

    @property
    def is_missing(self) -> bool:
        """Whether its library is not installed."""
        return importlib.util.find_spec(self.library) is None


def logistic() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


def _forest() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, random_state=0)


def _boosting() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=0)


def _mlp() -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(max_iter=1000, random_state=0)


def _ridge() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge()


def _lightgbm() -> Any:
    from lightgbm import LGBMClassifier

    # One thread, as one row is no work for more.
    return LGBMClassifier(n_jobs=1, random_state=0, verbosity=-1)


RECIPES = {
    "iris": Recipe("iris", "logistic regression", 1, logistic),
    "forest": Recipe("breast_cancer", "random forest of 100 trees", 4, _forest),
    "boosting": Recipe("breast_cancer", "hist gradient boosting", 4, _boosting),
    "mlp": Recipe("digits", "multi-layer perceptron", 0, _mlp),
    "diabetes": Recipe("diabetes", "ridge regression", 4, _ridge),
    "lightgbm": Recipe("breast_cancer", "LightGBM", 4, _lightgbm, "lightgbm"),
}


@dataclass(frozen=True)
class Fitted:
    """One pipeline on disk. ``models`` is the folder that Unpickled serves; ``sample`` is for Locust.

    ``labels`` are scikit-learn's own answers to ``rows``: of a regressor, which has no ``classes`` and no
    ``probabilities`` (rows x classes), the predicted numbers.
    """

    name: str
    recipe: Recipe
    pickle: Path
    models: Path
    sample: Path
    features: list[str]
    classes: list[int]
    rows: Rows
    labels: list[Any]
    probabilities: list[list[float]]

    @property
    def onnx(self) -> Path:
        return self.models / "model" / "1" / "model.onnx"

    @property
    def title(self) -> str:
        return f"{self.recipe.estimator} on {self.recipe.data.replace('_', ' ')}"


def fit(name: str, folder: Path, recipe: Recipe | None = None) -> Fitted:
    """Fit a recipe (that of RECIPES by default), save it in ``folder``, and export it as a user would."""
    from sklearn import datasets
    from sklearn.base import is_classifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    recipe = recipe or RECIPES[name]
    data = getattr(datasets, f"load_{recipe.data}")()
    pipeline = make_pipeline(StandardScaler(), recipe.make()).fit(data.data, data.target)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pipeline.pickle").write_bytes(pickle.dumps(pipeline))
    features = [str(feature).split(" (")[0].replace(" ", "_") for feature in data.feature_names]
    _export(folder, features, data.data)
    rows = _made_up(data.data, recipe.decimals)
    classes = pipeline.classes_.tolist() if is_classifier(pipeline) else []
    fitted = Fitted(
        name,
        recipe,
        folder / "pipeline.pickle",
        folder / "models",
        folder / "sample.json",
        features,
        classes,
        rows.tolist(),
        pipeline.predict(rows).tolist(),
        pipeline.predict_proba(rows).tolist() if classes else [],
    )
    _write_sample(fitted)
    return fitted


def _made_up(rows: Floats, decimals: int) -> Floats:
    """Different rows within the training ranges, in numbers as long as the data's own."""
    rng = np.random.default_rng(0)
    rows_within: Floats = rng.uniform(rows.min(0), rows.max(0), (SAMPLE_ROWS, rows.shape[1])).round(decimals)
    return rows_within


def _export(folder: Path, features: list[str], rows: Floats) -> None:
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(features)
        writer.writerows(rows.tolist())
    command = [sys.executable, "-m", "unpickled", "convert", str(folder / "pipeline.pickle")]
    command += ["--name", "model", "--sample", str(folder / "rows.csv"), "--models", str(folder / "models")]
    process = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if process.returncode:
        raise BenchmarkError(f"the export failed: {last_line(process.stderr)}")


def _write_sample(fitted: Fitted) -> None:
    document = {
        "model": fitted.name,
        "features": fitted.features,
        "classes": fitted.classes,
        "rows": fitted.rows,
        "labels": fitted.labels,
        "probabilities": fitted.probabilities,
    }
    fitted.sample.write_text(json.dumps(document), "utf-8")
