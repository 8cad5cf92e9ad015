"""Files that a browser may keep, and what it is told with them."""

import gzip
import hashlib
import re
from collections.abc import Callable

from unpickled.server.message.answer import Answer, Environ

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
# Nothing from elsewhere, nothing inline: what a model file says can only ever be text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("Cache-Control", "no-cache"),
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Vary", "Accept-Encoding"),
    ("X-Content-Type-Options", "nosniff"),
)
# Without the W/ of a weak one: here they are compared without it.
_TAG = re.compile(r'"[^"]*"')


class File:
    """A file as it was when it was first asked for; ``name`` says of which kind it is."""

    def __init__(self, name: str, read: Callable[[], bytes]) -> None:
        self._kind = KINDS[name.rpartition(".")[2]]
        self._read = read
        self._plain: tuple[bytes, str] | None = None
        self._small: tuple[bytes, str] | None = None

    def __call__(self, environ: Environ) -> Answer:
        """The file, or 304 to those who have it."""
        content, tag = self._packed() if _takes_gzip(environ) else self._whole()
        headers = [("ETag", tag), *_HEADERS]
        if _held(tag, environ.get("HTTP_IF_NONE_MATCH", "")):
            return "304 Not Modified", tuple(headers), b""
        if tag.endswith('-gzip"'):
            headers.append(("Content-Encoding", "gzip"))
        return "200 OK", (("Content-Type", self._kind), *headers), content

    def _whole(self) -> tuple[bytes, str]:
        if self._plain is None:
            content = self._read()
            self._plain = content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        return self._plain

    def _packed(self) -> tuple[bytes, str]:
        if self._small is None:
            content, tag = self._whole()
            self._small = gzip.compress(content, mtime=0), f'{tag[:-1]}-gzip"'
        return self._small


def _held(tag: str, known: str) -> bool:
    """Whether If-None-Match names the tag, or any: RFC 9110, section 13.1.2."""
    return known.strip() == "*" or tag in _TAG.findall(known)


def _takes_gzip(environ: Environ) -> bool:
    codings = environ.get("HTTP_ACCEPT_ENCODING", "").lower().split(",")
    return any(coding.strip() == "gzip" for coding in codings)
