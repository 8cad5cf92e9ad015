"""The same file in Node.js, in a browser and in C++: the answers are those of this process."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pipelines
import pytest
from browser import CHROMIUM, browsing
from catboost import CatBoostClassifier
from conftest import FLOWER, ROOT, environment, eventually, free_port, run, started
from documents import blocks, reading
from lightgbm import LGBMClassifier
from sklearn.base import clone
from test_check import NODE, checked, model_of, package
from test_examples import EXAMPLES
from xgboost import XGBClassifier

from unpickled.export import export_pipeline
from unpickled.server.artifact.manifest import FILE
from unpickled.server.model.session import load
from unpickled.server.runtimes import web

# Their packages come from npm.
pytestmark = [NODE, pytest.mark.skipif(not shutil.which("npm"), reason="needs npm"), pytest.mark.long]
# One kind for each way in which graphs are written, of those in tests/pipelines.py: each starts Node.js, for
# seconds. The documented commands run a logistic regression.
KINDS = [
    "LogisticRegression of two", "RandomForestClassifier", "HistGradientBoostingClassifier",
    "KNeighborsClassifier", "SVC", "MLPClassifier", "GaussianNB", "GaussianProcessClassifier",
    "StandardScaler in float32", "a table of object", "HistGradientBoostingClassifier of categories",
    "Ridge", "RandomForestRegressor", "IsolationForest", "LocalOutlierFactor",
]  # fmt: skip
BOOSTERS = [
    LGBMClassifier(n_estimators=10, verbose=-1),
    XGBClassifier(n_estimators=10),
    CatBoostClassifier(iterations=10, verbose=False, allow_writing_files=False),
]
AGREES = re.compile(
    r"onnxruntime-web \S+ \(Node\.js \S+\) answers \d+ golden rows as the pipeline did: "
    r"(?:0 of \d+ labels different, )?largest difference \S+\n"
    r"200 made-up rows as by onnxruntime \S+ \(Python\): "
    r"(?:0 of 200 labels different, )?largest difference (\S+)\n$"
)


@pytest.fixture(scope="session")
def javascript(tmp_path_factory) -> Path:
    """The example's folder after all commands of its page: packages, and models of iris and churn."""
    ignored = shutil.ignore_patterns("models", "node_modules", "package-lock.json", "__*")
    examples = shutil.copytree(EXAMPLES, tmp_path_factory.mktemp("js") / "examples", ignore=ignored)
    with reading(examples / "javascript") as reader:
        reader.run(blocks(EXAMPLES / "javascript" / "README.md"))
    return examples / "javascript"


@pytest.fixture
def packages(javascript) -> Path:
    """The folder with the package that the command runs."""
    return javascript / "node_modules"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_in_a_browsers_runtime(packages, tmp_path, capsys, kind):
    """In WebAssembly no label is another one, and scores differ by rounding alone."""
    pipeline, rows, labels = pipelines.kinds()[kind]
    path = export_pipeline(pipeline.fit(rows, labels), rows, labels, name="kind", models=tmp_path).path
    status, text = checked(capsys, path, "--runtime", "web", "--node-modules", packages)
    assert status == 0
    assert float(AGREES.search(text)[1]) < 1e-12, text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("booster", BOOSTERS, ids=lambda booster: type(booster).__name__)
def test_boosters_in_a_browsers_runtime(packages, tmp_path, capsys, booster):
    """The same of boosting libraries; XGBoost adds in float32."""
    rows, labels = pipelines.FLOWERS, pipelines.SPECIES
    path = export_pipeline(clone(booster).fit(rows, labels), rows, labels, name="kind", models=tmp_path).path
    status, text = checked(capsys, path, "--runtime", "web", "--node-modules", packages)
    assert status == 0
    assert float(AGREES.search(text)[1]) < (1e-6 if isinstance(booster, XGBClassifier) else 1e-12), text


