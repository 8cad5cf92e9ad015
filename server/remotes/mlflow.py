"""Models in the registry of an MLflow server, by an alias, or by the number of a version: its REST API alone.

    mlflow://mlflow.example.com/iris@champion

https://mlflow.org/docs/latest/api_reference/rest-api.html. The file comes through the server's own proxy of
artifacts, or from the object store that it names.
"""

import base64
import functools
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from unpickled.server.artifact import detached
from unpickled.server.artifact.detached import SUFFIX
from unpickled.server.artifact.manifest import FILE, NAME
from unpickled.server.errors import RemoteError
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.quote import listed, quoted
from unpickled.server.remotes import objects, urls
from unpickled.server.remotes.client import Client
from unpickled.server.remotes.remote import Offer, Remote
from unpickled.server.remotes.sink import Sink, check_size

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
# The most folders of a logged model that are searched.
_MOST = 50
# Stores that are read directly. A server elsewhere must not name files of this machine.
_STORES = {"s3", "gs", "az"}


class RegistrySource:
    """A registered model at an alias, or a version of it."""

    def __init__(self, address: str, environ: Mapping[str, str], version: int | None) -> None:
        parts = urlsplit(address)
        path, _, last = parts.path.rpartition("/")
        model, _, alias = last.rpartition("@") if "@" in last else (last, "", "")
        self._model, self._alias, self._version = unquote(model), unquote(alias), version
        self._base = f"{_scheme(parts.scheme, parts.hostname)}://{parts.netloc}{path}"
        urls.check(self._base)
        if not self._model or (not self._alias and version is None):
            raise RemoteError(f"{urls.shown(address)} names no model at an alias: write {REMOTE.form}")
        self._shown = f"mlflow://{parts.netloc}{path}/{self._model}"
        authorization = _authorization(environ)
        self._client = Client(lambda url: authorization if url.startswith(f"{self._base}/") else None)

    @property
    def name(self) -> str:
        return self._model if NAME.fullmatch(self._model) else ""

    def find(self, known: str) -> Offer:
        number, mark = self._found()
        origin = f"{self._shown}, version {number}"
        if mark == known:
            return Offer(origin, mark, _nothing, lambda: None, number)
        location = self._location(number)
        if location.partition("://")[0] in _STORES:
            return self._stored(location, origin, mark, number)
        folder = _folder(location)
        path, size, beside = self._file(folder)
        check_size(size)
        return Offer(
            origin=origin,
            mark=mark,
            fetch=functools.partial(self._fetch, path),
            signature=functools.partial(self._beside, f"{path}{SUFFIX}", beside),
            number=number,
        )

    def _found(self) -> tuple[int, str]:
        """The number of the version, and its mark: it changes with the file that the version stands for."""
        if self._alias:
            query = urlencode({"name": self._model, "alias": self._alias})
            document = self._client.document(f"{self._base}{_API}/registered-models/alias?{query}")
        else:
            query = urlencode({"name": self._model, "version": self._version})
            document = self._client.document(f"{self._base}{_API}/model-versions/get?{query}")
        version = _text(_member(document, "model_version"), "version")
        if not VERSION.fullmatch(version):
            raise RemoteError(f"{self._shown} has the version {quoted(version)}, which is no number")
        created = _member(document, "model_version").get("creation_timestamp")
        return int(version), f"{version} {created}"

    def _location(self, number: int) -> str:
        """The address of the folder of a version."""
        query = urlencode({"name": self._model, "version": number})
        document = self._client.document(f"{self._base}{_API}/model-versions/get-download-uri?{query}")
        return _text(document, "artifact_uri")

    def _stored(self, location: str, origin: str, mark: str, number: int) -> Offer:
        """The file in the object store that MLflow names, which is read directly."""
        source = objects.REMOTE.open(f"{location.rstrip('/')}/{FILE}", {}, None)
        return source.find("")._replace(origin=origin, mark=mark, number=number)

    def _file(self, folder: str) -> tuple[str, int | None, bool]:
        """The path of the model's file in a folder, its size, and whether there is a signature beside it."""
        files = dict(self._files(folder))
        models = [path for path in files if path.endswith(".onnx")]
        named = [path for path in models if path.rpartition("/")[2] == FILE]
        chosen = named if named else models
        if len(chosen) != 1:
            raise RemoteError(
                f"{self._shown} holds {listed(chosen) or 'no file that ends in .onnx'}: "
                f"log one file {FILE} with it"
            )
        return chosen[0], files[chosen[0]], f"{chosen[0]}{SUFFIX}" in files

    def _files(self, folder: str) -> Iterator[tuple[str, int | None]]:
        """The files below a folder of artifacts, and their sizes."""
        # It grows while it is walked.
        folders = [folder]
        for above in folders:
            document = self._client.document(f"{self._base}{_ARTIFACTS}?{urlencode({'path': above})}")
            entries = document.get("files") if isinstance(document, dict) else None
            for entry in entries if isinstance(entries, list) else []:
                # The name is below the folder that was asked for; a path is not followed out of it.
                name = _text(entry, "path").rpartition("/")[2]
                if name in ("", ".", ".."):
                    continue
                path = f"{above}/{name}"
                if not entry.get("is_dir"):
                    yield path, _size(entry.get("file_size"))
                elif len(folders) < _MOST:
                    folders.append(path)

    def _fetch(self, path: str, sink: Sink) -> None:
        self._client.download(self._url(path), sink)

    def _beside(self, path: str, exists: bool) -> bytes | None:
        return self._client.optional(self._url(path), detached.LONGEST) if exists else None

    def _url(self, path: str) -> str:
        return f"{self._base}{_ARTIFACTS}/{quote(path)}"


def _nothing(sink: Sink) -> None:
    """Nothing is fetched of a version that is here."""


def _scheme(scheme: str, host: str | None) -> str:
    return scheme.partition("+")[2] or urls.scheme_for(host)


def _authorization(environ: Mapping[str, str]) -> str | None:
    """The header by the variables that MLflow's own client reads."""
    if token := environ.get("MLFLOW_TRACKING_TOKEN"):
        return f"Bearer {token}"
    user, password = (environ.get(f"MLFLOW_TRACKING_{word}", "") for word in ("USERNAME", "PASSWORD"))
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return f"Basic {pair}" if user else None


def _folder(location: str) -> str:
    """The path of a folder below the proxy of artifacts."""
    parts = urlsplit(location)
    if parts.scheme != "mlflow-artifacts":
        raise RemoteError(
            f"MLflow keeps the file at {quoted(urls.shown(location))}, which is not read from here: start "
            "mlflow server with --serve-artifacts"
        )
    return unquote(parts.path).strip("/")


def _member(document: Any, key: str) -> Any:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, dict):
        raise RemoteError(f"MLflow answers something else than its REST API does: {quoted(key)} is missing")
    return value


def _text(document: Any, key: str) -> str:
    value = document.get(key) if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise RemoteError(f"MLflow answers something else than its REST API does: {quoted(key)} is missing")
    return value


def _size(value: Any) -> int | None:
    """A size as JSON has it: 64 bits are text there."""
    text = str(value).removesuffix(".0")
    return int(text) if text.isascii() and text.isdecimal() else None


REMOTE = Remote(
    schemes=("mlflow", "mlflow+https", "mlflow+http"),
    form="mlflow://mlflow.example.com/iris@champion",
    open=RegistrySource,
)
