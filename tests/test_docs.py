"""The documentation is true: its commands run and print what it shows."""

import contextlib
import doctest
import importlib
import json
import re
import shutil
import sys
import tomllib

import handmade
import joblib
import pytest
from brokers import FLOWER_BODY, RabbitMQ, running
from conftest import ROOT, free_port
from documents import PAGES, SUBJECTLESS, blocks, checkout, fits, reading, runs
from onnx import helper
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from unpickled.__main__ import main
from unpickled.server import config
from unpickled.server.commands.serve import serve

sys.path.insert(0, str(ROOT / "docs"))

from generated import PARTS
from kernels import left
from kinds import graphs

RUN = [page for page in PAGES if page.name != "README.md" and any(map(runs, blocks(page)))]
# Pages that train many models, measure, or start several servers.
LENGTHY = {
    *("accuracy", "batches", "batches-in-object-stores", "boosters", "capacity", "clusters", "drift"),
    *("export", "gpu", "judge", "keys"),
    *("brokers-more", "make-again", "measure", "numbers", "outliers"),
    *("outside-the-range", "payload-log", "replace-a-model", "retrain", "sign", "tables", "tls"),
    "tutorial-loop",
}
# Modules with examples in their docstrings.
SHOWN = [
    f"unpickled.{'.'.join(file.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')}"
    for folder in ("server", "export")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if ">>>" in file.read_text("utf-8")
]
# The ports at which programs of a page listen.
LISTENING = re.compile(r"(?:--admin-port|--port|-p) (\d{4,5})\b")
# Texts beside the documentation's pages: the files of deploy/, and the help of every command.
BESIDE = {file.name: file.read_text("utf-8") for file in (ROOT / "deploy").rglob("*.*")}
BESIDE["--help"] = PARTS["commands"]()
NOT_RUN = [(page, block) for page in PAGES for block in blocks(page) if block.reason]


def programs(page):
    """The programs beside ours that a page needs."""
    text = page.read_text("utf-8")
    names = [name for name in ("nats-server", "redis-server") if name in text]
    return [*names, RabbitMQ.PROGRAM] if "amqp://guest" in text else names


@contextlib.contextmanager
def places(page, folder):
    """The addresses of brokers that a page expects to be there, and those of the brokers that run instead.

    The topic that Kafka's own tools create in the page has a message. Other ports of the page are free ones:
    another process, such as another run of these tests, may have its own.
    """
    text = page.read_text("utf-8")
    own = {number: free_port() for number in {*LISTENING.findall(text)} - {"8000"}}
    ports = {f"{sign}{number}": f"{sign}{port}" for number, port in own.items() for sign in (":", " ")}
    with contextlib.ExitStack() as stack:
        if "amqp://guest" in text:
            ports[":5672"] = f":{stack.enter_context(running('amqp', folder / 'amqp')).port}"
        if "kafka://localhost" in text:
            cluster = stack.enter_context(running("kafka", folder / "kafka"))
            cluster.send("flowers", [FLOWER_BODY])
            ports[":9092"] = f":{cluster.servers.rpartition(':')[2]}"
        yield ports


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with what pages expect: the iris model, a joblib file and its rows."""
    folder = checkout(tmp_path_factory.mktemp("pages") / "prepared")
    with contextlib.chdir(folder):
        assert main(["train", "iris"]) == 0
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.to_csv(folder / "rows.csv", index=False)
    joblib.dump(LogisticRegression(max_iter=1000).fit(X, y), folder / "fitted.joblib")
    return folder


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=str(page.relative_to(ROOT)),
            marks=[
                *([pytest.mark.long] if page.stem in LENGTHY else []),
                *(
                    pytest.mark.skipif(not shutil.which(name), reason=f"needs {name}")
                    for name in programs(page)
                ),
            ],
        )
        for page in RUN
    ],
)
def test_page(page, prepared, tmp_path, monkeypatch):
    """Every block of the page runs, and prints what the page shows."""
    # Spark takes half of the processors' time.
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
    folder = shutil.copytree(prepared, tmp_path / "page", symlinks=True)
    if page.name == "tutorial.md":
        shutil.rmtree(folder / "models")
    with places(page, tmp_path) as ports, reading(folder, ports) as reader:
        reader.run(blocks(page))


@pytest.mark.parametrize("module", SHOWN)
def test_docstrings(module, prepared, tmp_path):
    """The examples in docstrings print what they show."""
    folder = shutil.copytree(prepared, tmp_path / "folder", symlinks=True)
    if ".export." in module:
        # Its examples write the first version.
        shutil.rmtree(folder / "models")
    with contextlib.chdir(folder):
        failed, attempted = doctest.testmod(importlib.import_module(module))
    assert (failed, attempted > 0) == (0, True)


@pytest.mark.parametrize(("page", "block"), NOT_RUN, ids=[f"{page.stem}-{b.language}" for page, b in NOT_RUN])
def test_not_run(page, block):
    """A block that is not run has a reason of more than one word."""
    assert len(block.reason.split()) > 1


def test_languages():
    """A block in a language that no test runs has a reason beside it."""
    silent = {b.language for page in PAGES for b in blocks(page) if not b.reason}
    assert silent <= {"sh", "python", "toml", "json", "text"}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_json(page):
    """A block of JSON is a document, or has one on each line: dots in place of a part are no JSON."""
    for block in blocks(page):
        if block.language == "json":
            texts = block.text.splitlines() if block.text.count("\n{") else [block.text]
            assert all(json.loads(text) is not None for text in texts)


def test_fits():
    """Numbers are compared as far as they are shown, words exactly, and dots stand for any text."""
    assert fits("a 0.98 of 3\n...\nend", "a  0.9822 of 3\nx\ny\nend")
    assert not fits("a 0.98", "a 0.96")
    assert not fits("a 3", "a 4")
    assert not fits("one", "one\ntwo")
    assert fits('{"p":[3.39e-7]}', '{"p":[3.3930516550415234e-07]}')


@pytest.mark.parametrize("part", PARTS)
def test_generated(part):
    """Each part of the reference is made from the code, and is used by one page."""
    assert len(PARTS[part]()) > 200
    pages = [page for page in PAGES if f"```{{generated}} {part}\n" in page.read_text("utf-8")]
    assert len(pages) == 1


def test_settings_and_metrics_are_listed(client):
    """The reference names every setting, and every metric that is or may be served."""
    assert all(f"| `{key}` |" in PARTS["settings"]() for key in config.FIELDS)
    served = set(re.findall(r"^# TYPE (\w+?)(?:_total)? ", client.get("/metrics").text, re.M))
    listed = re.findall(r"`(unpickled_\w+?)(?:_total)?`", PARTS["metrics"]())
    # Served once an observer has failed.
    assert set(listed) == served | {"unpickled_observer_failures"}


def test_every_setting_has_an_example():
    """The reference has a file with a value for each setting, in the table to which it belongs."""
    page = ROOT / "docs" / "reference" / "settings.md"
    text = next(block.text for block in blocks(page) if block.text.startswith("# every.toml"))
    keys = [key for key, value in tomllib.loads(text).items() if key not in config.PARTS]
    keys += [setting(part, key) for part in config.PARTS for key in tomllib.loads(text)[part]]
    assert sorted(keys) == sorted(config.FIELDS)


def setting(part, key):
    """The name of a setting, which may leave out the name of its table there."""
    return f"{part}_{key}" if f"{part}_{key}" in config.FIELDS else key


def test_every_error_has_a_remedy():
    """The table of errors says of each one what to do."""
    rows = [line.split(" | ") for line in PARTS["answers"]().splitlines()[2:]]
    assert rows
    assert all(len(row) == 4 and row[3].strip("| ") for row in rows)


def test_locust_options():
    """The table has exactly the options that Locust's own --help does not list."""
    page = (ROOT / "docs" / "how-to" / "measure.md").read_text("utf-8")
    listed = re.findall(r"^\| `(--[a-z]+) ", page, re.M)
    source = (ROOT / "benchmarks" / "locustfile.py").read_text("utf-8")
    declared = re.findall(r'add_argument\(\s*"(--[a-z-]+)"', source)
    assert sorted(listed) == sorted(set(declared) - {"--arrival", "--rate"})


