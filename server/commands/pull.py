"""The command ``pull``: fetches versions of a model from elsewhere, once or again and again."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click
from msgspec.structs import replace

from unpickled.server import config, console
from unpickled.server.artifact import detached
from unpickled.server.artifact.manifest import NAME
from unpickled.server.commands import arrival, completion, shelves
from unpickled.server.commands.arrival import Arrival
from unpickled.server.config import Config
from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.lifecycle import serving
from unpickled.server.quote import quoted, size
from unpickled.server.remotes import fetched, registry, staging
from unpickled.server.remotes.fetched import Demand
from unpickled.server.remotes.remote import Offer, Source

# Seconds between two looks after failures, at most: each time twice as many.
_LONGEST_PAUSE = 600.0


@click.command(
    epilog=console.examples(
        "unpickled pull s3://bucket/models/iris                    the newest version there",
        "unpickled pull gs://bucket/models/iris --version 3        or az://, file://",
        "unpickled pull https://example.com/iris.onnx --sha256 54c3...",
        "unpickled pull mlflow://mlflow.example.com/iris@champion --follow --label stable",
        "unpickled pull oci://registry.example.com/iris@sha256:... --require-signature key.pub",
    )
)
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--models",
    type=click.Path(),
    metavar="DIR",
    help="models folder  [default: that of the server's settings]",
)
@click.option(
    "--config", "file", type=click.Path(), metavar="FILE", help="TOML file of the server's settings"
)
@click.option(
    "--name",
    metavar="NAME",
    shell_complete=completion.models,
    help="model that it becomes a version of  [default: that in the address]",
)
@click.option(
    "--version",
    type=click.IntRange(0, 10**18 - 1),
    metavar="NUMBER",
    help="version to fetch, and its number here  [default: the newest, and the number it has there]",
)
@click.option("--sha256", metavar="HEX", help="digest that the file has to have")
@click.option(
    "--require-signature",
    metavar="FILE",
    help="public keys, one of which has to have signed it  [default: those of the server's settings]",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help=f"label that the version gets; {serving.STABLE} answers /predict, {serving.CHALLENGER} shadows",
)
@click.option("--follow", is_flag=True, help="stay, and fetch what comes there")
@click.option(
    "--every",
    type=click.FloatRange(0.1, 86_400),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="seconds between two looks with --follow",
)
@click.pass_obj
def pull(
    environ: Mapping[str, str],
    /,
    address: str,
    models: str | None,
    file: str | None,
    name: str | None,
    version: int | None,
    sha256: str | None,
    require_signature: str | None,
    labels: tuple[str, ...],
    follow: bool,
    every: float,
) -> str:
    """Fetch a version of a model from an object store, a web server, MLflow or an OCI registry.

    It is put together beside the versions, unseen by servers: its digest and its signature are checked, and
    it answers its golden rows. Only then it gets its number, and running servers follow. A serving.toml at
    the remote is not followed: the one here decides which version answers, and --label changes it.

    Credentials come from the environment, as the tools of each remote read them. With --follow, a failure is
    told, and tried again; SIGTERM ends the command at any time, and leaves no half of a version.
    """
    flags = {"config": file, "models": models, "require_signature": require_signature}
    with shelves.quiet():
        settings = config.load(flags, environ)
        # A command serves no requests: it needs none of the providers that a server needs.
        settings = replace(settings, runtime=replace(settings.runtime, strict=False))
        for label in labels:
            serving.check_label(label, "--label")
        source = registry.open_source(address, environ, version)
        fetching = _Fetching(settings, source, _named(source, name), version, _digest(sha256), labels)
        if not follow:
            return fetching.look()
        _follow(fetching, every)
        return ""


def _named(source: Source, name: str | None) -> str:
    name = source.name if name is None else name
    if not name:
        raise ConfigError("the address does not tell the name of the model: give it, as in --name iris")
    if not NAME.fullmatch(name) or len(name) > 128:
        raise ConfigError(f"{quoted(name)} cannot name a model: use letters, digits, '.', '_' and '-'")
    return name


def _digest(text: str | None) -> str | None:
    if text is None:
        return None
    digest = text.lower().removeprefix("sha256:")
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise ConfigError(f"--sha256 is {quoted(text)}: write the 64 digits that sha256sum prints")
    return digest


class _Fetching:
    """Looks at one address, and fetches what is new there."""

    def __init__(
        self,
        settings: Config,
        source: Source,
        name: str,
        version: int | None,
        sha256: str | None,
        labels: tuple[str, ...],
    ) -> None:
        if settings.require_signature is not None:
            detached.read_keys(settings.require_signature)
        self._settings = settings
        self._source = source
        self._demand = Demand(name, sha256, settings.require_signature)
        self._version = version
        self._labels = labels
        # The mark of the last offer, and the digest of its file.
        self._mark = self._last = ""

    def look(self) -> str:
        """Fetch what lies there now; a line that says what has changed, empty where nothing is new.

        Raises:
            UnpickledError: It cannot be fetched, is refused, or cannot become a version.
        """
        offer = self._source.find(self._mark)
        if self._mark and offer.mark == self._mark:
            return ""
        line = self._present(offer) or self._fetched(offer)
        self._mark = offer.mark
        return line

    def _present(self, offer: Offer) -> str:
        """A line about the version that has the same content; empty where there is none, or nobody knows."""
        sha256 = offer.sha256 or self._demand.sha256
        here = None if sha256 is None else arrival.find(self._home, sha256)
        if sha256 is None or here is None or self._demand.sha256 not in (None, sha256):
            return ""
        return self._kept(offer, here, sha256)

    def _kept(self, offer: Offer, here: int, sha256: str) -> str:
        arrival.add_signature(self._home / str(here), offer, self._demand, sha256)
        line = arrival.label(self._settings, self._home, here, self._labels, offer.origin)
        self._last = sha256
        return f"{self._demand.name}: version {here} is {offer.origin} already (sha256 {sha256[:12]}){line}"

    def _fetched(self, offer: Offer) -> str:
        models, name = Path(self._settings.models), self._demand.name
        with staging.folder(models, name) as folder:
            new = fetched.fetch(offer, self._demand, folder)
            if new.sha256 == self._last:
                # The remote does not tell whether it has changed.
                return ""
            here = arrival.find(self._home, new.sha256)
            if here is not None:
                return self._kept(offer, here, new.sha256)
            place = Arrival(self._home, self._version, offer.number, self._labels, offer.origin)
            number, line = arrival.add(self._settings, new, place)
            self._last = new.sha256
        signed = ", signed" if self._demand.keys else ""
        return (
            f"{name}: version {number} has come from {offer.origin} "
            f"({size(new.size)}, sha256 {new.sha256[:12]}{signed}){line}"
        )

    @property
    def _home(self) -> Path:
        return Path(self._settings.models) / self._demand.name


def _follow(fetching: _Fetching, every: float) -> None:
    """Look again and again; a failure is told once, and makes the next pause twice as long."""
    failures, told = 0, ""
    while True:
        try:
            if line := fetching.look():
                print(line, flush=True)
            elif told:
                print("the remote answers again", flush=True)
            failures, told = 0, ""
        except UnpickledError as error:
            failures += 1
            _tell(error, told)
            told = str(error)
        time.sleep(min(every * 2 ** min(failures, 10), max(every, _LONGEST_PAUSE)))


def _tell(error: UnpickledError, told: str) -> None:
    if str(error) != told:
        print(f"error: {error}", file=sys.stderr, flush=True)
