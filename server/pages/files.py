"""Files that a browser may cache, and their headers."""

import gzip
import hashlib
from functools import cache
from importlib.resources.abc import Traversable

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header
from werkzeug.wrappers import Response

from unpickled.server.message.answer import Answer, Environ, status_line

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
}
# Nothing from elsewhere and nothing inline: text of a model file can never become a script.
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


def is_part(path: Traversable) -> bool:
    """Whether a path is a file with a script, a style or an image."""
    return _suffix(path) in KINDS.keys() - {"html"} and path.is_file()


class File:
    """A file, read at the first request for it; its suffix is one of ``KINDS``."""

    def __init__(self, path: Traversable) -> None:
        self._kind = KINDS[_suffix(path)]
        self._read = cache(path.read_bytes)
        self._compressed = cache(lambda: gzip.compress(self._read(), mtime=0))
        self._tag = cache(lambda: hashlib.sha256(self._read()).hexdigest()[:16])

    def __call__(self, environ: Environ) -> Answer:
        """The file, compressed if the client accepts gzip; or 304 if the client has it."""
        response = Response(self._read(), headers=_HEADERS, content_type=self._kind)
        response.set_etag(self._tag())
        if parse_accept_header(environ.get("HTTP_ACCEPT_ENCODING"), Accept).quality("gzip"):
            response.data = self._compressed()
            response.content_encoding = "gzip"
            response.set_etag(f"{self._tag()}-gzip")
        response.make_conditional(dict(environ))
        # The HTTP server adds this header itself.
        del response.headers["Date"]
        parts, _, headers = response.get_wsgi_response(dict(environ))
        return status_line(response.status_code), tuple(headers), b"".join(parts)


def _suffix(path: Traversable) -> str:
    return path.name.rpartition(".")[2]
