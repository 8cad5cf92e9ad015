"""The report of a version: the command, the page of a server, a notebook, and all pictures in a browser."""

import contextlib
import html
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, browsing
from conftest import FLOWERS, people, serving
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_page import SCRIPT, hostile

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.server import Config, create_app
from unpickled.server.card import page
from unpickled.server.card.plot import days, numbers
from unpickled.server.card.version import Version

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
# Parts of the page beyond its right edge, but for those in a box that scrolls.
OVERFLOWING = """[...document.querySelectorAll('body *')].filter(each => !each.closest('.scroll')
  && each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 99))"""
# Texts of a picture that lie over each other, or are cut by its edge.
COLLIDING = """[...document.querySelectorAll('svg')].flatMap(svg => {
  const edge = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(
    each => [each.textContent, each.getBoundingClientRect()]);
  const cut = texts.filter(([, box]) => box.left < edge.left - 1 || box.right > edge.right + 1
    || box.bottom > edge.bottom + 1);
  const over = texts.filter(([, a], place) => texts.slice(place + 1).some(([, b]) =>
    Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4));
  return [...cut, ...over].map(([text]) => text);
})"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """iris in two versions, breast_cancer, diabetes, and a mixed table with gaps, categories and a date."""
    home = tmp_path_factory.mktemp("reports")
    path = home / "mixed.csv"
    mixed().to_csv(path, index=False)
    models = ["--models", str(home / "models")]
    for words in (
        ["iris"],
        ["iris", "--classifier", "decision_tree"],
        ["breast_cancer"],
        ["diabetes"],
        ["--data", str(path), "--target", "stays", "--name", "mixed", "--dates", "expand"],
    ):
        assert main(["train", *words, *models]) == 0
    export_pipeline(*wide(), name="wide", models=home / "models")
    return home / "models"


def mixed():
    """The made-up customers with a date, and a truth that has three classes."""
    table, stays = people()
    table["city"] = table["city"].replace("Trier", "MÜHLHAUSEN IM MITTELGEBIRGE")
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(200) * 4, unit="D")
    table["since"] = days.strftime("%d.%m.%Y")
    return table.assign(stays=np.where(table["income"] > 3000, "perhaps, if it is asked kindly", stays))


def wide():
    """A pipeline of more features than are pictured and more classes than have a color, and its rows."""
    rng = np.random.default_rng(0)
    X = np.hstack([rng.normal(0, 1, (400, 2)), rng.lognormal(0, 3, (400, 68))])
    y = X[:, 0].argsort().argsort() // 25
    return make_pipeline(StandardScaler(), LogisticRegression(tol=0.1)).fit(X, y), X, y


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(browser):
    """The browser, which must have no complaint in the end."""
    browser.complaints.clear()
    yield browser
    assert browser.complaints == []


def reported(capsys, shelf, *words):
    """The exit status of the command, and what it has printed."""
    status = main(["report", *words, "--models", str(shelf)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def version(export):
    """The version that an export has written."""
    return Version("model", export.version, export.manifest, export.size, export.sha256)


@needs_browser
@pytest.mark.parametrize("model", ["iris", "breast_cancer", "mixed", "diabetes", "wide"])
def test_every_picture_fits(shelf, tab, tmp_path, capsys, model):
    """A page is below 1 MB, nothing in it is cut or overlaps, and it needs no scrolling sideways."""
    path = tmp_path / "report.html"
    assert reported(capsys, shelf, model, "-o", str(path))[0] == 0
    assert path.stat().st_size < 1_000_000
    for width, scheme in ((1280, "light"), (390, "dark")):
        tab.size(width, mobile=width < 600)
        tab.prefer(prefers_color_scheme=scheme)
        tab.open(path.as_uri())
        assert tab.ask("document.documentElement.scrollWidth") == width
        assert tab.ask(OVERFLOWING) == []
        assert tab.ask(COLLIDING) == []
    assert tab.ask("document.querySelectorAll('figure svg[role=img][aria-label]').length") >= 5


SECTIONS = [
    "How it decides",
    "Where it is worst",
    "Data card",
    "Parity with the fitted pipeline",
    "How it was made, and what it costs",
]


def test_a_classifier(shelf, capsys):
    """The page says how good a classifier is, by what it decides, how it was proven and how it was made."""
    _, text, _ = reported(capsys, shelf, "breast_cancer", "-o", "-")
    assert re.findall("<h2>(.*?)</h2>", text) == ["Quality on 114 held-out rows", *SECTIONS]
    assert "rows held out from training; to always answer &#x27;benign&#x27; would be right for" in text
    for part in ("Precision and recall", "Calibration", "false alarms", "Importance of the features"):
        assert part in text
    assert "30 columns and 455 training rows." in text
    assert "the graph in it and the fitted pipeline answered the same" in text
    assert "microseconds alone" in text


def test_a_regressor(shelf, capsys):
    """That of a regressor has errors with intervals, true numbers beside predictions, and residuals."""
    _, text, _ = reported(capsys, shelf, "diabetes", "-o", "-")
    assert re.findall("<h2>(.*?)</h2>", text) == ["Quality on 89 held-out rows", *SECTIONS]
    assert re.search(r"Predictions are off by [\d.]+ \([\d.]+ to [\d.]+\) on average, and would be by", text)
    for part in ("Predicted and true numbers", "Residuals", "predicted - true", "Root mean squared error"):
        assert part in text
    assert "ROC" not in text


def test_the_columns_of_a_table(shelf, capsys):
    """Each column says what it was taken for, its range and its missing values."""
    _, text, _ = reported(capsys, shelf, "mixed", "-o", "-")
    panels = {
        re.search("<h4>(.*?)</h4>", each)[1]: re.sub("<.*?>", " ", each)
        for each in text.split("<li>")[1:]
        if "<h4>" in each
    }
    assert "Date, day first." in panels["since"]
    assert "2023-01-05 to 2025-03-07, median 2024-01-" in panels["since"]
    assert re.search(r"Number.*median.*% missing", panels["age"])
    assert re.search(r"Category.*3 categories.*None missing.*Bonn", panels["city"], re.S)
    assert "the model does not read" not in text


def test_odd_columns(tmp_path):
    """A constant is not drawn, a long tail has a logarithmic scale, and a bar of many zeros is cut."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"constant": np.ones(200), "tail": rng.lognormal(0, 3, 200)})
    table["zeros"] = np.where(rng.random(200) < 0.8, 0, rng.exponential(1, 200))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, table["zeros"] > 0)
    text = page.html(version(export_pipeline(pipeline, table, name="odd", models=tmp_path)))
    constant, tail, zeros = (each for each in text.split("<li>") if "<h4>" in each)
    assert "<svg" not in constant
    assert ">logarithmic</text>" in tail
    assert re.search(r"<text[^>]*>[78]\d%</text>.* and above", zeros, re.S)


