"""The command unpickled: its help, what it imports, completion, interrupts, and readers that go away."""

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
    """Every command as it is typed, without the program."""
    context = click.Context(unpickled, info_name="unpickled")
    models = unpickled.get_command(context, "models")
    return [*unpickled.list_commands(context), *(f"models {name}" for name in models.list_commands(context))]


def complete(words: str, folder: str) -> list[str]:
    """What the Tab key offers at the end of a line of words."""
    environ = {**os.environ, "_UNPICKLED_COMPLETE": "bash_complete", "UNPICKLED_MODELS": folder}
    environ |= {"COMP_WORDS": words, "COMP_CWORD": str(len(shlex.split(f"{words}|")) - 1)}
    done = subprocess.run([BIN / "unpickled"], env=environ, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands():
    """The commands, in the order of use."""
    assert names() == [
        "train", "convert", "serve", "models", "version",
        *(f"models {name}" for name in ("list", "show", "promote", "canary", "shadow", "rollback", "retire")),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", *names()])
def test_help(name, capsys):
    """Every help says how to use the command, what it does, and ends with examples."""
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: {' '.join(['unpickled', *name.split()])} ")
    examples = text.partition("Show this message and exit.")[2]
    assert f"    unpickled {name}".rstrip() in examples


@pytest.mark.parametrize(
    "name", [name for name in names() if name in ("train", "convert", "serve", "models")]
)
def test_lines_of_the_overview_are_those_of_the_commands(name):
    """The overview has a line of its own for what it does not import; it begins as the command's help."""
    context = click.Context(unpickled, info_name="unpickled")
    command = unpickled.get_command(context, name)
    assert unpickled._line(name).split()[0] == command.help.split()[0]


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        ("--help", TRAINING | SERVING | {"onnxruntime", "numpy"}),
        ("version", TRAINING | SERVING | {"onnxruntime", "numpy"}),
        ("serve --help", TRAINING | SERVING | {"onnxruntime", "numpy"}),
        ("models --help", TRAINING | {"granian"}),
        ("train --help", SERVING),
    ],
)
def test_imports(words, absent):
    """A command imports what it needs and nothing of the others."""
    code = (
        "import json, sys; from unpickled.__main__ import main; main(sys.argv[1:])\n"
        "print(json.dumps([*sys.modules]))"
    )
    line = [sys.executable, "-c", code, *words.split()]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {module.partition(".")[0] for module in json.loads(done.stdout.splitlines()[-1])} & absent


def test_version(capsys):
    """One line for the package, for Python, and for each library that is installed."""
    assert main(["version"]) == 0
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
        ("unpickled serve --max", ["--max-body-bytes", "--max-rows"]),
        ("unpickled train i", ["iris"]),
    ],
)
def test_completion(models, words, offered):
    """Commands, options, data sets, models of the models folder, and their versions are completed."""
    assert complete(words, str(models.path)) == offered


def test_completion_without_a_models_folder(tmp_path):
    """Nothing is offered, and nothing fails."""
    assert complete("unpickled models show ", str(tmp_path / "none")) == []


def test_an_interrupt_is_one_line_and_130(tmp_path):
    """Ctrl-C ends a training without a traceback, and no file is left."""
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
    """Output into a closed pipe, as head leaves one, fails without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    environ = {**os.environ, "UNPICKLED_MODELS": str(models.path)}
    command = [BIN / "unpickled", *words.split()]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environ, text=True)
    os.close(writing)
    assert done.stderr == ""
