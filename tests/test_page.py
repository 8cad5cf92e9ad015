"""The page for people, in a real browser."""

import ast
import json
import shutil
import signal
import subprocess
import sys
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, browsing
from conftest import FLOWER, FLOWERS, PERSON, SPECIES, eventually, people, serving, shelve
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from unpickled.export import export_pipeline
from unpickled.server.pages.home import prefers_html

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
SCRIPT = "<script>document.title = 'run'</script>"
IMAGE = "</textarea><img src=x onerror=\"document.title = 'run'\">"
# From then on requests whose path has the ending wait until released, and then are sent, or fail.
HOLD = """(ending => {
  const real = fetch;
  window.held = [];
  window.fetch = (where, request) => !where.endsWith(ending) ? real(where, request)
    : new Promise((go, fail) => held.push({
        release: async () => go(await real(where, request)),
        fail: () => fail(new TypeError("cut")),
      }));
})"""
CURRENT = "document.querySelector('.timing strong') && !document.querySelector('.stale')"
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def shelf(models, tmp_path_factory):
    """A models folder with what is hard to show beside what is not."""
    home = tmp_path_factory.mktemp("page") / "models"
    for name in ("iris", "people"):
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
    one = make_pipeline(StandardScaler(), RidgeClassifier()).fit(X[:, :1], X[:, 0] > 0.5)
    export_pipeline(one, X[:, :1], name="one", models=home)
    export_pipeline(*hostile(), name="hostile", models=home)
    return home


def hostile():
    """A pipeline whose every name is HTML, and its rows."""
    table, answers = people()
    table = pd.DataFrame(
        {SCRIPT: table["income"], IMAGE: np.where(table["plan"] == "pro", SCRIPT, "it's \u202e")}
    )
    columns = make_column_transformer((StandardScaler(), [SCRIPT]), (OneHotEncoder(), [IMAGE]))
    labels = np.where(answers == "stays", SCRIPT, IMAGE)
    return make_pipeline(columns, LogisticRegression()).fit(table, labels), table


