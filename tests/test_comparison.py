"""A version beside an earlier one on the same rows: figures, intervals, verdict, refusals."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace
from scipy.stats import binomtest, norm
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from unpickled.__main__ import main
from unpickled.export import DataError, Export, export_pipeline, slices
from unpickled.export.comparison import fit, paired
from unpickled.export.comparison.against import Against
from unpickled.export.comparison.compare import compare
from unpickled.export.comparison.contrasts import areas
from unpickled.export.comparison.earlier import Earlier, newest
from unpickled.export.comparison.paired import Pair, Quotient
from unpickled.export.comparison.verdict import verdict
from unpickled.export.labelled import Labelled
from unpickled.server.artifact.card import Measured
from unpickled.server.artifact.comparison import headline, sentence
from unpickled.server.card.comparison import mirrored, section
from unpickled.server.model.session import load

# Rows of the table that a version is fitted on; the others are held out.
FITTED = 400
SAME = "no difference that these rows show"


def table(rows: int = 1_200) -> tuple[pd.DataFrame, np.ndarray]:
    """Two numbers and a town: yes where their sum is above 0, in Trier their difference, but for noise."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows)})
    town = rng.choice(np.array(["Bonn", "Trier"], object), rows, p=[0.7, 0.3])
    score = frame["a"] + np.where(town == "Trier", -1, 1) * frame["b"] + rng.normal(scale=0.5, size=rows)
    return frame.assign(town=town), np.where(score > 0, "yes", "no")


def reading(*columns: str, estimator=None) -> Pipeline:
    """An unfitted pipeline of some of the columns, which sees how the town and the numbers go together."""
    numbers = [name for name in columns if name != "town"]
    texts = [("texts", OneHotEncoder(), ["town"])] if "town" in columns else []
    prepared = ColumnTransformer([("numbers", StandardScaler(), numbers), *texts], sparse_threshold=0.0)
    return make_pipeline(prepared, PolynomialFeatures(2), estimator or LogisticRegression())


def written(folder: Path, pipeline: Pipeline, frame: pd.DataFrame, truth: np.ndarray) -> Earlier:
    """The next version of the model "m", fitted on the first rows; the targets of a frame have names."""
    rows, answers = frame[:FITTED], truth[:FITTED]
    named = answers if isinstance(truth, pd.DataFrame) else None
    export = export_pipeline(pipeline.fit(rows, answers), rows, named, name="m", models=folder)
    return Earlier.opened(folder / "m", export.version)


def held_out(frame: pd.DataFrame, truth: np.ndarray) -> Labelled:
    return Labelled(frame[FITTED:], truth[FITTED:], held_out=True)


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Four versions of "m": one reads a, one a and b, one all, one all without probabilities; and rows."""
    folder, (frame, truth) = tmp_path_factory.mktemp("models"), table()
    pipelines = (
        reading("a"),
        reading("a", "b"),
        reading("a", "b", "town"),
        reading("a", "b", "town", estimator=LinearSVC()),
    )
    of_a, of_both, of_all, without = (written(folder, each, frame, truth) for each in pipelines)
    rows = held_out(frame, truth)
    return SimpleNamespace(of_a=of_a, of_both=of_both, of_all=of_all, without=without, rows=rows, path=folder)


def test_mcnemar_is_the_exact_test_of_a_coin():
    """The chance of so uneven a count is that of scipy's binomial test, and 1 where no row tells."""
    for only_this, only_other in ((6, 16), (0, 5), (7, 7), (812, 900), (1, 0)):
        exact = binomtest(only_this, only_this + only_other, 0.5).pvalue
        assert paired.mcnemar(only_this, only_other) == pytest.approx(exact, rel=1e-9)
    assert paired.mcnemar(0, 0) == 1.0


def test_intervals_hold_the_true_difference():
    """The interval of a mean and that of an area hold the truth in 92% of 300 samples of 40 rows at least."""
    rng, inside, held = np.random.default_rng(0), np.arange(40) < 16, np.zeros(2)
    truth = (-0.2, norm.cdf(1 / np.sqrt(2)) - norm.cdf(0.5 / np.sqrt(2)))
    for seed in range(300):
        scores = rng.normal(size=(2, 40)) + inside * np.array([[1.0], [0.5]])
        losses = rng.exponential(size=(2, 40)) * np.array([[1.0], [1.2]])
        pairs = [Pair(*map(Quotient, losses)), Pair(*(Quotient(areas(each, inside)) for each in scores))]
        for place, drawn in enumerate(paired.differences(pairs, seed).T):
            found = paired.interval(pairs[place].difference, drawn, 40)
            held[place] += found.lowest <= truth[place] <= found.highest
    assert (held / 300 >= 0.92).all(), held


