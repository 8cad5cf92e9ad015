"""Judging drift: the measures against hand-computed and scipy's values, the alarms, and the report."""

import json
import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from handmade import MANIFEST
from msgspec.structs import replace
from scipy import stats

from unpickled.server.artifact.manifest import Feature, Input, Notation
from unpickled.server.artifact.reference import Reference, Spread
from unpickled.server.drift import chance
from unpickled.server.drift.binning import Binning
from unpickled.server.drift.judgement import ENOUGH, LEVEL, distances, judge
from unpickled.server.drift.labels import labels
from unpickled.server.drift.picture import page, picture
from unpickled.server.drift.report import Drift
from unpickled.server.errors import ServingError

NUMBER = Feature(name="x", kind="number", missing=True, minimum=-5.0, maximum=5.0)
TEXT = Feature(name="city", kind="category", missing=True, categories=("Bonn", "Köln", "Trier", "Ulm"))
CITIES = Spread(name="city", counts=(500, 300, 200), categories=("Bonn", "Köln"))
TENTHS = Spread(name="x", counts=(100,) * 10, bounds=tuple(range(-4, 5)))
HALVES = Spread(name="prediction", counts=(500, 500, 0), categories=("negative", "positive"))


def binning(*features, spreads=(TENTHS,), prediction=HALVES, rows=1000):
    """The cells of a classifier with these features and this reference."""
    features = features or (NUMBER,)
    dtypes = {"number": "float64", "category": "string"}
    inputs = tuple(Input(name=f.name, dtype=dtypes[f.kind], features=(f.name,)) for f in features)
    reference = Reference(rows=rows, features=spreads, predictions=(prediction,))
    return Binning(replace(MANIFEST, features=features, inputs=inputs, reference=reference))


def judged(cells, missing=0, outside=0, predicted=None, of=None):
    """The judgement of these counts, with as many negative predictions as positive ones if not given."""
    rows = sum(cells) + missing
    predicted = predicted or (rows / 2, rows / 2, 0)
    return judge(3, of or binning(), np.array([rows, *cells, missing, outside, *predicted], np.float64))


