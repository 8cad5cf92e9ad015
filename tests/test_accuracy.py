"""How right models were: from a server that is told the truth, and from the files of a payload log."""

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from urllib.request import Request, urlopen

import numpy as np
import pytest
from conftest import FLOWER, PATIENCE, Models, eventually, serving, shelve
from lots import cells
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, mean_absolute_error
from test_truth import Site

from unpickled.__main__ import main
from unpickled.server import Config
from unpickled.server.accuracy import picture, report
from unpickled.server.config import Log
from unpickled.server.errors import ServingError
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.observe.exposition import exposition
from unpickled.server.observe.ids import Id
from unpickled.server.payloads import parts
from unpickled.server.payloads.schema import schema_of
from unpickled.server.truth import logged
from unpickled.server.truth.joining import Source
from unpickled.server.truth.publisher import Publisher
from unpickled.server.truth.store import Kept, Store

# A worker of a server that has ended: its rows are in the log alone.
WORKER = "abcdefgh-0-"


@pytest.fixture
def site(models):
    """All three models, and nothing but truth."""
    site = Site(models.path, drift=False)
    yield site
    site.close()


def asked(site: Site, name: str, window: str = "24h") -> report.Accuracy:
    """The report of a server."""
    answer = site.client.get(f"/models/{name}/accuracy?window={window}")
    assert answer.status_code == 200, answer.text
    return report.Accuracy.read(answer.data)


def told(site: Site, name: str, rows, truths) -> list[str]:
    """Predict rows, and report the truth of the first ones."""
    ids = site.predict(name, rows)
    assert set(site.statuses(list(zip(ids, truths, strict=False)), name)) == {"accepted"}
    return ids


def test_figures_are_exact(site, models):
    """The figures of a server are those that scikit-learn finds for the same rows."""
    rows, pipeline = models.rows["iris"][::3].tolist(), models.pipelines["iris"]
    truths = np.random.default_rng(0).integers(0, 3, len(rows) - 10)
    told(site, "iris", rows, truths.tolist())
    [version] = asked(site, "iris").versions
    labels, probabilities = pipeline.predict(rows)[: len(truths)], pipeline.predict_proba(rows)[: len(truths)]
    assert (version.version, version.predicted, version.figures.rows) == (1, 50, 40)
    assert version.coverage == 0.8
    assert version.figures.accuracy.value == accuracy_score(truths, labels)
    assert version.figures.log_loss.value == pytest.approx(log_loss(truths, probabilities))
    assert np.array(version.figures.confusion)[:3].tolist() == confusion_matrix(truths, labels).tolist()
    assert "accuracy is judged from 100 on" in " ".join(version.notes)


def test_errors_are_exact(regressors):
    """Each target has its own."""
    site = Site(regressors.path, drift=False)
    rows, pipeline = regressors.rows["areas"][::3].tolist(), regressors.pipelines["areas"]
    truths = np.random.default_rng(0).normal(15, 3, (len(rows), 2))
    told(site, "areas", rows, truths.tolist())
    site.close()
    [version] = asked(site, "areas").versions
    for target, column in zip(version.figures.targets, (0, 1), strict=True):
        expected = mean_absolute_error(truths[:, column], pipeline.predict(rows)[:, column])
        assert target.mae.value == pytest.approx(expected)
    assert version.figures.accuracy is None


def test_a_truth_counts_where_its_row_does(site, models):
    """All windows have it; a model without truth has none, and what came too late is told."""
    told(site, "forest", models.rows["forest"][:2].tolist(), [0, 0])
    for window in ("1h", "24h", "7d"):
        found = asked(site, "forest", window)
        assert found.versions[0].figures.rows == 2
        assert (found.window, found.complete) == (window, False)
        assert "Truth finds its row among the last 10,000" in found.note
    site.predict("people", [[41.0, 2100.5, "Bonn", "pro"]])
    eventually(lambda: asked(site, "people").versions)
    assert asked(site, "people").versions[0].figures.accuracy is None
    refused = site.client.get("/models/iris/accuracy?window=2h")
    assert (refused.status_code, refused.json["allowed"]) == (400, ["1h", "24h", "7d"])
    assert site.client.get("/models/nobody/accuracy").status_code == 404


