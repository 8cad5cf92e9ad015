"""The page in a real browser."""

import ast
import json
import re
import shutil
import signal
import sys
from urllib.request import Request, urlopen

import msgspec
import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, browsing
from conftest import FLOWER, FLOWERS, PERSON, ROOT, SPECIES, eventually, people, run, serving, shelve
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.export.tasks.regression import REGRESSION
from unpickled.server.accuracy import picture
from unpickled.server.artifact.manifest import Errors, Training
from unpickled.server.model.sizes import sizes
from unpickled.server.pages.home import prefers_html

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
SCRIPT = "<script>document.title = 'run'</script>"
IMAGE = "</textarea><img src=x onerror=\"document.title = 'run'\">"
# Requests to paths with this ending now wait in window.waiting until the test releases or fails them.
HOLD = """(ending => {
  const real = fetch;
  window.waiting = [];
  window.fetch = (where, request) => !where.endsWith(ending) ? real(where, request)
    : new Promise((go, fail) => waiting.push({
        release: async () => go(await real(where, request)),
        fail: () => fail(new TypeError("cut")),
      }));
})"""
CURRENT = "document.querySelector('.timing strong') && !document.querySelector('.stale')"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def shelf(models, tmp_path_factory):
    """A models folder with versions, labels, a split, a broken file, hostile names, many and few features."""
    home = tmp_path_factory.mktemp("page") / "models"
    for name in ("iris", "people", "forest"):
        shutil.copytree(models.path / name, home / name)
    shelve(models, home / "both", "iris", "forest")
    (home / "both" / "serving.toml").write_text("[labels]\nstable = 2\ncandidate = 1\n")
    shelve(models, home / "renewed", "iris")
    shelve(models, home / "split", "iris")
    X, y = load_iris(return_X_y=True)
    scores = make_pipeline(StandardScaler(), RidgeClassifier()).fit(X, y)
    export_pipeline(scores, X, name="split", models=home, feature_names=FLOWERS)
    (home / "split" / "serving.toml").write_text("[traffic]\n1 = 0.5\n2 = 0.5\n")
    (home / "broken" / "1").mkdir(parents=True)
    (home / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    rng = np.random.default_rng(0)
    X, y = rng.random((200, 60)), np.arange(200) % 100
    many = make_pipeline(StandardScaler(), LogisticRegression(tol=1)).fit(X, y)
    export_pipeline(many, X, name="many", models=home)
    single = make_pipeline(StandardScaler(), RidgeClassifier()).fit(X[:, :1], X[:, 0] > 0.5)
    export_pipeline(single, X[:, :1], name="one", models=home)
    export_pipeline(*hostile(), name="hostile", models=home)
    export_pipeline(*listed(), name="listed", models=home)
    dated(home)
    for rows in (200, 90):
        export_pipeline(*measured(rows, "size"), name=f"size{rows}", models=home)
        export_pipeline(*measured(rows, "size", "a width"), name=f"sizes{rows}", models=home)
    return home


def measured(rows, *targets):
    """A regressor of these targets, its rows, and their true numbers, in thousands and in thousandths."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"length": rng.normal(0, 1, rows).round(3), "age": rng.integers(0, 9, rows)})
    truth = pd.DataFrame({"size": 12_000 * table["length"] - table["age"], "a width": table["length"] / 1000})
    truth = truth[[*targets]] * rng.normal(1, 0.1, (rows, 1))
    numbers = truth["size"] if len(targets) == 1 else truth
    return make_pipeline(StandardScaler(), LinearRegression()).fit(table, numbers), table, numbers


def hostile():
    """A pipeline whose names are all HTML, and its rows."""
    table, answers = people()
    table = pd.DataFrame(
        {SCRIPT: table["income"], IMAGE: np.where(table["plan"] == "pro", SCRIPT, "it's \u202e")}
    )
    columns = make_column_transformer((StandardScaler(), [SCRIPT]), (OneHotEncoder(), [IMAGE]))
    labels = np.where(answers == "stays", SCRIPT, IMAGE)
    return make_pipeline(columns, LogisticRegression()).fit(table, labels), table


def listed():
    """A pipeline with a list of numbers and a boolean column, and its rows."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"rooms": rng.choice([1, 2, 5], 200), "express": rng.random(200) < 0.5})
    columns = make_column_transformer((OneHotEncoder(), ["rooms"]), ("passthrough", ["express"]))
    return make_pipeline(columns, LogisticRegression()).fit(table, table["express"]), table


def dated(home):
    """Export a model of a date, which its table writes with the day first, and a number."""
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.arange(90) * 86400 * 4, unit="s")
    table = pd.DataFrame({"ordered": days.strftime("%d.%m.%Y"), "weight": np.arange(90) % 7})
    table["late"] = np.where(days.month > 6, "yes", "no")
    table.to_csv(home.parent / "dated.csv", index=False)
    options = ["--target", "late", "--dates", "expand", "--classifier", "decision_tree"]
    command = ["train", "--data", str(home.parent / "dated.csv"), *options, "--models", str(home)]
    assert main(command) == 0


@pytest.fixture(scope="module")
def server(shelf, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), "--default-model", "size90", models=shelf) as server:
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def page(browser, server):
    """Opens the page of a model; the browser must have no complaint in the end."""
    browser.complaints.clear()
    browser.size(1280)
    browser.prefer(prefers_color_scheme="light")

    def open_model(name):
        browser.open(f"{server.url}/#/{name}")
        browser.wait("document.querySelector('.winner')?.textContent")
        return browser

    yield open_model
    assert browser.complaints == []


def scores(page):
    """Class -> its score on the page, to the last digit."""
    rows = "[...document.querySelectorAll('.bars li')]"
    return dict(page.ask(f"{rows}.map(row => [row.children[0].textContent, +row.children[2].title])"))


