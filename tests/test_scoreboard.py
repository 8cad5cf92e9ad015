"""Counts of predictions whose truth is known: they add up, and scikit-learn finds the same figures."""

import numpy as np
import pytest
from conftest import Models, generated
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, log_loss

from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.artifact import manifest
from unpickled.server.model.kinds import outputs_of
from unpickled.server.model.outputs import Outputs


def outputs(models: Models, name: str, classes: int = 0) -> Outputs:
    """The outputs of an exported model, perhaps as if it had so many classes, the labels 0, 1, 2 ..."""
    document = manifest.read((models.path / name / "1" / "model.onnx").read_bytes())
    if not classes:
        return outputs_of(document)
    golden = replace(document.golden, rows=document.golden.rows[:1], labels=(0,), scores=((1.0,) * classes,))
    labels = tuple(range(classes))
    return outputs_of(replace(document, classes=labels, class_names=tuple(map(str, labels)), golden=golden))


def answers(classes: int, rows: int, seed: int = 0):
    """Labels, probabilities and truths of random rows."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(classes, 0.5), rows)
    truths = [random.choice(classes, p=row) for row in probabilities]
    return probabilities.argmax(axis=1), probabilities, truths


def views(board: Scoreboard, counts) -> dict:
    return board.counts.layout.views(counts)


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_figures_of_classes_are_those_of_scikit_learn(models: Models, classes: int) -> None:
    """Accuracy, confusion, log loss and Brier score follow from the counts."""
    board = Scoreboard(outputs(models, "iris", classes))
    labels, probabilities, truths = answers(classes, 500)
    found = views(board, board.count(labels, probabilities, truths))
    every = list(range(classes))
    assert (found["confusion"][:-1] == confusion_matrix(truths, labels, labels=every)).all()
    assert np.trace(found["confusion"]) / 500 == accuracy_score(truths, labels)
    rows, loss, _, brier, _ = found["losses"]
    assert loss / rows == pytest.approx(log_loss(truths, probabilities, labels=every))
    assert brier / rows == pytest.approx(brier_of(truths, probabilities))
    assert found["bins"][:, 0].sum() == rows == 500
    assert found["bins"][:, 2].sum() == np.trace(found["confusion"])


def brier_of(truths, probabilities) -> float:
    """Releases before 1.7 know two classes only."""
    if probabilities.shape[1] == 2:
        return brier_score_loss(truths, probabilities[:, 1])
    return float(((probabilities - np.eye(probabilities.shape[1])[truths]) ** 2).sum(axis=1).mean())


@given(st.integers(2, 4), st.integers(0, 40), st.integers(0, 40), st.integers(0, 1000))
@generated(examples=40)
def test_counts_add_up(models: Models, classes: int, first: int, second: int, seed: int) -> None:
    """Those of all rows are the sum of those of any two parts of them."""
    board = Scoreboard(outputs(models, "iris", classes))
    labels, probabilities, truths = answers(classes, first + second, seed)
    parts = [slice(None, first), slice(first, None)]
    apart = sum(board.count(labels[part], probabilities[part], truths[part]) for part in parts)
    np.testing.assert_allclose(apart, board.count(labels, probabilities, truths), atol=1e-12)
    assert apart.shape == (board.size,)


@pytest.mark.parametrize("classes", [31, 1000])
def test_many_classes_take_few_numbers(models: Models, classes: int) -> None:
    """Right and wrong answers are counted per class, and those behind the 200th class together."""
    board = Scoreboard(outputs(models, "iris", classes))
    labels, probabilities, truths = answers(classes, 400)
    found = views(board, board.count(labels, probabilities, truths))
    assert board.size < 1000
    assert found["right"].sum() == (labels == truths).sum()
    assert found["truth"].sum() == found["answered"].sum() == 400
    assert found["right"][7] == ((labels == truths) & (labels == 7)).sum()


def test_a_truth_may_be_a_label_or_a_name(models: Models) -> None:
    """A label may be written as text; what is no class of the model makes each answer wrong."""
    board = Scoreboard(outputs(models, "iris"))
    probabilities = [[0.7, 0.2, 0.1]] * 4
    found = views(board, board.count([0] * 4, probabilities, ["setosa", 0, "0", "rose"]))
    assert found["confusion"].tolist() == [[3, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert found["losses"][0] == 4
    assert np.isfinite(found["losses"]).all()


def test_rows_without_truth_are_counted_by_their_class(models: Models) -> None:
    board = Scoreboard(outputs(models, "iris"))
    both = board.predicted(np.array([0, 0, 2])) + board.count([2], [[0.1, 0.1, 0.8]], [2])
    assert views(board, both)["predicted"].tolist() == [2, 0, 1]
    assert views(board, both)["confusion"].sum() == 1


def test_errors_of_each_target_are_added_up(regressors: Models) -> None:
    """An error is prediction - truth; a truth that is None is unknown."""
    board = Scoreboard(outputs(regressors, "areas"))
    counts = board.count([0, 0], [[20.0, 3.0], [18.0, 2.0]], [[19.0, 3.5], [20.0, None]])
    errors = views(board, counts)["errors"]
    assert errors.tolist() == [[2, 0, -1.0, 3.0, 5.0, 17.0], [1, 0, -0.5, 0.5, 0.25, 0.0625]]


def test_one_absurd_truth_spoils_no_sum(regressors: Models) -> None:
    board = Scoreboard(outputs(regressors, "area"))
    good = board.count([0], [[20.0]], [19.0])
    both = good + sum(board.count([0], [[20.0]], [truth]) for truth in (1e300, -1e308, float("inf")))
    assert views(board, both)["errors"].tolist() == [[4, 3, 1.0, 1.0, 1.0, 1.0]]
