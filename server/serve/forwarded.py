"""Requests as they reached the first trusted proxy: WSGI middleware, where such proxies are configured.

A proxy tells the address of its client, the scheme and the host in ``X-Forwarded-For``, ``-Proto`` and
``-Host``. So may anybody else: only the headers of peers that the settings name are believed. ``Forwarded``
(RFC 7239) is not read, as a proxy that writes the others hands on the one that its client sent.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from unpickled.server.message.environ import PEER
from unpickled.server.serve.fastpath import Application, Environ, StartResponse

# Words among the addresses: any peer, and the peers on the server's Unix socket, which have no address.
ANY, UNIX = "*", "unix"
_SCHEMES = {"http": "http", "https": "https", "HTTP": "http", "HTTPS": "https"}
# Values that are remembered, as reading one takes microseconds; none of them is longer, in characters.
_MOST, _LONGEST = 4096, 200
# The most proxies in a row.
_DEEPEST = 32


class Forwarded:
    """Believes the headers of trusted peers, and passes the requests of all others on as they are.

    Args:
        application: Answers the requests.
        trusted: Addresses and networks (``10.0.0.0/8``); ``*`` for all, ``unix`` for the Unix socket.
    """

    def __init__(self, application: Application, trusted: Collection[str]) -> None:
        self._application = application
        self._any = ANY in trusted
        self._unix = UNIX in trusted
        self._networks = [ip_network(text) for text in trusted if text not in (ANY, UNIX)]
        self._believes = lru_cache(_MOST)(self._trusts)
        self._remembered = lru_cache(_MOST)(self._client)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._believes(environ.get("REMOTE_ADDR")):
            if chain := environ.get("HTTP_X_FORWARDED_FOR"):
                read = self._remembered if len(chain) <= _LONGEST else self._client
                environ[PEER] = environ.get("REMOTE_ADDR") or ""
                environ["REMOTE_ADDR"] = read(chain) or environ.get("REMOTE_ADDR", "")
            if scheme := environ.get("HTTP_X_FORWARDED_PROTO"):
                environ["wsgi.url_scheme"] = _SCHEMES.get(_last(scheme)) or environ["wsgi.url_scheme"]
            if host := environ.get("HTTP_X_FORWARDED_HOST"):
                environ["HTTP_HOST"] = _last(host)
        return self._application(environ, start_response)

    def _trusts(self, peer: str | None) -> bool:
        return self._any or (self._is_trusted(_address(peer)) if peer else self._unix)

    def _client(self, chain: str) -> str:
        """The right-most address that is not trusted, as its right neighbour vouches for it.

        An entry that is no address ends the search at that neighbour. The client itself may have written
        whatever stands further left.
        """
        client = ""
        for text in reversed(chain.rsplit(",", _DEEPEST)):
            address = _address(text.strip())
            if address is None:
                return client
            client = str(address)
            if not self._is_trusted(address):
                return client
        return client

    def _is_trusted(self, address: IPv4Address | IPv6Address | None) -> bool:
        return self._any or (address is not None and any(address in network for network in self._networks))


def _last(values: str) -> str:
    """The value that the nearest proxy has added."""
    return values.rpartition(",")[2].strip() if "," in values else values


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address in "192.0.2.1:80", "2001:db8::1" or "[2001:db8::1]:80"; None where there is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A listener for both versions of IP sees IPv4 in this form.
    return getattr(address, "ipv4_mapped", None) or address
