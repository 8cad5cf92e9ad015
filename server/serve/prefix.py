"""The path that a proxy leaves in front of every route: WSGI middleware, where it is configured."""

from collections.abc import Iterable

from unpickled.server.serve.fastpath import Application, Environ, StartResponse


class Prefix:
    """Answers paths below ``root`` as if they had no such beginning, and all others as they are.

    Probes and other callers that reach the server without the proxy know nothing of the prefix. Every link
    on a page is relative, so that it leads to the same place with and without it.

    Args:
        application: Answers the requests; ``SCRIPT_NAME`` tells it the prefix.
        root: The prefix, such as "/models-of/risk", without a slash at its end.
    """

    def __init__(self, application: Application, root: str) -> None:
        self._application = application
        self._root = root
        self._start = f"{root}/"
        # Relative, so that it holds behind a further proxy too, and never names a host.
        self._location = f"{root.rpartition('/')[2]}/"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith(self._start):
            environ["SCRIPT_NAME"] = self._root
            environ["PATH_INFO"] = path[len(self._root) :]
        elif path == self._root and environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            # The links on the page at "/" need the slash.
            start_response("308 Permanent Redirect", [("Location", self._location), ("Content-Length", "0")])
            return []
        return self._application(environ, start_response)
