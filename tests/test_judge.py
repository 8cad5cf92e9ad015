"""The judge: a challenger is promoted, held or rejected by rows with truth and by guardrails."""

import json
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import numpy as np
import pytest
from conftest import FLOWERS, PATIENCE, Models, Serving, eventually, serving, shelve, started
from lots import cells
from msgspec.structs import replace

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.server import Config
from unpickled.server.config import Log
from unpickled.server.errors import ServingError
from unpickled.server.judge import contest, evidence, verdict
from unpickled.server.judge.contest import Past
from unpickled.server.judge.evidence import Evidence, Reports
from unpickled.server.judge.exposed import Exposed
from unpickled.server.lifecycle import history
from unpickled.server.lifecycle import serving as settings
from unpickled.server.lifecycle.repository import Repository
from unpickled.server.lifecycle.rules import Rules
from unpickled.server.payloads import parts
from unpickled.server.payloads.schema import schema_of
from unpickled.server.truth.store import Kept, Store

LABELS = 'labels = {stable = 1, challenger = 2}\nshadow = {version = "challenger"}\n'
RULES = "[judge]\nminimum_rows = 20\nminimum_minutes = 0\nminimum_step_rows = 5\nsteps = [0.5, 1.0]\n"
WORKER = "abcdefgh-0-"
# The evidence for a challenger that is better.
GOOD = {
    "measure": "accuracy",
    "since": "2026-05-01",
    "rows": 900,
    "gain": 0.1,
    "lowest": 0.05,
    "highest": 0.15,
    "silent": "",
}


class Duel:
    """A champion, version 1, and its challenger; a payload log with answers of both, and truth."""

    def __init__(self, pair: tuple[Models, Models], names: tuple[str, str], tmp_path, rules=RULES) -> None:
        self.home, self.log = tmp_path / "models" / "mixed", tmp_path / "log"
        for number, (models, name) in enumerate(zip(pair, names, strict=True), start=1):
            shelve(models, self.home, name, first=number)
        (self.home / "serving.toml").write_text(LABELS + rules)
        self.models = Repository(Config(models=str(self.home.parent))).deployment("mixed").versions
        self.row = pair[0].rows[names[0]][0].tolist()
        self.rows = 0

    def add(self, number: int, labels, scores, first: int, shadow=None, route="/predict") -> None:
        """A part of the log with these answers of a version, from one row on."""
        served = self.models[number]
        schema, rows = schema_of(served, Log()), [tuple(self.row)] * len(labels)
        more = {"time": time.time() + 1, "version": 1 if shadow else number, "prefix": WORKER}
        more["route"] = route
        content = cells(schema, rows, labels, scores, first, shadow=shadow, **more)
        parts.write(self.log, schema, content, f"part-{number}-{first}")

    def live(self, rows: int, lost: int = 0, gained: int = 0, truth=0) -> None:
        """Rows whose truth is 0, that only the champion (lost), or only the challenger (gained) has right."""
        first, self.rows = self.rows, self.rows + rows
        champion = [1] * gained + [0] * (rows - gained)
        challenger = [0] * gained + [1] * lost + [0] * (rows - gained - lost)
        for number, labels in ((1, champion), (2, challenger)):
            scores = [np.eye(3)[label].tolist() for label in labels]
            self.add(number, labels, scores, first, shadow=2 if number == 2 else None)
        self.tell(first, [truth] * rows)

    def tell(self, first: int, truths, days_later: int = 0) -> None:
        now = (datetime.now(UTC) + timedelta(days_later)).isoformat(timespec="microseconds")
        lines = [Kept(f"{WORKER}{first + place}", truth, "", now) for place, truth in enumerate(truths)]
        Store(str(self.log), f"told-{first}", 10**9).add("mixed", lines)

    def judge(self, *words: str, url: str = "http://127.0.0.1:9") -> int:
        """The exit status of the command."""
        flags = ["--models", str(self.home.parent), "--log", str(self.log), "--url", url]
        return main(["judge", "mixed", *words, *flags])

    def serving(self) -> settings.Serving:
        return settings.parse((self.home / "serving.toml").read_text())

    def decisions(self) -> list[tuple[str, float]]:
        records = history.read(self.home)
        return [(each.decision.verdict, each.decision.weight) for each in records if each.decision]


@pytest.fixture
def duel(models, tmp_path) -> Duel:
    return Duel((models, models), ("forest", "iris"), tmp_path)