def answered(page, server, name):
    """The prediction of the API for the row on the page."""
    line = page.ask("document.querySelector('code').textContent")
    body = line.partition("-d ")[2].strip("'").encode()
    status, document = server.ask(f"/models/{name}/predict", body)
    assert status == 200
    return document["prediction"]


def get(server, path, **headers):
    """Status, headers and body of a GET."""
    request_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(f"{server.url}{path}", headers=request_headers)) as answer:
        return answer.status, answer.headers, answer.read()


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML;q=0.9, application/json;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=much", False),
        (";;,,;q=,", False),
    ],
)
def test_browsers_get_html_and_programs_json(accept, html):
    """A client gets HTML only where Accept names it and prefers it to JSON."""
    assert prefers_html(accept) is html


def test_one_address_serves_both(server):
    """GET / is the page for a browser and a document for curl, and Vary says so to caches."""
    _, headers, content = get(server, "/", Accept=BROWSER)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert content.startswith(b"<!doctype html>")
    assert "Accept" in ", ".join(headers.get_all("Vary"))
    _, headers, content = get(server, "/", Accept="*/*")
    assert "iris" in json.loads(content)["models"]
    assert "Accept" in ", ".join(headers.get_all("Vary"))


def test_the_policy_is_strict(server):
    """The policy allows nothing inline and no other host, and the page needs neither."""
    _, headers, content = get(server, "/", Accept=BROWSER)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"http://" not in content
    assert b"https://" not in content
    assert b"style=" not in content


def test_every_file_of_the_page_is_there(server):
    """The page names each of its files; each is served, and answered with 304 to a browser that has it."""
    _, _, content = get(server, "/", Accept=BROWSER)
    names = {part.split('"')[0] for part in content.decode().split('"assets/')[1:]}
    files = (ROOT / "server" / "pages" / "assets").glob("*.*")
    assert names == {file.name for file in files} - {"home.html"}
    for name in names:
        _, headers, _ = get(server, f"/assets/{name}")
        assert headers["Cache-Control"] == "no-cache"
        with pytest.raises(OSError, match="304"):
            get(server, f"/assets/{name}", If_None_Match=headers["ETag"])
    status, document = server.ask("/assets/none.js")
    assert (status, document["code"]) == (404, "not_found")


@needs_browser
def test_it_answers_with_the_medians(page, models):
    """The page opens with the answer to the medians: scikit-learn's scores for every class, and the times."""
    page = page("iris")
    medians = np.median(models.rows["iris"], axis=0)
    assert page.ask("[...document.querySelectorAll('.number')].map(e => +e.value)") == medians.tolist()
    (expected,) = models.pipelines["iris"].predict_proba([medians])
    assert scores(page) == pytest.approx(dict(zip(SPECIES, expected, strict=True)), abs=1e-12)
    assert "round trip" in page.text(".timing")
    assert "in the model" in page.text(".timing")


@needs_browser
def test_it_answers_while_one_types(page, models):
    """Each typed value is answered, and the last answer belongs to the values in the form."""
    page = page("iris")
    for index, value in enumerate(FLOWER):
        page.fill(f"#feature-{index}", str(value))
    (expected,) = models.pipelines["iris"].predict_proba([FLOWER])
    page.wait(f"Math.abs(document.querySelector('.value').title - {expected[0]}) < 1e-12")
    assert page.text(".winner") == "setosa"
    assert scores(page) == pytest.approx(dict(zip(SPECIES, expected, strict=True)), abs=1e-12)


@needs_browser
def test_it_names_what_is_outside_the_training_range(page, server, shelf):
    """Beside its answer the page names the feature, and the value that was used where it is clipped."""
    page, settings = page("people"), shelf / "people" / "serving.toml"
    warning = "document.querySelector('.proof').textContent"
    page.fill("#feature-1", "1e6")
    page.wait(warning)
    assert page.text(".proof") == "Outside the training range: income"
    page.fill("#feature-1", "2000")
    page.wait(f"!{warning}")
    settings.write_text('inputs.outside = "clip"')
    body = json.dumps(PERSON | {"income": 1e6}).encode()
    eventually(lambda: "used" in str(server.ask("/models/people/predict", body)))
    page.fill("#feature-1", "1e6")
    page.wait(f"{warning}.startsWith('Outside the training range: income (answered for ')")
    settings.write_text("inputs.slack = 0.1")
    eventually(lambda: "range" in str(server.ask("/models/people/predict", body)))
    page.fill("#feature-1", "1e5")
    page.wait(f"{warning} === 'Outside the allowed range: income'")
    settings.unlink()


@needs_browser
def test_an_answer_to_earlier_input_does_not_stand_as_current(page):
    """Typing greys the answer until the values in the form are answered."""
    page = page("iris")
    page.ask(f"{HOLD}('/predict')")
    page.fill("#feature-0", "5.5")
    assert page.ask("document.querySelectorAll('.stale').length") == 2
    page.wait("waiting.length === 1")
    page.fill("#feature-0", "5.75")
    page.ask("waiting[0].release()")
    page.wait("waiting.length === 2")
    assert not page.ask(CURRENT)
    page.ask("waiting[1].release()")
    page.wait(CURRENT)
    assert "5.75" in page.text("code")


