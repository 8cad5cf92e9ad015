"""The command ``explain``: how much each feature of a row adds to its prediction, by a file or a server."""

import math
import sys
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

import click
from msgspec.structs import replace

from unpickled.server import config, console
from unpickled.server.commands import reports, shelves, tables
from unpickled.server.commands.asking import answered
from unpickled.server.config import Config
from unpickled.server.errors import RequestError, ServingError
from unpickled.server.explanation.explanation import Contribution, Explanation, Version, explained
from unpickled.server.inference.predictor import Predictor
from unpickled.server.message.answer import document, dumps
from unpickled.server.model.ranges import Ranges
from unpickled.server.protocols.native import Native
from unpickled.server.protocols.rows import Reader
from unpickled.server.quote import listed

# Features that have a line of their own, and the characters of the longest bar.
_MOST, _LONGEST = 20, 24
_KINDS = {"probabilities": "probability", "scores": "score", "prediction": "prediction"}


@click.command(
    epilog=console.examples(
        """unpickled explain iris '{"features": [6.3, 2.5, 5.0, 1.9]}'""",
        "unpickled explain iris '[6.3, 2.5, 5.0, 1.9]' --class versicolor",
        "unpickled explain iris --example            a row that the model file has with it",
        "unpickled explain iris - < row.json         the row as a request has it",
        "unpickled explain iris - --url https://models.example.com --key unp_... < row.json",
    )
)
@reports.MODEL
@click.argument("row", required=False, metavar="[ROW]")
@click.option("--example", is_flag=True, help="explain the model's first golden row")
@click.option("--version", metavar="VERSION", help="a number or a label  [default: the one that answers]")
@click.option("--class", "class_name", metavar="NAME", help="class to explain  [default: the predicted one]")
@click.option("--target", metavar="NAME", help="target to explain, of several  [default: the first]")
@click.option(
    "--url", metavar="URL", help="ask the server at this address  [default: read the models folder]"
)
@reports.KEY
@click.option("--models", metavar="DIR", help="models folder  [default: that of the server's settings]")
@reports.JSON
@click.pass_obj
def explain(
    environ: Mapping[str, str],
    model: str,
    row: str | None,
    example: bool,
    version: str | None,
    class_name: str | None,
    target: str | None,
    url: str | None,
    key: str | None,
    models: str | None,
    as_json: bool,
) -> str:
    """Explain a prediction: how much each feature of a row adds to the answer.

    ROW is a row as POST /predict takes it, or an array of values; - reads it from the input. The file of the
    model is run here, on rows between this one and a typical one: medians, and the most frequent categories.
    With --url a running server does that.
    """
    if (row is None) == (not example):
        raise click.UsageError("give either a ROW, as an object or an array in JSON, or --example")
    if class_name is not None and target is not None:
        raise click.UsageError("a classifier has --class, and a regressor --target: give one of them")
    output = {"class": class_name, "target": target}
    if url is None:
        found = _of_files(_settings(environ, models), model, version, _body(row), output)
        return document(found)[2].decode() if as_json else text(found)
    if example:
        raise click.UsageError("--example reads the file of a model: with --url, give a ROW")
    content = _of_server(url, key, model, version, _body(row), output)
    return content.decode() if as_json else text(Explanation.read(content))


def _settings(environ: Mapping[str, str], models: str | None) -> Config:
    settings = config.load({"models": models}, environ)
    # A command serves no requests: it needs none of the providers that a server needs.
    return replace(settings, runtime=replace(settings.runtime, strict=False))


def _body(row: str | None) -> bytes | None:
    """The body of a request with a row; None without one."""
    if row is None:
        return None
    content = sys.stdin.buffer.read() if row == "-" else row.encode("utf-8", "surrogateescape")
    return b'{"features":%b}' % content if content.lstrip().startswith(b"[") else content


def _of_server(
    url: str,
    key: str | None,
    model: str,
    version: str | None,
    body: bytes | None,
    output: Mapping[str, str | None],
) -> bytes:
    path = f"/models/{quote(model, safe='')}"
    if version is not None:
        path += f"/{'versions' if version.isdecimal() else 'labels'}/{quote(version, safe='')}"
    query = urlencode({noun: name for noun, name in output.items() if name is not None})
    return answered(url, f"{path}/explain{query and '?' + query}", "explanation", key, body)


def _of_files(
    settings: Config,
    model: str,
    version: str | None,
    body: bytes | None,
    output: Mapping[str, str | None],
) -> Explanation:
    with shelves.quiet():
        shelf = shelves.shelf_of(shelves.folder_of(model, settings), settings)
        served, policy = shelves.served(shelf, version)
    manifest = served.model.manifest
    predictor = Predictor(served.model, settings.limits.max_rows, settings.inputs.extra_columns)
    ranges = Ranges(manifest, policy) or None
    subject = Version(served.name, served.version, served.model, ranges)
    [other] = {"class", "target"} - {subject.noun}
    if output[other] is not None:
        raise ServingError(
            f"{model} answers with a {subject.noun}, not a {other}: name one with --{subject.noun}"
        )
    try:
        example = dumps({"features": manifest.golden.rows[0]})
        row = Native(predictor, Reader(predictor)).only_row(example if body is None else body)
        return explained(subject, row, output[subject.noun])
    except RequestError as error:
        raise ServingError(str(error)) from None


def text(found: Explanation) -> str:
    """An explanation as a table: a line for each feature, the largest share first, and their sum."""
    ordered = found.ordered
    # One more line would be as long as the one about the rest.
    rest = ordered[_MOST:] if len(ordered) > _MOST + 1 else []
    shown = ordered[: len(ordered) - len(rest)]
    longest = abs(ordered[0].contribution)
    rows = [
        *(_line(each.name, _cell(each.value), _cell(each.baseline), [each], longest) for each in shown),
        *([_line(f"{len(rest)} others", "", "", rest, longest)] if rest else []),
        # Orders of the features differ in the shares alone.
        _line("sum", "", "", ordered, 0.0) | {"error": ""},
    ]
    if not found.orders:
        rows = [{name: cell for name, cell in row.items() if name != "error"} for row in rows]
    kind = _KINDS[found.kind]
    head = (
        f"{found.model} version {found.version}: {kind} of {found.explained} {found.answer:.4g}, "
        f"of a typical row {found.baseline_answer:.4g}"
    )
    outside = [f"outside the training range: {listed(found.outside)}"] if found.outside else []
    return "\n".join([head, "", *tables.table(rows), "", *outside, found.note])


def _line(
    name: str, value: str, baseline: str, parts: Sequence[Contribution], longest: float
) -> dict[str, str]:
    """The line of features, with a bar whose length is compared with the longest; none where that is 0."""
    share = math.fsum(part.contribution for part in parts)
    length = round(_LONGEST * min(abs(share) / longest, 1.0)) if longest else 0
    error = math.sqrt(math.fsum(part.error**2 for part in parts))
    return {
        "feature": name,
        "value": value,
        "typical": baseline,
        "adds": f"{share:+.4f}" if 1e-3 <= abs(share) < 1e4 or not share else f"{share:+.2e}",
        "error": f"{error:.1e}",
        "": ("+" if share > 0 else "-") * length,
    }


def _cell(value: float | str | bool | None) -> str:
    """A value as JSON writes it, but for the quotes around a text."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, float) else dumps(value).decode()
