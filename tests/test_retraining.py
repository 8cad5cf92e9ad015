"""Training again on the payload log and its truth: a challenger that is better is published, and no other."""

import json
import shutil
import signal
import sys
import threading
import urllib.request

import pytest
from conftest import PATIENCE, eventually, people, serving, shelve, started
from payloads import LOGGING, exposed, logged
from shop import Shop, customers

from unpickled.export.retraining import lock
from unpickled.server.artifact import manifest
from unpickled.server.lifecycle import history
from unpickled.server.lifecycle import serving as settings


def turn(shop, days=(9, 8, 7, 6)):
    """A shop that has turned lately: the champion is wrong."""
    for day in days:
        shop.live(150, day, turned=True)


def printed(capsys):
    """The report that a command has printed as JSON."""
    return json.loads(capsys.readouterr().out)


def served(shop):
    """The settings in serving.toml."""
    return settings.parse((shop.home / "serving.toml").read_text())


def test_better(shop, capsys):
    """A challenger that is better becomes the next version: it shadows, and the champion answers."""
    turn(shop)
    assert shop.retrain("--json", "--weights", "recent=2") == 0
    report = printed(capsys)
    assert (report["outcome"], report["version"], report["forced"]) == ("published", 2, False)
    assert report["verdict"].startswith(
        "Version 2 is published as challenger and shadows: on 120 held-out rows, version 2 has"
    )
    assert shop.versions() == [1, 2]
    assert served(shop).labels == {"stable": 1, "challenger": 2}
    assert (served(shop).shadow.version, served(shop).shadow.share) == (2, 1.0)
    assert [record.by for record in history.read(shop.home)][-2:] == ["retrain", "retrain"]
    check_manifest(shop)


def check_manifest(shop):
    """The manifest of version 2 tells of its rows, its recipe and the comparison."""
    document = manifest.read((shop.home / "2" / "model.onnx").read_bytes())
    assert (document.training.data, document.training.rows) == ("base.csv and the log of shop", 780)
    assert (document.recipe.data, document.recipe.target) == (str(shop.base), ("buys",))
    assert document.recipe.retrained.weight == 2
    assert [(each.version, each.unseen) for each in document.comparisons] == [(1, True)]
    first = shop.champion.manifest
    assert [each.name for each in document.features] == [each.name for each in first.features]


def test_a_better_challenger_takes_the_place(shop, capsys):
    """One that is better than the earlier challenger as well is published, before anybody has decided."""
    turn(shop, days=(9, 8))
    for day in (7, 6):
        shop.live(150, day)
    assert shop.retrain("--force") == 0
    turn(shop, days=(5, 4, 3, 2))
    assert shop.retrain("--weights", "recent=20", "--any-truth") == 0
    assert served(shop).labels == {"stable": 1, "challenger": 3}


def test_same_world(shop, capsys):
    """A challenger that is not better is not written, and one sentence says so with the figures."""
    for day in (9, 8, 7):
        shop.live(150, day)
    assert shop.retrain() == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("The challenger is not better than version 1 by more than chance, so nothing was")
    assert "McNemar p" in last
    assert (shop.versions(), (shop.home / "serving.toml").exists()) == ([1], False)


def test_force(shop, capsys):
    """With --force, a challenger that is not better is published, and the report says why."""
    for day in (9, 8, 7):
        shop.live(150, day)
    assert shop.retrain("--force") == 0
    assert "though not better than version 1, as --force was said" in capsys.readouterr().out
    assert shop.versions() == [1, 2]


@pytest.mark.long
def test_a_stable_version_stays(shop):
    """Where labels decide already, they stay as they are, and an earlier challenger makes room."""
    turn(shop)
    (shop.home / "serving.toml").write_text("load = 2\n[labels]\nstable = 1\nold = 1\n")
    assert [shop.retrain("--force") for _ in range(2)] == [0, 0]
    assert (served(shop).load, served(shop).labels) == (2, {"stable": 1, "old": 1, "challenger": 3})
    assert served(shop).shadow.version == 3


def test_a_challenger_that_shadows(shop, capsys):
    """A challenger that is not judged yet stays, unless the new one is better than that as well."""
    turn(shop)
    assert shop.retrain() == 0
    capsys.readouterr()
    assert shop.retrain() == 3
    last = capsys.readouterr().out.splitlines()[-1]
    assert "not better than version 2, which shadows as challenger already, by more than chance" in last
    assert (shop.versions(), served(shop).shadow.version) == ([1, 2], 2)


def test_canary(shop, capsys):
    """While a canary answers a part of the requests, nothing is retrained: it would lose its label."""
    shutil.copytree(shop.home / "1", shop.home / "2")
    (shop.home / "serving.toml").write_text("[labels]\nstable = 1\n[traffic]\nstable = 0.9\n2 = 0.1\n")
    assert shop.retrain() == 1
    assert "a canary of shop is under way (version 1 90% and version 2 10%" in capsys.readouterr().err


@pytest.mark.long
def test_no_weights(tmp_path, capsys):
    """An estimator that takes no weights of rows is named, and nothing is written."""
    shop = Shop(tmp_path, "--classifier", "knn").train()
    turn(shop)
    assert shop.repeat("--weights", "recent=2") == 1
    assert "KNeighborsClassifier takes no weights of rows" in capsys.readouterr().err
    assert shop.versions() == [1]