@needs_browser
def test_what_was_wrong_with_a_text_goes_with_it(browser, page):
    """A remark on an earlier text neither stays nor arrives late; a decimal comma gets a hint at once."""
    page = page("iris")
    page.ask(f"{HOLD}('/predict')")
    page.fill("#feature-1", "3,5")
    assert page.text("#feature-1-remark") == "write a decimal point: 3.5"
    page.wait("waiting.length === 1")
    page.ask("waiting[0].release()")
    page.wait("document.querySelector('#feature-1-remark').textContent.includes(\"is text ('3,5')\")")
    page.fill("#feature-1", "wide")
    assert page.text("#feature-1-remark") == page.text(".trouble") == ""
    page.wait("waiting.length === 2")
    page.fill("#feature-1", "3.5")
    page.ask("waiting[1].release()")
    page.wait("waiting.length === 3")
    assert page.text("#feature-1-remark") == page.text(".trouble") == ""
    browser.complaints = [complaint for complaint in browser.complaints if "400" not in complaint]


@needs_browser
def test_a_date_is_a_text_with_a_slider(browser, page):
    """A date is typed in ISO 8601 or as the table wrote it, or moved by days; a wrong one gets an example."""
    page = page("dated")
    assert page.text(".heading p").startswith("2 features, numbers and dates")
    assert page.text(".ends").split() == ["2023-01-05", "2023-12-23"]
    page.fill("#feature-0", "24.12.2023")
    page.wait("document.querySelector('.winner').textContent === 'yes'")
    assert page.text("#feature-0-remark") == "read with the day first"
    page.ask("Object.assign(document.querySelector('.track input'), {value: 1673000000})")
    page.ask("document.querySelector('.track input').dispatchEvent(new Event('input'))")
    page.wait("document.querySelector('.winner').textContent === 'no'")
    assert page.ask("document.querySelector('#feature-0').value") == "2023-01-06"
    page.fill("#feature-0", "24.13.2023")
    page.wait("document.querySelector('#feature-0-remark').textContent.includes('such as 2024-01-31 or')")
    assert "read with" not in page.text("#feature-0-remark")
    browser.complaints = [complaint for complaint in browser.complaints if "400" not in complaint]


@needs_browser
@pytest.mark.parametrize("width", [1280, 700, 390])
def test_a_date_with_its_time_is_seen_whole(browser, page, width):
    """On a phone too, a field has room for a date with its time, and its slider for both of its ends."""
    page = page("dated")
    browser.size(width, mobile=width < 500)
    page.fill("#feature-0", "2023-12-24T12:30:00")
    assert page.ask("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('#feature-0'))")
    page.ask("document.querySelectorAll('.ends > span').forEach(e => e.textContent = '2023-12-24T12:30:00')")
    assert page.ask("(e => e.scrollWidth <= e.clientWidth)(document.querySelector('.ends'))")


@needs_browser
def test_a_keyboard_is_enough(page):
    """Tab reaches everything, arrows move sliders and choices, and the answer follows."""
    page = page("people")
    before = page.text(".value")
    page.ask("document.querySelector('#feature-0').focus()")
    page.ask("document.querySelector('#feature-0').previousElementSibling.querySelector('input').focus()")
    page.press("End")
    page.wait("document.querySelector('#feature-0').value === '79'")
    page.wait(f"document.querySelector('.value').textContent !== {json.dumps(before)}")
    page.press("Tab", "Tab", "Space")
    page.wait("document.querySelector('#feature-0').value === ''")
    assert page.ask("document.activeElement.type") == "checkbox"
    page.wait("document.querySelector('code').textContent.includes('\"age\": null')")


@needs_browser
def test_numbers_and_categories_and_what_is_missing(page, models):
    """A row of numbers, choices and a missing value is answered as the pipeline answers it."""
    page = page("people")
    page.fill("#feature-0", "")
    page.fill("#feature-1", str(PERSON["income"]))
    page.choose("#feature-2", "0")
    page.choose("#feature-3", "1")
    row = pd.DataFrame([PERSON | {"age": None}]).astype({"age": float})
    (expected,) = models.pipelines["people"].predict_proba(row)
    page.wait(f"Math.abs(document.querySelector('.value').title - {expected[0]}) < 1e-12")
    assert page.ask("document.querySelector('.missing input').checked")


@needs_browser
def test_what_is_wrong_stands_beside_its_feature(browser, page):
    """The server's sentence stands beside the feature; the last answer is grey until the value is valid."""
    page = page("iris")
    page.fill("#feature-1", "wide")
    page.wait("document.querySelector('.stale .trouble')?.textContent.includes(\"is text ('wide')\")")
    assert "is text ('wide'), but a number" in page.text("#feature-1-remark")
    assert page.ask("document.querySelector('#feature-1').getAttribute('aria-invalid')") == "true"
    assert page.text("#feature-0-remark") == ""
    page.fill("#feature-1", "3")
    page.wait("!document.querySelector('.stale')")
    assert page.text("#feature-1-remark") == page.text(".trouble") == ""
    # The browser complains of each refusal.
    browser.complaints = [complaint for complaint in browser.complaints if "400" not in complaint]


@needs_browser
def test_nothing_of_a_model_is_html(page):
    """Names of features, categories and classes that are markup appear as text and run nothing."""
    page = page("hostile")
    page.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    text = page.text("body")
    assert SCRIPT in text
    assert IMAGE in text
    assert page.ask("document.title") == "hostile · Unpickled"
    assert page.ask("document.querySelectorAll('main script, main img').length") == 0
    assert "\u202e" not in text
    with pytest.raises(AssertionError, match="TrustedHTML"):
        page.ask("document.body.innerHTML = '<p>'")
    page.complaints.clear()


