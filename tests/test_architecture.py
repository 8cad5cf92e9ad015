"""The rules for imports, owners and names, checked in the sources."""

import ast
import functools
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from conftest import BIN, ROOT
from documents import SUBJECTLESS

from unpickled import export, server
from unpickled.export import internals

OWNERS = {
    "flask": {"server/__init__.py", "server/app.py"},
    # Conditional requests and their headers are werkzeug's.
    "werkzeug": {"server/app.py", "server/pages/files.py"},
    "granian": {"server/process/workers.py"},
    "onnxruntime": {"server/model/session.py"},
    # It reads metadata, and writes it.
    "flatbuffers": {"server/protocols/arrow/metadata.py", "server/protocols/arrow/answer.py"},
    "orjson": {"server/message/answer.py"},
    "flask_swagger_ui": {"server/pages/docs.py"},
    "prometheus_client": {"server/observe/exposition.py"},
    "tomlkit": {"server/commands/revision.py"},
    "jwt": {"server/access/tokens.py"},
    "obstore": {"server/objects.py"},
    # Modules of Python that Windows lacks.
    "fcntl": {"server/system.py"},
    "resource": {"server/system.py"},
    "skl2onnx": {"export/converters/foreign.py"},
}
# Libraries of extras that few need, and the one module that imports them when it is used.
EXTRAS = {
    # Imported by the process that writes the payload log, if it is installed.
    "server/payloads/arrays.py": {"pyarrow"},
    "server/payloads/parquet.py": {"pyarrow"},
    "server/artifact/ed25519.py": {"cryptography"},
    "server/frames/arrow.py": {"pyarrow"},
    # A frame of answers is of the library of the rows, which the caller has imported.
    "server/frames/answers.py": {"pandas", "polars", "pyarrow"},
    "server/batch/estimate.py": {"pyarrow"},
    "server/batch/forms/arrow.py": {"pyarrow"},
    "server/batch/forms/columnar.py": {"pyarrow"},
    "server/batch/forms/csv.py": {"pyarrow"},
    "server/batch/forms/jsonlines.py": {"pyarrow"},
    "server/batch/forms/parquet.py": {"pyarrow"},
    "server/batch/log/identified.py": {"pyarrow"},
    "server/batch/engines/dask.py": {"dask", "distributed"},
    "server/batch/engines/ray.py": {"ray"},
    "server/batch/engines/spark.py": {"py4j", "pyspark"},
    "server/streams/amqp/connection.py": {"pika"},
    "server/streams/amqp/parameters.py": {"pika"},
    "server/streams/amqp/refusals.py": {"pika"},
    "server/streams/amqp/target.py": {"pika"},
    "server/streams/kafka/commits.py": {"confluent_kafka"},
    "server/streams/kafka/lag.py": {"confluent_kafka"},
    "server/streams/kafka/refusals.py": {"confluent_kafka"},
    "server/streams/kafka/source.py": {"confluent_kafka"},
    "server/streams/kafka/target.py": {"confluent_kafka"},
    "server/streams/kafka/topic.py": {"confluent_kafka"},
    "server/streams/nats/connection.py": {"nats"},
    "server/streams/nats/group.py": {"nats"},
    "server/streams/nats/source.py": {"nats"},
    "server/streams/nats/target.py": {"nats"},
    "server/streams/redis/client.py": {"redis"},
    "server/streams/redis/group.py": {"redis"},
    "server/streams/redis/refusals.py": {"redis"},
    "server/streams/redis/source.py": {"redis"},
    "server/streams/redis/target.py": {"redis"},
}
# The folders whose comments and docstrings are checked.
PROSE = ("server", "export", "benchmarks", "tests", "docs", "examples")


@functools.cache
def sources(package: str) -> dict[str, ast.Module]:
    """Path from the root -> syntax tree."""
    files = sorted((ROOT / package).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text("utf-8")) for file in files}


