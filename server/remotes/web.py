"""Models on a web server: one file, and beside it what is the same with .sha256 and .sig at its end."""

import functools
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from unpickled.server.artifact import detached
from unpickled.server.artifact.detached import SUFFIX
from unpickled.server.errors import RemoteError
from unpickled.server.remotes import place, urls
from unpickled.server.remotes.client import Answer, Client, Refused
from unpickled.server.remotes.remote import Offer, Remote, digest_in
from unpickled.server.remotes.sink import Sink

_NOT_MODIFIED = 304


class WebSource:
    """A file on a web server, which is asked for only if it has changed."""

    def __init__(self, address: str, environ: Mapping[str, str], version: int | None) -> None:
        urls.check(address)
        segments = [unquote(part) for part in urlsplit(address).path.split("/") if part]
        self._place = place.of(segments)
        self._url = address
        self._client = Client()
        if self._place.file is None:
            raise RemoteError(
                f"{urls.shown(address)} names no file: write the address of a file that ends in .onnx"
            )

    @property
    def name(self) -> str:
        return self._place.name

    def find(self, known: str) -> Offer:
        # The mark of an earlier answer is its ETag, or else the date of the last change.
        condition = "If-None-Match" if '"' in known else "If-Modified-Since"
        try:
            answer = self._client.open(self._url, {condition: known} if known else {})
        except Refused as error:
            if error.status == _NOT_MODIFIED and known:
                return self._offer(known, None)
            raise
        return self._offer(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "", answer)

    def _offer(self, mark: str, answer: Answer | None) -> Offer:
        if answer is not None:
            # A file that has changed is asked for again, in full: an attempt may have to be repeated.
            answer.close()
        return Offer(
            origin=urls.shown(self._url),
            mark=mark,
            fetch=self._fetch,
            signature=functools.partial(self._beside, SUFFIX),
            number=self._place.number,
            sha256=None if answer is None else self._digest(),
        )

    def _fetch(self, sink: Sink) -> None:
        self._client.download(self._url, sink)

    def _digest(self) -> str | None:
        return digest_in(self._beside(".sha256"), f"{urls.shown(self._url)}.sha256")

    def _beside(self, suffix: str) -> bytes | None:
        """A small file beside; an address with a query, which may be signed, has none."""
        if "?" in self._url:
            return None
        return self._client.optional(f"{self._url}{suffix}", detached.LONGEST)


REMOTE = Remote(
    schemes=("https", "http"),
    form="https://example.com/models/iris/3/model.onnx",
    open=WebSource,
)