@needs_browser
@pytest.mark.parametrize("language", ["curl", "requests", "urllib"])
def test_the_line_for_elsewhere_does_the_same(page, language, tmp_path):
    """The code to copy runs unchanged, whatever the names, and prints the answer on the page."""
    page = page("hostile")
    buttons = "[...document.querySelectorAll('.segments button')]"
    page.ask(f"{buttons}.find(e => e.textContent === {json.dumps(language)}).click()")
    lines = page.ask("document.querySelector('code').textContent")
    program = ["sh", "-c"] if language == "curl" else [sys.executable, "-c"]
    completed = run([*program, lines], cwd=tmp_path)
    answer = json.loads(completed.stdout) if language == "curl" else ast.literal_eval(completed.stdout)
    assert answer["probabilities"] == scores(page)


@needs_browser
@pytest.mark.parametrize("name", ["people", "size200"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_the_line_for_a_frame_prints_a_frame(page, name, library, tmp_path):
    """The code for a data frame runs unchanged, and prints the class or the number on the page in a frame."""
    page = page(name)
    buttons = "[...document.querySelectorAll('.segments button')]"
    page.ask(f"{buttons}.find(e => e.textContent === {json.dumps(library)}).click()")
    completed = run(
        [sys.executable, "-c", page.ask("document.querySelector('code').textContent")], cwd=tmp_path
    )
    assert completed.returncode == 0, completed.stderr
    headline = page.ask(
        "document.querySelector('.winner').title.slice(0, 6) || document.querySelector('.winner').textContent"
    )
    assert headline in completed.stdout


@needs_browser
def test_truth_values_and_lists_of_numbers_are_choices(page, models):
    """A boolean feature offers true and false, a feature with a list of numbers its numbers."""
    page = page("listed")
    options = (
        "[...document.querySelectorAll('.feature select')].map(e => [...e.options].map(o => o.textContent))"
    )
    assert page.ask(options) == [["1", "2", "5"], ["false", "true"]]
    before = scores(page)
    page.ask(
        "{const e = document.querySelectorAll('.feature select')[1]; e.value = '1'; "
        "e.dispatchEvent(new Event('change'))}"
    )
    page.wait(f"JSON.stringify({json.dumps(before)}) !== '' && !document.querySelector('.stale')")
    assert '"express": true' in page.ask("document.querySelector('code').textContent")


@needs_browser
def test_many_features_and_a_hundred_classes(page):
    """The page shows the first of both; search finds the others; a whole row can be pasted."""
    page = page("many")
    assert page.ask("document.querySelectorAll('.feature').length") == 30
    assert page.ask("document.querySelectorAll('.bars li').length") == 10
    page.fill(".search", "feature_59")
    page.wait("document.querySelectorAll('.feature').length === 1")
    page.ask("document.querySelector('.line').open = true")
    row = json.dumps([0.25] * 60)
    page.fill(".line textarea", row)
    page.wait("document.querySelector('#feature-59').value === '0.25'")
    page.ask("document.querySelector('.answer .quiet').click()")
    assert sum(scores(page).values()) == pytest.approx(1)
    assert len(scores(page)) == 100


@needs_browser
@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('{"petal_width": 12345678901234567890}', ["5.8", "3.0", "4.35", "12345678901234567890"]),
        ("[1e2, -0.50, 0.1000000000000000055, -0]", ["1e2", "-0.50", "0.1000000000000000055", "-0"]),
        ("1\t12345678901234567890\t03\t.5", ["1", "12345678901234567890", "3", "0.5"]),
    ],
)
def test_a_row_can_be_pasted(page, line, row):
    """Digits are sent unchanged, and features that a record leaves out keep their values."""
    page = page("iris")
    page.fill("#feature-1", "3.0")
    page.ask("document.querySelector('.line').open = true")
    page.fill(".line textarea", line)
    members = ", ".join(f'"{name}": {cell}' for name, cell in zip(FLOWERS, row, strict=True))
    page.wait(f"document.querySelector('code').textContent.includes({json.dumps(members)})")


@needs_browser
def test_a_pasted_row_that_does_not_fit_is_refused(page):
    """Unknown names and too few values leave the row unchanged."""
    page = page("iris")
    before = page.text("code")
    page.ask("document.querySelector('.line').open = true")
    for line, sentence in (('{"sepal_lenght": 5}', 'called "sepal_lenght"'), ("1, 2", "2 values, but")):
        page.fill(".line textarea", line)
        page.wait(f"document.querySelector('.line .remark').textContent.includes({json.dumps(sentence)})")
    assert page.text("code") == before


@needs_browser
def test_an_empty_cell_of_a_line_is_missing(page):
    """An empty cell is null, for a category and for a number, where the feature may be missing."""
    page = page("people")
    page.ask("document.querySelector('.line').open = true")
    page.fill(".line textarea", ",2100.5,,pro")
    page.wait("document.querySelector('#feature-0').value === ''")
    assert '"age": null' in page.text("code")
    assert '"city": null' in page.text("code")


@needs_browser
def test_scores_have_two_sides(page):
    """A classifier without probabilities shows its scores, and the model card says so."""
    page = page("one")
    assert sum(scores(page).values()) == pytest.approx(0)
    assert page.ask("document.querySelector('.bars').classList.contains('sides')")
    assert "scores" in page.text(".card")


@needs_browser
def test_golden_rows_are_compared_with_the_pipeline(page):
    """The answer to a golden row is compared with the pipeline's."""
    page = page("iris")
    page.choose(".tools select", "0")
    page.wait("document.querySelector('.proof').textContent.startsWith('✓')")
    page.fill("#feature-0", "5")
    page.wait("document.querySelector('.proof').textContent === ''")