@functools.cache
def imports(tree: ast.AST) -> set[str]:
    """Full names of what a module imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(tree: ast.AST) -> set[str]:
    """The modules that names are imported from."""
    return {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def roots(tree: ast.AST) -> set[str]:
    return {name.partition(".")[0] for name in imports(tree)}


ASSETS = ROOT / "server" / "pages" / "assets"


def test_imports_point_down():
    """Each folder of the server is a floor, in the order of pyproject.toml, and imports from those below."""
    completed = subprocess.run([BIN / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stdout
    assert imports(sources("server")["server/errors.py"]) <= {"collections.abc.Mapping", "typing.ClassVar"}
    packages = {
        path: imports(tree) for path, tree in sources("server").items() if path.endswith("__init__.py")
    }
    del packages["server/__init__.py"]
    assert not any(packages.values())


@pytest.mark.parametrize("library", OWNERS)
def test_one_owner_per_library(library):
    """Each library is imported by one file, so that another library changes one file."""
    users = {path for path, tree in (sources("server") | sources("export")).items() if library in roots(tree)}
    assert (
        users - {path for path in users if path.startswith("export/") and library == "onnxruntime"}
        <= OWNERS[library]
    )


def test_json_is_read_in_few_places():
    """The sources that read JSON are few: decoders, the manifest, the history, the log, one strict reader."""
    readers = {path for path, tree in sources("server").items() if "json" in roots(tree)}
    compiled = {
        path for path, tree in sources("server").items() for node in ast.walk(tree) if is_msgspec_json(node)
    }
    assert readers == {"server/message/strict.py"}
    assert compiled == {
        "server/artifact/manifest.py",
        "server/batch/done.py",
        "server/batch/engines/hand.py",
        "server/batch/engines/local.py",
        "server/batch/engines/outcome.py",
        "server/batch/forms/cell.py",
        "server/batch/forms/jsonlines.py",
        "server/batch/log/beginning.py",
        "server/batch/refusals.py",
        "server/lifecycle/history.py",
        "server/payloads/jsonlines.py",
        "server/payloads/schema.py",
        "server/payloads/task.py",
        "server/protocols/rows.py",
        "server/protocols/oip/infer.py",
        "server/protocols/oip/request.py",
        "server/protocols/slices.py",
    }


def is_msgspec_json(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "msgspec.json"


def test_the_server_stands_alone():
    """server/ imports neither export/ nor anything of training, and never unpickles."""
    foreign = {
        "benchmarks",
        "sklearn",
        "skl2onnx",
        "onnx",
        "pandas",
        "scipy",
        "joblib",
        "pickle",
        "cloudpickle",
    }
    for path, tree in sources("server").items():
        # pandas makes a frame of answers in the process of a caller who asks for one.
        assert roots(tree) & foreign <= ({"pandas"} if path == "server/frames/answers.py" else set()), path
        assert not any(name.startswith("unpickled.export") for name in imports(tree)), path


def test_what_a_model_says_has_one_owner():
    """Only the artifact's floor and model/outputs.py read classes; the others ask Outputs."""
    manifest = {f"manifest.{name}" for name in ("classes", "class_names", "outputs")}
    for path, tree in sources("server").items():
        reads = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        reads = [name for name in reads if name.endswith((*manifest, ".class_names", "outputs.kind"))]
        assert not reads or path.startswith(("server/artifact/", "server/model/")), (path, reads)


def test_what_the_page_knows_of_an_answer_has_one_owner():
    """Only the two kinds of answers behind outputs.js read classes, scores and errors; others ask them."""
    words = {"class_names", "classes", "predicted_class", "probabilities", "accuracy", "log_loss"}
    words |= {"deciles", "mae", "rmse"}
    modules = {file.name: file.read_text("utf-8") for file in ASSETS.glob("*.js")}
    code = {name: re.sub(r"^ *(?://|/?\*).*", "", text, flags=re.M) for name, text in modules.items()}
    mentioned = {name: words.intersection(re.findall(r"\w+", text)) for name, text in code.items()}
    kinds = mentioned.pop("classification.js"), mentioned.pop("regression.js")
    assert kinds[0] | kinds[1] == words
    assert not kinds[0] & kinds[1]
    # The chart of a confusion matrix says what its rows and columns are, as the others do.
    assert mentioned.pop("charts.js") == {"classes"}
    assert mentioned.pop("strip.js") == mentioned.pop("targets.js") == {"deciles"}
    assert mentioned.pop("residuals.js") == {"mae"}
    # The path of a report.
    assert mentioned.pop("truth.js") == {"accuracy"}
    assert not any(mentioned.values()), mentioned


