"""Ties between nearest neighbors end a training before the gate, with a command that passes."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unpickled.__main__ import main
from unpickled.export import ParityError, ties
from unpickled.export.data import dataset
from unpickled.export.train import train
from unpickled.server.artifact.manifest import Manifest
from unpickled.server.model.session import load


def whole_numbers(path: Path) -> Path:
    """A table of small whole numbers, where many rows lie equally far from one."""
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.integers(0, 9, (300, 3)), columns=["rooms", "floor", "age"])
    table["dear"] = np.where(table["rooms"] + random.normal(0, 2, 300) > 4, "yes", "no")
    table.to_csv(path, index=False)
    return path


def trained(capsys, folder: Path, *words: str) -> tuple[int, str]:
    """The status of ``unpickled train`` and what it says on stderr."""
    status = main(["train", *words, "--classifier", "knn", "--models", str(folder)])
    return status, capsys.readouterr().err


@pytest.mark.long
@pytest.mark.parametrize("scaler", ["standard", "none"])
def test_ties_that_no_scaler_ends_are_refused_before_the_gate(tmp_path, capsys, scaler):
    """Ties between neighbors end the training early, with a command that passes when it is copied."""
    words = ("--data", str(whole_numbers(tmp_path / "prices.csv")), "--target", "dear", "--scaler", scaler)
    status, said = trained(capsys, tmp_path / "models", *words)
    assert (status, "equally far away where the count of 5" in said, "parity" in said) == (1, True, False)
    command = re.search("without neighbors: `unpickled (.*)`", said)[1]
    assert not (tmp_path / "models").exists()
    assert main(shlex.split(command)) == 0
    assert written(tmp_path / "models" / "prices").training.pipeline[-1].startswith("RandomForest")


def test_ties_that_a_scaler_ends_are_refused_with_it(tmp_path, capsys):
    """Where another scaler keeps the neighbors apart, its command is offered, and passes."""
    status, said = trained(capsys, tmp_path / "models", "iris", "--scaler", "none")
    assert (status, "parity" in said) == (1, False)
    command = re.search("the scaler standard keeps them apart: `unpickled (.*)`", said)[1]
    assert main(shlex.split(command)) == 0
    assert written(tmp_path / "models" / "iris").training.pipeline[-1] == "KNeighborsClassifier()"


@pytest.mark.long
def test_ties_beside_dates_are_refused_with_a_command_that_passes(tmp_path, capsys):
    """The scalers that are offered are tried on the parts of the dates, as the offered training has them."""
    path = whole_numbers(tmp_path / "prices.csv")
    table = pd.read_csv(path)
    table["sold"] = [f"2024-{1 + row % 3:02}-{1 + row % 4:02}" for row in range(len(table))]
    table.to_csv(path, index=False)
    words = ("--data", str(path), "--target", "dear", "--dates", "expand")
    status, said = trained(capsys, tmp_path / "models", *words)
    assert (status, "equally far away" in said) == (1, True)
    assert main(shlex.split(re.search("`unpickled (.*)`", said)[1])) == 0
    assert [feature.name for feature in written(tmp_path / "models" / "prices").features][-1] == "sold"


def written(home: Path) -> Manifest:
    """The manifest of the first version of a model."""
    return load((home / "1" / "model.onnx").read_bytes()).manifest


def test_neighbors_without_ties_and_other_classifiers_are_not_held_up(tmp_path, capsys):
    """Ties that change no answer, and classifiers without neighbors, go on to the gate."""
    data = whole_numbers(tmp_path / "prices.csv")
    for table, classifier in ((dataset.bundled("iris"), "knn"), (dataset.read(data, "dear"), "naive_bayes")):
        ties.check(train(table, "standard", classifier), ["train"])
    with pytest.raises(ParityError, match="equally far"):
        ties.check(train(dataset.read(data, "dear"), "standard", "knn"), ["train"])