@needs_browser
@pytest.mark.parametrize("length", ["0.1", "-0.75", "1e-9"])
def test_a_regressor_answers_with_its_number(page, server, length):
    """The headline is the API's number, to the last digit in its title, beside the name of its target."""
    page = page("size200")
    page.fill("#feature-0", length)
    page.wait(f"document.querySelector('code').textContent.includes({json.dumps(length)})")
    page.wait(CURRENT)
    number = answered(page, server, "size200")
    assert float(page.ask("document.querySelector('.winner').title")) == number
    assert float(page.text(".winner").replace(",", "")) == pytest.approx(number, abs=0.5, rel=1e-5)
    assert page.text(".headline .muted") == "size"
    assert re.fullmatch(r"MAE \d+\*", page.text("#models [aria-current] .muted"))


@needs_browser
def test_a_number_has_a_place_among_those_of_training(page, shelf):
    """The mark lies where the number lies among the deciles, an arrow at the end stands for one outside."""
    page = page("size200")
    deciles = page.ask("fetch('models/size200').then(r => r.json()).then(d => d.manifest.outputs.deciles[0])")
    lower = sum(decile < float(page.ask("document.querySelector('.winner').title")) for decile in deciles)
    assert page.text(".words").startswith(f"Higher than {10 * lower} to {10 * lower + 10}% of")
    places = "[...document.querySelectorAll('.part')].map(e => e.getBoundingClientRect().left)"
    mark = page.ask("(b => b.left + b.width / 2)(document.querySelector('.mark').getBoundingClientRect())")
    assert sum(left <= mark for left in page.ask(places)) == lower + 1
    for length, side in (("-99", "below"), ("99", "above")):
        page.fill("#feature-0", length)
        page.wait(f"document.querySelector('.mark.{side}')")
        assert page.text(".words").startswith(f"Far {side} the")


@needs_browser
def test_a_number_moves_nothing_below_it(page):
    """The answer is as high for a number outside of the training distribution as for one inside."""
    page = page("size200")
    height = "document.querySelector('.answer').offsetHeight"
    page.size(390, 844, mobile=True)
    before = page.ask(height)
    page.fill("#feature-0", "99")
    page.wait("document.querySelector('.mark.above')")
    assert page.ask(height) == before


@needs_browser
def test_several_targets_have_a_number_each(page, server):
    """Each target has its name, the API's number and a strip; screen readers hear where it lies."""
    page = page("sizes200")
    rows = "[...document.querySelectorAll('.targets li')]"
    shown = dict(page.ask(f"{rows}.map(e => [e.children[0].textContent, +e.children[1].title])"))
    assert shown == answered(page, server, "sizes200")
    assert set(shown) == {"size", "a width"}
    assert page.ask("document.querySelectorAll('.targets .strip .mark').length") == 2
    assert "of the predictions for the training rows" in page.ask(f"{rows}[1].children[2].textContent")
    assert re.fullmatch(r"MAE size \d+, a width \S+e-5\*", page.text("#models [aria-current] .muted"))


@needs_browser
def test_quality_on_given_rows_is_marked(page):
    """Figures of rows that may be those of training have a mark in the list, and the card says so."""
    page = page("size200")
    summaries = "Object.fromEntries([...document.querySelectorAll('#models a')].map(e => [...e.children]"
    shown = page.ask(
        f"{summaries}.map(child => child.textContent)).map(([name, ...rest]) => [name, rest.at(-1)]))"
    )
    marked = {name: text.endswith("*") for name, text in shown.items()}
    assert (marked["size90"], marked["iris"], marked["dated"], marked["many"]) == (True, True, False, False)
    assert page.text("#models .legend").startswith("* measured on rows that the export was given")
    assert "200 rows that the export was given; training rows flatter" in page.text(".card")


@needs_browser
def test_the_default_model_comes_first(page, browser, server):
    """Without a name in the address, the page shows the default model, which the list marks."""
    page("iris")
    browser.open(f"{server.url}/")
    browser.wait("document.querySelector('.winner')?.textContent")
    assert browser.text("h1") == "size90"
    marked = "[...document.querySelectorAll('#models .default')].map(e => e.closest('a').textContent)"
    (entry,) = browser.ask(marked)
    assert entry.startswith("size90default")


@needs_browser
def test_names_in_the_list_are_whole(page):
    """A figure beside a name in the list goes below it where both do not fit on one line."""
    page = page("sizes200")
    names = "[...document.querySelectorAll('#models .name')]"
    assert len(page.ask(f"[...new Set({names}.map(name => name.offsetHeight))]")) == 1
    assert page.ask(
        "document.querySelector('#models').scrollWidth <= document.querySelector('#models').clientWidth"
    )


@needs_browser
@pytest.mark.parametrize(
    ("bias", "baseline", "bars"),
    [(3e-12, 10.0, 0), (3e-12, None, 0), (3e-12, 1e-4, 2), (0.1, 10.0, 2)],
    ids=["rounding", "unknown spread", "tiny spread", "bias"],
)
def test_rounding_is_not_drawn(page, bias, baseline, bars):
    """A bias that is nothing beside the spread of the target has no bar; no number breaks at its sign."""
    part = {"lowest": -5.0, "highest": 5.0, "rows": 9, "bias": bias, "mae": bias}
    error = json.dumps({"baseline": baseline, "residuals": [part, part | {"bias": -bias}]})
    drawn = page("size90").ask(
        f"""import('./assets/residuals.js').then(({{ residuals }}) => {{
          const figure = residuals({error}, number => String(number));
          document.querySelector('.beside').append(figure);
          const heights = [...figure.querySelectorAll('tbody tr')].map(row => row.offsetHeight);
          return [figure.querySelectorAll('.fill').length, Math.max(...heights)];
        }})"""
    )
    assert drawn[0] == bars
    assert drawn[1] < 45