def test_the_export_knows_no_http():
    """The export imports no library that the server answers requests with."""
    for path, tree in sources("export").items():
        assert not roots(tree) & {"flask", "granian", "orjson", "benchmarks"}, path


def test_private_names_of_scikit_learn_are_listed():
    """export/internals.py lists exactly the private names of scikit-learn that the export reads."""
    attributes, modules = set(), set()
    for tree in sources("export").values():
        modules |= {m for m in imported(tree) if m.startswith("sklearn.") and "._" in m}
        attributes |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and re.fullmatch("_[^_].*", node.attr)
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls", "os"))
        }
    assert attributes == set(internals.ATTRIBUTES)
    assert modules == set(internals.MODULES)


def test_benchmarks_import_neither():
    """Benchmarks speak HTTP to processes; only stages of a request and statistics are the server's own."""
    inside = {"benchmarks/stages.py", "benchmarks/peeking/simulation.py"}
    for path, tree in sources("benchmarks").items():
        allowed = {"unpickled.server"} if path in inside else set()
        modules = {".".join(name.split(".")[:2]) for name in imports(tree) if name.startswith("unpickled.")}
        assert modules <= allowed, path


def test_settings_have_one_reader():
    """Only the entry points read the environment."""
    readers = {
        path for path, tree in sources("server").items() for node in ast.walk(tree) if is_environ(node)
    }
    # session.py and ray.py disable the telemetry of ONNX Runtime and of Ray before they import it; loader.py
    # removes the variables that the HTTP server would take for headers.
    assert readers <= {
        "server/__main__.py",
        "server/app.py",
        "server/batch/engines/ray.py",
        "server/model/session.py",
        "server/process/loader.py",
    }


def is_environ(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv"}
        and ast.unparse(node.value) == "os"
    )


@pytest.mark.parametrize("folder", PROSE)
def test_sentences_have_a_subject(folder):
    """No sentence of a comment or a docstring begins with a word that leaves its subject open."""
    for path, tree in sources(folder).items():
        assert SUBJECTLESS.findall("\n".join([*comments(ROOT / path), *docstrings(tree)])) == [], path


def comments(file: Path) -> list[str]:
    with tokenize.open(file) as lines:
        tokens = [*tokenize.generate_tokens(lines.readline)]
    return [token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT]


def docstrings(tree: ast.Module) -> list[str]:
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, owners)]


def test_public_surface():
    """The packages offer a short list of names; to extend it is a decision."""
    assert server.__all__ == ["Config", "create_app", "load"]
    assert set(export.__all__) == {
        "Export", "export_pipeline",
        "ExportError", "ConversionError", "DataError", "ParityError", "QualityError",
    }  # fmt: skip
    for package in (server, export):
        assert all(hasattr(package, name) for name in package.__all__)


def test_third_parties_are_declared():
    """server/ imports the standard library, itself, and what its part of setup.cfg declares."""
    declared = {
        "click",
        "flask",
        "flask-swagger-ui",
        "flatbuffers",
        "granian",
        "onnxruntime",
        "orjson",
        "msgspec",
        "numpy",
        "prometheus-client",
        "tomlkit",
    }
    allowed = (
        {name.replace("-", "_") for name in declared}
        # PyJWT, which belongs to the extra jwt.
        | {"unpickled", "werkzeug", "jwt"}
        | sys.stdlib_module_names
    )
    for path, tree in sources("server").items():
        assert roots(tree) <= allowed | EXTRAS.get(path, set()), path
    text = Path(ROOT / "setup.cfg").read_text("utf-8")
    assert all(f"    {name} >=" in text for name in declared)