@pytest.fixture(scope="module")
def site(models, tmp_path_factory):
    """A server of two versions that has answered nothing."""
    folder = tmp_path_factory.mktemp("site")
    home = shelve(models, folder / "models" / "mixed", "forest", "iris", "forest")
    (home / "serving.toml").write_text('load = "all"\n')
    with serving(folder, models=home.parent) as server:
        yield server


def test_a_better_challenger_becomes_stable_step_by_step(duel, site, capsys):
    """It is held until rows with truth show a gain, and then gets each share of traffic in turn."""
    judge = partial(duel.judge, "--apply", url=site.url)
    assert (judge(), judge()) == (0, 0)
    assert (
        "the payload log has no row that version 2 has answered: it has to shadow" in capsys.readouterr().out
    )
    duel.live(30)
    assert judge() == 0
    assert "no number of rows" in capsys.readouterr().out
    duel.live(30, gained=12)
    assert (judge(), judge()) == (0, 0)
    assert "version 2 is better than version 1 in accuracy by 20.00 points" in capsys.readouterr().out
    assert duel.serving().shares() == {1: 0.5, 2: 0.5}
    assert duel.serving().shadow is not None
    duel.add(2, [0] * 5, [[1.0, 0.0, 0.0]] * 5, first=1000)
    assert judge() == 0
    assert duel.serving().labels == {"stable": 2}
    assert (duel.serving().shares(), duel.serving().shadow) == ({}, None)
    assert duel.decisions() == [("hold", 0), ("promote", 0.5), ("hold", 0.5), ("promote", 1)]
    assert duel.serving().judge.minimum_rows == 20


def test_the_decisions_are_in_the_history_with_their_evidence(duel, site, capsys):
    duel.live(60, gained=12, lost=1)
    duel.judge("--apply", url=site.url)
    [decision] = [record.decision for record in history.read(duel.home) if record.decision]
    assert (decision.champion, decision.challenger, decision.evidence["rows"]) == (1, 2, 60)
    assert (decision.evidence["gained"], decision.evidence["lost"]) == (12, 1)
    capsys.readouterr()
    assert main(["models", "show", "mixed", "--models", str(duel.home.parent)]) == 0
    printed = capsys.readouterr().out
    assert "promote version 2, which has 50% then: version 2 is better than version 1 in accuracy" in printed


def test_without_apply_nothing_changes(duel, site, capsys):
    """The decision is printed, as JSON too."""
    duel.live(60, gained=12)
    assert duel.judge("--json", url=site.url) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["next_weight"], document["applied"]) == ("promote", 0.5, None)
    assert (document["evidence"]["gain"], document["evidence"]["needed"]) == (0.2, 0)
    assert (duel.decisions(), duel.serving().traffic) == ([], {})


def test_a_version_that_only_shadows_gets_nothing(duel, site, capsys):
    """It is compared; somebody may want to see no more than that."""
    (duel.home / "serving.toml").write_text(
        LABELS.replace(", challenger = 2", "").replace('"challenger"', "2") + RULES
    )
    duel.live(60, gained=12)
    assert duel.judge("--apply", url=site.url) == 0
    printed = capsys.readouterr().out
    assert "mixed: promote version 2" in printed
    assert (
        "nothing is applied, as version 2 only shadows. To let the judge give it requests: unpickled"
        in printed
    )
    assert (duel.decisions(), duel.serving().shares()) == ([], {})


def test_a_worse_challenger_is_rejected_once_and_for_all(duel, capsys):
    """It loses its label and its shadow; with the label again, it is not tried again."""
    duel.live(60, lost=12)
    assert duel.judge("--apply") == 3
    assert "version 2 is worse than version 1 in accuracy by 20.00 points" in capsys.readouterr().out
    assert (duel.serving().labels, duel.serving().shadow) == ({"stable": 1}, None)
    assert duel.judge("--apply") == 0
    assert "there is nothing to decide" in capsys.readouterr().out
    (duel.home / "serving.toml").write_text(LABELS + RULES)
    duel.live(200, gained=100)
    assert duel.judge("--apply") == 3
    assert "version 2 was rejected at" in capsys.readouterr().out
    assert duel.serving().labels == {"stable": 1}