@needs_browser
@pytest.mark.parametrize("name", ["size90", "sizes90"])
def test_a_number_of_few_rows_stands_alone(page, server, name):
    """Without deciles there is no strip and no word about the training distribution."""
    page = page(name)
    number = page.ask("document.querySelector(':is(.winner, .targets .value)[title]').title")
    answer = answered(page, server, name)
    assert float(number or page.ask("document.querySelector('.value').title")) in (
        [answer] if name == "size90" else answer.values()
    )
    assert page.ask("document.querySelectorAll('.strip, .mark').length") == 0
    assert "training rows" not in page.text(".answer")


@needs_browser
@pytest.mark.parametrize("name", ["size200", "sizes200"])
def test_a_card_has_the_errors_of_each_target(page, name):
    """The card has R2, both errors and a table of residuals for each target, and no row about ties."""
    page = page(name)
    page.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    errors = page.ask(f"fetch('models/{name}').then(r => r.json()).then(d => d.manifest.training.errors)")
    text = page.text(".card")
    for error in errors:
        assert f"{error['r2']:.3f}" in text
        assert all(f"{line['rows']}" in text for line in error["residuals"])
    tables = "[...document.querySelectorAll('.residuals')].map(e => e.querySelectorAll('tbody tr').length)"
    assert page.ask(tables) == [len(error["residuals"]) for error in errors]
    assert "relative to max(1, |prediction|)" in text
    assert "ties" not in text


@needs_browser
@pytest.mark.parametrize("name", ["size200", "sizes200"])
def test_residuals_are_written_as_train_prints_them(page, name):
    """The page shows the very numbers of the table that train prints, none of them as -0.00."""
    page = page(name)
    page.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    errors = page.ask(f"fetch('models/{name}').then(r => r.json()).then(d => d.manifest.training.errors)")
    training = Training(pipeline=(), errors=msgspec.convert(errors, tuple[Errors, ...]))
    lines = [line.split() for line in REGRESSION.report(training, "")]
    printed = [line for line in lines if len(line) == 5 and line[0] != "predicted"]
    rows = page.ask("[...document.querySelectorAll('.residuals tbody tr')].map(row => row.innerText)")
    expected = [[low, "to", high, rows, mae, bias] for low, high, rows, bias, mae in printed]
    assert [row.split() for row in rows] == expected
    fixed = "import('./assets/numbers.js').then(m => [-5e-4, 5e-4, 5.5, -1234].map(x => m.fixed(x, 2, true)))"
    assert page.ask(fixed) == ["0.00", "0.00", "+5.50", "-1,234.00"]


@needs_browser
@pytest.mark.parametrize("name", ["size200", "sizes200"])
def test_golden_numbers_are_compared_with_the_pipeline(page, name):
    """A number beside the pipeline's by more than the tolerance, in proportion to its size, is wrong."""
    page = page(name)
    page.choose(".tools select", "0")
    page.wait("document.querySelector('.proof').textContent.startsWith('✓')")
    manifest = page.ask(f"fetch('models/{name}').then(r => r.json()).then(d => d.manifest)")
    golden, spans = np.array(manifest["golden"]["scores"][0]), manifest["outputs"]["spans"]
    compared = """(async (outputs, at, numbers) => {
      const { manifest } = await (await fetch(at)).json();
      return (await import(outputs)).outputsOf(manifest).compare({ numbers }, 0).equal;
    })"""
    for share, equal in ((0.9e-5, True), (-0.9e-5, True), (1.1e-5, False)):
        numbers = (golden + share * sizes(golden, spans)).tolist()
        assert page.ask(f"{compared}('./assets/outputs.js', 'models/{name}', {numbers})") is equal


@needs_browser
@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (152.1334841, "152.133"),
        (1234.5678, "1,234.57"),
        (-1234567.8, "-1,234,568"),
        (12345678901, "12,345,678,901"),
        (0.000123456789, "0.000123457"),
        (-3.25e-7, "-3.25e-7"),
        (1.5e300, "1.5e300"),
    ],
)
def test_amounts_are_read_with_six_digits(page, number, text):
    """An amount has six digits, or all of its whole part, in groups of three."""
    page = page("size90")
    assert page.ask(f"import('./assets/numbers.js').then(m => m.amount({number!r}))") == text


@needs_browser
def test_the_card_tells_all(page):
    """The card has data, quality, parity, the provider of each node, and the file."""
    page = page("people")
    page.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    text = page.text(".card")
    for part in ("Parity with the pipeline", "CPUExecutionProvider", "sha256", "scikit-learn", "Gemm"):
        assert part in text


@needs_browser
@pytest.mark.parametrize("at", ["versions/1", "labels/candidate"])
def test_versions_can_be_asked_apart(page, at):
    """Each version in memory has an address, answers for itself, and shows its own card."""
    page = page("both")
    assert "RandomForest" in page.text(".heading")
    page.choose(".heading select", f"#/both/{at}")
    page.wait("document.querySelector('.timing')?.textContent.includes('version 1')")
    assert "LogisticRegression" in page.text(".heading")
    assert f"/models/both/{at}/predict" in page.text("code")
    assert "versions\n1 and 2\n" in page.text(".card")


@needs_browser
@pytest.mark.parametrize("end", ["release", "fail"])
def test_the_last_choice_of_a_version_holds(page, end):
    """A late response to an earlier choice, or its late failure, changes nothing."""
    page = page("both")
    page.ask(f"{HOLD}('versions/1')")
    page.choose(".heading select", "#/both/versions/1")
    page.wait("waiting.length === 1")
    page.choose(".heading select", "#/both/versions/2")
    page.wait("document.querySelector('code').textContent.includes('versions/2')")
    page.ask(f"waiting[0].{end}()")
    page.fill("#feature-0", "5.5")
    page.wait(CURRENT)
    assert "/models/both/versions/2/predict" in page.text("code")


