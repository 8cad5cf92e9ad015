"""The parameters of a connection to RabbitMQ, by an address."""

from typing import Any

import pika

from unpickled.server.streams.address import Address
from unpickled.server.streams.encryption import context

# Seconds for one question.
PATIENCE = 5.0
_PORT, _SECURE_PORT = 5672, 5671


def parameters(address: Address, host: str, port: int | None) -> Any:
    """The parameters for one of the hosts of an address; ConfigError."""
    trusted = context(address)
    heartbeat = address.number("heartbeat")
    return pika.ConnectionParameters(
        host,
        port or (_SECURE_PORT if trusted else _PORT),
        address.options.get("vhost", "/"),
        pika.PlainCredentials(address.user or "guest", address.password or "guest"),
        heartbeat=heartbeat,
        ssl_options=pika.SSLOptions(trusted, host) if trusted else None,
        socket_timeout=PATIENCE,
        stack_timeout=PATIENCE,
        client_properties={"connection_name": "unpickled"},
    )
