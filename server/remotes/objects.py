"""Models in object stores, and in folders of this machine.

Credentials, regions and endpoints come from the environment, as the store's own tools read it.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from unpickled.server import objects
from unpickled.server.artifact import detached
from unpickled.server.artifact.detached import SUFFIX
from unpickled.server.artifact.manifest import FILE
from unpickled.server.errors import RemoteError, ServingError
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.remotes import place
from unpickled.server.remotes.remote import Offer, Remote, digest_in, reason
from unpickled.server.remotes.sink import Sink, check_size

_ATTEMPT = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
_PART = 4 * 1024 * 1024
_CHANGED = "has changed meanwhile: pull it again"


class ObjectSource:
    """A model, a version of it or a file in a store."""

    def __init__(self, address: str, environ: Mapping[str, str], version: int | None) -> None:
        parts = urlsplit(address)
        if parts.username or parts.password:
            raise RemoteError("an address has a user or a password in it: leave them out")
        if parts.query or parts.fragment:
            raise RemoteError(f"{parts.scheme}://{parts.netloc}{parts.path} goes without ? and #")
        local = parts.scheme == "file"
        if (local and parts.netloc) or (not local and not parts.netloc):
            raise RemoteError(f"{address} names no {'folder: write file:///folder' if local else 'bucket'}")
        segments = [unquote(part) for part in parts.path.split("/") if part]
        self._place = place.of(segments)
        self._root = f"{parts.scheme}://{parts.netloc}"
        self._version = version
        self._store: Any = None

    @property
    def name(self) -> str:
        return self._place.name

    def find(self, known: str) -> Offer:
        with self._failures():
            path, number = self._path()
            status = self._status(path)
        check_size(status["size"])
        mark = f"{status['e_tag']} {status['size']} {status['last_modified']}"
        mark = f"{path} {mark}"
        return Offer(
            origin=f"{self._shown}/{path}",
            mark=mark,
            fetch=functools.partial(self._fetch, path, status["size"], status["e_tag"]),
            signature=functools.partial(self._beside, f"{path}{SUFFIX}"),
            number=number,
            sha256=None if mark == known else self._digest(f"{path}.sha256"),
        )

    def _status(self, path: str) -> Any:
        try:
            return _obstore().head(self._opened(), path)
        except FileNotFoundError:
            raise RemoteError(f"there is no file {self._shown}/{path}") from None

    def _path(self) -> tuple[str, int | None]:
        """The path of the file below the folder of the address, and its number."""
        found = self._place
        if found.file is not None:
            return found.file, found.number
        if found.number is not None:
            return FILE, found.number
        if self._version is not None:
            return f"{self._version}/{FILE}", self._version
        return next(self._newest())

    def _newest(self) -> Iterator[tuple[str, int]]:
        """The paths of the versions in the folder of a model, the newest first; RemoteError at their end."""
        listed = _obstore().list_with_delimiter(self._opened())["common_prefixes"]
        names = [prefix.rstrip("/").rpartition("/")[2] for prefix in listed]
        for number in sorted((int(name) for name in names if VERSION.fullmatch(name)), reverse=True):
            path = f"{number}/{FILE}"
            try:
                _obstore().head(self._opened(), path)
            except FileNotFoundError:
                # Somebody puts its file there now, or has removed it.
                continue
            yield path, number
        raise RemoteError(f"{self._shown} holds no version: a version is <number>/{FILE}")

    def _fetch(self, path: str, size: int, tag: str | None, sink: Sink) -> None:
        sink.restart()
        with self._failures():
            while sink.size < size:
                # A store has 30 seconds for each part; with its tag, all are of the same file.
                span = (sink.size, min(sink.size + _PART, size))
                options = {"range": span, **({"if_match": tag} if tag else {})}
                answer = _obstore().get(self._opened(), path, options=options)
                if answer.meta["size"] != size:
                    raise RemoteError(f"{self._shown}/{path} {_CHANGED}")
                sink.write(bytes(answer.bytes()))

    def _digest(self, path: str) -> str | None:
        return digest_in(self._beside(path), f"{self._shown}/{path}")

    def _beside(self, path: str) -> bytes | None:
        """A small object; None where there is none."""
        with self._failures():
            try:
                size = _obstore().head(self._opened(), path)["size"]
                if size > detached.LONGEST:
                    raise RemoteError(f"{self._shown}/{path} is longer than {detached.LONGEST} bytes")
                return bytes(_obstore().get(self._opened(), path).bytes())
            except FileNotFoundError:
                return None

    @property
    def _shown(self) -> str:
        return "/".join([self._root, *self._place.folder])

    def _opened(self) -> Any:
        if self._store is None:
            self._store = objects.opened(self._shown, make=False, **_ATTEMPT)
        return self._store

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Say the failures of the library in one sentence each."""
        obstore = _obstore()
        try:
            yield
        except FileNotFoundError as error:
            raise RemoteError(f"{self._shown} has no such file: {reason(error)}") from None
        except obstore.exceptions.PreconditionError:
            raise RemoteError(f"{self._shown} {_CHANGED}") from None
        except objects.failures() as error:
            raise RemoteError(f"{self._shown} cannot be read: {reason(error)}") from None


def _obstore() -> Any:
    try:
        return objects.library()
    except ServingError as error:
        raise RemoteError(str(error)) from None


REMOTE = Remote(
    schemes=("s3", "gs", "az", "file"),
    form="s3://bucket/models/iris",
    open=ObjectSource,
)