def test_a_file_without_a_card(models, tmp_path):
    """A file of an earlier release has its data and its parity, and says how to get the rest."""
    export = export_pipeline(models.pipelines["iris"], models.rows["iris"], name="iris", models=tmp_path)
    assert export.manifest.card is None
    text = page.html(version(export))
    assert re.findall("<h2>(.*?)</h2>", text) == [SECTIONS[2], SECTIONS[3], SECTIONS[4]]
    assert "How good it is was not measured: the export was given no true answers." in text
    assert "This file has no card: it was exported by an earlier release, or without true answers." in text
    older = replace(export.manifest, reference=None, outputs=export.manifest.outputs)
    bare = page.html(version(export)._replace(manifest=older))
    assert "Too few training rows, or too few values, to be counted in groups." in bare


def test_a_file_with_metrics_alone(models):
    """The metrics that ``train`` wrote before there were cards are shown: confusion and classes."""
    from unpickled.server.artifact import manifest

    data = (models.path / "people" / "1" / "model.onnx").read_bytes()
    old = replace(manifest.read(data), card=None)
    text = page.html(Version("people", 1, old, len(data), "0" * 64))
    assert "It is right for" in text
    assert "which flatter a model." in text
    assert "Truth (rows) and answers (columns)" in text
    assert "ROC" not in text


