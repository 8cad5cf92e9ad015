"""The names by which clients may call the server: the Host header is checked before anything is answered.

A page of a stranger can point its own name at the address of this server (DNS rebinding) and so read answers
as if they were its own. ``trusted_hosts`` ends that: https://www.rfc-editor.org/rfc/rfc9110#section-17.1.
"""

import re
from collections.abc import Collection

from unpickled.server.errors import BadRequest
from unpickled.server.message.answer import Environ
from unpickled.server.quote import quoted

# A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port. Two Host headers arrive as one
# value with a comma, which the pattern refuses.
_HOST = re.compile(r"([A-Za-z0-9_~.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{0,5})?")
# Only these may come without a Host header.
_OLD = frozenset({"HTTP/0.9", "HTTP/1", "HTTP/1.0"})
# Load balancers probe with an address in the Host header, and often cannot be told to send another one.
_PROBES = ("/livez", "/readyz", "/ping", "/v2/health/live", "/v2/health/ready")
# Most values that are remembered, all of them at most this long, in characters.
_MOST, _LONGEST = 1024, 300


class Hosts:
    """Decides whether a request calls the server by a name that it goes by.

    Args:
        trusted: Names without a port; ``.example.com`` stands for every name below example.com, ``*`` for
            any name. Without one, any well-formed value is taken.
        probes: Paths that are answered under any well-formed name, beside those of the health checks.

    Attributes:
        known: Values of the header that were found right. A look into this set is all that most requests
            cost; it is emptied when it is full.
    """

    def __init__(self, trusted: Collection[str] = (), probes: Collection[str] = ()) -> None:
        names = {name.lower() for name in trusted}
        self.known: set[str] = set()
        self._any = not names or "*" in names
        self._names = frozenset(names)
        self._parents = tuple(name for name in names if name.startswith("."))
        self._probes = frozenset((*_PROBES, *probes))

    def check(self, environ: Environ) -> None:
        """BadRequest where the host is missing, malformed or not trusted."""
        host = environ.get("HTTP_HOST") or ""
        if host in self.known:
            return
        if not host and environ.get("SERVER_PROTOCOL") in _OLD and self._any:
            return
        match = _HOST.fullmatch(host)
        if match is None:
            raise _malformed(host)
        if not self._any and not self._is_trusted(match[1]):
            if environ["PATH_INFO"] in self._probes:
                return
            sentence = f"the server does not go by the name {quoted(match[1])}: add it to trusted_hosts"
            raise BadRequest(sentence, status=400)
        self._remember(host)

    def _is_trusted(self, name: str) -> bool:
        name = name.lower().removesuffix(".")
        return name in self._names or name.endswith(self._parents)

    def _remember(self, host: str) -> None:
        if len(host) <= _LONGEST:
            if len(self.known) >= _MOST:
                self.known.clear()
            self.known.add(host)


def _malformed(host: str) -> BadRequest:
    if not host:
        return BadRequest("the request has no Host header: send the name of the server in it", status=400)
    sentence = f"the Host header is {quoted(host)}: send one name, and perhaps a port, in one header"
    return BadRequest(sentence, status=400)