@needs_browser
def test_split_traffic_shows_the_version_that_answered(page, models):
    """Classes and scores are those of the version that answered; only its golden rows are compared."""
    page = page("split")
    answers = {}
    while len(answers) < 2:
        page.choose(".tools select", "0")
        page.wait(CURRENT)
        answers[page.text(".timing").rpartition(" ")[2]] = scores(page), page.text(".proof")[:1]
        assert "NaN" not in page.text("body")
    assert (set(answers["1"][0]), set(answers["2"][0])) == (set(SPECIES), set("012"))
    assert sum(answers["1"][0].values()) == pytest.approx(1)
    assert sum(answers["2"][0].values()) == pytest.approx(-1)
    card = 1 if "LogisticRegression" in page.text(".heading") else 2
    assert {version: proof for version, (_, proof) in answers.items()} == {str(card): "✓", str(3 - card): ""}


@needs_browser
def test_the_skip_link_keeps_the_address(page):
    """The link moves the focus to the model on the page, and the address stays."""
    page = page("people")
    page.ask("document.querySelector('.skip').focus()")
    page.press("Enter")
    page.wait("document.activeElement.id === 'model'")
    assert page.ask("location.hash") == "#/people"
    assert page.text("h1") == "people"


@needs_browser
def test_a_model_that_is_not_there_is_not_another(page, browser, server):
    """The page of an unknown name says that there is no such model; none in the list is current."""
    browser.open(f"{server.url}/#/nobody")
    browser.wait("document.querySelector('.notice')")
    assert browser.text("h1") == "nobody"
    assert "no model of this name" in browser.text(".notice")
    assert browser.ask("document.querySelectorAll('#models [aria-current]').length") == 0


@needs_browser
def test_a_refused_model_says_why(page, browser, server):
    """The reason stands in place of the form."""
    browser.open(f"{server.url}/#/broken")
    browser.wait("document.querySelector('.notice')")
    assert "not a complete ONNX file" in browser.text(".notice")
    assert browser.text("#models [aria-current] .bad") == "refused"


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["people", "hostile", "many", "size200", "sizes200"])
def test_it_fits_a_phone(page, name, scheme, tmp_path):
    """No element is wider than 360 pixels, whatever the names."""
    page = page(name)
    page.size(360, 740, mobile=True)
    page.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    assert page.ask("document.documentElement.scrollWidth") == 360
    assert page.screenshot(tmp_path / "phone.png").startswith(b"\x89PNG")
    ground = page.ask("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 21, 18)" if scheme == "dark" else "rgb(247, 246, 242)")


@needs_browser
@pytest.mark.parametrize("name", ["people", "sizes200"])
def test_everything_has_a_name(page, name):
    """Each control that the keyboard reaches has an accessible name."""
    page = page(name)
    page.ask("document.querySelectorAll('details').forEach(e => e.open = true)")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "textbox", "combobox", "slider", "checkbox", "link", "searchbox"}
    controls = [node for node in nodes if node.get("role", {}).get("value") in kinds]
    assert len(controls) > 12
    assert [node for node in controls if not node["name"]["value"]] == []


@needs_browser
def test_a_new_version_takes_its_place(page, server, shelf, models):
    """Once another version answers, the page shows its card and keeps the values in the form."""
    page = page("renewed")
    page.fill("#feature-0", "5.125")
    shelve(models, shelf / "renewed", "forest", first=2)
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: server.ask("/models/renewed")[1]["version"] == 2)
    page.fill("#feature-1", "3.25")
    page.wait("document.querySelector('.timing').textContent.includes('version 2')")
    assert set(scores(page)) == set("012")
    page.wait("document.querySelector('.heading').textContent.includes('RandomForest')")
    assert page.ask("document.querySelector('#feature-0').value") == "5.125"
    assert FLOWERS[0] in page.text("code")


@needs_browser
def test_truth_stands_beside_training(page, server):
    """The page says how to report truth; once it is known, it shows accuracy, calibration and confusion."""
    page = page("forest")
    page.wait("document.querySelector('.truth').innerText.includes('no truth yet')")
    assert f"curl {server.url}/models/forest/truth" in page.text(".truth pre")
    body = json.dumps({"features": [FLOWER] * 4}).encode()
    with urlopen(Request(f"{server.url}/models/forest/predict", body)) as answer:
        identity = answer.headers["Prediction-Id"]
    truths = ["0", "0", "0", "2"]
    reports = [{"id": f"{identity}:{row}", "truth": truth} for row, truth in enumerate(truths)]
    report(server, "forest", reports)
    page.ask("document.querySelector('[aria-label=\"Window of truth\"] button').click()")
    page.wait("document.querySelector('.truth .big')?.innerText.startsWith('75.0%')")
    assert "99.33% in training" in page.text(".truth .big")
    assert page.ask("document.querySelectorAll('.truth .calibration .dot').length") == 1
    assert re.search(r"calibration error\s+by chance up to \d\.\d{3}", page.text(".truth .figures"))
    assert page.ask("document.querySelectorAll('.truth .confusion td.right').length") == 3


def report(server, name, truths):
    """Report truth until it is accepted: the server notes what it predicts after its answer."""
    body = json.dumps(truths).encode()
    eventually(lambda: server.ask(f"/models/{name}/truth", body)[1]["accepted"] == len(truths))