def test_a_runtime_that_answers_otherwise(models, javascript, tmp_path, capsys):
    """A runtime whose scores differ from the pipeline's is refused by its name, with status 1."""
    real = (javascript / "node_modules" / "onnxruntime-web" / "dist" / "ort.node.min.mjs").as_uri()
    package(
        tmp_path,
        f'import ort from "{real}"; export const {{ env, Tensor }} = ort;\n'
        "export const InferenceSession = { async create(...words) {\n"
        "  const session = await ort.InferenceSession.create(...words);\n"
        "  return { async run(...words) {\n"
        "    const answers = await session.run(...words);\n"
        "    answers.probabilities.data[0] += 0.001;\n"
        "    return answers;\n"
        "  } };\n"
        "} };\n",
    )
    status, text = checked(capsys, models.path / "iris", "--runtime", "web", "--node-modules", tmp_path)
    assert status == 1
    assert "with onnxruntime-web 9.9.9 (Node.js " in text
    assert "it answers golden row 0 with " in text


@pytest.mark.parametrize("browsers", [False, True])
def test_missing_and_unknown_values_in_node(models, javascript, browsers):
    """Null becomes the tensor's value for missing numbers and texts, as in this process."""
    row = [None, 2100.5, "Paris", None]
    printed = predicted(javascript, models.path / "people" / "1" / FILE, row, browsers)
    model = model_of(models, "people")
    labels, scores = model.run(model.signature.feeds([model.signature.check_row(row, 0)]))
    assert printed.splitlines()[0].endswith(f" is {labels[0]}, {labels[0]}")
    numbers = [float(line.partition(": ")[2]) for line in printed.splitlines()[1:3]]
    assert np.allclose(numbers, scores[0], rtol=0, atol=1e-14)
    assert printed.endswith("13 of 13 golden rows answered as by the pipeline\n")


def test_dates_and_several_numbers_in_node(regressors, javascript, tmp_path):
    """A date is text in a row, and seconds in the tensor; a regressor has a number for each target."""
    days = pd.date_range("2024-01-01", periods=120, freq="31h").strftime("%Y-%m-%dT%H:%M:%S")
    places = np.arange(120)
    table = pd.DataFrame({"day": days, "size": places * 7 % 31, "cost": places % 24 * 1.5 + places * 7 % 31})
    table.to_csv(tmp_path / "costs.csv", index=False)
    command = ["unpickled", "train", "--data", "costs.csv", "--target", "cost", "--name", "costs"]
    completed = run([*command, "--dates", "expand"], cwd=tmp_path, env=environment())
    assert completed.returncode == 0, completed.stderr
    for path in (tmp_path / "models" / "costs", regressors.path / "areas"):
        printed = predicted(javascript, path / "1" / FILE)
        [right, rows] = re.search(r"(\d+) of (\d+) golden rows", printed).groups()
        assert right == rows


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('[null, 1, 1, 1, "x"]', "feature age is null: the model cannot do without it"),
        ('[41, 7, 12, 3, 22.5]', "feature plan is 7: a text belongs there"),
        ('[41, "pro", 1e400, 3, 22.5]', "a number belongs there"),
        ('[41, "pro", "12", 3, 22.5]', 'feature months is "12": a number belongs there'),
    ],
)  # fmt: skip
def test_rows_that_a_server_refuses(javascript, row, sentence):
    """The example refuses them as well, by the manifest's rules, and names the feature."""
    command = ["node", "predict.mjs", "models/churn/1/model.onnx", row]
    completed = run(command, cwd=javascript)
    assert completed.returncode == 1
    assert sentence in completed.stderr


def headers():
    """The folder with the headers of ONNX Runtime; None where they are not installed."""
    places = ("/usr/include", "/usr/local/include", os.environ.get("ONNXRUNTIME_INCLUDE", "/"))
    names = (
        "onnxruntime_cxx_api.h",
        "onnxruntime/onnxruntime_cxx_api.h",
        "onnxruntime/*/*/onnxruntime_cxx_api.h",
    )
    return next((file.parent for place in places for name in names for file in Path(place).glob(name)), None)