def test_truths_without_a_row_are_told(models, tmp_path):
    """With a payload log they may be in it, or be about nothing that ever was: the note promises no more."""
    site = Site(models.path, drift=False, log_share=0.01, log_folder=str(tmp_path / "log"))
    assert site.statuses([("aaaaaaaa-1-5", 0), ("aaaaaaaa-1-6", 1)], "iris") == ["kept", "kept"]
    note = asked(site, "iris").note
    site.close()
    assert (
        "For 2 truths the row is not remembered any more or not known here: unpickled accuracy --log" in note
    )
    assert "than that" not in note


def test_it_may_be_off(models):
    """Without remembered rows there is nothing to count."""
    site = Site(models.path, truth_rows=0, drift=False)
    answer = site.client.get("/models/iris/accuracy")
    assert (answer.status_code, answer.json["code"]) == (404, "not_measured")
    site.close()


def test_a_shadow_is_compared_on_the_same_rows(models, tmp_path):
    """The report says which of the two is right where the other is not."""
    home = shelve(models, tmp_path / "iris", "iris", "forest")
    (home / "serving.toml").write_text("labels = {stable = 1}\nshadow = {version = 2}\n")
    site = Site(tmp_path, drift=False)
    rows = models.rows["iris"].tolist()
    ids = site.predict("iris", rows)
    last, recent = Id.read(ids[-1]), site.service.records.recent
    eventually(lambda: recent.find(last.worker, last.number, shadow=True))
    truths = models.pipelines["forest"].predict(rows).tolist()
    site.statuses(list(zip(ids, truths, strict=True)))
    found = asked(site, "iris")
    site.close()
    [pair] = found.pairs
    wrong = sum(models.pipelines["iris"].predict(rows) != truths)
    assert (pair.version, pair.shadow, pair.rows) == (1, 2, 150)
    assert (pair.only_shadow, pair.only_version) == (wrong, 0)
    assert pair.accuracy.value == pytest.approx(wrong / 150)
    before, after = (
        log_loss(truths, models.pipelines[name].predict_proba(rows)) for name in ("iris", "forest")
    )
    assert pair.log_loss.value == pytest.approx(after - before)
    assert found.versions[0].labels == ("stable",)


def test_gauges(site, models):
    """Metrics have the figures of 24 hours once a worker has judged them."""
    rows = models.rows["iris"].tolist()
    told(site, "iris", rows, models.pipelines["iris"].predict(rows).tolist())
    # The judgement of its own thread may have begun before there was truth, and end after the next one.
    site.close()
    records = site.service.records
    publisher = Publisher(records.truth, site.service.repository, pause=0)
    for _ in range(5):
        publisher.rest()
    _, text = exposition(site.service.memory, [], joined=records.truth)
    lines = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
    of_iris = '{model="iris",version="1"}'
    assert float(lines[f"unpickled_accuracy{of_iris}"]) == 1.0
    assert float(lines[f"unpickled_truth_coverage{of_iris}"]) == 1.0
    assert float(lines[f"unpickled_truth_rows{of_iris}"]) == 150
    assert float(lines['unpickled_accuracy_alarm{kind="fallen",model="iris",version="1"}']) == 0.0


def test_the_command_asks_a_server(models, tmp_path, capsys):
    """It prints tables or JSON, and writes a page; without rows it says what to do."""
    with serving(tmp_path, models=models.path) as server:
        rows = json.dumps({"features": [FLOWER] * 3}).encode()
        server.ask("/models/iris/predict", rows)
        # The last of the windows that get the rows, one after the other.
        last = "/models/iris/accuracy?window=7d"
        eventually(lambda: [each["predicted"] for each in server.ask(last)[1]["versions"]] == [3])
        assert main(["accuracy", "iris", "--url", server.url, "--html", str(tmp_path / "iris.html")]) == 1
        printed = capsys.readouterr()
        assert "version 1: 3 predicted rows, no truth yet" in printed.out
        assert "truth is known of 0 rows, and 100 are needed: report" in printed.err
        assert main(["accuracy", "iris", "--url", server.url, "--json", "--window", "7d"]) == 1
        assert json.loads(capsys.readouterr().out)["versions"][0]["predicted"] == 3
        assert main(["accuracy", "forest", "--url", server.url]) == 1
        assert "no version of forest has predicted rows in the last 24h" in capsys.readouterr().err
        assert main(["accuracy", "iris", "--url", server.url, "--version", "7"]) == 1
        assert "(version 1 has): name it with --version, wait" in capsys.readouterr().err
    assert "<svg" not in (tmp_path / "iris.html").read_text()
    assert main(["accuracy", "iris", "--by", "plan"]) == 2


