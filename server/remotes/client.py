"""HTTP for remotes: TLS, or a plain connection to this machine; bounded, timed, and tried again."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from unpickled.server.errors import RemoteError, RequestError
from unpickled.server.message import strict
from unpickled.server.quote import printable, quoted, shortened
from unpickled.server.remotes import urls
from unpickled.server.remotes.patient import Plain, Secure
from unpickled.server.remotes.remote import reason
from unpickled.server.remotes.sink import Sink, check_size

Result = TypeVar("Result")

# Seconds until a connection is made, and for each part of an answer.
_TIMEOUT = 30.0
# Seconds that any answer may take, and bytes that come in a second more: one that drips would never end.
_PATIENCE, _BYTES_PER_SECOND = 60.0, 10_000
# Seconds between two attempts, and the longest that a server may ask for.
_PAUSES, _LONGEST_PAUSE = (0.5, 1.0, 2.0), 30.0
_AGAIN = {408, 429, 500, 502, 503, 504}
_PART = 256 * 1024
# Longest document and signature, in bytes.
_LONGEST_DOCUMENT = 4 * 1024 * 1024
_LONGEST_REFUSAL = 8 * 1024


class Refused(RemoteError):
    """The server has answered, with a status that is no success."""

    def __init__(self, sentence: str, status: int, headers: Message) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers


class _Passing(Exception):
    """A failure that may pass: the same is tried again after ``pause`` seconds, or more."""

    def __init__(self, error: RemoteError, pause: float = 0.0) -> None:
        self.error = error
        self.pause = pause


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to addresses that are allowed; credentials go to the first server alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        urls.check(newurl, plain=urlsplit(req.full_url).scheme == "http")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        authorization = req.unredirected_hdrs.get("Authorization")
        if request is not None and authorization and _server(newurl) == _server(req.full_url):
            request.add_unredirected_header("Authorization", authorization)
        return request


class Answer:
    """The answer of a server, whose body has not been read. ``headers`` are those of the last redirect."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self.headers: Message = response.headers
        length = self.headers.get("Content-Length", "")
        self._length = int(length) if length.isascii() and length.isdigit() else None

    def write_to(self, sink: Sink) -> None:
        """Write the body; RemoteError where it is too long, too slow or encoded, _Passing where it is cut."""
        with self._response:
            self._check_head()
            deadline = time.monotonic() + _PATIENCE
            while part := _read(self._response):
                sink.write(part)
                if time.monotonic() > deadline + sink.size / _BYTES_PER_SECOND:
                    raise RemoteError(f"it comes too slowly: {sink.size:,} bytes so far")
        self._check_end(sink.size)

    def content(self, longest: int) -> bytes:
        """The body; RemoteError where it is longer."""
        with self._response:
            parts, size, deadline = [], 0, time.monotonic() + _PATIENCE
            while size <= longest and (part := _read(self._response)):
                parts.append(part)
                size += len(part)
                if time.monotonic() > deadline:
                    raise RemoteError("it comes too slowly")
        if size > longest:
            raise RemoteError(f"it is longer than {longest:,} bytes")
        self._check_end(size)
        return b"".join(parts)

    def close(self) -> None:
        """Read no more."""
        self._response.close()

    def _check_end(self, size: int) -> None:
        if self._length is not None and size != self._length:
            raise _Passing(RemoteError(f"it is cut off: {size:,} bytes have come of {self._length:,}"))

    def _check_head(self) -> None:
        check_size(self._length)
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise RemoteError(f"it is encoded ({quoted(encoding)}), and was asked for as it is")