def test_truth_that_is_poisoned_promotes_nobody(duel, site):
    """Where the champion is right but labels are flipped, a challenger that agrees with it gains nothing."""
    duel.live(100, truth=1)
    assert duel.judge("--apply", url=site.url) == 0
    assert duel.serving().labels["stable"] == 1


def test_a_day_of_flipped_truth_does_not_count(duel, site, capsys):
    """A challenger that is wrong in one row of four gains nothing where its errors are told to be right."""
    right, wrong = [0, 1] * 60, [1, 0] * 60
    challenger = wrong[:15] + right[15:60] + wrong[:45] + right[105:]
    for number, labels in ((1, right), (2, challenger)):
        scores = [np.eye(3)[label].tolist() for label in labels]
        duel.add(number, labels, scores, 0, shadow=2 if number == 2 else None)
    days = {datetime.now(UTC).date()}
    duel.tell(0, right[:60])
    duel.tell(60, wrong[60:], days_later=1)
    days.add(datetime.now(UTC).date())
    assert duel.judge("--apply", url=site.url) == 3
    printed = capsys.readouterr().out
    assert "version 2 is worse than version 1 in accuracy by 25.00 points" in printed
    assert any(f"the truth reported on {day + timedelta(1)} does not count" in printed for day in days)
    assert (duel.serving().labels, duel.serving().shares()) == ({"stable": 1}, {})


def test_without_a_server_it_holds(duel, capsys):
    """Guardrails are unknown then, as they are where it serves another model."""
    duel.live(60, gained=12)
    assert duel.judge("--apply") == 0
    printed = capsys.readouterr().out
    assert "better than version 1" in printed
    assert "latency and errors are unknown: no server answers at http://127.0.0.1:9 (" in printed
    assert duel.serving().shares() == {}


def test_a_server_without_the_challenger_tells_nothing(duel, site, models, capsys):
    duel.live(60, gained=12)
    (duel.home / "2").rename(duel.home / "4")
    (duel.home / "serving.toml").write_text(LABELS.replace("2", "4") + RULES)
    assert duel.judge("--apply", url=site.url) == 0
    assert "does not serve version 4 of mixed: name another --url" in capsys.readouterr().out


def test_what_somebody_took_back_stays_back(duel, site, capsys):
    """The steps of a judge are one step of a rollback, after which the judge gives nothing again."""
    duel.live(60, gained=12)
    duel.judge("--apply", url=site.url)
    duel.add(2, [0] * 5, [[1.0, 0.0, 0.0]] * 5, first=1000)
    duel.judge("--apply", url=site.url)
    assert duel.serving().labels == {"stable": 2}
    assert main(["models", "rollback", "mixed", "--models", str(duel.home.parent)]) == 0
    assert duel.serving().labels == {"stable": 1, "challenger": 2}
    capsys.readouterr()
    assert duel.judge("--apply", url=site.url) == 0
    assert (
        "version 2 had 100% of the requests, and somebody has taken that back to 0%"
        in capsys.readouterr().out
    )
    assert duel.serving().shares() == {}


def test_a_judge_that_is_killed_has_changed_nothing(duel, site):
    """Its record, written before serving.toml, is taken back: a later judge promotes all the same."""
    duel.live(60, gained=12)
    before = (duel.home / "serving.toml").read_text()
    duel.judge("--apply", url=site.url)
    (duel.home / "serving.toml").rename(duel.home / ".serving.toml.new")
    (duel.home / "serving.toml").write_text(before)
    assert duel.judge("--apply", url=site.url) == 0
    assert duel.decisions() == [("hold", 0)]
    assert duel.judge("--apply", url=site.url) == 0
    assert duel.decisions() == [("hold", 0), ("promote", 0.5)]
    assert duel.serving().shares() == {1: 0.5, 2: 0.5}


def test_a_history_that_somebody_has_edited(duel, site, capsys):
    """Where a record has no time, nobody knows how long the challenger has had its share: it is held."""
    duel.live(60, gained=12)
    duel.judge("--apply", url=site.url)
    last = history.read(duel.home)[-1]
    edited = replace(last, at="yesterday")
    (duel.home / "history.jsonl").write_bytes(msgspec.json.encode(edited) + b"\n")
    duel.add(2, [0] * 5, [[1.0, 0.0, 0.0]] * 5, first=1000)
    assert duel.judge("--apply", url=site.url) == 0
    assert "the log has 0 rows that version 2 has answered with 50%" in capsys.readouterr().out


