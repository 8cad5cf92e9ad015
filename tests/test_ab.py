"""A/B tests: a canary beside the stable version, by what became of the rows of each."""

import json

import numpy as np
import pytest
from test_judge import Duel

from unpickled.__main__ import main

TRAFFIC = "labels = {stable = 1}\n[traffic]\nstable = 0.8\n2 = 0.2\n"


def divided(pair, names, tmp_path) -> Duel:
    """Two versions that share the requests, and their payload log."""
    duel = Duel(pair, names, tmp_path)
    (duel.home / "serving.toml").write_text(TRAFFIC)
    return duel


@pytest.fixture
def split(models, tmp_path) -> Duel:
    return divided((models, models), ("forest", "iris"), tmp_path)


def answer(split: Duel, number: int, right: int, wrong: int, truth=0) -> None:
    """Rows that a version has answered, and their truth."""
    first, rows = split.rows, right + wrong
    labels = [0] * right + [1] * wrong
    for place in range(0, rows, 100):
        part = labels[place : place + 100]
        scores = [np.eye(3)[label].tolist() for label in part]
        split.add(number, part, scores, first + place)
    split.rows += rows
    split.tell(first, [truth] * rows)


def ab(split: Duel, *words: str) -> int:
    return main(["ab", "mixed", "--models", str(split.home.parent), "--log", str(split.log), *words])


def test_accuracy(split, capsys):
    """The difference has an interval that holds at every look; where it tells, no more rows are asked for."""
    answer(split, 1, right=700, wrong=100)
    answer(split, 2, right=100, wrong=100)
    assert ab(split, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stable"]["mean"], found["canary"]["mean"]) == (0.875, 0.5)
    assert (found["stable"]["requests"], found["canary"]["requests"]) == (8, 2)
    assert found["lowest"] < found["difference"] == -0.375 < found["highest"] < 0
    assert found["sentence"] == "version 1 has the larger accuracy, beyond chance"
    assert (found["needed"], found["even"]) == (0, True)
    assert ab(split) == 0
    assert "rows more with truth" not in capsys.readouterr().out


def test_it_does_not_tell_yet(split, capsys):
    """How many more rows it takes is told."""
    answer(split, 1, right=320, wrong=80)
    answer(split, 2, right=84, wrong=16)
    assert ab(split) == 0
    printed = capsys.readouterr().out
    assert "canary - stable: +0.04 (-0." in printed
    assert "these rows do not tell yet which version has the larger accuracy" in printed
    assert "rows more with truth to tell, in 80 of 100 cases" in printed


def test_too_few_rows(split, capsys):
    answer(split, 1, right=40, wrong=10)
    assert ab(split) == 0
    assert (
        "truth is known of 50 rows of version 1 and 0 rows of version 2, and 100 of each"
        in capsys.readouterr().out
    )


def test_shares_of_requests_that_do_not_fit(split, capsys):
    """A canary that has got far more requests than it is to get tells little."""
    answer(split, 1, right=2000, wrong=0)
    answer(split, 2, right=2000, wrong=0)
    assert ab(split) == 0
    assert "the requests are not shared as serving.toml says, beyond chance" in capsys.readouterr().out


@pytest.mark.parametrize(("metric", "means"), [("mean:setosa", (1, 0)), ("mean:truth", (0, 2))])
def test_means_of_truths_of_a_classifier(models, tmp_path, capsys, metric, means):
    """The share of rows that turned out to be a class, or the mean of labels that are numbers."""
    split = divided((models, models), ("iris", "iris"), tmp_path)
    answer(split, 1, right=400, wrong=0)
    answer(split, 2, right=100, wrong=0, truth=2)
    assert ab(split, "--metric", metric, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stable"]["mean"], found["canary"]["mean"]) == means
    assert (found["stable"]["rows"], found["canary"]["rows"]) == (400, 100)


def test_the_mean_of_a_target(regressors, tmp_path, capsys):
    """The truth itself, of the rows that each version has answered."""
    split = divided((regressors, regressors), ("area", "area"), tmp_path)
    for number, mean in ((1, 10.0), (2, 11.0)):
        truths = (mean + np.random.default_rng(number).normal(size=400)).tolist()
        split.add(number, [0] * 400, [[10.0]] * 400, split.rows)
        split.tell(split.rows, [*truths[:399], 1e300])
        split.rows += 400
    assert ab(split, "--metric", "mean:truth", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stable"]["rows"], found["canary"]["rows"]) == (399, 399)
    assert 0 < found["lowest"] < 1 < found["highest"] < 2
    assert ab(split, "--metric", "mean:areas") == 1
    assert "--metric is 'mean:areas'" in capsys.readouterr().err


def test_clients_that_choose_a_version_do_not_count(split, capsys):
    """Chance has not given their rows to it."""
    answer(split, 1, right=400, wrong=100)
    split.add(1, [1] * 50, [[0.0, 1.0, 0.0]] * 50, 5000, route="/models/<name>/versions/<version>/predict")
    split.tell(5000, [0] * 50)
    assert ab(split, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["stable"]["answered"], found["stable"]["mean"]) == (500, 0.8)


def test_no_canary(split, capsys):
    (split.home / "serving.toml").write_text("labels = {stable = 1}\n")
    assert ab(split) == 1
    assert (
        "an A/B test needs two versions that share the requests: unpickled models canary"
        in capsys.readouterr().err
    )
    (split.home / "serving.toml").write_text(TRAFFIC)
    assert ab(split, "--metric", "acuracy") == 1
    assert "--metric is 'acuracy': did you mean 'accuracy'?" in capsys.readouterr().err
