"""The client of Redis, by an address: one server, or what answers like one."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from unpickled.server.streams.address import Address
from unpickled.server.streams.encryption import CA, context

_PORT = 6379


def client(address: Address, patience: float) -> Any:
    """A client that has not connected yet, and tries nothing twice: the consumer does, and says so.

    Args:
        address: The address; ConfigError where its host or an option is wrong.
        patience: Seconds that the server may take to answer.
    """
    host = address.only_host(_PORT)
    return redis.Redis(
        host.name,
        host.port or _PORT,
        address.number("db") or 0,
        address.password or None,
        username=address.user or None,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        **_encryption(address),
    )


def _encryption(address: Address) -> dict[str, Any]:
    if context(address) is None:
        return {}
    # The library takes no context, and checked no name of a host before its version 6.
    return {"ssl": True, "ssl_ca_certs": address.options.get(CA), "ssl_check_hostname": True}