class Written:
    """A payload log of people: version 1 has answered, version 2 beside it, and truth came later."""

    def __init__(self, models: Models, tmp_path, hours: float = 1.0) -> None:
        self.models, self.folder = tmp_path / "models", tmp_path / "log"
        shelve(models, self.models / "people", "people", "people")
        self.table = models.rows["people"]
        self.rows = models.path / "people"
        self.pipeline = models.pipelines["people"]
        repository = Repository(Config(models=str(self.models)))
        self.served = repository.deployment("people").main
        self.moment = time.time() - 3600 * hours
        cells = self.table.astype(object).where(self.table.notna(), None).to_numpy().tolist()
        signature = self.served.model.signature
        self.cells = [tuple(signature.check_row(row, 0)) for row in cells]
        self.labels, self.scores = self.served.model.run(signature.feeds(self.cells))

    def write(self, name: str, labels, scores, shadow: int | None = None) -> None:
        """A part with a row for each person, whose number in the id is its place in the table."""
        schema = schema_of(self.served, Log())
        more = {"time": self.moment, "version": 2, "shadow": shadow, "prefix": WORKER}
        rows = cells(schema, self.cells, labels.tolist(), scores.tolist(), **more)
        parts.write(self.folder, schema, rows, name)

    def tell(self, truths) -> None:
        """Truth of these rows, by their place."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        lines = [Kept(f"{WORKER}{place}", truth, "", now) for place, truth in truths.items()]
        Store(str(self.folder), "later", 10**9).add("people", lines)

    def assess(self, window="24h", by: str | None = None, version: int | None = None) -> report.Accuracy:
        source = Source(self.folder, self.models, "people", window, by, version)
        return logged.assess(source, time.time())


@pytest.fixture
def written(models, tmp_path):
    log = Written(models, tmp_path)
    log.write("part", log.labels, log.scores)
    return log


def test_late_truth_is_joined_with_the_log(written):
    """Every row of the log counts whose truth was reported, by any server and at any time."""
    truths = {place: str(np.roll(written.labels, 3)[place]) for place in range(0, 200, 2)}
    written.tell(truths)
    [version] = written.assess().versions
    right = np.mean([written.labels[place] == truth for place, truth in truths.items()])
    assert (version.predicted, version.figures.rows) == (200, 100)
    assert version.figures.accuracy.value == right
    assert version.coverage == 0.5
    assert version.judged


def test_slices(written):
    """Rows are parted by a category, or by the ranges of a number in training."""
    truths = dict(enumerate(np.roll(written.labels, 3).tolist()))
    written.tell(truths)
    right = written.labels == np.roll(written.labels, 3)
    [version] = written.assess(by="plan").versions
    for part in version.slices:
        of_plan = (written.table["plan"] == part.value).to_numpy()
        assert part.figures.rows == of_plan.sum()
        assert part.figures.accuracy.value == right[of_plan].mean()
    [version] = written.assess(by="age").versions
    assert sum(part.figures.rows for part in version.slices) == 200
    assert version.slices[0].value.startswith("up to ")
    with pytest.raises(ServingError, match="has no feature 'plam': did you mean 'plan'"):
        written.assess(by="plam")


def test_shadows_of_the_log(written):
    """A shadow's answers, in another file, are compared on the rows whose truth is known."""
    one, other = written.served.model.manifest.classes
    flipped = np.where(written.labels == one, other, one).astype(object)
    written.write("shadow", flipped, written.scores[:, ::-1], shadow=2)
    written.tell(dict(enumerate(written.labels.tolist()[:120])))
    found = written.assess()
    [pair] = found.pairs
    assert (pair.rows, pair.only_version, pair.only_shadow) == (120, 120, 0)
    assert pair.accuracy.value == -1
    assert pair.note == "the version is more often right"
    assert "shadows, on the same rows" in picture.page(found).lower()