def test_a_few_rows_that_make_up_a_difference_may_be_chance():
    """A coin throws four rows to one side in one of eight cases, of which drawings of rows see nothing."""
    apart = np.where(np.arange(100) < 4, 36.0, 0.0)
    [drawn] = paired.differences([Pair(Quotient(apart), Quotient(np.zeros(100)))]).T
    assert paired.interval(apart.mean(), drawn, 100).lowest > 0
    assert paired.chance(apart) == pytest.approx(1 / 8, abs=0.03)
    assert paired.mcnemar(4, 0) == pytest.approx(1 / 8)
    assert paired.coin(4, 0, 100)[0] < 0 < paired.coin(6, 0, 100)[0]
    assert paired.coin(0, 4, 100) == pytest.approx([-each for each in paired.coin(4, 0, 100)[::-1]])


def test_accuracy_has_the_last_word(versions):
    """A better log loss is no difference if the accuracy is worse, both beyond chance."""
    found = compare(versions.of_all.model, versions.of_a, versions.rows)
    accuracy, loss, *others = found.contrasts
    fewer = replace(accuracy, difference=Measured(value=-0.1, lowest=-0.2, highest=-0.05))
    equal = replace(accuracy, difference=Measured(value=-0.1, lowest=-0.2, highest=0.05))
    assert verdict(replace(found, contrasts=(fewer, loss, *others))) == SAME
    assert verdict(replace(found, contrasts=(equal, loss, *others))) == "better"
    assert verdict(replace(found, loss_chance=0.06)) == SAME


def test_slices_are_judged_together():
    """By Holm, the smallest of four chances has to be below a quarter of 5%, the next below a third."""
    for chances, beyond in (
        ([0.02, 0.2, 0.012, 0.016], [True, False, True, True]),
        ([0.02, 0.2, 0.03, 0.013], [False] * 4),
        ([], []),
    ):
        assert slices.beyond_chance(np.array(chances, np.float64)).tolist() == beyond


def test_a_version_beside_itself_shows_no_difference(versions):
    """Equal answers have differences of exactly 0, and chance explains them."""
    found = compare(versions.of_all.model, versions.of_all, versions.rows)
    ends = {(each.difference.lowest, each.difference.highest) for each in found.contrasts}
    assert ends == {(0.0, 0.0)}
    assert (found.verdict, found.chance, found.disagreements) == (SAME, 1.0, ())
    assert not any(each.worse or each.better for each in found.slices)
    assert sentence(found).endswith("(0 to 0 points, McNemar p = 1)")


def test_a_better_version_is_better(versions):
    """A version that reads more columns is better, and worse from the other side, by the same figures."""
    found = compare(versions.of_all.model, versions.of_a, versions.rows, unseen=True)
    other = compare(versions.of_a.model, versions.of_all, versions.rows)
    assert (found.verdict, found.version, found.rows, found.unseen) == ("better", 1, 800, True)
    assert (other.verdict, other.version, other.unseen) == ("worse", 3, False)
    gain = found.contrasts[0].difference.value
    assert gain == pytest.approx((found.only_this - found.only_other) / found.rows)
    assert gain == pytest.approx(-other.contrasts[0].difference.value)
    assert sum(each.rows for each in found.disagreements) == found.only_this + found.only_other
    assert found.chance == other.chance < 0.001


def test_figures_are_those_of_scikit_learn(versions):
    """Log loss and the areas under both curves are what scikit-learn measures with the same probabilities."""
    rows = versions.rows
    found = compare(versions.of_all.model, versions.of_a, rows)
    by_name = {(each.metric, each.of): each for each in found.contrasts}
    for earlier, side in ((versions.of_all, "this"), (versions.of_a, "other")):
        columns = {name: rows.frame[name].to_numpy() for name in earlier.model.signature.names}
        _, scores = earlier.model.run(earlier.model.signature.table(columns))
        assert getattr(by_name["log loss", ""], side) == pytest.approx(log_loss(rows.truth, scores))
        area = roc_auc_score(rows.truth == "yes", scores[:, 1])
        assert getattr(by_name["ROC AUC", "yes"], side) == pytest.approx(area)
        precision = average_precision_score(rows.truth == "yes", scores[:, 1])
        assert getattr(by_name["average precision", "yes"], side) == pytest.approx(precision)


