"""The commands ``models`` list the versions and change which are served. They work on the files alone.

Running servers notice a change by themselves. A change is first tried as a server would, on the new text of
serving.toml; it is written to the history before it is written to the file, and a failure leaves both as they
were.
"""

import contextlib

import click

from unpickled.server import console
from unpickled.server.commands import changes, completion, shelves, tables, transaction
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError
from unpickled.server.lifecycle import history, root
from unpickled.server.lifecycle.serving import STABLE
from unpickled.server.message import answer


@click.group(
    cls=console.Group,
    epilog=console.examples(
        "unpickled models promote iris 3               it answers /predict, and newer ones wait",
        "unpickled train ...                           writes models/iris/4",
        "unpickled models list                         which versions there are, and which answer",
        "unpickled models shadow iris 4                it runs on every request too; see /metrics",
        "unpickled models canary iris 4 --weight 0.05  it answers 5% of /predict",
        "unpickled models promote iris 4               it answers all of it",
        "unpickled models rollback iris                and back; once more, a step further back",
        title="A new version, safely:",
    ),
)
def models() -> None:
    """List the versions of models, and change which of them are served, while servers run.

    No server is restarted for a change. The settings of a model stand in models/<name>/serving.toml, which
    you may edit too; what was served when stands in models/<name>/history.jsonl.
    """


_model = click.argument("model", metavar="MODEL", shell_complete=completion.models)
_version = click.argument("version", metavar="VERSION", shell_complete=completion.versions)
_json = click.option("--json", "as_json", is_flag=True, help="print JSON")


@models.command("list", epilog=console.examples("unpickled models list", "unpickled models list --json"))
@_json
@shelves.with_settings
def list_models(settings: Config, as_json: bool) -> str:
    """List all models and their versions."""
    every = [shelves.shelf_of(folder, settings) for folder in root.folders(settings)]
    existing = [shelf for shelf in every if shelf.exists]
    if as_json:
        return answer.dumps([tables.summary(shelf) for shelf in existing]).decode()
    empty = f"there are no models in {settings.models}: export one with: unpickled train iris"
    return tables.listing(existing) or empty


@models.command(epilog=console.examples("unpickled models show iris", "unpickled models show iris --json"))
@_model
@_json
@shelves.with_settings
def show(settings: Config, model: str, as_json: bool) -> str:
    """Show one model: its versions, features, settings and history."""
    shelf = shelves.shelf_of(shelves.folder_of(model, settings), settings)
    for number in shelf.versions.numbers:
        if number not in shelf.deployment.serving.retired:
            with contextlib.suppress(ArtifactError):  # versions.refused has the reason
                shelf.versions.load(number)
            shelf.versions.keep(set(shelf.deployment.versions))
    return answer.dumps(tables.document(shelf)).decode() if as_json else tables.page(shelf)


@models.command(
    epilog=console.examples(
        "unpickled models promote iris 4", "unpickled models promote iris 3 --label previous"
    )
)
@_model
@_version
@click.option(
    "--label",
    default=STABLE,
    show_default=True,
    metavar="LABEL",
    help=f"label that the version gets; {STABLE} answers /predict",
)
@shelves.with_settings
def promote(settings: Config, model: str, version: str, label: str) -> str:
    """Let a version answer /predict, or give it another label.

    VERSION is a number or a label.
    """
    by = f"promote {version} --label {label}"
    return transaction.change(settings, model, by, lambda shelf: changes.promote(shelf, version, label))


@models.command(
    epilog=console.examples(
        "unpickled models canary iris 4 --weight 0.05",
        "unpickled models canary iris 4 --weight 0    # ends it",
    )
)
@_model
@_version
@click.option(
    "--weight",
    type=float,
    required=True,
    metavar="SHARE",
    help="share of requests to /predict, such as 0.05; 0 ends the canary",
)
@shelves.with_settings
def canary(settings: Config, model: str, version: str, weight: float) -> str:
    """Let a version answer a share of the requests to /predict.

    VERSION is a number or a label.
    """
    by = f"canary {version} --weight {weight}"
    return transaction.change(settings, model, by, lambda shelf: changes.canary(shelf, version, weight))


@models.command(
    epilog=console.examples(
        "unpickled models shadow iris 4", "unpickled models shadow iris 4 --share 0    # ends it"
    )
)
@_model
@_version
@click.option(
    "--share",
    type=float,
    default=1.0,
    show_default=True,
    metavar="SHARE",
    help="share of requests to /predict; 0 ends the shadow",
)
@shelves.with_settings
def shadow(settings: Config, model: str, version: str, share: float) -> str:
    """Run a version on requests too, unseen by callers; /metrics compares its answers.

    VERSION is a number or a label.
    """
    by = f"shadow {version} --share {share}"
    return transaction.change(settings, model, by, lambda shelf: changes.shadow(shelf, version, share))


@models.command(history.ROLLBACK, epilog=console.examples("unpickled models rollback iris"))
@_model
@shelves.with_settings
def rollback(settings: Config, model: str) -> str:
    """Return to the previous traffic and shadow; repeat it to go further back."""
    return transaction.change(settings, model, history.ROLLBACK, changes.rollback)


@models.command(epilog=console.examples("unpickled models retire iris 2"))
@_model
@_version
@shelves.with_settings
def retire(settings: Config, model: str, version: str) -> str:
    """Stop loading a version.

    VERSION is a number or a label.
    """
    return transaction.change(
        settings, model, f"retire {version}", lambda shelf: changes.retire(shelf, version)
    )