def test_a_window_has_the_rows_that_were_predicted_in_it(models, tmp_path):
    log = Written(models, tmp_path, hours=30)
    log.write("old", log.labels, log.scores)
    log.tell({0: str(log.labels[0])})
    assert log.assess("7d").versions[0].figures.rows == 1
    with pytest.raises(ServingError, match="has no rows in the last 24h: name a longer --window"):
        log.assess("24h")


def test_rows_without_their_file_do_not_count(written):
    """Labels and scores mean what the file of their version says."""
    shutil.rmtree(written.models / "people" / str(written.served.version))
    with pytest.raises(ServingError, match="name their folder with --models"):
        written.assess()
    with pytest.raises(ServingError, match="has no log of 'nobody'"):
        logged.assess(Source(written.folder, written.models, "nobody", "24h"), time.time())


def test_the_command_reads_a_log(written, tmp_path, capsys):
    """It needs no server; what is worse than training ends with the status 3."""
    written.tell(dict(enumerate(written.labels.tolist())))
    page = tmp_path / "people.html"
    words = ["accuracy", "people", "--log", str(written.folder), "--models", str(written.models)]
    status = main([*words, "--by", "plan", "--html", str(page)])
    output = capsys.readouterr().out
    assert "accuracy 100.0%" in output
    assert "Read from the payload log: 200 rows, 200 with truth." in output
    assert status == (3 if "probabilities are off" in output else 0)
    text = page.read_text()
    assert text.count("<svg") > 3
    assert text.count('class="overall"') == text.count(">100%</text>") >= 2
    assert "95% interval" in text
    assert "<script" not in text
    assert "free" in text


def test_contradictions_and_truths_without_a_row(written):
    """The first truth of a row counts; how many contradict it, and how many have no row, is in the note."""
    right, wrong = (np.roll(written.labels, shift).tolist() for shift in (0, 3))
    differing = sum(one != other for one, other in zip(right[:100], wrong[:100], strict=True))
    # The last seven are of no row.
    written.tell(dict(enumerate(right)) | {1000 + place: right[0] for place in range(7)})
    assert "contradicts" not in written.assess().note
    written.tell(dict(enumerate(right[:50])))
    written.tell(dict(enumerate(wrong[:100])))
    written.tell(dict(enumerate(wrong[:100])))
    found = written.assess()
    assert found.versions[0].figures.accuracy.value == 1
    assert found.note == (
        f"Read from the payload log: 200 rows, 200 with truth. {differing} ids have a truth that contradicts "
        "the first one, which counts. 7 truths belong to no row of these: to one before the window, to one "
        "that is in no finished file, or to an id that was never given."
    )
    assert "no row of these" not in written.assess(version=written.served.version).note


def test_truths_that_do_not_fit(models, regressors, tmp_path):
    """A truth that was only kept may be no answer of the version of its row: it is left out, and told."""
    home = shelve(models, tmp_path / "models" / "iris", "iris")
    shelve(regressors, home, "areas", first=2)
    (home / "serving.toml").write_text("labels = {stable = 1, candidate = 2}\n")
    repository, moment = Repository(Config(models=str(home.parent))), time.time() - 60
    for version, served in repository.deployment("iris").versions.items():
        rows = [tuple(FLOWER)] * 4
        labels, scores = served.model.run(served.model.signature.feeds(rows))
        more = {"time": moment, "version": version, "prefix": f"abcdefgh-{version}-"}
        schema = schema_of(served, Log())
        answers = cells(schema, rows, list(labels), scores.tolist(), **more)
        parts.write(tmp_path, schema, answers, f"{version}")
    truths = {1: ([1.0, 2.0], {"a": 1}, None, "setosa"), 2: ("setosa", 3.5, [1, "x"], [1, 2])}
    now = datetime.now(UTC).isoformat()
    lines = [Kept(f"abcdefgh-{v}-{row}", each, "", now) for v in truths for row, each in enumerate(truths[v])]
    Store(str(tmp_path), "later", 10**9).add("iris", lines)
    found = logged.assess(Source(tmp_path, home.parent, "iris", "1h"), time.time())
    assert [version.figures.rows for version in found.versions] == [1, 1]
    assert "8 rows, 2 with truth. 6 truths are left out: nothing that the version of the row" in found.note