class Client:
    """Asks servers.

    Args:
        authorization: The header for an address; None where there is none.
    """

    def __init__(self, authorization: Callable[[str], str | None] = lambda url: None) -> None:
        self._authorization = authorization
        self._opener = urllib.request.build_opener(_Redirects, Plain, Secure)

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a GET; RemoteError where there is none, Refused where its status is no success."""
        return again(lambda: self._open(url, headers or {}), urls.shown(url))

    def document(self, url: str) -> Any:
        """The JSON document there; RemoteError as in ``open``, or where it is none."""
        return parsed(self.content(url), url)

    def content(
        self, url: str, headers: Mapping[str, str] | None = None, longest: int = _LONGEST_DOCUMENT
    ) -> bytes:
        """The bytes there, at most ``longest``; RemoteError as in ``open``."""
        return again(lambda: self._open(url, headers or {}).content(longest), urls.shown(url))

    def optional(self, url: str, longest: int) -> bytes | None:
        """The bytes there; None where the server says that there is nothing, or nothing for everybody."""
        try:
            return self.content(url, longest=longest)
        except Refused as error:
            if error.status in (403, 404, 410):
                return None
            raise

    def download(self, url: str, sink: Sink, headers: Mapping[str, str] | None = None) -> None:
        """Write the bytes there into a sink; RemoteError as in ``open``, or where they do not all come."""

        def attempt() -> None:
            sink.restart()
            self._open(url, headers or {}).write_to(sink)

        again(attempt, urls.shown(url))

    def _open(self, url: str, headers: Mapping[str, str]) -> Answer:
        request = urllib.request.Request(
            url, headers={"Accept-Encoding": "identity", "User-Agent": "unpickled", **headers}
        )
        if authorization := self._authorization(url):
            request.add_unredirected_header("Authorization", authorization)
        try:
            return Answer(self._opener.open(request, timeout=_TIMEOUT))
        except urllib.error.HTTPError as error:
            with error:
                _refuse(error, url)


def again(action: Callable[[], Result], place: str) -> Result:
    """The result of an action that may have to be tried a few times; RemoteError names the place."""
    for pause in (*_PAUSES, None):
        try:
            return action()
        except _Passing as error:
            failure, asked = error.error, error.pause
        except Refused:
            raise
        except RemoteError as error:
            raise RemoteError(f"{place} cannot be fetched: {error}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            failure, asked = RemoteError(f"{place} cannot be fetched: {_reason(error)}"), 0.0
            if not _passes(error):
                raise failure from None
        if pause is not None:
            time.sleep(max(pause, asked))
    raise failure if place in str(failure) else RemoteError(f"{place} cannot be fetched: {failure}")


def parsed(content: bytes, url: str) -> Any:
    """The JSON document in the content of an address; RemoteError where it is none."""
    try:
        return strict.parse(content)
    except RequestError:
        # Its sentence is for clients of this server.
        raise RemoteError(f"{urls.shown(url)} is no JSON: see whether the address is right") from None


def _read(response: Any) -> bytes:
    part: bytes = response.read1(_PART)
    return part


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


_MEANINGS = {
    401: "it asks for credentials",
    403: "it is not for everybody, or not for these credentials",
    404: "there is nothing",
    410: "there is nothing any more",
}


def _refuse(error: urllib.error.HTTPError, url: str) -> NoReturn:
    """Raise what a status means: Refused, or _Passing where a later attempt may do better."""
    text = _MEANINGS.get(error.code) or _meaning(error.code)
    refusal = Refused(
        f"{urls.shown(url)} answers {error.code}: {text}{_said(error)}", error.code, error.headers
    )
    if error.code in _AGAIN:
        asked = error.headers.get("Retry-After", "")
        raise _Passing(refusal, min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else 0.0)
    raise refusal


def _meaning(status: int) -> str:
    if status < 400:
        return "it redirects, in a circle or to no web address"
    return "it refuses" if status < 500 else "it fails"


def _said(error: urllib.error.HTTPError) -> str:
    """The message in the body of a refusal, as MLflow and OCI registries write it; empty where none is."""
    try:
        document = strict.parse(error.read1(_LONGEST_REFUSAL))
    except (OSError, http.client.HTTPException, RequestError):
        return ""
    listed = document.get("errors") if isinstance(document, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else document
    message = first.get("message") if isinstance(first, dict) else None
    return f" ({shortened(printable(message), 200)})" if isinstance(message, str) and message else ""


def _passes(error: Exception) -> bool:
    """Whether a failure may pass: a wrong certificate or address does not."""
    cause = getattr(error, "reason", error)
    return not isinstance(cause, ValueError) and "CERTIFICATE_VERIFY_FAILED" not in str(cause)


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, TimeoutError):
        return "it does not answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return str(cause.strerror)
    return reason(cause)
