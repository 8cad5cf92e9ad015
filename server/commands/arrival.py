"""The arrival of a version from elsewhere: it gets its number, its labels and a line in the history."""

import contextlib
import hashlib
import os
import shutil
import signal
import uuid
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from unpickled.server.artifact import detached, numbered
from unpickled.server.artifact.detached import SIGNATURE
from unpickled.server.artifact.manifest import FILE
from unpickled.server.commands import changes, shelves, transaction
from unpickled.server.commands.changes import Change
from unpickled.server.config import Config
from unpickled.server.errors import ArtifactError, RemoteError, ServingError
from unpickled.server.lifecycle import disk, history
from unpickled.server.lifecycle.serving import CHALLENGER, STABLE
from unpickled.server.lifecycle.shelf import Shelf
from unpickled.server.remotes.fetched import Demand, Fetched
from unpickled.server.remotes.remote import Offer

# Signals that wait until a version has its number, its labels and its line.
_ENDINGS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


class Arrival(NamedTuple):
    """The place where a version arrives.

    home: the folder of its model.
    asked: the number that it has to get; None if any will do.
    there: the number that it has elsewhere, which it gets if that is free.
    labels: the labels that it gets.
    address: where it came from.
    """

    home: Path
    asked: int | None
    there: int | None
    labels: Sequence[str]
    address: str


def find(home: Path, sha256: str) -> int | None:
    """The newest version whose file has this digest; None where there is none."""
    present = numbered.numbers(home) if home.is_dir() else []
    return next((number for number in sorted(present, reverse=True) if _digest(home, number) == sha256), None)


def _digest(home: Path, number: int) -> str:
    try:
        with disk.opened(home / str(number) / FILE) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def add(settings: Config, new: Fetched, arrival: Arrival) -> tuple[int, str]:
    """Give a version its number and its labels; the number, and a clause about who answers now.

    Raises:
        ServingError: The number is taken, the labels cannot be changed, or a file cannot be written. The
            version is not there then.
    """
    home = arrival.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        with transaction.alone(home.name, settings) as shelf, _uninterrupted():
            try:
                return _added(settings, shelf, new, arrival)
            except BaseException:
                _leave(home)
                raise
    except OSError as error:
        raise ServingError(f"{error.filename or home} cannot be written: {error.strerror}") from None


def _added(settings: Config, shelf: Shelf, new: Fetched, arrival: Arrival) -> tuple[int, str]:
    serves = bool(shelf.deployment.versions)
    if serves and set(arrival.labels) - {STABLE}:
        # Otherwise a server that loads the newest version would let it answer at once.
        transaction.changed(shelf, _author(arrival.address), changes.keep)
    folder = _claimed(new.folder, arrival)
    try:
        return int(folder.name), _labelled(settings, int(folder.name), arrival, serves)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _leave(home: Path) -> None:
    """Remove the folder of a model whose first version has not come; anything but the lock keeps it."""
    with contextlib.suppress(OSError):
        if [path.name for path in home.iterdir()] == [history.LOCK]:
            (home / history.LOCK).unlink()
            home.rmdir()


def _claimed(folder: Path, arrival: Arrival) -> Path:
    if arrival.asked is not None:
        return numbered.claim(folder, arrival.home, arrival.asked)
    if arrival.there is not None:
        with contextlib.suppress(ServingError):
            return numbered.claim(folder, arrival.home, arrival.there)
    return numbered.claim(folder, arrival.home)


def label(settings: Config, home: Path, number: int, labels: Sequence[str], address: str) -> str:
    """Give a version that is there these labels; a clause about who answers now, empty without labels.

    Raises:
        ServingError: They cannot be changed.
    """
    if not labels:
        return ""
    with transaction.alone(home.name, settings), _uninterrupted():
        return _labelled(settings, number, Arrival(home, None, None, labels, address), serves=True)


def _labelled(settings: Config, number: int, arrival: Arrival, serves: bool) -> str:
    """Change the labels; without any, note in the history what is served from now on."""
    home, author, summaries = arrival.home, _author(arrival.address), []
    # Another shelf each time, which trusts the files at its first scan.
    shelf = shelves.shelf_of(home, settings)
    for word in arrival.labels:
        make = partial(_label, version=str(number), word=word, serves=serves)
        line = transaction.changed(shelf, author, make)
        summaries.append(line.removeprefix(f"{home.name}: ").partition("; ")[0])
        shelf = shelves.shelf_of(home, settings)
    now = shelf.deployment
    if not summaries and now.versions and not now.mistake:
        history.append(home, now.record(by=author), wait=False)
    return "; ".join(["", *summaries, now.mistake or now.sentence])


def _label(shelf: Shelf, version: str, word: str, serves: bool) -> Change:
    answers = list(shelf.deployment.traffic) == [int(version)]
    if word == CHALLENGER and serves and not answers:
        return changes.challenge(shelf, version)
    return changes.promote(shelf, version, word)


def add_signature(folder: Path, offer: Offer, demand: Demand, sha256: str) -> None:
    """Put the signature of an offer beside the version that has its content, unless one is there that does.

    Raises:
        RemoteError: A signature is required, and neither does.
    """
    path = folder / SIGNATURE
    if path.is_file() and _fits(path.read_bytes(), demand, sha256) is None:
        return
    signature = offer.signature()
    refusal = _fits(signature, demand, sha256)
    if refusal is not None and demand.keys is not None:
        raise RemoteError(f"{offer.origin} is refused: {refusal}")
    if signature is not None and refusal is None:
        _replace(path, signature)


def _fits(signature: bytes | None, demand: Demand, sha256: str) -> ArtifactError | None:
    """Why a signature does not do; None where it does. Without keys, any that can be read does."""
    try:
        if demand.keys is not None:
            detached.check(signature, detached.read_keys(demand.keys), demand.name, sha256)
        elif signature is None or not detached.parsed(signature):
            return ArtifactError("it has no signature")
    except ArtifactError as error:
        return error
    return None


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        numbered.write(fresh, content)
        os.replace(fresh, path)
    except OSError as error:
        raise ServingError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()


def _author(address: str) -> str:
    return f"pull {address}"


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals that end the process wait until the end of the block.

    A mask would not do: another thread, such as one of a library, would take the signal.
    """
    arrived: list[int] = []
    before = {number: signal.signal(number, lambda got, _: arrived.append(got)) for number in _ENDINGS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for got in arrived[:1]:
            os.kill(os.getpid(), got)
