"""Addresses that are asked over HTTP: https, or this machine, and nothing secret in what is shown of them."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from unpickled.server.errors import RemoteError
from unpickled.server.quote import quoted

_USER = re.compile(r"//[^/]*@")


def check(url: str, plain: bool = True) -> None:
    """RemoteError unless an address is https, or http to this machine where ``plain`` is true."""
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise RemoteError("an address has a user or a password in it: leave them out")
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme != "http" or not plain or not is_local(parts.hostname):
        raise RemoteError(f"{quoted(shown(url))} is not https, and is not asked")


def is_local(host: str | None) -> bool:
    """Whether a host is this machine, by its address."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def scheme_for(host: str | None) -> str:
    """The scheme by which a host is asked: plain HTTP where it is this machine."""
    return "http" if is_local(host) else "https"


def shown(url: str) -> str:
    """An address for messages: without a query, which may hold a key, and without user and password."""
    return _USER.sub("//", url.partition("?")[0].partition("#")[0])
