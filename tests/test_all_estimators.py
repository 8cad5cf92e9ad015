"""A sweep over all estimators of scikit-learn: each answers as its pipeline, or is refused by its name."""

import re
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from estimators import (
    CLASSIFIERS,
    NO_STEPS,
    OUTLIERS,
    REGRESSORS,
    TIED,
    TRANSFORMERS,
    TWO_CLASSES,
    UNSUITED,
    Case,
    classifier,
    outlier,
    regressor,
    transformer,
    wrong,
)

from unpickled.export import ExportError
from unpickled.export.refusals import BEFORE, REFUSED

sys.path.insert(0, str(ROOT / "docs"))

from generated import converters, outliers, regressors

TABLES = ("three numbers", "two texts and a constant", "a few rows")
KNOWN = CLASSIFIERS | REGRESSORS | OUTLIERS | TRANSFORMERS
# Estimators of other libraries, each of which has a converter for all of its own.
BOOSTERS = {
    f"{library}{kind}" for library in ("CatBoost", "LGBM", "XGB") for kind in ("Classifier", "Regressor")
}
# Composed estimators, which are part of the export itself.
COMPOSED = {"ColumnTransformer", "FeatureUnion", "SelfTrainingClassifier"}


def judged(case: Case, name: str, is_refused: bool, models: Path) -> None:
    """Assert that a pipeline is refused with name and remedy, or that no row is answered wrongly."""
    if not is_refused:
        assert wrong(case, models) == 0
        return
    with pytest.raises(ExportError) as caught:
        wrong(case, models)
    assert re.search(rf"\(?sklearn\.[a-z_.]+\.{name}\)? cannot be converted", str(caught.value))
    assert REFUSED[name].remedy in str(caught.value)
    assert REFUSED[name].reason in str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_is_right_or_refused(name: str, of: str, tmp_path: Path) -> None:
    """Behind a scaler: held-out rows, extremes, one row alone; labels are numbers or texts."""
    if (name in TWO_CLASSES and of != TABLES[1]) or (name, of) in UNSUITED:
        return
    is_refused = name in REFUSED and not REFUSED[name].when
    judged(classifier(name, of), name, is_refused, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize("name", REGRESSORS)
def test_every_regressor_is_right_or_refused(name: str, of: str, tmp_path: Path) -> None:
    """Behind a scaler: held-out rows, extremes, one row alone; of one target or two."""
    if (name, of) in TIED:
        return
    judged(regressor(name, of), name, name in REFUSED and not REFUSED[name].when, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("of", TABLES)
@pytest.mark.parametrize("name", OUTLIERS)
def test_every_outlier_detector_is_right(name: str, of: str, tmp_path: Path) -> None:
    """Behind a scaler: held-out rows, extremes, one row alone."""
    if (name, of) in UNSUITED:
        return
    assert wrong(outlier(name, of), tmp_path) == 0


@pytest.mark.long
@pytest.mark.parametrize("of", TABLES[:2])
@pytest.mark.parametrize("name", sorted(TRANSFORMERS.keys() - NO_STEPS))
def test_every_transformer_is_right_or_refused(name: str, of: str, tmp_path: Path) -> None:
    """Before a logistic regression: held-out rows, extremes, one row alone."""
    if (name, of) in UNSUITED:
        return
    judged(transformer(name, of), name, name in REFUSED and REFUSED[name].when in ("", BEFORE), tmp_path)


@pytest.mark.parametrize("name", sorted(NO_STEPS))
def test_scikit_learn_itself_refuses_what_is_no_step(name: str) -> None:
    """The transformers that the sweep leaves out cannot be fitted in front of a classifier."""
    with pytest.raises((TypeError, ValueError)):
        transformer(name, TABLES[0])


@pytest.mark.parametrize("name", ["SVC", "NuSVC"])
def test_probabilities_of_support_vectors_are_refused(name: str, tmp_path: Path) -> None:
    """The condition of a refusal is what the export refuses."""
    case = classifier(name, TABLES[0])
    case.pipeline[-1].probability = True
    assert REFUSED[name].when == "with `probability=True`"
    judged(case, name, True, tmp_path)


def test_the_documentation_lists_every_estimator_once() -> None:
    """Every estimator has a converter or a refusal; those with both convert but for one case."""
    converting = set(re.findall(r"`(\w+)`", converters() + regressors() + outliers())) | COMPOSED
    sometimes = {name for name, refusal in REFUSED.items() if refusal.when}
    listed = KNOWN.keys() - (NO_STEPS - REGRESSORS.keys())
    assert listed == (converting | REFUSED.keys()) & listed
    assert converting & REFUSED.keys() == sometimes


def test_every_alternative_converts() -> None:
    """The estimators that refusals advise are among those with a converter."""
    converting = set(re.findall(r"`(\w+)`", converters() + regressors() + outliers())) | COMPOSED | BOOSTERS
    for name, refusal in REFUSED.items():
        advised = re.findall(r"\b(?:[A-Z]\w*[a-z]\w*|PCA|SVC)\b", refusal.remedy)
        assert set(advised) <= converting, name