def test_slices_that_got_worse_come_first(versions, tmp_path):
    """A version that was told the opposite of the truth in Trier is worse there alone."""
    frame, truth = table()
    lies = np.where(frame["town"] == "Trier", np.where(truth == "yes", "no", "yes"), truth)
    misled = written(tmp_path, reading("a", "b", "town"), frame, lies)
    found = compare(misled.model, versions.of_all, versions.rows)
    towns = {each.value: each for each in found.slices if each.feature == "town"}
    assert found.slices[0] == towns["Trier"]
    assert (towns["Trier"].worse, towns["Bonn"].worse) == (True, False)
    assert towns["Trier"].difference.value < -0.5
    better = compare(versions.of_all.model, misled, versions.rows)
    assert {"Trier"} == {each.value for each in better.slices if each.better and each.feature == "town"}


def test_rows_that_a_version_refuses_are_counted(versions, tmp_path):
    """Rows with a town that the other version was not fitted with, or with a gap, are in no figure."""
    rows = versions.rows.frame.reset_index(drop=True)
    rows.loc[:24, "town"], rows.loc[25:29, "a"] = "Ulm", np.nan
    found = compare(versions.of_both.model, versions.of_all, Labelled(rows, versions.rows.truth, True))
    assert (found.rows, found.refused) == (770, 30)
    assert found.notes == ("this version does not take 5 rows",)
    few = Labelled(rows[:34], versions.rows.truth[:34], True)
    with pytest.raises(DataError, match="of 34 rows with true answers, it takes 4, and 10 are needed"):
        compare(versions.of_both.model, versions.of_all, few)


def test_versions_of_other_questions_are_not_compared(versions, tmp_path):
    """A sentence says which feature the rows lack, or what else the other version answers."""
    frame, truth = table()
    rows = held_out(frame[["a", "b"]], truth)
    with pytest.raises(DataError, match="cannot be compared: it takes 1 feature that the rows lack, 'town'"):
        compare(versions.of_both.model, versions.of_all, rows)
    numbers = written(tmp_path, reading("a", estimator=Ridge()), frame, frame["b"])
    with pytest.raises(DataError, match="it is a regressor, and this one a classifier"):
        compare(versions.of_all.model, numbers, versions.rows)
    others = written(tmp_path, reading("a"), frame, np.where(truth == "yes", "in", "out"))
    with pytest.raises(DataError, match="its classes, in, out, are all other ones"):
        compare(versions.of_all.model, others, versions.rows)
    with pytest.raises(DataError, match="takes 'town' as text, and the rows have numbers there"):
        fit.check(versions.of_both.model.manifest, versions.of_all, frame.assign(town=1.0))


def test_a_class_that_one_version_does_not_know(versions, tmp_path):
    """Its rows are wrong for that version, and a note says why; the class has no ROC curve to compare."""
    frame, truth = table()
    third = np.where(frame["a"] > 1.5, "very", truth)
    wider = written(tmp_path, reading("a", "b", "town"), frame, third)
    found = compare(wider.model, versions.of_all, held_out(frame, third))
    recall = next(each for each in found.contrasts if (each.metric, each.of) == ("recall", "very"))
    assert (recall.other, found.verdict) == (0.0, "better")
    assert "the other version does not know the class very" in found.notes
    assert ("ROC AUC", "very") not in {(each.metric, each.of) for each in found.contrasts}


def test_regressors_are_compared_by_their_errors(tmp_path):
    """Each target has its errors, and all together those in shares of the other version's."""
    frame, _ = table()
    truth = pd.DataFrame({"price": 100 * frame["a"] + frame["b"] ** 2, "sum": frame["a"] + frame["b"]})
    first = written(tmp_path, reading("a", estimator=Ridge()), frame, truth)
    second = written(tmp_path, reading("a", "b", estimator=Ridge()), frame, truth)
    found = compare(second.model, first, held_out(frame, truth.to_numpy()))
    names = ["mean absolute error", "root mean squared error", "R2"]
    assert [each.metric for each in found.contrasts] == ["relative mean absolute error", *names, *names]
    assert [each.of for each in found.contrasts] == ["", *["price"] * 3, *["sum"] * 3]
    squared, told = found.contrasts[2:4]
    assert told.other == pytest.approx(1 - squared.other**2 / truth["price"].var(ddof=0), abs=1e-4)
    assert (found.verdict, found.contrasts[0].other) == ("better", 1.0)
    assert found.chance < 0.05
    assert "rows, version 2 has a relative mean absolute error of " in sentence(found, "version 2")