def test_it_writes_a_file(shelf, tmp_path, capsys):
    """By default the newest version goes to a file of its name; a number or a label chooses another."""
    with contextlib.chdir(tmp_path):
        status, output, errors = reported(capsys, shelf, "iris")
        assert (status, errors) == (0, "")
        assert re.fullmatch(r"iris-2.html is written: iris, version 2, [\d.]+ kB\n", output)
        assert reported(capsys, shelf, "iris", "--version", "1")[1].startswith("iris-1.html is written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["iris-1.html", "iris-2.html"]
    assert "<title>iris, version 1</title>" in (tmp_path / "iris-1.html").read_text("utf-8")


def test_json(shelf, capsys):
    """--json prints the figures that the page is drawn from."""
    status, output, _ = reported(capsys, shelf, "iris", "--version", "1", "--json")
    document = json.loads(output)
    assert status == 0
    assert (document["model"], document["version"], document["card"]["rows"]) == ("iris", 1, 30)
    assert {"training", "parity", "comparisons", "recipe", "sha256"} < set(document)


ERRORS = {
    ("iriss",): "there is no model 'iriss' in",
    ("iris", "--version", "7"): "there is no version 7 of iris: there are 2, 1",
    ("iris", "--version", "beta"): "there is no label 'beta': there are none yet",
    ("iris", "--against", "9"): "there is no version 9 of iris: there are 2, 1",
    ("iris", "-o", "/nowhere/report.html"): "/nowhere/report.html cannot be written: No such file",
    ("empty",): "holds no version: export one with: unpickled train",
    ("broken",): "broken/1/model.onnx cannot be read: it is not a complete ONNX file",
}


@pytest.mark.parametrize(("words", "message"), ERRORS.items(), ids=map(" ".join, ERRORS))
def test_errors(shelf, capsys, words, message):
    """An error names what there is not, and what there is."""
    (shelf / "empty").mkdir(exist_ok=True)
    (shelf / "broken" / "1").mkdir(parents=True, exist_ok=True)
    (shelf / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    status, output, errors = reported(capsys, shelf, *words)
    assert (status, output) == (1, "")
    assert errors.startswith("error: ")
    assert message in errors


@pytest.fixture(scope="module")
def client(shelf):
    return create_app(Config.of(models=str(shelf), default_model="iris")).test_client()


def test_a_server_has_the_page(client, shelf, capsys):
    """GET /models/<name>/report has no script, and all that the command writes but for the recipe."""
    answer = client.get("/models/diabetes/report")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    _, text, _ = reported(capsys, shelf, "diabetes", "-o", "-")
    recipe = re.search("<h3>Recipe</h3>.*?</dl>\n", text, re.S)[0]
    assert answer.text == text.replace(recipe, "").removesuffix("\n")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src")
    assert client.get("/models/iris/versions/2/report").status_code == 200


REFUSED = {
    "/models/iriss/report": (404, "unknown_model"),
    "/models/iris/versions/9/report": (404, "unknown_model"),
    "/models/iris/report?against=9": (404, "unknown_model"),
    "/models/iris/report?against=one": (400, "invalid_input"),
    "/models/iris/report?against=": (400, "invalid_input"),
}


@pytest.mark.parametrize("path", REFUSED)
def test_refused(client, path):
    """A model or a version that is not served is unknown; a version is a number."""
    answer = client.get(path)
    assert (answer.status_code, answer.json["code"]) == REFUSED[path]


def test_two_versions(shelf, client, capsys):
    """The comparison in the file of either version is shown, by the command and by a server."""
    for number, other in (("2", "1"), ("1", "2")):
        words = ("iris", "--version", number, "--against", other, "-o", "-")
        assert f"<h2>Version {number} beside version {other}</h2>" in reported(capsys, shelf, *words)[1]
    assert "<h2>Version 2 beside version 1</h2>" in client.get("/models/iris/report?against=1").text
    assert "beside version" not in reported(capsys, shelf, "iris", "--version", "1", "-o", "-")[1]
    text = client.get("/models/iris/report?against=2").text
    assert "Version 2 is the one that this report is about: set another one beside it." in text


def test_versions_that_were_not_compared(models, tmp_path, capsys):
    """A page that is asked for a comparison that there is not says when versions are compared."""
    for number, name in enumerate(("forest", "iris"), start=1):
        shutil.copytree(models.path / name / "1", tmp_path / "flowers" / str(number))
    text = reported(capsys, tmp_path, "flowers", "--against", "1", "-o", "-")[1]
    assert "<h2>Beside version 1</h2>" in text
    assert "Versions 2 and 1 were not compared" in text
    assert "Versions are compared at the export of the later one" in text


@needs_browser
def test_hostile_names(tab, tmp_path):
    """Names that are HTML stay text: of features, categories and classes, on the page and in a notebook."""
    pipeline, table = hostile()
    export = export_pipeline(pipeline, table, pipeline.predict(table), name="hostile", models=tmp_path)
    notebook = f"<!doctype html><style>h1 {{ color: red }}</style><h1>Mine</h1>{export._repr_html_()}"
    for name, text in {"page": page.html(version(export)), "notebook": notebook}.items():
        assert not re.search("<(script|img|textarea)", text.replace("<iframe", ""))
        (tmp_path / f"{name}.html").write_text(text, "utf-8")
        tab.open((tmp_path / f"{name}.html").as_uri())
        assert tab.ask("document.title") != "run"
    assert tab.ask("document.querySelectorAll('script, img').length") == 0
    assert export.manifest.class_names[0] in (SCRIPT, "") or SCRIPT in export.manifest.class_names


def test_a_notebook_shows_the_report(models, tmp_path):
    """``_repr_html_`` is one frame with the whole page, which runs no script and keeps its style."""
    export = export_pipeline(
        models.pipelines["iris"], models.rows["iris"], name="iris", models=tmp_path, feature_names=FLOWERS
    )
    shown = export._repr_html_()
    assert shown.startswith('<iframe title="iris, version 1" sandbox ')
    assert re.fullmatch(r"<iframe [^<>]*></iframe>", shown)
    text = html.unescape(re.search('srcdoc="(.*)"', shown, re.S)[1])
    assert text == page.html(version(export)._replace(name="iris"))


@needs_browser
def test_the_home_page_links_it(shelf, tab, tmp_path):
    """The card of a model at / has a link to the report of its version."""
    with serving(tmp_path, "--default-model", "iris", models=shelf) as server:
        tab.open(f"{server.url}/#/iris")
        tab.wait("document.querySelector('.card a')")
        assert tab.text(".card a") == "Report of version 2"
        tab.click(".card a")
        tab.wait("document.title === 'iris, version 2'")
        assert "setosa" in tab.text("section")


def test_axes():
    """Ticks are round numbers inside the axis, of equal numbers too; dates are days."""
    assert [text for _, text in numbers(0.3, 97, "x").ticks] == ["20", "40", "60", "80"]
    assert [text for _, text in numbers(5, 5, "x").ticks] == ["4.6", "4.8", "5", "5.2", "5.4"]
    assert [text for _, text in numbers(-2e-7, 2e-7, "x").ticks] == ["-2e-7", "-1e-7", "0", "1e-7", "2e-7"]
    assert [text for _, text in days(0, 172_800, "x").ticks] == ["1970-01-01", "1970-01-02", "1970-01-03"]