def test_damaged_truth(written):
    """Lines that are no truth are left out, and so is a folder among the files."""
    written.tell({0: str(written.labels[0])})
    [path] = (written.folder / "people" / "truth").glob("date=*/*.jsonl")
    line = json.loads(path.read_text())
    damaged = [{"id": 7}, {"id": ["a"]}, {"received": 7}, {"received": None}, {"at": 3}]
    path.write_text("".join(json.dumps(line | change) + "\n" for change in ({}, *damaged)) + '[]\n"id"\n\n')
    (path.parent / "y.jsonl").mkdir()
    assert written.assess().versions[0].figures.rows == 1


def test_truth_from_before_the_window_is_not_read(written):
    """A day of truths that ended before the first row of the window cannot be about it."""
    written.tell({0: str(written.labels[0])})
    [day] = (written.folder / "people" / "truth").iterdir()
    before = datetime.now(UTC) - timedelta(days=3)
    day.rename(day.with_name(f"date={before.date()}"))
    assert written.assess("24h").versions[0].figures.rows == 0


@pytest.mark.long
def test_a_server_its_log_and_truth_after_its_end(models, tmp_path, capsys):
    """Rows of a server that has ended are joined with truth that another one was told: kept, and not late."""
    home = shelve(models, tmp_path / "models" / "iris", "iris", "forest")
    (home / "serving.toml").write_text("labels = {stable = 1}\nshadow = {version = 2}\n")
    log = ("--log-share", "1", "--log-folder", str(tmp_path / "log"), "--shutdown-timeout", "600")
    rows, truths = models.rows["iris"].tolist(), models.pipelines["forest"].predict(models.rows["iris"])
    with serving(tmp_path, *log, models=home.parent) as server:
        ids = posted(server, "/models/iris/predict", {"features": rows})
        # A shadow that is held up at the end of its server has answered rows that are not in the log.
        eventually(lambda: logged_of_shadows(server) == len(rows))
    with serving(tmp_path, *log, models=home.parent) as server:
        reports = [{"id": f"{ids}:{row}", "truth": int(truth)} for row, truth in enumerate(truths) if row % 3]
        assert server.ask("/models/iris/truth", json.dumps(reports).encode())[1]["kept"] == 100
        assert "For 100 truths the row is not remembered" in server.ask("/models/iris/accuracy")[1]["note"]
    words = ["--log", str(tmp_path / "log"), "--models", str(home.parent), "--by", "petal_length", "--json"]
    main(["accuracy", "iris", *words])
    found = report.Accuracy.read(capsys.readouterr().out.encode())
    chosen = np.arange(len(rows)) % 3 > 0
    labels = models.pipelines["iris"].predict(models.rows["iris"])
    assert (found.versions[0].predicted, found.versions[0].figures.rows) == (150, 100)
    assert found.versions[0].figures.accuracy.value == (labels == truths)[chosen].mean()
    assert sum(part.figures.rows for part in found.versions[0].slices) == 100
    assert (found.pairs[0].rows, found.pairs[0].only_version) == (100, 0)


def posted(server, path: str, document) -> str:
    """The Prediction-Id of an answer."""
    request = Request(f"{server.url}{path}", json.dumps(document).encode())
    with urlopen(request, timeout=PATIENCE) as answer:
        return answer.headers["Prediction-Id"]


def logged_of_shadows(server) -> float:
    """The rows that a shadow has answered too, as far as they are in the log."""
    with urlopen(f"{server.url}/metrics", timeout=PATIENCE) as answer:
        text = answer.read().decode()
    counts = 'unpickled_log_rows_total{answer="shadow",fate="written"'
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(counts))