def test_provider_lines(tmp_path):
    """The TOML and the flags shown for the GPU mean the same."""
    page = ROOT / "docs" / "how-to" / "gpu.md"
    file = tmp_path / "unpickled.toml"
    file.write_text(next(block.text for block in blocks(page) if block.language == "toml"))
    flags = re.search(r"`(--provider .*?)`", page.read_text("utf-8"))[1].split()
    settings = config.load(serve.make_context("unpickled serve", flags).params)
    assert config.load({"config": str(file)}) == settings
    assert settings.runtime.provider[0].options == {"device_id": "0"}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_sentences(page):
    """No sentence begins with a word that leaves its subject open."""
    text = re.sub(r"```{generated} (\w+)\n```", lambda part: PARTS[part[1]](), page.read_text("utf-8"))
    prose = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S)
    assert SUBJECTLESS.findall(prose) == []


@pytest.mark.parametrize("text", BESIDE.values(), ids=BESIDE)
def test_sentences_beside_the_pages(text):
    """No sentence of a help text, an alert or a panel begins with such a word either."""
    prose = re.sub(r"\n\s*(?:# )?", " ", text).replace('"', ". ")
    assert SUBJECTLESS.findall(prose) == []


def test_kernels_are_counted_by_type():
    """CUDA has Where for numbers alone, and nothing for trees; names of operators are no proof."""
    assert left(handmade.graph()) == []
    texts = [helper.make_node("Where", ["positive", "yes", "no"], ["text"])]
    file = handmade.graph([*handmade.NODES, *texts], yes=[["yes"]], no=[["no"]])
    assert left(file) == ["Where"]
    assert [kind for kind, operators, model in graphs() if operators == "standard" and left(model)] == [
        "CatBoost that counts categories"
    ]
    trees = [set(left(model)) for kind, form, model in graphs() if "forest," in kind and form == "fastest"]
    assert trees == [{"TreeEnsemble"}, {"TreeEnsembleClassifier"}, {"TreeEnsemble"}]


def test_the_page_is_right_about_kernels():
    """The table shows the kinds that the page calls wholly on CUDA without an operator that is left."""
    rows = [line.split(" | ") for line in PARTS["kernels"]().splitlines()[2:]]
    whole = [row[0].strip("| ") for row in rows if row[1] == "fastest" and row[2] == row[3]]
    assert whole == [
        "logistic regression",
        "multi-layer perceptron",
        "`SVC`",
        "`GaussianNB`",
        "k nearest neighbors",
        "the same, weighted by distance",
        "Gaussian process",
        "ridge regression",
        "multi-layer perceptron, regression",
        "`SVR`",
        "k nearest neighbors, regression",
        "Gaussian process, regression",
        "`EllipticEnvelope`",
        "`OneClassSVM`",
        "`LocalOutlierFactor`",
    ]
