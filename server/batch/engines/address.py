"""The address of a cluster: whether anything listens there, before an engine waits for it for minutes."""

import socket
from urllib.parse import urlsplit

from unpickled.server.errors import ServingError

# Seconds for a connection.
_PATIENCE = 10.0


def check(address: str, engine: str, example: str) -> None:
    """Connect to an address such as tcp://10.0.0.1:8786 or 10.0.0.1:6379; one of several will do.

    Args:
        address: The address, with or without a scheme; several hosts of one are separated by commas.
        engine: The engine's name, for the sentence.
        example: An address as it should be.

    Raises:
        ServingError: It is no address, or nothing listens there.
    """
    hosts = address.rpartition("://")[2].split(",")
    failures = [_failure(host) for host in hosts]
    if None not in failures:
        raise ServingError(
            f"no {engine} cluster can be reached at {address}: {failures[0]}: "
            f"start it, or correct --engine-address, such as {example}"
        )


def _failure(host: str) -> str | None:
    """The reason for which host:port cannot be reached; None if it can."""
    try:
        place = urlsplit(f"//{host}")
        name, port = place.hostname, place.port
    except ValueError:
        name, port = None, None
    if name is None or port is None:
        return f"{host!r} is not a host and a port"
    try:
        socket.create_connection((name, port), _PATIENCE).close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None