@pytest.mark.skipif(headers() is None, reason="needs the headers of ONNX Runtime: no package here has them")
@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
def test_cpp(models, regressors, tmp_path):
    """The program is compiled against the library of Python's package, and answers every golden row."""
    [library] = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.1.*")
    (tmp_path / "libonnxruntime.so.1").symlink_to(library)
    source, program = EXAMPLES / "cpp" / "predict.cpp", tmp_path / "predict"
    flags = ("-std=c++17", "-Wall", "-I", headers(), library, f"-Wl,-rpath,{tmp_path}")
    compiled = run(["g++", source, *flags, "-o", program])
    assert compiled.returncode == 0, compiled.stderr
    for path in (*models.path.iterdir(), *regressors.path.iterdir()):
        completed = run([program, path / "1" / FILE])
        assert completed.returncode == 0, completed.stdout + completed.stderr


def predicted(javascript, path, row=None, browsers=False):
    """The output of the program for a row, or for the first golden one."""
    command = [
        "node",
        "predict.mjs",
        path,
        *([json.dumps(row)] if row else []),
        *(["--web"] if browsers else []),
    ]
    completed = run(command, cwd=javascript)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def test_the_documented_commands(javascript):
    """The package is found in the current folder, where the page of the documentation installs it."""
    page = blocks(ROOT / "docs" / "how-to" / "other-languages.md")
    [place] = [place for place, block in enumerate(page) if "--runtime web" in block.text and block.reason]
    [install, command] = page[place].text.splitlines()
    assert install == f"npm install {web.PACKAGE}@{web.RELEASE}"
    completed = run(["bash", "-ec", command], cwd=javascript, env=environment())
    assert AGREES.search(completed.stdout), completed.stderr
    assert len(completed.stdout.splitlines()) == len(page[place + 1].text.splitlines())


@pytest.fixture
def site(javascript, tmp_path):
    """A tab of a browser, and the address of the folder with the page."""
    if not CHROMIUM:
        pytest.skip("needs chromium")
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started(command, cwd=javascript, **quiet), browsing(tmp_path) as tab:
        address = f"http://127.0.0.1:{port}/"
        eventually(lambda: tab.call("Page.navigate", url=address).get("errorText") is None)
        yield tab, address


def test_the_page_answers_as_this_process(javascript, site):
    """The form's row has the label and the probabilities of Python, and the golden rows are right."""
    tab, address = site
    tab.open(address)
    tab.wait("document.querySelector('#golden').innerText.startsWith('12 of 12 golden rows')")
    for place, number in enumerate(FLOWER, 1):
        tab.fill(f".feature:nth-child({place}) input[type=number]", str(number))
    model = load((javascript / "models" / "iris" / "1" / FILE).read_bytes())
    _, scores = model.run(model.signature.feeds([FLOWER]))
    shown = "[...document.querySelectorAll('.score span:nth-child(2)')].map((each) => Number(each.title))"
    # The answer to the last of the numbers.
    tab.wait(f"{shown}.every((score, place) => Math.abs(score - {scores[0].tolist()}[place]) < 1e-14)")
    assert tab.text("#label") == "setosa"
    assert tab.complaints == []


def test_the_page_takes_text_and_missing_values(site):
    """A table's form has a list of categories, and a box for each value that may be missing."""
    tab, address = site
    tab.size(400, 800, mobile=True)
    tab.open(f"{address}?model=models/churn/1/model.onnx")
    tab.wait("document.querySelector('#golden').innerText.startsWith('13 of 13 golden rows')")
    before = tab.text("#scores")
    tab.choose(".feature:nth-child(2) select", "free")
    tab.ask("document.querySelector('select').dispatchEvent(new Event('input', { bubbles: true }))")
    tab.wait(f"document.querySelector('#scores').innerText !== {json.dumps(before)}")
    known = tab.text("#scores")
    tab.click(".feature:nth-child(2) .missing input")
    tab.wait(f"document.querySelector('#scores').innerText !== {json.dumps(known)}")
    assert tab.ask("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []


def test_the_page_says_what_is_wrong(site):
    """A file that is not there, and one that unpickled did not write, are told in place of a form."""
    tab, address = site
    tab.open(f"{address}?model=model.mjs")
    tab.wait("document.querySelector('.wrong')?.innerText.startsWith('the file has no manifest')")
    tab.open(f"{address}?model=nothing.onnx")
    tab.wait("document.querySelector('.wrong')?.innerText.startsWith('nothing.onnx is not here')")