def test_two_judges_at_once_take_one_step(duel, site):
    """The second one finds that the model is no longer what it has judged."""
    duel.live(60, gained=12)
    words = ["--models", duel.home.parent, "--log", duel.log, "--url", site.url]
    command = [sys.executable, "-m", "unpickled", "judge", "mixed", "--apply", *words]
    pipes = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, **pipes) as one, started(command, **pipes) as other:
        with history.alone(duel.home):
            for judge in (one, other):
                assert "another change of mixed is under way; waiting" in judge.stderr.readline()
        printed = [judge.communicate(timeout=PATIENCE)[0] for judge in (one, other)]
    assert [decision for decision in duel.decisions() if decision[0] == "promote"] == [("promote", 0.5)]
    assert sum("another change came first, and nothing is applied" in output for output in printed) == 1


def test_another_file_begins_anew(duel, models, site, capsys):
    """Rows that an earlier challenger has answered do not count."""
    duel.live(60, gained=12)
    shelve(models, duel.home, "forest", first=3)
    (duel.home / "serving.toml").write_text(LABELS.replace("2", "3") + RULES)
    assert duel.judge("--apply", url=site.url) == 0
    assert "the payload log has no row that version 3 has answered" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (
            {"latency": 1.6},
            "version 2 runs 1.60 times as long as version 1 per row, and 1.5 times are allowed",
        ),
        ({"failed": 9, "requests": 90, "failed_before": 0.01}, "9 of 90 requests to version 2 failed, 1.0%"),
        ({"compared": 900, "disagreement": 0.6}, "answers 60.0% of 900 rows with another label"),
        ({"offered": 900, "refused": 0.1}, "version 2 does not take 10.0% of the rows that version 1"),
        ({"gain": -0.1, "lowest": -0.2, "highest": -0.01}, "version 2 is worse than version 1 in accuracy"),
    ],
)
def test_a_guardrail_rejects(duel, figures, words):
    """However right the challenger is, and whatever its share of the traffic."""
    between = contest.contest_of(Repository(Config(models=str(duel.home.parent))).deployment("mixed"))
    rules = Rules(maximum_disagreement=0.5)
    assert verdict.decide(between, Past(), Evidence(**GOOD), rules).verdict == "promote"
    for weight in (0.0, 0.05):
        found = verdict.decide(between._replace(weight=weight), Past(), Evidence(**GOOD | figures), rules)
        assert (found.verdict, found.weight) == ("reject", 0.0)
        assert words in found.reasons[0]


@pytest.mark.parametrize(
    ("figures", "rules", "words"),
    [
        (
            {"rows": 0},
            {},
            "no row that both version 1 and version 2 have answered has its truth yet: report it",
        ),
        ({"rows": 199}, {}, "199 rows of both have truth, and 200 are needed before it may be promoted"),
        ({"lowest": -0.01, "needed": 800}, {}, "it takes 800 rows more to tell, in 80 of 100 cases"),
        ({}, {"minimum_gain": 0.06}, "that does not show yet that it is better by more than 0.06"),
        ({"minutes": 59.0}, {}, "has 5% of the requests since 59 minutes, and 60 are needed"),
        ({"answered": 49}, {}, "the log has 49 rows that version 2 has answered with 5% of the requests"),
        ({"drifted": True}, {"drift": "hold"}, "requests have drifted from what version 2 was trained on"),
        ({"failed": 1, "requests": 9}, {"minimum_rows": 901}, "901 are needed"),
    ],
)
def test_reasons_to_hold(duel, figures, rules, words):
    between = contest.contest_of(Repository(Config(models=str(duel.home.parent))).deployment("mixed"))
    good = GOOD | {"answered": 50, "minutes": 60.0}
    canary = between._replace(weight=0.05)
    assert verdict.decide(canary, Past(), Evidence(**good), Rules())[:2] == ("promote", 0.25)
    found = verdict.decide(canary, Past(), Evidence(**good | figures), Rules(**rules))
    assert (found.verdict, found.weight) == ("hold", 0.05)
    assert words in " ".join(found.reasons)