def test_no_figure_is_about_fewer_than_ten_rows(versions):
    """Every slice and pair of classes has ten rows at least, and leaves out as many; so has every class."""
    rows = versions.rows.at(np.arange(36))
    found = compare(versions.of_all.model, versions.of_a, rows)
    assert min([each.rows for each in (*found.slices, *found.disagreements)], default=10) >= 10
    assert max((each.rows for each in found.slices), default=0) <= found.rows - 10
    few = Labelled(rows.frame, np.where(np.arange(36) < 9, "yes", "no"), True)
    found = compare(versions.of_all.model, versions.of_a, few)
    assert "yes" not in {each.of for each in found.contrasts if each.metric != "precision"}


def test_without_probabilities_the_accuracy_decides(versions):
    """A version that has none is compared by accuracy, and by each class's curves, precision and recall."""
    found = compare(versions.without.model, versions.of_a, versions.rows)
    assert {each.metric for each in found.contrasts} == {
        *("accuracy", "ROC AUC", "average precision", "precision", "recall"),
    }
    assert found.verdict == "better"
    assert "log loss" not in sentence(found)


def grown(folder: Path, pipeline: Pipeline, **options) -> tuple[Export, list[str]]:
    """The next version of the model "grown", with held-out rows of known truth, and what was said."""
    frame, truth = table()
    rows, answers = frame[:FITTED], truth[:FITTED]
    said: list[str] = []
    export = export_pipeline(
        pipeline.fit(rows, answers),
        rows,
        name="grown",
        models=folder,
        held_out=frame[FITTED:],
        held_out_y=truth[FITTED:],
        progress=said.append,
        **options,
    )
    return export, said


def test_an_export_compares_with_the_newest_versions(tmp_path):
    """The file has the comparisons with three versions, newest first; one that does not load is a note."""
    first, _ = grown(tmp_path, reading("a"))
    home = tmp_path / "grown"
    for version in (2, 3):
        shutil.copytree(home / "1", home / str(version))
    (home / "4").mkdir()
    (home / "4" / "model.onnx").write_bytes(b"no model")
    last, said = grown(tmp_path, reading("a", "b", "town"))
    loaded = load(last.path.read_bytes()).manifest
    assert first.manifest.comparisons == ()
    assert loaded.comparisons == last.manifest.comparisons
    assert [each.version for each in loaded.comparisons] == [3, 2]
    assert {each.sha256 for each in loaded.comparisons} == {first.sha256}
    assert {each.verdict for each in loaded.comparisons} == {"better"}
    assert "comparing with version 3" in said
    assert any(line.startswith("note: version 4 cannot be loaded (") for line in said)


def test_comparisons_are_approved_before_anything_is_written(tmp_path):
    """An error of the caller's ends the export, as does a version that is asked for and is not there."""
    grown(tmp_path, reading("a", "b", "town"))

    def approve(comparisons):
        if comparisons[0].verdict != "better":
            raise DataError(f"No: {sentence(comparisons[0])}")

    with pytest.raises(DataError, match="on 800 held-out rows, the new version has a log loss of"):
        grown(tmp_path, reading("a"), against=Against(unseen=True, approve=approve))
    with pytest.raises(DataError, match="Version 7 cannot be read"):
        grown(tmp_path, reading("a"), against=Against(versions=(7,)))
    assert newest(tmp_path / "grown", 3) == [1]


def test_train_prints_the_verdict_on_a_second_version(tmp_path, capsys):
    """Two trainings on the same split of the same table are compared on rows that neither was fitted on."""
    for classifier in ("logistic", "naive_bayes"):
        assert main(["train", "wine", "--classifier", classifier, "--models", str(tmp_path)]) == 0
    output = capsys.readouterr()
    found = load((tmp_path / "wine" / "2" / "model.onnx").read_bytes()).manifest.comparisons[0]
    assert found.unseen
    assert f"{headline(found)}: {sentence(found, 'version 2')}" in output.out
    assert "comparing with version 1 ..." in output.err


def test_a_report_draws_both_sides(versions):
    """The section has every metric and the verdict; seen from the other version, the figures change sides."""
    rows = versions.rows
    found = compare(versions.of_all.model, versions.of_a, rows)
    drawn = section(found, 3)
    assert "Better in log loss by more than chance explains: on " in drawn
    assert "version 1 may have been fitted on some of these rows" in drawn.lower()
    assert drawn.count("<svg") == len(found.contrasts) + min(len(found.slices), 12)
    other = mirrored(found, 3, versions.of_all.sha256)
    measured = compare(versions.of_a.model, versions.of_all, rows)
    assert (other.verdict, other.version, other.sha256) == ("worse", 3, measured.sha256)
    assert [(each.this, each.other) for each in other.contrasts] == [
        (each.this, each.other) for each in measured.contrasts
    ]
    assert mirrored(other, 1, found.sha256).contrasts == found.contrasts
