"""A file from elsewhere, verified: it has the digest and the signature that it should have, and it loads."""

import os
from pathlib import Path
from typing import NamedTuple

from unpickled.server.artifact import detached, manifest, numbered
from unpickled.server.artifact.detached import SIGNATURE
from unpickled.server.artifact.manifest import FILE
from unpickled.server.errors import ArtifactError, RemoteError
from unpickled.server.lifecycle import origin
from unpickled.server.lifecycle.trial import Trial
from unpickled.server.model import session
from unpickled.server.remotes.remote import Offer
from unpickled.server.remotes.sink import Sink


class Demand(NamedTuple):
    """The conditions on a file.

    name: the name of the model that it becomes a version of.
    sha256: the digest that it has to have, in hex; None if that is not known.
    keys: the file or folder of public keys, one of which has to have signed it; None if none has to.
    """

    name: str
    sha256: str | None = None
    keys: str | None = None


class Fetched(NamedTuple):
    """A version in a folder of its own, with its signature if it has one, and its origin.

    folder: the folder.
    sha256: that of its file, in hex.
    size: the bytes of its file.
    """

    folder: Path
    sha256: str
    size: int


def fetch(offer: Offer, demand: Demand, folder: Path) -> Fetched:
    """Fetch an offer into an empty folder, and verify it.

    Raises:
        RemoteError: It cannot be fetched, has another digest, lacks a signature, or cannot be served.
    """
    path = folder / FILE
    try:
        with path.open("xb") as file:
            sink = Sink(file)
            offer.fetch(sink)
            file.flush()
            os.fsync(file.fileno())
        _check_digest(offer, demand, sink.sha256)
        signature = offer.signature()
        _verify(offer, demand, signature, sink.sha256)
        _try(offer, path)
        if signature is not None and detached.parsed(signature):
            numbered.write(folder / SIGNATURE, signature)
        numbered.write(folder / origin.FILE, origin.content(offer.origin, sink.sha256))
    except OSError as error:
        raise RemoteError(f"{error.filename or path} cannot be written: {error.strerror}") from None
    return Fetched(folder, sink.sha256, sink.size)


def _check_digest(offer: Offer, demand: Demand, sha256: str) -> None:
    for due, teller in ((demand.sha256, "it was to be"), (offer.sha256, "the remote says it is")):
        if due is not None and due != sha256:
            raise RemoteError(f"{offer.origin} has the sha256 {sha256}, but {teller} {due}: it is refused")


def _verify(offer: Offer, demand: Demand, signature: bytes | None, sha256: str) -> None:
    if demand.keys is None:
        return
    try:
        detached.check(signature, detached.read_keys(demand.keys), demand.name, sha256)
    except ArtifactError as error:
        raise RemoteError(f"{offer.origin} is refused: {error}") from None


def _try(offer: Offer, path: Path) -> None:
    """Load the file as a server does, in a process with bounded memory and time."""
    data, trial = path.read_bytes(), Trial()
    try:
        manifest.read(data)
        if not trial.check(data):
            session.load(data)
    except ArtifactError as error:
        raise RemoteError(f"{offer.origin} is refused: {error}") from None
    finally:
        trial.close()