METRICS = """\
unpickled_requests_total{model="mixed",version="1",route="/predict",status="200"} 400.0
unpickled_requests_total{model="mixed",version="2",route="/predict",status="200"} %(answered)s
unpickled_requests_total{model="mixed",version="2",route="/predict",status="500"} 3.0
unpickled_requests_total{model="mixed",version="2",route="/v/<version>",status="400"} 9.0
unpickled_rows_total{model="mixed",version="1"} 800.0
unpickled_rows_total{model="mixed",version="2"} 200.0
unpickled_phase_seconds_total{model="mixed",version="1",phase="run"} 0.8
unpickled_phase_seconds_total{model="mixed",version="2",phase="run"} %(seconds)s
unpickled_phase_seconds_total{model="mixed",version="2",phase="read"} 7.0
unpickled_shadow_rows_total{model="mixed",version="1",shadow="2",class="a \\"b\\"",agreement="same"} 60.0
unpickled_shadow_rows_total{model="mixed",version="1",shadow="2",class="c",agreement="different"} 20.0
unpickled_shadow_refused_rows_total{model="mixed",shadow="2"} 20.0
"""


@pytest.mark.parametrize(
    ("answered", "seconds", "latency"), [(100, 0.4, 2.0), (99, 0.4, None), (100, 0.21, 1.0), (100, 0.1, 1.0)]
)
def test_figures_of_a_server(duel, answered, seconds, latency):
    """Run times count where a request takes a millisecond more; requests that name a version do not."""
    between = contest.contest_of(Repository(Config(models=str(duel.home.parent))).deployment("mixed"))
    reports = Reports(Exposed(METRICS % {"answered": answered, "seconds": seconds}))
    gathered = evidence.gather(duel.log, duel.home.parent, between, Rules(), None, reports)
    assert (gathered.latency, gathered.silent, gathered.rows) == (latency and pytest.approx(latency), "", 0)
    assert (gathered.failed, gathered.requests, gathered.failed_before) == (3, answered + 3, 0.0)
    assert (gathered.compared, gathered.disagreement, gathered.offered, gathered.refused) == (
        80,
        0.25,
        100,
        0.2,
    )


@pytest.mark.parametrize(
    "line", ["x{} x", 'unpickled_rows_total{model="mixed"} NaN', "unpickled_requests_total{} 1"]
)
def test_figures_that_cannot_be_counted(line):
    """Another server may answer at the address: what makes no sense counts as nothing."""
    exposed = Exposed(line.replace("{}", '{model="mixed",version="1"}'))
    assert exposed.work("mixed", 1).rows == 0
    assert exposed.work("mixed", 1).failed == 0
    assert not exposed.serves("mixed", 1)


def test_log_loss(models, tmp_path, site, capsys):
    """Probabilities that are closer to the truth win where that is the metric."""
    duel = Duel((models, models), ("forest", "iris"), tmp_path, RULES + 'metric = "log_loss"\n')
    sure = np.random.default_rng(0).uniform(0.7, 0.9, 80)
    for number, share in ((1, sure - 0.2), (2, sure)):
        scores = [[each, 1 - each, 0.0] for each in share.tolist()]
        duel.add(number, [0] * 80, scores, 0, shadow=2 if number == 2 else None)
    duel.tell(0, [0] * 80)
    assert duel.judge("--json", url=site.url) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["evidence"]["measure"]) == ("promote", "log loss")
    assert found["evidence"]["gain"] == pytest.approx(np.mean(np.log(sure / (sure - 0.2))))


def test_a_regressor(regressors, tmp_path, capsys):
    """Numbers that are further from the truth lose."""
    duel = Duel((regressors, regressors), ("area", "area"), tmp_path)
    truths = np.random.default_rng(0).uniform(10, 20, 80)
    for number, error in ((1, 0.5), (2, 1.0)):
        scores = [[each + error] for each in truths.tolist()]
        duel.add(number, [0] * 80, scores, 0, shadow=2 if number == 2 else None)
    duel.tell(0, truths.tolist())
    assert duel.judge("--apply") == 3
    assert "worse than version 1 in mean absolute error of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("minimum_rows = 0", r"judge.minimum_rows in serving.toml is 0: Expected int >= 1. It is rows with"),
        ("steps = [0.5, 0.1, 1.0]", "each share has to be larger than the one before"),
        ("steps = [0.5]", "the last share has to be 1.0, all of the traffic"),
        ("step = 1", "'?judge.step'? in serving.toml is no known key: did you mean 'steps'"),
        ("latency = 0", "It is how many times the champion's the challenger's run time per row may be"),
        ('metric = "auc"', 'It is "accuracy" or "log_loss"'),
    ],
)
def test_wrong_rules(text, words):
    with pytest.raises(ServingError, match=words):
        settings.parse(f"[judge]\n{text}")


