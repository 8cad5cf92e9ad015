"""The command ``check``: a model file answers its golden rows, here or in the runtime of a browser."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np

from unpickled.server import config, console
from unpickled.server.artifact import manifest
from unpickled.server.artifact.manifest import FILE
from unpickled.server.errors import ArtifactError, ServingError
from unpickled.server.lifecycle import disk, signed
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.model import session
from unpickled.server.model.feeds import Row
from unpickled.server.model.session import Model
from unpickled.server.quote import counted, shortened
from unpickled.server.runtimes import answers, rows, web
from unpickled.server.runtimes.web import Web


@click.command(
    epilog=console.examples(
        "unpickled check models/iris                      the newest version, by the runtime of the server",
        "unpickled check models/iris/1/model.onnx --runtime web",
        "unpickled check model.onnx --runtime web --node-modules site/node_modules",
    )
)
@click.argument("path", metavar="PATH", type=click.Path())
@click.option(
    "--runtime",
    type=console.Choice(["python", "web"]),
    default="python",
    show_default=True,
    help="python: that of the server; web: that of browsers, in Node.js",
)
@click.option(
    "--rows",
    "count",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    metavar="COUNT",
    help="made-up rows on which web is compared with python",
)
@click.option(
    "--node-modules",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help=f"folder with the npm package {web.PACKAGE}  [default: ./node_modules, then NODE_PATH]",
)
@click.pass_obj
def check(environ: Mapping[str, str], path: str, runtime: str, count: int, node_modules: Path | None) -> str:
    """Check that a model file answers its golden rows as the pipeline did.

    PATH is a model.onnx, the folder of a version, or that of a model, whose newest version is checked. The
    file is loaded as by a server, and has to be signed where the setting require_signature says so. The web
    runtime answers made-up rows within the training ranges, too, and has to say what the server's own says.
    """
    keys = config.load({}, environ).require_signature
    file = _file(Path(path))
    browser = web.find(environ, node_modules) if runtime == "web" else None
    try:
        data = _content(file)
        if keys is not None:
            _check_signature(file, data, keys)
        model = session.load(data)
        lines = [_about(file, model), _here(model)]
        if browser is not None:
            lines += _there(browser, model, data, count)
    except ArtifactError as error:
        raise ArtifactError(f"{file}: {error}") from None
    return "\n".join(lines)


def _file(path: Path) -> Path:
    """The file at a path, in it, or in its newest version. Raises ServingError where there is none."""
    if not path.exists():
        raise ServingError(f"{path} does not exist: name a {FILE}, the folder of a version or of a model")
    if not path.is_dir() or (path / FILE).exists():
        return path / FILE if path.is_dir() else path
    try:
        versions = [int(each.name) for each in path.iterdir() if VERSION.fullmatch(each.name)]
    except OSError as error:
        raise ServingError(f"{path} cannot be read: {error.strerror}") from None
    if not versions:
        raise ServingError(
            f"{path} holds neither a {FILE} nor a version: name a {FILE}, or a folder with one"
        )
    return path / str(max(versions)) / FILE


def _content(file: Path) -> bytes:
    try:
        with disk.opened(file) as stream:
            data, _ = disk.content(stream)
        return data
    except OSError as error:
        raise ServingError(f"{file} cannot be read: {error.strerror}") from None


def _check_signature(file: Path, data: bytes, keys: str) -> None:
    """ArtifactError unless a key has signed the file for the model of its folder, or of its manifest."""
    version = file.absolute().parent
    in_model = file.name == FILE and VERSION.fullmatch(version.name)
    name = version.parent.name if in_model else manifest.read(data).name
    sha256 = hashlib.sha256(data).hexdigest()
    signed.check_file(file, keys, name, sha256)


def _about(file: Path, model: Model) -> str:
    features = counted(len(model.manifest.features), "feature")
    return f"{file}: {shortened(model.manifest.name)}, {features}; {model.outputs.summary(shortened)}"


def _here(model: Model) -> str:
    """The line about the runtime of this process: the file is loaded, so it answers its golden rows."""
    given = [
        model.signature.check_row(list(row), index) for index, row in enumerate(model.manifest.golden.rows)
    ]
    agreement = answers.golden(model, model.run(model.signature.feeds(given)))
    return _golden(f"{session.LIBRARY} (Python)", model, agreement)


def _there(browser: Web, model: Model, data: bytes, count: int) -> list[str]:
    """The lines about the web runtime; ArtifactError where it answers otherwise."""
    signature = model.signature
    golden = [signature.check_row(list(row), index) for index, row in enumerate(model.manifest.golden.rows)]
    made_up: list[Row] = [
        signature.check_read(row, index) for index, row in enumerate(rows.made_up(model.manifest, count))
    ]
    # One row alone, as pages ask, and many at once.
    batches = [*(signature.feeds([row]) for row in golden), signature.feeds(made_up)]
    *singles, several = browser.answers(model, data, batches)
    try:
        alone = tuple(np.concatenate(parts) for parts in zip(*singles, strict=True))
        first = answers.golden(model, alone)  # type: ignore[arg-type]
        second = answers.compared(model, several, model.run(batches[-1]))
        answers.refuse_disagreement(model, second)
    except ArtifactError as error:
        raise ArtifactError(f"with {browser.title}, {error}") from None
    labelled = bool(model.manifest.golden.labels)
    return [
        _golden(browser.title, model, first),
        f"{counted(count, 'made-up row')} as by {session.LIBRARY} (Python): {second.text(labelled)}",
    ]


def _golden(title: str, model: Model, agreement: answers.Agreement) -> str:
    rows = counted(agreement.rows, "golden row")
    return f"{title} answers {rows} as the pipeline did: {agreement.text(bool(model.manifest.golden.labels))}"
