"""The commands ``log`` list the files of the payload log, and take rows out of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, update_wrapper
from pathlib import Path

import click

from unpickled.server import config, console
from unpickled.server.commands import tables
from unpickled.server.errors import ServingError
from unpickled.server.message import answer
from unpickled.server.payloads import forgetting, listing, schema
from unpickled.server.payloads.forgetting import Forgotten
from unpickled.server.quote import counted, quoted, size
from unpickled.server.truth import store


@click.group(
    cls=console.Group,
    epilog=console.examples(
        "unpickled serve --log-share 1",
        "unpickled log list",
        "unpickled log forget iris --where customer=123",
    ),
)
def log() -> None:
    """List the files of the payload log, and take the rows of one person out of them.

    The log is in the folder that the setting log_folder names. Servers may run meanwhile.
    """


def _with_settings(command: Callable[..., str]) -> Callable[..., str]:
    """Add --folder and --config; the command gets the settings of the log, and its folder."""

    @click.option(
        "--folder",
        type=click.Path(),
        metavar="DIR",
        help="folder of the log  [default: the server's log_folder]",
    )
    @click.option("--config", type=click.Path(), metavar="FILE", help="TOML file of the server's settings")
    @click.pass_obj
    def located(
        environ: Mapping[str, str], /, folder: str | None, config: str | None, **options: object
    ) -> str:
        settings = _settings(environ, config)
        return command(settings, Path(folder or settings.log_folder), **options)

    return update_wrapper(located, command)


def _settings(environ: Mapping[str, str], file: str | None) -> config.Log:
    return config.load({"config": file}, environ).log


def _complete_model(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    folder = context.params.get("folder") or _settings(context.obj, context.params.get("config")).log_folder
    return [name for name in listing.models(Path(folder)) if name.startswith(start)]


@log.command("list", epilog=console.examples("unpickled log list", "unpickled log list iris --json"))
@click.argument("model", required=False, metavar="[MODEL]", shell_complete=_complete_model)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@_with_settings
def list_days(settings: config.Log, folder: Path, model: str | None, as_json: bool) -> str:
    """List the days of each model and version, with their rows and bytes."""
    days = listing.days(folder, model)
    if as_json:
        return answer.dumps([day._asdict() | {"day": day.day.isoformat()} for day in days]).decode()
    rows = [
        {
            "model": day.model,
            "version": str(day.version),
            "day": day.day.isoformat(),
            "files": f"{day.files:,}",
            "rows": f"{day.rows:,}",
            "size": size(day.bytes),
        }
        for day in days
    ]
    return "\n".join(tables.table(rows)) or (
        f"there are no finished files in {folder}: rows are logged where log_share is above 0, and a file is "
        f"finished after {settings.log_rotate_rows:,} rows or {settings.log_rotate_minutes:g} minutes"
    )


@log.command(
    epilog=console.examples(
        "unpickled log forget iris --where customer=123",
        "unpickled log forget iris --where customer=123 --where plan=pro --key log.key",
        "unpickled log forget iris --where _prediction_id=7f3kq2ma-0-1832",
        "unpickled log forget iris --where _time=2026-11-29",
    )
)
@click.argument("model", metavar="MODEL", shell_complete=_complete_model)
@click.option(
    "--where",
    "conditions",
    multiple=True,
    required=True,
    metavar="COLUMN=VALUE",
    help="rows that have this value; of several, rows that have all",
)
@click.option("--key", metavar="FILE", help="key of hashed columns  [default: the server's log_key]")
@_with_settings
def forget(
    settings: config.Log, folder: Path, model: str, conditions: tuple[str, ...], key: str | None
) -> str:
    """Write the files that have the rows of one person again, without these rows.

    A value of a hashed column is given as it was before it was hashed. A date as the time means that day in
    UTC. Each file is replaced at once. Reported truth of these rows is removed, too.
    """
    where = _where(conditions)
    path = key or settings.log_key
    secret = None if path is None else schema.read_key(path)
    forgotten = forgetting.forget(folder, model, where, secret, partial(store.forget, folder, model))
    return "\n".join(_report(forgotten, model, settings))


def _where(conditions: Sequence[str]) -> dict[str, str]:
    where: dict[str, str] = {}
    for name, value in map(_condition, conditions):
        if name in where:
            raise ServingError(f"--where names {quoted(name)} twice: run the command once for each value")
        where[name] = value
    return where


def _condition(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ServingError(f"--where is {quoted(text)}: write COLUMN=VALUE, such as customer=123")
    return name, value


def _report(forgotten: Forgotten, model: str, settings: config.Log) -> list[str]:
    searched = f"of {counted(forgotten.searched, 'file')} searched"
    lines = [f"{counted(forgotten.rows, 'row')} of {model} removed, from {forgotten.files:,} {searched}."]
    if forgotten.others:
        lines.append(f"{counted(forgotten.others, 'report')} of their truth removed.")
    if forgotten.unsearched:
        lines.append(f"{counted(forgotten.unsearched, 'file')} without such a column left as they are.")
    if forgotten.uploaded:
        lines.append(
            f"{counted(forgotten.uploaded, 'file')} of these had been uploaded: a running server uploads "
            "what is left of them under the same names. Delete there old versions that the store keeps."
        )
    if settings.log_to or forgotten.copies:
        lines += [
            f"Nothing is left of {name}: delete it in the object store, too." for name in forgotten.gone
        ]
        lines.append(
            "Files that are in the object store and no longer here were not searched: look for such rows "
            "there."
        )
    if forgotten.damaged:
        lines.append(
            f"{counted(forgotten.damaged, 'damaged journal')} (.damaged in {model}/.open) could not be "
            "searched: remove what you do not need."
        )
    lines.append(
        f"Rows of the last {settings.log_rotate_minutes:g} minutes may still be in files that are being "
        "written: run this again after that time."
    )
    return lines
