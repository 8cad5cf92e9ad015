"""Models in OCI registries, by a digest or by a tag: the distribution API over plain HTTP.

    oci://registry.example.com/models/iris@sha256:...
    oci://registry.example.com/models/iris:3

https://github.com/opencontainers/distribution-spec/blob/main/spec.md. The artifact has one layer with the
bytes of the file, whose title ends in .onnx (as ``oras push`` writes it), and perhaps one with its signature.
"""

import functools
import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from unpickled.server.artifact import detached
from unpickled.server.artifact.detached import SUFFIX
from unpickled.server.artifact.manifest import FILE, NAME
from unpickled.server.errors import RemoteError
from unpickled.server.lifecycle.serving import VERSION
from unpickled.server.quote import quoted
from unpickled.server.remotes import client, urls
from unpickled.server.remotes.guarded import Guarded
from unpickled.server.remotes.remote import Offer, Remote
from unpickled.server.remotes.sink import Sink, check_size

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_TITLE = "org.opencontainers.image.title"
# Types of the layers of images, which are archives and no models.
_ARCHIVE = re.compile(r"\.tar(\.gzip)?$|[.+](gzip|zstd)$")
_REPOSITORY = re.compile(r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class _Layer(NamedTuple):
    """A part of an artifact: its digest, the name of the file in it, and its size in bytes."""

    sha256: str
    title: str
    size: int | None


class ArtifactSource:
    """An artifact in a repository of a registry."""

    def __init__(self, address: str, environ: Mapping[str, str], version: int | None) -> None:
        parts = urlsplit(address)
        scheme = parts.scheme.partition("+")[2] or urls.scheme_for(parts.hostname)
        host = f"{scheme}://{parts.netloc}"
        urls.check(host)
        repository, self._reference = _split(parts.path.lstrip("/"))
        if not _REPOSITORY.fullmatch(repository) or not self._reference:
            raise RemoteError(f"{urls.shown(address)} names no artifact: write {REMOTE.form}, or a tag")
        self._repository = repository
        self._shown = f"oci://{parts.netloc}/{repository}"
        self._base = f"{host}/v2/{repository}"
        self._registry = Guarded(host, repository, environ)

    @property
    def name(self) -> str:
        name = self._repository.rpartition("/")[2]
        return name if NAME.fullmatch(name) else ""

    def find(self, known: str) -> Offer:
        url = f"{self._base}/manifests/{self._reference}"
        content = self._registry.content(url, {"Accept": _MANIFESTS})
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if _DIGEST.fullmatch(self._reference) and digest != self._reference:
            raise RemoteError(f"{urls.shown(url)} has another digest ({digest}): the registry is not right")
        layers = _layers(client.parsed(content, url), self._shown)
        model = _model(layers, self._shown)
        check_size(model.size)
        number = int(self._reference) if VERSION.fullmatch(self._reference) else None
        return Offer(
            origin=f"{self._shown}@{digest}",
            mark=digest,
            fetch=functools.partial(self._fetch, model),
            signature=functools.partial(self._signature, model, layers),
            number=number,
            sha256=model.sha256,
        )

    def _fetch(self, layer: _Layer, sink: Sink) -> None:
        self._registry.download(self._blob(layer), sink)

    def _signature(self, model: _Layer, layers: list[_Layer]) -> bytes | None:
        beside = [layer for layer in layers if layer.title == f"{model.title}{SUFFIX}"]
        if not beside:
            return None
        content = self._registry.content(self._blob(beside[0]), longest=detached.LONGEST)
        if hashlib.sha256(content).hexdigest() != beside[0].sha256:
            raise RemoteError(f"the signature at {self._shown} has another digest than the manifest says")
        return content

    def _blob(self, layer: _Layer) -> str:
        return f"{self._base}/blobs/sha256:{layer.sha256}"


def _split(path: str) -> tuple[str, str]:
    """Repository and digest or tag of a path; the latter is empty where it is none."""
    repository, at, digest = path.partition("@")
    if at:
        # A tag beside a digest says nothing more.
        return repository.partition(":")[0], digest if _DIGEST.fullmatch(digest) else ""
    repository, _, tag = path.partition(":")
    return repository, tag if _TAG.fullmatch(tag) else ""


def _layers(manifest: Any, shown: str) -> list[_Layer]:
    layers = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(layers, list):
        raise RemoteError(f"{shown} is no artifact with layers, but perhaps an index of several: name one")
    return [_layer(entry, shown) for entry in layers]


def _layer(entry: Any, shown: str) -> _Layer:
    digest = entry.get("digest") if isinstance(entry, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise RemoteError(f"{shown} has a layer without a sha256 digest")
    notes = entry.get("annotations")
    title = notes.get(_TITLE, "") if isinstance(notes, dict) else ""
    size, kind = entry.get("size"), str(entry.get("mediaType", ""))
    if not title and not _ARCHIVE.search(kind):
        title = FILE
    return _Layer(digest.removeprefix("sha256:"), str(title), int(size) if _is_size(size) else None)


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < 2**63


def _model(layers: list[_Layer], shown: str) -> _Layer:
    models = [layer for layer in layers if layer.title.endswith(".onnx")]
    if len(models) == 1:
        return models[0]
    titles = ", ".join(quoted(layer.title) for layer in layers) or "none"
    raise RemoteError(
        f"{shown} has no single layer with a file that ends in .onnx (its files are {titles}): "
        f"push one, as in oras push REPOSITORY:TAG {FILE}"
    )


REMOTE = Remote(
    schemes=("oci", "oci+https", "oci+http"),
    form="oci://registry.example.com/models/iris@sha256:...",
    open=ArtifactSource,
)