def test_by_hand():
    """PSI, Jensen-Shannon and chi-squared of 50 : 50 against 60 : 40 of a hundred."""
    found = distances([50, 50], [60, 40], LEVEL)
    # Half a row for each cell, spread as both samples together are: 55 : 45.
    before, after = (50 + 0.55) / 101, (60 + 0.55) / 101
    psi = (after - before) * (math.log(after / before) - math.log((1 - after) / (1 - before)))
    assert found.psi == pytest.approx(psi, rel=1e-12)
    assert found.psi == pytest.approx(0.0397, abs=1e-4)
    bits = [0.5 * math.log2(0.5 / 0.55), 0.5 * math.log2(0.5 / 0.45)]
    bits += [0.6 * math.log2(0.6 / 0.55), 0.4 * math.log2(0.4 / 0.45)]
    assert found.jensen_shannon == pytest.approx(sum(bits) / 2, rel=1e-12)
    assert found.chi_squared == pytest.approx(5**2 * 2 * (1 / 55 + 1 / 45), rel=1e-12)
    assert found.p_value == pytest.approx(stats.chi2.sf(found.chi_squared, 1), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_against_scipy(seed):
    """The statistic and its p-value are those of scipy's test of a table of two rows."""
    rng = np.random.default_rng(seed)
    trained, now = rng.integers(10, 200, 9), rng.integers(10, 300, 9)
    found, expected = distances(trained.tolist(), now.tolist(), LEVEL), stats.chi2_contingency([trained, now])
    assert found.chi_squared == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert found.by_chance == pytest.approx(
        stats.chi2.isf(LEVEL, 8) * (1 / trained.sum() + 1 / now.sum()), rel=1e-10
    )


@pytest.mark.parametrize("degrees", [1, 2, 3, 8, 9, 20, 101])
def test_chi_squared(degrees):
    """The tail and the quantile agree with scipy to twelve digits."""
    for statistic in (0.01, 1.0, 10.0, 27.9, 100.0, 500.0):
        expected = stats.chi2.sf(statistic, degrees)
        assert chance.chi_squared_tail(statistic, degrees) == pytest.approx(expected, rel=1e-12)
    for level in (1e-2, 1e-3, 1e-5, 1e-8):
        expected = stats.chi2.isf(level, degrees)
        assert chance.chi_squared_quantile(level, degrees) == pytest.approx(expected, rel=1e-12)
    assert (chance.chi_squared_tail(0.0, degrees), chance.chi_squared_tail(1e9, degrees)) == (1.0, 0.0)


@pytest.mark.parametrize("trials", [1, 7, 300, 20_000, 10_000_000])
def test_binomial(trials):
    """Both tails agree with scipy to six digits, from a few trials to millions."""
    for share in (1e-6, 0.01, 0.5, 0.97):
        middle, width = trials * share, math.sqrt(trials * share * (1 - share))
        for successes in {round(min(max(middle + d * width, 0), trials)) for d in (-4, -1, 0, 1, 4)}:
            below, above = chance.at_most(successes, trials, share), chance.at_least(successes, trials, share)
            assert below == pytest.approx(stats.binom.cdf(successes, trials, share), rel=1e-6)
            assert above == pytest.approx(stats.binom.sf(successes - 1, trials, share), rel=1e-6)


@pytest.mark.parametrize("rows", [8, 300, 20_000, 5_000_000])
def test_hypergeometric(rows):
    """A surplus of marked rows among those drawn has the chance that scipy finds; a deficit counts as 1."""
    for marked, drawn in ((rows // 2, rows // 4), (rows // 8, rows // 2), (rows - 1, rows // 2)):
        spread = stats.hypergeom(rows, marked, drawn)
        for surplus in (0.5, 2, 5):
            found = int(min(spread.mean() + surplus * spread.std() + 1, marked, drawn))
            expected = spread.sf(found - 1)
            assert chance.drawn_at_least(found, drawn, marked, rows) == pytest.approx(expected, rel=1e-6)
        assert chance.drawn_at_least(int(spread.mean()), drawn, marked, rows) == 1.0


@pytest.mark.parametrize("degrees", [1, 2, 29, 99, 1000, 3_000_000])
def test_student(degrees):
    for statistic in (0.01, 1.0, 3.3, 6.0):
        expected = stats.t.sf(statistic, degrees)
        assert chance.student_tail(statistic, degrees) == pytest.approx(expected, rel=1e-4)


def test_equal_shares():
    """Equal shares are 0 apart, whatever the sizes of the samples, and empty cells change nothing."""
    found = distances([10, 20, 30, 0], [1000, 2000, 3000, 0], LEVEL)
    assert found[:4] == pytest.approx((0, 0, 0, 1), abs=1e-12)


def test_an_empty_cell_is_finite():
    """A cell without rows on one side gives finite measures, and far-off samples are one bit apart."""
    found = distances([100, 100], [600, 0], LEVEL)
    assert all(map(math.isfinite, found))
    apart = distances([100, 0], [0, 100], LEVEL)
    assert apart.jensen_shannon == pytest.approx(1.0)
    assert distances([100, 100], [1, 1], LEVEL) is None


def test_smoothing_makes_nothing_larger():
    """The smoothed index is at most the plain one, where that is finite."""
    rng = np.random.default_rng(1)
    for _ in range(100):
        trained, now = rng.integers(10, 100, 6), rng.integers(10, 100, 6)
        before, after = trained / trained.sum(), now / now.sum()
        plain = ((after - before) * np.log(after / before)).sum()
        assert distances(trained.tolist(), now.tolist(), LEVEL).psi <= plain


def test_the_same_rows():
    """Rows like those of training are no alarm; every measure is there."""
    found = judged([100] * 10)
    assert (found.version, found.rows, found.trained, found.judged, found.drifted) == (
        3,
        1000,
        1000,
        True,
        False,
    )
    [feature] = found.features
    assert feature.reasons == ()
    assert (feature.psi, feature.p_value, feature.threshold) == (0.0, pytest.approx(1.0), 0.1)
    assert [cell.now for cell in feature.bins] == [0.1] * 10
    assert found.sentence == "1,000 rows, compared with 1,000 of training: nothing has drifted"


def test_a_shift():
    """Values that moved are an alarm that says by how much."""
    found = judged([50, 60, 70, 80, 90, 100, 110, 120, 140, 180])
    [feature] = found.features
    assert (found.drifted, feature.drifted, feature.psi > 0.1, feature.p_value < 1e-6) == (True,) * 4
    assert feature.reasons == (f"the values lie elsewhere: PSI {feature.psi:.2f}, above 0.10",)
    assert found.sentence.endswith("x has drifted")
    assert found.predictions[0].drifted is False


def test_few_rows_are_not_judged():
    """Below 500 rows nothing is an alarm, however far it moved; the note says so."""
    for rows, drifted in ((ENOUGH - 1, False), (ENOUGH, True)):
        found = judged([rows, *[0] * 9], outside=rows)
        assert (found.judged, found.drifted) == (drifted, drifted)
        assert bool(found.note) != drifted
        assert found.features[0].psi > 1


def test_no_rows():
    """A window without rows has no measures, and no number that JSON does not have."""
    found = judged([0] * 10)
    [feature] = found.features
    assert (found.rows, feature.psi, feature.missing.now, feature.bins[0].now) == (0, None, None, None)
    assert "NaN" not in msgspec.json.encode(found).decode()


def test_a_small_reference_raises_the_threshold():
    """A hundred training rows are a sample too: PSI has to be above what both samples have by chance."""
    spread = replace(TENTHS, counts=(10,) * 10)
    of = binning(spreads=(spread,), prediction=replace(HALVES, counts=(50, 50, 0)), rows=100)
    [feature] = judged([60, 70, 80, 90, 100, 100, 110, 120, 130, 140], of=of).features
    level = LEVEL / 4
    assert feature.threshold == pytest.approx(stats.chi2.isf(level, 9) * (1 / 100 + 1 / 1000))
    assert not feature.drifted


@pytest.mark.parametrize(("trained", "now", "drifted"), [
    (0, 5, False), (0, 30, True), (50, 70, False), (50, 110, True), (200, 100, True), (10, 0, False),
])  # fmt: skip
def test_missing(trained, now, drifted):
    """The share without a value is an alarm if it moves by more than a point and chance."""
    spread = replace(
        TENTHS, counts=(100,) * 9 + (100 - trained,) if trained < 100 else (80,) * 10, missing=trained
    )
    found = judged([(1000 - now) / 10] * 10, missing=now, of=binning(spreads=(spread,)))
    [feature] = found.features
    assert (feature.missing.reference, feature.missing.now) == (trained / 1000, now / 1000)
    assert feature.missing.drifted == drifted
    assert any("without a value" in reason for reason in feature.reasons) == drifted


@pytest.mark.parametrize(("now", "drifted"), [(1, False), (9, False), (30, True)])
def test_outside(now, drifted):
    """Rows outside the training range are an alarm from about a hundredth of the rows on."""
    [feature] = judged([100] * 10, outside=now).features
    assert (feature.outside.now, feature.outside.drifted) == (now / 1000, drifted)
    assert feature.drifted == drifted


def test_outside_by_chance():
    """The chance of rows beyond the outermost training rows is what drawing both samples gives."""
    rng, trained, now, most = np.random.default_rng(0), 300, 400, 8
    draws = rng.random((20_000, trained + now))
    low, high = draws[:, :trained].min(axis=1), draws[:, :trained].max(axis=1)
    beyond = ((draws[:, trained:] < low[:, None]) | (draws[:, trained:] > high[:, None])).sum(axis=1)
    expected = chance.at_most(1, 1 + most, trained / (trained + now))
    assert (beyond >= most).mean() == pytest.approx(expected, rel=0.1)


def test_categories():
    """Unknown categories are an alarm of their own; they count among the others as well."""
    of = binning(TEXT, spreads=(CITIES,))
    same, moved = judged([500, 300, 200], of=of), judged([200, 300, 500], of=of)
    assert (same.drifted, moved.drifted) == (False, True)
    [feature] = judged([480, 290, 230], outside=40, of=of).features
    assert feature.reasons == (
        "4.0% of the rows are of a category that training does not know, 0.0% in training",
    )
    assert [cell.label for cell in feature.bins] == ["Bonn", "Köln", "all others"]
    rare = binning(TEXT, spreads=(replace(CITIES, unseen=40),))
    assert not judged([480, 290, 230], outside=40, of=rare).drifted


def test_predictions():
    """The shares of predicted classes are judged too, those that training never predicted among them."""
    assert judged([100] * 10, predicted=(700, 300, 0)).predictions[0].drifted
    [prediction] = judged([100] * 10, predicted=(480, 480, 40)).predictions
    assert (prediction.name, prediction.kind, prediction.drifted) == ("prediction", "class", True)
    assert (prediction.missing, prediction.outside) == (None, None)


def test_one_value_of_a_billion_hides_nothing():
    """A single outlier lies in the last cell: a shift is found with it as without it."""
    rng, of = np.random.default_rng(5), binning()
    values = rng.uniform(-4.0, 6.0, 1000)
    values[0] = 1e9
    counts = of.count([(value,) for value in values.tolist()], [0, 1] * 500, np.zeros((1000, 2)))
    found = judge(1, of, counts)
    assert (found.features[0].drifted, max(found.features[0].psi, 1)) == (True, 1)


def test_no_reference():
    """A version of an older file says what to do."""
    of = Binning(replace(MANIFEST, reference=None))
    found = judge(2, of, np.array([5000.0]))
    assert (found.rows, found.judged, found.features) == (5000, False, ())
    assert "export it again" in found.note


def test_labels():
    """Cells of numbers, truth values and dates are named as a person would."""
    spread = replace(TENTHS, counts=(500, 500), bounds=(0.0,))
    features = {
        "number": (NUMBER, ("up to 0", "above 0")),
        "boolean": (replace(NUMBER, boolean=True), ("false", "true")),
        "date": (
            replace(NUMBER, notation=Notation(date="day first")),
            ("up to 1970-01-01", "above 1970-01-01"),
        ),
    }
    for kind, (feature, texts) in features.items():
        [part] = binning(feature, spreads=(spread,)).features
        assert tuple(label.text for label in labels(part)) == texts
        assert judged([500, 500], of=binning(feature, spreads=(spread,))).features[0].kind == kind
    [part] = binning().features
    assert [(label.lower, label.upper) for label in labels(part)] == [*pairwise([None, *range(-4, 5), None])]


@pytest.fixture
def told():
    """A report with an alarm, and one with names that are hostile to HTML."""
    feature = replace(NUMBER, name="<b>x & y</b>")
    version = judged([0] * 9 + [1000], of=binning(feature, spreads=(replace(TENTHS, name=feature.name),)))
    return Drift(
        model="<script>",
        window="1h",
        since="2026-01-01",
        until="2026-01-02",
        complete=True,
        versions=(version,),
    )


def test_the_report_survives_json(told):
    """A report is read back as it was written, whole numbers included; another document is refused."""
    assert Drift.read(msgspec.json.encode(told)) == told
    for body in (b"", b"{}", b"[]", b"<html>"):
        with pytest.raises(ServingError, match="no report about drift"):
            Drift.read(body)


def test_a_prediction_is_told_from_the_features(told):
    """A regressor's has the name of its target; times and reasons are written for people."""
    [version] = told.versions
    one = replace(version.features[0], name="size")
    both = replace(version, features=(replace(one, name="age"),), predictions=(one,))
    text = page(replace(told, versions=(both,), note="counting began 2026-11-30T00:02:41+00:00"))
    assert "<h3>prediction: size</h3>" in text
    assert "<h3>age</h3>" in text
    assert "<p>Counting began 2026-11-30 00:02 UTC.</p>" in text
    assert '<p class="reason">The values lie elsewhere: ' in text


def test_the_page(told):
    """The page has no script, no name that is HTML, and a bar for each cell with rows."""
    text = page(told)
    assert "<script" not in text
    assert "<b>x" not in text
    assert "&lt;b&gt;x &amp; y&lt;/b&gt;" in text
    drawn = picture(told.versions[0].features[0])
    assert drawn.count('class="now"') == drawn.count(" / 10.0%</text>") == 10
    assert text.count('class="swatch') == 3
    assert 'class="drifted moved"' in text
    assert json.loads(msgspec.json.encode(told))["versions"][0]["features"][0]["drifted"] is True
