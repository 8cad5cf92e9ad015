"""Rows whose truth is known: all of them count, in their own time, whatever answered beside them."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import FLOWER, PERSON, Models, eventually, shelve
from lots import lot
from test_truth import Site, numbered

from unpickled.server import Config
from unpickled.server.accuracy import report
from unpickled.server.accuracy.pairs import Pairing
from unpickled.server.accuracy.scoreboard import Scoreboard
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe import windows
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.ids import Id
from unpickled.server.observe.source import Source
from unpickled.server.truth.joined import ACCURACY, COMPARISON, PAIRED, Join, Joined
from unpickled.server.truth.recent import Known, Recent
from unpickled.server.truth.remembering import Remembering
from unpickled.server.truth.versions import Version

# Where buckets of all windows begin: a multiple of their widths.
EDGE = 1.8e9 - 1.8e9 % 21_600


class Desk:
    """The counts of one process, and two versions whose rows they are about."""

    def __init__(self, models: Models, version: str, shadow: str) -> None:
        repository = Repository(Config(models=str(models.path)))
        self.served, self.beside = repository.find(version), repository.find(shadow)
        self.counters, self.memory = Memory(1), windows.shared(1, EDGE)
        self.block = self.counters.claim()
        self.joined = Joined(self.memory, self.block)
        self.pairing = Pairing(self.served.model.outputs, self.beside.model.outputs)

    def totals(self, kind: str, now: float = EDGE) -> list[windows.Floats]:
        """The counts of each key in the hour that ends then."""
        return list(windows.totals(self.memory, kind, (self.served.name,), "1h", now).counts.values())

    def join(self, truth, ours, theirs, labels=(0, 0)) -> Join:
        """A row of the edge with these scores."""
        versions = [
            Version.of(each.name, each.version, each.sha256, each.model.manifest)
            for each in (self.served, self.beside)
        ]
        known, shadow = (
            Known(EDGE, version, label, np.array(scores, np.float64), None)
            for version, label, scores in zip(versions, labels, (ours, theirs), strict=True)
        )
        return Join(known, truth, shadow)


def shadowed(folder: Path, version: tuple[Models, str], shadow: tuple[Models, str]) -> Site:
    """A server of one model whose second version answers beside the first."""
    for number, (models, name) in enumerate((version, shadow), start=1):
        shelve(models, folder / "mixed", name, first=number)
    (folder / "mixed" / "serving.toml").write_text("labels = {stable = 1}\nshadow = {version = 2}\n")
    return Site(folder, drift=False)


def told_twice(site: Site, rows, truths) -> report.Accuracy:
    """The report once these rows, and as many that no shadow saw, have their truth; it is sent twice."""
    ids = site.predict("mixed", rows)
    answer = site.client.post("/models/mixed/versions/1/predict", json={"features": rows})
    alone = numbered(answer.headers["Prediction-Id"], len(rows))
    recent, last = site.service.records.recent, Id.read(ids[-1])
    eventually(lambda: recent.find(last.worker, last.number, shadow=True))
    reports = list(zip([*ids, *alone], [*truths, *truths], strict=True))
    assert site.statuses(reports, "mixed") == ["accepted"] * len(reports)
    assert site.statuses(reports, "mixed") == ["repeated"] * len(reports)
    assert "unpickled_observer_failures_total" not in site.client.get("/metrics").text
    site.close()
    return report.Accuracy.read(site.client.get("/models/mixed/accuracy").data)


def test_a_regressor_beside_a_classifier(models, regressors, tmp_path):
    """The two are not compared; every row of the report counts."""
    site = shadowed(tmp_path, (models, "people"), (regressors, "spending"))
    classes = site.service.repository.find("mixed").model.manifest.classes
    found = told_twice(site, [list(PERSON.values())] * 3, [classes[0], classes[1], classes[0]])
    assert found.versions[0].figures.rows == 6
    [pair] = found.pairs
    assert (pair.rows, pair.note) == (0, "they answer in different ways, and are not compared")


def test_a_regressor_with_fewer_targets(regressors, tmp_path):
    """Two targets are not compared with one of them; every row of the report counts."""
    site = shadowed(tmp_path, (regressors, "areas"), (regressors, "area"))
    found = told_twice(site, [FLOWER] * 3, [[17.8, 0.2], [18.0, 0.3], [17.0, 0.2]])
    assert [target.rows for target in found.versions[0].figures.targets] == [6, 6]
    [pair] = found.pairs
    assert (pair.rows, pair.mae) == (0, {})


def test_each_target_is_compared_by_itself(regressors):
    """Targets have different units: their errors are never averaged."""
    desk = Desk(regressors, "areas", "areas")
    desk.joined.count([desk.join([17.0, 2.0], [18.0, 2.0], [17.5, 2.1])] * 20)
    [counts] = desk.totals(PAIRED)
    pair = desk.pairing.report(1, 2, counts)
    assert pair.rows == 20
    assert pair.mae["sepal"].value == pytest.approx(-0.5)
    assert pair.mae["petal"].value == pytest.approx(0.1)


def test_a_probability_that_is_no_number(models):
    """It spoils no sum: the log loss is compared on the other rows."""
    desk = Desk(models, "iris", "forest")
    broken = desk.join(0, [0.5, 0.3, 0.2], [np.nan, 0.0, 0.0])
    desk.joined.count([broken, desk.join(0, [0.5, 0.3, 0.2], [1.0, 0.0, 0.0])])
    [counts] = desk.totals(PAIRED)
    pair = desk.pairing.report(1, 2, counts)
    assert (pair.rows, pair.log_loss.value) == (2, pytest.approx(np.log(0.5)))


def test_a_comparison_that_fails(models, caplog):
    """It is logged once and counted; the rows count for their version, those behind it too."""
    desk = Desk(models, "iris", "forest")
    scores = [1.0, 0.0, 0.0]
    broken = desk.join(0, scores, scores, labels=(0, "no label"))
    with caplog.at_level(logging.ERROR, "unpickled"):
        for _ in range(2):
            desk.joined.count([broken, broken, desk.join(0, scores, scores)._replace(shadow=None)])
    board = Scoreboard(desk.served.model.outputs)
    assert desk.totals(ACCURACY)[0] == pytest.approx(board.count([0] * 6, [scores] * 6, [0] * 6))
    assert [record.getMessage() for record in caplog.records] == [
        "accuracy of shadows fails; truth is counted without it"
    ]
    assert desk.counters.read()[("observer_failures", "iris", "1", COMPARISON)] == [4]


@pytest.mark.parametrize("moments", [(-2.0, -0.1, 0.2), (-0.2, 0.1, -0.1), (0.2, -0.1, -0.2)])
def test_rows_on_both_sides_of_an_edge(models, moments):
    """Each row of a lot is counted as predicted where its truth counts, even if they are out of order."""
    desk = Desk(models, "iris", "iris")
    recent, source = Recent(1, 100), Source.of(desk.served, "/predict", desk.block)
    rows = lot(source, [tuple(FLOWER)] * 3, [0] * 3, [[1.0, 0.0, 0.0]] * 3)
    remembering = Remembering(desk.block, recent, desk.joined)
    remembering.consume(replace(rows, times=[EDGE + moment for moment in moments]))
    desk.joined.count([Join(recent.find(0, number), 0, None) for number in range(3)])
    board = Scoreboard(desk.served.model.outputs)
    for now, count in ((EDGE, 3), (EDGE + 3600, 1)):
        [counts] = desk.totals(ACCURACY, now)
        expected = board.predicted([0] * count) + board.count([0] * count, rows.scores[:count], [0] * count)
        assert counts == pytest.approx(expected)