@needs_browser
def test_the_tables_of_a_report_fit_a_phone(browser, server, tmp_path):
    """On a narrow screen each row is a list of its figures, all of which are in sight."""
    body = json.dumps({"features": [FLOWER]}).encode()
    with urlopen(Request(f"{server.url}/models/forest/predict", body)) as answer:
        report(server, "forest", [{"id": answer.headers["Prediction-Id"], "truth": "0"}])
    main(["accuracy", "forest", "--url", server.url, "--html", str(tmp_path / "forest.html")])
    browser.size(400, 740, mobile=True)
    browser.open(f"file://{tmp_path}/forest.html")
    ends = "[...document.querySelectorAll('.listing td')].map(cell => cell.getBoundingClientRect().right)"
    assert 0 < max(browser.ask(ends)) <= 400
    assert browser.ask("document.documentElement.scrollWidth") == 400
    assert "recall" in browser.ask("[...document.querySelectorAll('td')].map(e => e.dataset.head).join()")


@needs_browser
def test_counts_above_bars_are_exact_below_a_thousand(page):
    """Larger ones are rounded, by the same rule as on the page of a report."""
    counts = [1, 126, 999, 1000, 1049, 1250, 9949, 9950, 12_999, 127_400, 999_499, 999_500, 2_300_000]
    written = page("iris").ask(f"import('./assets/calibration.js').then(m => {counts}.map(m.short))")
    assert written == [picture.short(count) for count in counts]
    assert written[:3] == ["1", "126", "999"]
    assert written[8:] == ["13k", "127k", "999k", "1M", "2.3M"]


@needs_browser
def test_drift_is_pictured(page, server, models):
    """The page names and pictures the features that have moved, and folds the others away."""
    rows = np.tile(models.rows["iris"] * [1, 1, 1.5, 1], (4, 1))[:520].tolist()
    body = json.dumps({"features": rows}).encode()
    eventually(lambda: server.ask("/models/iris/predict", body) and judged(server, "iris"))
    page = page("iris")
    page.wait("document.querySelector('.drifts .drifted svg')")
    assert "petal_length" in page.text(".drift strong")
    pictured = page.ask("[...document.querySelectorAll('.drifts h3')].map(each => each.textContent)")
    assert "petal_length" in pictured
    assert "sepal_length" not in pictured
    assert page.ask("document.querySelectorAll('.drift .shares .swatch').length") == 3
    figures = page.ask("[...document.querySelectorAll('.drifts .share')].map(each => each.textContent)")
    assert all(re.fullmatch(r"[\d.]+% / [\d.]+%", figure) for figure in figures)
    page.click(".drift summary")
    page.wait(
        "[...document.querySelectorAll('.drifts h3')].some(each => each.textContent === 'sepal_length')"
    )
    page.click(".drift button[value='7d']")
    page.wait("document.querySelector('.drift').innerText.includes('in 7 days')")


def judged(server, name):
    """Whether the drift of a model is judged by now."""
    return any(version["judged"] for version in server.ask(f"/models/{name}/drift")[1]["versions"])


@needs_browser
def test_drift_says_why_it_is_not_judged(page):
    """A version with few rows is not judged, and the page says so."""
    page = page("listed")
    page.wait("/No rows|are needed/.test(document.querySelector('.drift').innerText)")


CONTRIBUTIONS = "[...document.querySelectorAll('.contributions li')]"


@needs_browser
def test_it_explains_its_answer(page, server):
    """Unfolded with a key, the explanation has a bar for each feature; it follows the form and the choice."""
    page = page("iris")
    page.size(390, mobile=True)
    page.fill("#feature-3", "2.1")
    page.wait("document.querySelector('.winner').textContent === 'virginica'")
    page.ask("document.querySelector('.explained summary').focus()")
    page.press("Enter")
    page.wait("document.querySelector('.contributions')?.innerText.includes('= 2.1')")
    assert page.text(".contributions .class") == "petal_width = 2.1"
    assert page.text(".explained p").startswith("The probability of virginica is 0.")
    numbers = page.ask(f"{CONTRIBUTIONS}.map(row => +row.querySelector('.value').title)")
    row = json.dumps({"features": [5.8, 3.0, 4.35, 2.1]}).encode()
    _, document = server.ask("/models/iris/explain", row)
    expected = sorted((each["contribution"] for each in document["features"]), key=lambda share: -abs(share))
    assert numbers == expected
    assert page.ask("document.documentElement.scrollWidth") == 390
    page.choose(".explained select", "1")
    page.wait("document.querySelector('.explained p').textContent.includes('versicolor')")
    assert page.ask(f"{CONTRIBUTIONS}[0].className") == "down"
    page.fill("#feature-3", "2.2")
    page.wait("document.querySelector('.contributions').innerText.includes('= 2.2')")


@needs_browser
def test_many_features_share_a_bar(page):
    """The ten largest contributions have bars of their own, all others one together."""
    page = page("many")
    page.click(".explained summary")
    # Nothing differs from the medians yet.
    page.wait(f"{CONTRIBUTIONS}.length === 11")
    page.choose("select[aria-label='Golden row']", "0")
    page.wait("document.querySelector('.explained').innerText.includes('Standard error: up to')")
    assert page.ask(f"{CONTRIBUTIONS}.at(-1).firstChild.textContent") == "50 others"


@needs_browser
def test_an_explanation_that_fails_says_why(page):
    """The reason stands in place of the bars, and the next answer is explained again."""
    page = page("iris")
    page.ask(f"{HOLD}('/explain')")
    page.click(".explained summary")
    page.wait("waiting.length === 1")
    page.ask("waiting[0].fail()")
    page.wait("document.querySelector('.explained .bad')?.textContent === 'no response: cut'")
    assert page.ask(f"{CONTRIBUTIONS}.length") == 0
    page.fill("#feature-0", "5.5")
    page.wait("waiting.length === 2")
    page.ask("waiting[1].release()")
    page.wait(f"{CONTRIBUTIONS}.length === 4 && !document.querySelector('.explained .bad')")
