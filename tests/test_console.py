"""The command unpickled: help, imports, completion, interrupts, and readers that go away."""

import json
import os
import shlex
import signal
import subprocess
import sys
from importlib.metadata import version

import click
import pytest
from conftest import BIN, PATIENCE, ROOT

from unpickled.__main__ import main, unpickled

TRAINING = {"sklearn", "skl2onnx", "onnx", "pandas", "joblib"}
SERVING = {"flask", "granian", "tomlkit"}


def names() -> list[str]:
    """Every command as it is typed, without the program's name."""
    context = click.Context(unpickled, info_name="unpickled")
    groups = {name: unpickled.get_command(context, name) for name in ("models", "keys", "log")}
    members = [f"{name} {word}" for name, group in groups.items() for word in group.list_commands(context)]
    return [*unpickled.list_commands(context), *members]


def complete(words: str, folder: str) -> list[str]:
    """The completions that the Tab key offers at the end of a line."""
    environ = {**os.environ, "_UNPICKLED_COMPLETE": "bash_complete", "UNPICKLED_MODELS": folder}
    environ |= {"COMP_WORDS": words, "COMP_CWORD": str(len(shlex.split(f"{words}|")) - 1)}
    completed = subprocess.run([BIN / "unpickled"], env=environ, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in completed.stdout.splitlines() if line]


def test_commands():
    """The commands are listed in the order of use."""
    assert names() == [
        "train", "convert", "retrain", "check", "serve", "predict", "consume", "models", "pull", "sign",
        "keys", "report", "explain", "drift", "accuracy", "judge", "ab", "log", "version",
        *(f"models {name}" for name in ("list", "show", "promote", "canary", "shadow", "rollback", "retire")),
        *(f"keys {name}" for name in ("add", "list", "revoke")),
        *(f"log {name}" for name in ("list", "forget")),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", *names()])
def test_help(name, capsys):
    """The help of each command has its usage, its purpose and, at the end, examples."""
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {' '.join(['unpickled', *name.split()])} ")
    examples = text.partition("Show this message and exit.")[2]
    assert f"    unpickled {name}".rstrip() in examples


@pytest.mark.parametrize(
    "name",
    [name for name in names() if " " not in name and name != "version"],
)
def test_lines_of_the_overview_are_those_of_the_commands(name):
    """The overview's own line about a command begins as the command's help does."""
    context = click.Context(unpickled, info_name="unpickled")
    command = unpickled.get_command(context, name)
    assert unpickled._line(name).split()[0] == command.help.split()[0]


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        ("--help", TRAINING | SERVING | {"onnxruntime", "numpy"}),
        ("version", TRAINING | SERVING | {"onnxruntime", "numpy"}),
        ("serve --help", TRAINING | SERVING | {"onnxruntime", "numpy"}),
        ("consume --help", TRAINING | SERVING | {"onnxruntime", "redis"}),
        ("models --help", TRAINING | {"granian"}),
        ("check --help", TRAINING | {"granian"}),
        ("sign --help", TRAINING | SERVING | {"onnxruntime", "orjson", "cryptography"}),
        ("pull --help", TRAINING | {"granian", "obstore", "cryptography"}),
        ("keys --help", TRAINING | {"granian"}),
        ("explain --help", TRAINING | {"granian"}),
        ("drift --help", TRAINING | {"granian"}),
        ("accuracy --help", TRAINING | {"granian", "pyarrow"}),
        ("log --help", TRAINING | {"granian", "pyarrow"}),
        ("train --help", SERVING),
    ],
)
def test_imports(words, absent):
    """A command imports none of the libraries that only other commands need."""
    code = (
        "import json, sys; from unpickled.__main__ import main; main(sys.argv[1:])\n"
        "print(json.dumps([*sys.modules]))"
    )
    command = [sys.executable, "-c", code, *words.split()]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {module.partition(".")[0] for module in json.loads(completed.stdout.splitlines()[-1])} & absent


@pytest.mark.parametrize(
    ("words", "suggestion"),
    [
        ("train irs", "iris"),
        ("train iris --classifier forst", "forest"),
        ("train iris --scaler minmx", "minmax"),
    ],
)
def test_misspelt_value(capsys, words, suggestion):
    """A value that is none of the choices gets a suggestion."""
    assert main(words.split()) == 2
    assert f"did you mean '{suggestion}'?" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["version", "--version"])
def test_version(capsys, word):
    """The versions of the package, of Python and of each installed library have a line each."""
    assert main([word]) == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["unpickled"] == version("unpickled")
    assert {"python", "onnxruntime", "scikit-learn", "skl2onnx"} <= lines.keys()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("unpickled m", ["models"]),
        ("unpickled models pro", ["promote"]),
        ("unpickled models promote ", ["forest", "iris", "people"]),
        ("unpickled models promote ir", ["iris"]),
        ("unpickled models canary iris ", ["1"]),
        ("unpickled judge ir", ["iris"]),
        ("unpickled pull s3://bucket/iris --name ir", ["iris"]),
        ("unpickled retrain ir", ["iris"]),
        ("unpickled serve --max-r", ["--max-rows"]),
        ("unpickled train i", ["iris"]),
    ],
)
def test_completion(models, words, offered):
    """Commands, options, data sets, models of the models folder, and their versions are completed."""
    assert complete(words, str(models.path)) == offered


def test_completion_without_a_models_folder(tmp_path):
    """Without a models folder, completion offers nothing and does not fail."""
    assert complete("unpickled models show ", str(tmp_path / "none")) == []


def test_an_interrupt_is_one_line_and_130(tmp_path):
    """Ctrl-C ends a training with one line and status 130, and leaves no file."""
    command = [
        BIN / "unpickled",
        "train",
        "digits",
        "--classifier",
        "gradient_boosting",
        "--models",
        tmp_path,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "training gradient_boosting ...\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE)[1] == "interrupted: nothing was written\n"
    assert (process.returncode, list(tmp_path.iterdir())) == (130, [])


@pytest.mark.parametrize("words", ["--help", "version", "models list", "train --help"])
def test_a_reader_that_is_gone(models, words):
    """A command whose output goes into a closed pipe ends silently."""
    reading, writing = os.pipe()
    os.close(reading)
    environ = {**os.environ, "UNPICKLED_MODELS": str(models.path)}
    command = [BIN / "unpickled", *words.split()]
    completed = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environ, text=True)
    os.close(writing)
    assert completed.stderr == ""