def test_commands_leave_the_rules_as_they_are(duel):
    """Their comments too."""
    path = duel.home / "serving.toml"
    path.write_text(path.read_text().replace("minimum_rows = 20", "minimum_rows = 20  # Ann"))
    assert main(["models", "canary", "mixed", "2", "--weight", "0.1", "--models", str(duel.home.parent)]) == 0
    assert "minimum_rows = 20  # Ann" in path.read_text()


class World:
    """A served champion with a challenger in its shadow, clients, and what turns out to be true."""

    def __init__(self, server: Serving, home, models: Models, truth: str) -> None:
        self.server, self.home = server, home
        self.rows = models.rows["iris"][20:130]
        self.truths = models.pipelines[truth].predict(self.rows)
        self.sent = 0

    def live(self, rows: int = 60) -> None:
        """Predict rows, one a request, and report the truth of each; an answer but 200 raises HTTPError."""
        reports = []
        for place in np.random.default_rng(self.sent).integers(0, len(self.rows), rows).tolist():
            body = json.dumps({"features": self.rows[place].tolist()}).encode()
            with urllib.request.urlopen(f"{self.server.url}/predict", body, timeout=PATIENCE) as answer:
                reports.append({"id": answer.headers["Prediction-Id"], "truth": int(self.truths[place])})
        self.sent += rows
        assert self.server.ask("/models/mixed/truth", json.dumps(reports).encode())[0] == 200

    def judge(self) -> int:
        """An hour of it: requests, truth, and the judge from cron."""
        self.live()
        log = self.home.parent.parent / "log"
        words = ["--models", str(self.home.parent), "--log", str(log), "--url", self.server.url]
        return main(["judge", "mixed", "--apply", *words])

    def serving(self) -> settings.Serving:
        return settings.parse((self.home / "serving.toml").read_text())


@pytest.fixture
def world(models, tmp_path):
    """The challenger has seen some of the champion's rows alone, and values outside are refused."""
    home = shelve(models, tmp_path / "models" / "mixed", "forest")
    rows = slice(20, 130)
    X, y = models.rows["iris"], models.pipelines["iris"].predict(models.rows["iris"])
    options = {"feature_names": FLOWERS, "models": home.parent}
    export_pipeline(models.pipelines["iris"], X[rows], y[rows], name="mixed", **options)
    (home / "serving.toml").write_text(LABELS + 'inputs = {outside = "refuse"}\n' + RULES)
    log = ("--log-share", "1", "--log-folder", str(tmp_path / "log"), "--log-rotate-minutes", "0.005")
    more = ("--reload-seconds", "0.1", "--shutdown-timeout", "600")
    with serving(tmp_path, *log, *more, models=home.parent) as server:
        yield World(server, home, models, truth="iris")


def test_a_server_its_clients_and_a_judge(world):
    """A better challenger becomes stable while clients go on, and no request fails."""
    eventually(lambda: world.judge() == 0 and world.serving().labels == {"stable": 2})
    eventually(lambda: world.server.ask("/models/mixed")[1]["version"] == 2)
    before = len(history.read(world.home))
    assert world.judge() == 0
    assert len(history.read(world.home)) == before


def test_a_canary_whose_requests_fail_is_rolled_back(world, models):
    """By the next judge, however right its answers are."""
    eventually(lambda: world.judge() == 0 and world.serving().shares())
    # No judge before the server follows: that one might promote the canary.
    eventually(lambda: world.server.ask("/models/mixed")[1]["traffic"].get("2"))
    body = json.dumps({"features": models.rows["iris"][131].tolist()}).encode()
    answers = [world.server.ask("/predict", body)[0] for _ in range(60)]
    assert set(answers) == {200, 400}
    eventually(lambda: world.judge() == 3)
    assert world.serving().labels == {"stable": 1}
    decision = history.read(world.home)[-1].decision
    assert (decision.verdict, decision.weight) == ("reject", 0)
    assert "requests to version 2 failed, 0.0% of those to version 1" in " ".join(decision.reasons)
    eventually(lambda: world.server.ask("/models/mixed")[1]["traffic"] == {"1": 1.0})
    assert {world.server.ask("/predict", body)[0] for _ in range(20)} == {200}