def test_regression(tmp_path, capsys):
    """Numbers are retrained too: the challenger is judged by its errors."""
    table = customers(300, 0).drop(columns="buys")
    shop = Shop(tmp_path, base=table.assign(spent=table["age"] * 2)).train()
    for day in (9, 8, 7):
        rows = customers(150, day)
        shop.report(shop.predict(rows, day), (rows["age"] + rows["income"]).tolist(), day)
    capsys.readouterr()
    assert shop.retrain("--json") == 0
    report = printed(capsys)
    assert report["comparison"]["contrasts"][0]["metric"] == "mean absolute error"
    assert report["classes"] == []


def test_log_only(shop, capsys):
    """Without a base table, the rows of the log are all that is trained on."""
    turn(shop)
    assert shop.repeat("--log-only", "--force", "--json") == 0
    assert printed(capsys)["base"] is None
    assert shop.repeat("--data", "none.csv") == 1
    assert "There is no file none.csv" in capsys.readouterr().err


def test_no_base_table(tmp_path, capsys):
    """Where the base table of the recipe is gone, the error says how to do without it."""
    shop = Shop(tmp_path).train()
    turn(shop)
    shop.base.unlink()
    assert shop.repeat() == 1
    assert "name the table with --data, or train on the log alone with --log-only" in capsys.readouterr().err


@pytest.mark.long
def test_retrained_again(shop, capsys):
    """The next retraining goes on from the base table, and holds out rows that the champion has not seen."""
    turn(shop)
    assert shop.retrain() == 0
    (shop.home / "serving.toml").write_text("load = 2\n[labels]\nstable = 2\n")
    turn(shop, days=(3, 2))
    capsys.readouterr()
    assert shop.repeat("--json", "--held-out", "0.5") in (0, 3)
    report = printed(capsys)
    assert (report["champion"], report["base"]["name"]) == (2, "base.csv")
    assert report["comparison"]["unseen"]
    assert sum(each["held_out"] for each in report["versions"]) == 420


def command(shop):
    """The words that retrain as a process of its own."""
    return [sys.executable, "-m", "unpickled", *shop.command, "--data", str(shop.base)]


def test_two_at_once(shop, capsys):
    """A second retraining of a model ends with a sentence while one is under way."""
    turn(shop)
    with lock.alone(shop.home):
        assert shop.retrain() == 1
    assert "Another retraining of shop is under way" in capsys.readouterr().err
    assert shop.versions() == [1]


@pytest.mark.long
def test_killed(shop):
    """A retraining that is killed leaves no version, and the next one is free to go."""
    turn(shop)
    # It cannot publish, however late the signal is: it would wait for this lock before it writes.
    with history.alone(shop.home), started(command(shop), stderr=-1, stdout=-1, text=True) as process:
        next(line for line in process.stderr if line.startswith("comparing with version 1"))
        process.kill()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    assert shop.versions() == [1]
    assert not (shop.home / "serving.toml").exists()
    assert shop.retrain() == 0


def ask(server, path, document):
    """The headers and the document of an answer."""
    body = json.dumps(document).encode()
    with urllib.request.urlopen(f"{server.url}{path}", body, timeout=PATIENCE) as answer:
        return answer.headers, json.load(answer)


def visit(server, seed):
    """Have 100 customers of a shop that has turned predicted, and report whether they buy."""
    table = customers(100, seed, turned=True)
    rows = table.drop(columns="buys").to_numpy().tolist()
    headers, _ = ask(server, "/models/shop/predict", {"features": rows})
    ids = [f"{headers['Prediction-Id']}:{row}" for row in range(len(rows))]
    reports = [{"id": each, "truth": truth} for each, truth in zip(ids, table["buys"], strict=True)]
    # A report waits for two seconds at most until its rows are remembered: a busy machine may take longer.
    eventually(lambda: ask(server, "/models/shop/truth", reports)[1]["unknown"] == 0)
    assert ask(server, "/models/shop/truth", reports)[1]["repeated"] == len(rows)


def test_while_it_serves(shop):
    """Beside a server that loads the newest version, no request is answered by the challenger; it shadows."""
    flags = (*LOGGING, "--log-rotate-rows", "1", "--reload-seconds", "0.1")
    over, answered = threading.Event(), []

    def customer(server):
        while not over.wait(0.005):
            headers, _ = ask(server, "/models/shop/predict", {"features": [[40.0, 50.0, "Bonn"]]})
            answered.append(headers["Model-Version"])

    with serving(shop.folder, *flags, models=shop.models) as server:
        for seed in range(6):
            visit(server, seed)
        eventually(lambda: len(logged(shop.log)) == 600)
        thread = threading.Thread(target=customer, args=(server,))
        thread.start()
        try:
            eventually(lambda: answered)
            assert shop.retrain("--weights", "recent=5") == 0
            eventually(lambda: "unpickled_shadow_rows_total{" in exposed(server))
            count = len(answered)
            eventually(lambda: len(answered) > count + 20)
        finally:
            over.set()
            thread.join()
    assert set(answered) == {"1"}


def test_own_pipeline(models, tmp_path, capsys):
    """A pipeline of the user's own is made again by its parameters, also in a folder of another name."""
    shop = Shop(tmp_path, base=people()[0].assign(stays=people()[1]))
    shelve(models, shop.home, "people")
    shop.write_base()
    table = people()[0].dropna()
    for day in (4, 3):
        ids = shop.predict(table, day)
        shop.report(ids, ["stays"] * 90 + ["leaves"] * (len(table) - 90), day)
    assert shop.retrain("--target", "stays", "--json") in (0, 3)
    report = printed(capsys)
    assert (report["model"], report["base"]["trained"]) == ("shop", 200)
    assert report["versions"][0]["held_out"] == 100
