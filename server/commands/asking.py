"""The reports that commands get from a running server."""

from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from unpickled.server.errors import RequestError, ServingError
from unpickled.server.message import strict
from unpickled.server.message.media import JSON
from unpickled.server.quote import shortened
from unpickled.server.report.document import Report

Asked = TypeVar("Asked", bound=Report[Any])
# Seconds to wait for an answer.
_PATIENCE = 30.0
# The longest answer that is read, in bytes.
_LONGEST = 64 * 1024 * 1024


def asked(kind: type[Asked], url: str, model: str, window: str, key: str | None) -> Asked:
    """The report of the server at this address about a model.

    Args:
        kind: The type of the report.
        url: The address; without a scheme it is one of http.
        model: The name of the model.
        window: How far back the server looks.
        key: The caller's key or token.

    Raises:
        ServingError: There is no report; the sentence has a remedy.
    """
    path = f"/models/{quote(model, safe='')}/{kind.noun}?window={window}"
    return kind.read(answered(url, path, f"report about {kind.noun}", key))


def metrics(url: str, key: str | None) -> str:
    """The metrics of the server at this address, as text; ServingError as above."""
    return answered(url, "/metrics", "metrics", key).decode("utf-8", "replace")


def answered(url: str, path: str, noun: str, key: str | None, body: bytes | None = None) -> bytes:
    """The body of a server's answer.

    Args:
        url: The address; without a scheme it is one of http.
        path: The path of the route, and its query.
        noun: The thing that it answers with, for errors.
        key: The caller's key or token.
        body: The body of a POST in JSON; without one it is a GET.

    Raises:
        ServingError: There is no such answer; the sentence has a remedy.
    """
    url = url if "://" in url else f"http://{url}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if body is not None:
        headers["Content-Type"] = JSON
    try:
        request = Request(f"{url.rstrip('/')}{path}", body, headers)
        with urlopen(request, timeout=_PATIENCE) as response:
            content: bytes = response.read(_LONGEST)
            return content
    except HTTPError as error:
        raise ServingError(_refusal(error, url, noun, key)) from None
    except (URLError, OSError, ValueError) as error:
        cause = shortened(str(getattr(error, "reason", error)), 200)
        raise ServingError(
            f"no server answers at {url} ({cause}): start one with unpickled serve, or name it with --url"
        ) from None


def _refusal(error: HTTPError, url: str, noun: str, key: str | None) -> str:
    """A sentence for an answer that is no report."""
    try:
        document = strict.parse(error.read(_LONGEST))
        said, code = str(document["error"]), document.get("code")
    except (RequestError, LookupError, TypeError, AttributeError, OSError):
        said, code = f"status {error.code}", None
    if code == "not_found" or code is None:
        return f"{url} has no {noun} ({said}): name a server of this release with --url"
    remedy = "; give one with --key" if error.code == 401 and not key else ""
    return f"{said}{remedy}"