@pytest.fixture(scope="module")
def server(shelf, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server"), models=shelf) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def page(browser, server):
    """Opens the page of a model; nothing may be wrong with it in the end."""
    browser.complaints.clear()
    browser.size(1280)
    browser.prefer(prefers_color_scheme="light")

    def opened(name):
        browser.open(f"{server.url}/#/{name}")
        browser.wait("document.querySelector('.winner')?.textContent")
        return browser

    yield opened
    assert browser.complaints == []


def shown(page):
    """The classes on the page and what stands beside their bars, to the last digit."""
    rows = "[...document.querySelectorAll('.bars li')]"
    return dict(page.ask(f"{rows}.map(row => [row.children[0].textContent, +row.children[2].title])"))


def get(server, path, **headers):
    """Status, headers and body of a GET."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(f"{server.url}{path}", headers=named)) as answer:
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
    """Only who names HTML, and wants it more than JSON, gets it."""
    assert prefers_html(accept) is html


def test_one_address_serves_both(server):
    """GET / is the page for a browser and a document for curl, and caches are told."""
    _, headers, content = get(server, "/", Accept=BROWSER)
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert content.startswith(b"<!doctype html>")
    assert "Accept" in ", ".join(headers.get_all("Vary"))
    _, headers, content = get(server, "/", Accept="*/*")
    assert "iris" in json.loads(content)["models"]
    assert "Accept" in ", ".join(headers.get_all("Vary"))


def test_the_policy_is_strict(server):
    """Nothing inline, nothing from elsewhere; and nothing in the page asks for either."""
    _, headers, content = get(server, "/", Accept=BROWSER)
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"http://" not in content
    assert b"https://" not in content
    assert b"style=" not in content


def test_every_file_of_the_page_is_there(server):
    """What it names can be had, and is not sent to those who have it already."""
    _, _, content = get(server, "/", Accept=BROWSER)
    names = {part.split('"')[0] for part in content.decode().split('"assets/')[1:]}
    assert {"home.js", "home.css", "icon.svg"} < names
    for name in names:
        _, headers, _ = get(server, f"/assets/{name}")
        assert headers["Cache-Control"] == "no-cache"
        with pytest.raises(OSError, match="304"):
            get(server, f"/assets/{name}", If_None_Match=headers["ETag"])
    status, told = server.ask("/assets/none.js")
    assert (status, told["code"]) == (404, "not_found")


@needs_browser
def test_it_answers_with_the_medians(page, models):
    """At once, with every class, as scikit-learn does, and says how long that took."""
    page = page("iris")
    medians = np.median(models.rows["iris"], axis=0)
    assert page.ask("[...document.querySelectorAll('.number')].map(e => +e.value)") == medians.tolist()
    (expected,) = models.pipelines["iris"].predict_proba([medians])
    assert shown(page) == pytest.approx(dict(zip(SPECIES, expected, strict=True)), abs=1e-12)
    assert "round trip" in page.text(".timing")
    assert "in the model" in page.text(".timing")


@needs_browser
def test_it_answers_while_one_types(page, models):
    """Each value typed is answered, and the last answer is that of what stands there."""
    page = page("iris")
    for index, value in enumerate(FLOWER):
        page.fill(f"#feature-{index}", str(value))
    (expected,) = models.pipelines["iris"].predict_proba([FLOWER])
    page.wait(f"Math.abs(document.querySelector('.value').title - {expected[0]}) < 1e-12")
    assert page.text(".winner") == "setosa"
    assert shown(page) == pytest.approx(dict(zip(SPECIES, expected, strict=True)), abs=1e-12)


@needs_browser
def test_an_answer_to_earlier_input_does_not_stand_as_current(page):
    """It is greyed as soon as something is typed, until what stands there then is answered."""
    page = page("iris")
    page.ask(f"{HOLD}('/predict')")
    page.fill("#feature-0", "5.5")
    assert page.ask("document.querySelectorAll('.stale').length") == 2
    page.wait("held.length === 1")
    page.fill("#feature-0", "5.75")
    page.ask("held[0].release()")
    page.wait("held.length === 2")
    assert not page.ask(CURRENT)
    page.ask("held[1].release()")
    page.wait(CURRENT)
    assert "5.75" in page.text("code")


@needs_browser
def test_what_was_wrong_with_a_text_goes_with_it(browser, page):
    """No remark on an earlier text stays or comes beside another one; a comma gets a hint at once."""
    page = page("iris")
    page.fill("#feature-1", "3,5")
    assert page.text("#feature-1-remark") == "write a decimal point: 3.5"
    page.wait("document.querySelector('#feature-1-remark').textContent.includes(\"is text ('3,5')\")")
    page.ask(f"{HOLD}('/predict')")
    page.fill("#feature-1", "wide")
    assert page.text("#feature-1-remark") == page.text(".trouble") == ""
    page.wait("held.length === 1")
    page.fill("#feature-1", "3.5")
    page.ask("held[0].release()")
    page.wait("held.length === 2")
    assert page.text("#feature-1-remark") == page.text(".trouble") == ""
    browser.complaints = [one for one in browser.complaints if "400" not in one]


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
    """A mixed row, filled in by its choices, is answered as the pipeline answers it."""
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
    """The server's own sentence, and the answer before is greyed until it is mended."""
    page = page("iris")
    page.fill("#feature-1", "wide")
    page.wait("document.querySelector('.stale .trouble')?.textContent.includes(\"is text ('wide')\")")
    assert "is text ('wide'), but a number" in page.text("#feature-1-remark")
    assert page.ask("document.querySelector('#feature-1').getAttribute('aria-invalid')") == "true"
    assert page.text("#feature-0-remark") == ""
    page.fill("#feature-1", "3")
    page.wait("!document.querySelector('.stale')")
    assert page.text("#feature-1-remark") == page.text(".trouble") == ""
    # The browser itself notes each refusal.
    browser.complaints = [one for one in browser.complaints if "400" not in one]


@needs_browser
def test_nothing_of_a_model_is_html(page):
    """Names of features, categories and classes that are markup are shown as they are, and do nothing."""
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
    """What is to be copied runs as it is, whatever the names, and answers what the page shows."""
    page = page("hostile")
    buttons = "[...document.querySelectorAll('.segments button')]"
    page.ask(f"{buttons}.find(e => e.textContent === {json.dumps(language)}).click()")
    lines = page.ask("document.querySelector('code').textContent")
    program = ["sh", "-c"] if language == "curl" else [sys.executable, "-c"]
    done = subprocess.run([*program, lines], capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout) if language == "curl" else ast.literal_eval(done.stdout)
    assert found["probabilities"] == shown(page)


@needs_browser
def test_many_features_and_a_hundred_classes(page):
    """The first of both are shown, the others are found, and a whole row can be pasted."""
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
    assert sum(shown(page).values()) == pytest.approx(1)
    assert len(shown(page)) == 100


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
    """Its digits go as they are, and what a record leaves out stays."""
    page = page("iris")
    page.fill("#feature-1", "3.0")
    page.ask("document.querySelector('.line').open = true")
    page.fill(".line textarea", line)
    said = ", ".join(f'"{name}": {cell}' for name, cell in zip(FLOWERS, row, strict=True))
    page.wait(f"document.querySelector('code').textContent.includes({json.dumps(said)})")


@needs_browser
def test_a_pasted_row_that_does_not_fit_is_refused(page):
    """Names that there are not, and too few values, change nothing."""
    page = page("iris")
    before = page.text("code")
    page.ask("document.querySelector('.line').open = true")
    for line, sentence in (('{"sepal_lenght": 5}', 'called "sepal_lenght"'), ("1, 2", "2 values, but")):
        page.fill(".line textarea", line)
        page.wait(f"document.querySelector('.line .remark').textContent.includes({json.dumps(sentence)})")
    assert page.text("code") == before


@needs_browser
def test_an_empty_cell_of_a_line_is_missing(page):
    """Of a category as of a number, where the feature may be missing."""
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
    assert sum(shown(page).values()) == pytest.approx(0)
    assert page.ask("document.querySelector('.bars').classList.contains('sides')")
    assert "scores" in page.text(".card")


@needs_browser
def test_golden_rows_are_compared_with_the_pipeline(page):
    """A golden row's answer stands beside what the pipeline itself has said."""
    page = page("iris")
    page.choose(".tools select", "0")
    page.wait("document.querySelector('.proof').textContent.startsWith('✓')")
    page.fill("#feature-0", "5")
    page.wait("document.querySelector('.proof').textContent === ''")


@needs_browser
def test_the_card_tells_all(page):
    """Data, quality, parity, where each node runs, and the file."""
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


@needs_browser
@pytest.mark.parametrize("end", ["release", "fail"])
def test_the_last_choice_of_a_version_holds(page, end):
    """Whatever comes late, or fails late, of the one before it."""
    page = page("both")
    page.ask(f"{HOLD}('versions/1')")
    page.choose(".heading select", "#/both/versions/1")
    page.wait("held.length === 1")
    page.choose(".heading select", "#/both/versions/2")
    page.wait("document.querySelector('code').textContent.includes('versions/2')")
    page.ask(f"held[0].{end}()")
    page.fill("#feature-0", "5.5")
    page.wait(CURRENT)
    assert "/models/both/versions/2/predict" in page.text("code")


@needs_browser
def test_split_traffic_shows_the_version_that_answered(page, models):
    """Its classes and its kind of scores; and only its own golden rows are held against it."""
    page = page("split")
    found = {}
    while len(found) < 2:
        page.choose(".tools select", "0")
        page.wait(CURRENT)
        found[page.text(".timing").rpartition(" ")[2]] = shown(page), page.text(".proof")[:1]
        assert "NaN" not in page.text("body")
    assert (set(found["1"][0]), set(found["2"][0])) == (set(SPECIES), set("012"))
    assert sum(found["1"][0].values()) == pytest.approx(1)
    assert sum(found["2"][0].values()) == pytest.approx(-1)
    card = 1 if "LogisticRegression" in page.text(".heading") else 2
    assert {version: proof for version, (_, proof) in found.items()} == {str(card): "✓", str(3 - card): ""}


@needs_browser
def test_the_skip_link_keeps_the_address(page):
    """It goes to the model that is shown, and not to another one."""
    page = page("people")
    page.ask("document.querySelector('.skip').focus()")
    page.press("Enter")
    page.wait("document.activeElement.id === 'model'")
    assert page.ask("location.hash") == "#/people"
    assert page.text("h1") == "people"


@needs_browser
def test_a_model_that_is_not_there_is_not_another(page, browser, server):
    """Its address says so, and the list names those that there are."""
    browser.open(f"{server.url}/#/nobody")
    browser.wait("document.querySelector('.notice')")
    assert browser.text("h1") == "nobody"
    assert "no model of this name" in browser.text(".notice")
    assert browser.ask("document.querySelectorAll('#models [aria-current]').length") == 0


@needs_browser
def test_a_refused_model_says_why(page, browser, server):
    """In place of a form."""
    browser.open(f"{server.url}/#/broken")
    browser.wait("document.querySelector('.notice')")
    assert "not a complete ONNX file" in browser.text(".notice")
    assert browser.text("#models [aria-current] .bad") == "refused"


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["people", "hostile", "many"])
def test_it_fits_a_phone(page, name, scheme, tmp_path):
    """Nothing is wider than 360 pixels, whatever the names, and a picture can be taken of it."""
    page = page(name)
    page.size(360, 740, mobile=True)
    page.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    assert page.ask("document.documentElement.scrollWidth") == 360
    assert page.screenshot(tmp_path / "phone.png").startswith(b"\x89PNG")
    ground = page.ask("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 21, 18)" if scheme == "dark" else "rgb(247, 246, 242)")


@needs_browser
def test_everything_has_a_name(page):
    """Each control that a keyboard reaches has a name for those who do not see it."""
    page = page("people")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "textbox", "combobox", "slider", "checkbox", "link", "searchbox"}
    controls = [node for node in nodes if node.get("role", {}).get("value") in kinds]
    assert len(controls) > 15
    assert [node for node in controls if not node["name"]["value"]] == []


@needs_browser
def test_a_new_version_takes_its_place(page, server, shelf, models):
    """Once another version answers, the page shows that one's card, and keeps what was filled in."""
    page = page("renewed")
    page.fill("#feature-0", "5.125")
    shelve(models, shelf / "renewed", "forest", first=2)
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: server.ask("/models/renewed")[1]["version"] == 2)
    page.fill("#feature-1", "3.25")
    page.wait("document.querySelector('.timing').textContent.includes('version 2')")
    assert set(shown(page)) == set("012")
    page.wait("document.querySelector('.heading').textContent.includes('RandomForest')")
    assert page.ask("document.querySelector('#feature-0').value") == "5.125"
    assert FLOWERS[0] in page.text("code")
