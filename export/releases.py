"""The releases of scikit-learn beside which the export works, and what differs between them.

No other module asks for scikit-learn's version. A fitted estimator is asked for its own attributes where they
tell the difference.
"""

import inspect
import re
import sys
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import sklearn
import sklearn.utils
from sklearn.base import is_classifier, is_outlier_detector, is_regressor
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import MaxAbsScaler

try:
    from sklearn.frozen import FrozenEstimator
except ModuleNotFoundError:

    class FrozenEstimator:  # type: ignore[no-redef]
        """A name for the class that scikit-learn has since 1.6: nothing is an instance of this one."""


def of(version: str) -> str:
    """The release of a version: 1.9 for 1.9.1 and for 1.9rc1."""
    return ".".join(re.findall(r"\d+", version)[:2])


# Those that setup.cfg allows. Each is tested in an environment of its own.
SUPPORTED = ("1.5", "1.6", "1.7", "1.8", "1.9")
INSTALLED = of(sklearn.__version__)
# The last Python, 3.x, for which pip finds a built package: of a release, or of a version of it.
LAST_PYTHON = {"1.5": 13, "1.5.0": 12, "1.5.1": 12, "1.6": 13, "1.7": 14, "1.7.0": 13, "1.7.1": 13}

__all__ = [
    "ADA_BOOST",
    "INSTALLED",
    "LAST_PYTHON",
    "LOGISTIC_CV",
    "STANDARD_ROUNDS",
    "SUPPORTED",
    "FrozenEstimator",
    "answers",
    "clips",
    "coupling",
    "is_real",
    "of",
    "python_for",
    "real_votes",
    "requirement",
    "takes_nan",
]


def python_for(version: str) -> str:
    """The Python to install a version of scikit-learn with: this one, or the last one that has it."""
    last = LAST_PYTHON.get(version, LAST_PYTHON.get(of(version), sys.version_info.minor))
    return sys.executable if sys.version_info.minor <= last else f"python3.{last}"


def requirement(version: str) -> str:
    """The requirement that pip installs it by. Early versions such as 1.6rc1 stand for their release."""
    final = version.replace(".", "").isdigit()
    return f"scikit-learn=={version}" if final else f"scikit-learn=={of(version)}.*"


# Since 1.8, a LogisticRegressionCV without these warns that their defaults will change.
LOGISTIC_CV: dict[str, Any] = (
    {"l1_ratios": (0.0,), "use_legacy_attributes": False}
    if "use_legacy_attributes" in inspect.signature(LogisticRegressionCV).parameters
    else {}
)


# The default of 1.5, SAMME.R, warns that it will go.
ADA_BOOST: dict[str, Any] = {"algorithm": "SAMME"} if INSTALLED == "1.5" else {}
# Since 1.8, StandardScaler rounds its mean and scale to the type of the rows before it computes with them.
STANDARD_ROUNDS = INSTALLED not in ("1.5", "1.6", "1.7")


def clips(scaler: MaxAbsScaler) -> bool:
    """Whether it clips to [-1, 1], which it may since 1.8."""
    return bool(getattr(scaler, "clip", False))


def coupling(model: LogisticRegression) -> Literal["softmax", "two-sided", "one against the rest"]:
    """How a logistic regression makes probabilities of its decisions.

    The softmax of them, or that of [-d, d] for the decision d of two classes, or the logistic function of
    each, divided by their sum. Since 1.8, only the first is left.
    """
    kind = getattr(model, "multi_class", "multinomial" if len(model.classes_) > 2 else "auto")
    if kind == "multinomial":
        return "softmax" if len(model.classes_) > 2 else "two-sided"
    alone = ("liblinear", "newton-cholesky") if INSTALLED == "1.5" else ("liblinear",)
    is_alone = kind in ("ovr", "warn") or model.solver in alone
    return "one against the rest" if is_alone and len(model.classes_) > 2 else "softmax"


def is_real(model: AdaBoostClassifier) -> bool:
    """Whether its trees vote with their probabilities (SAMME.R), which was the default up to 1.5."""
    return getattr(model, "algorithm", "") == "SAMME.R"


def real_votes(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(nodes, classes): the votes of a tree in SAMME.R, of its probabilities (nodes, classes)."""
    logs = np.log(np.maximum(probabilities, np.finfo(np.float64).eps))
    votes: npt.NDArray[np.float64] = (logs.shape[1] - 1) * (logs - logs.mean(axis=1, keepdims=True))
    return votes


def takes_nan(estimator: Any) -> bool:
    """Whether an estimator says that it takes missing numbers."""
    if hasattr(sklearn.utils, "get_tags"):
        return bool(sklearn.utils.get_tags(estimator).input_tags.allow_nan)
    return bool(estimator._get_tags()["allow_nan"])  # 1.5


def answers(estimator: Any) -> bool:
    """Whether it says that it classifies, predicts numbers or detects outliers, as this release asks for it.

    Since 1.6 that are tags, without which an estimator of another library is nothing of these, or fails.
    """
    try:
        return any(kind(estimator) for kind in (is_classifier, is_regressor, is_outlier_detector))
    except AttributeError:
        return False
