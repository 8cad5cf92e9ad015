"""Composed estimators: a pipeline has the same contract, whatever estimator it is wrapped in."""

import inspect
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sessions import opened
from sklearn.base import RegressorMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OutputCodeClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators

from unpickled.export import ConversionError, inside
from unpickled.export.convert import convert
from unpickled.export.gate.answers import answers_of

X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"])
X = X.assign(note=["free text", "more of it", "none"] * 20)[["note", "a", "b"]]
Y = (X["a"] > X["b"]).to_numpy()
# The same rows for wrappers that turn every table into an array of numbers.
NUMBERS = X.assign(note=0.5).to_numpy()

# Wrappers that scikit-learn does not fit to this pipeline: they need sample weights or several targets.
UNFITTED = {"AdaBoostClassifier", "ClassifierChain", "MultiOutputClassifier"}
TRANSPARENT = {
    "BaggingClassifier",
    "CalibratedClassifierCV",
    "FixedThresholdClassifier",
    "FrozenEstimator",
    "GridSearchCV",
    "HalvingGridSearchCV",
    "HalvingRandomSearchCV",
    "OneVsOneClassifier",
    "OneVsRestClassifier",
    "OutputCodeClassifier",
    "Pipeline",
    "RandomizedSearchCV",
    "SelfTrainingClassifier",
    "StackingClassifier",
    "TunedThresholdClassifierCV",
    "VotingClassifier",
}


def columns(*chosen: str | int) -> ColumnTransformer:
    """Scales two columns and drops the note."""
    return ColumnTransformer([("scale", StandardScaler(), list(chosen))], remainder="drop")


def pipeline(rows: Any = X) -> Pipeline:
    """The pipeline that the tests wrap, fitted on ``rows``."""
    chosen = ("a", "b") if rows is X else (1, 2)
    return make_pipeline(columns(*chosen), LogisticRegression()).fit(rows, Y)


def wrappers() -> dict[str, type]:
    """Every estimator of the installed scikit-learn that holds a classifier and predicts as one."""
    kinds = {n: kind for n, kind in all_estimators() if not issubclass(kind, (RegressorMixin, SelectorMixin))}
    holding = {"estimator", "estimators", "steps"}
    composed = {n: kind for n, kind in kinds.items() if holding & {*inspect.signature(kind).parameters}}
    # IterativeImputer, which the export makes known, holds a regression.
    return {n: kind for n, kind in composed.items() if "Regressor" not in n and n != "IterativeImputer"}


def wrap(kind: type, rows: Any) -> Any:
    """The pipeline inside an estimator of this kind, fitted."""
    inner = [("inside", pipeline(rows))]
    arguments = {"estimator": inner[0][1], "estimators": inner, "steps": inner, "voting": "soft", "cv": 2}
    # With this seed the two classes differ in all of their codes.
    arguments |= {"random_state": 5, "n_iter": 1, "param_grid": {}}
    arguments |= {"param_distributions": {"logisticregression__C": [1.0]}}
    parameters = inspect.signature(kind).parameters
    return kind(**{name: value for name, value in arguments.items() if name in parameters}).fit(rows, Y)


def fitted(kind: type) -> tuple[Any, Any]:
    """The wrapped pipeline and its training rows, which have text if the wrapper takes text."""
    for rows in (X, NUMBERS):
        with suppress(ValueError, IndexError):
            return wrap(kind, rows), rows
    return None, None


def verify(outer: Any, rows: Any) -> None:
    """The contract is that of the bare pipeline, and the graph answers as ``outer`` does."""
    conversion, bare = convert(outer, rows), convert(pipeline(rows), rows)
    assert (conversion.features, conversion.inputs) == (bare.features, bare.inputs)
    session = opened(conversion.model)
    layout = conversion.layout
    labels, scores = session.run(None, layout.feeds(layout.frame(rows), conversion.inputs))
    expected = answers_of(outer, conversion, layout.own(rows))
    assert labels.tolist() == expected.labels.tolist()
    assert np.abs(scores - expected.scores).max() < 1e-6


@pytest.mark.filterwarnings("ignore::UserWarning")  # of a search with few candidates
@pytest.mark.parametrize("name", wrappers())
def test_a_wrapper_keeps_the_contract_or_is_refused_by_name(name):
    """A column that the pipeline drops is no feature of the wrapper; other wrappers are refused by name."""
    outer, rows = fitted(wrappers()[name])
    if name in TRANSPARENT:
        verify(outer, rows)
    elif name in UNFITTED:
        assert outer is None
    else:
        with pytest.raises(ConversionError, match=f"{name} cannot be converted"):
            convert(outer, rows)


@pytest.mark.parametrize(
    "outer",
    [
        FrozenEstimator(FrozenEstimator(pipeline())),
        CalibratedClassifierCV(FrozenEstimator(pipeline())),
        FrozenEstimator(GridSearchCV(pipeline(), {}, cv=2).fit(X, Y)),
        VotingClassifier([("calibrated", CalibratedClassifierCV(pipeline(), cv=2))], voting="soft"),
        StackingClassifier([("frozen", FrozenEstimator(pipeline()))], LogisticRegression(), cv="prefit"),
        make_pipeline("passthrough", pipeline()),
        make_pipeline(FrozenEstimator(columns("a", "b").fit(X)), LogisticRegression()),
        make_pipeline(make_pipeline(columns("a", "b"), "passthrough"), LogisticRegression()),
        make_pipeline(FeatureUnion([("scaled", columns("a", "b"))]), LogisticRegression()),
    ],
    ids=lambda outer: " ".join(repr(outer).split())[:60],
)
def test_wrappers_inside_wrappers_keep_the_contract(outer):
    """Nested, prefit and empty wrappers keep the contract, as do wrappers of a transformer alone."""
    verify(outer.fit(X, Y), X)


def test_a_wrapper_that_checks_the_width_of_its_rows_keeps_all_columns():
    """A bag refuses rows without the column that its classifiers drop, so clients send it."""
    table = pd.DataFrame(NUMBERS, columns=list(X.columns))
    bag = BaggingClassifier(make_pipeline(columns(1, 2), LogisticRegression()), 2).fit(table, Y)
    assert [feature.name for feature in convert(bag, table).features] == ["note", "a", "b"]


def test_a_stack_that_passes_columns_through_keeps_them_all():
    """The last classifier of a stack computes with the columns that the others drop."""
    table = pd.DataFrame(NUMBERS, columns=list(X.columns))
    inner = make_pipeline(columns("a", "b"), LogisticRegression())
    stack = StackingClassifier([("inner", inner)], LogisticRegression(), passthrough=True, cv=2).fit(table, Y)
    assert [feature.name for feature in convert(stack, table).features] == ["note", "a", "b"]


def test_every_estimator_inside_is_visited():
    """Transformers and classifiers are visited in the order that rows reach them."""
    search = GridSearchCV(pipeline(), {}, cv=2).fit(X, Y)
    visited = [type(estimator) for estimator in inside.everything(FrozenEstimator(search))]
    assert visited[:4] == [FrozenEstimator, GridSearchCV, Pipeline, ColumnTransformer]
    assert visited[4:] == [StandardScaler, LogisticRegression]
    assert [type(leaf) for leaf in inside.innermost(search)] == [LogisticRegression]


def test_codes_that_are_alike_keep_all_columns():
    """An output code with a question that all classes answer alike checks the names of its columns."""
    code = OutputCodeClassifier(pipeline(), random_state=0).fit(X, Y)
    assert [feature.name for feature in convert(code, X).features] == ["note", "a", "b"]
