"""The settings of librdkafka, by the address of a topic, and its lines in the log."""

import logging
from typing import Any

from unpickled.server.errors import ConfigError
from unpickled.server.streams.address import Address, Host

_PORT = 9092
# Options that decide what is lost or written twice.
_OURS = {
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "sasl.password",
    "sasl.username",
}

logger = logging.getLogger("unpickled")


class Log(logging.Logger):
    """Takes the lines of librdkafka, which tell of each attempt to connect: errors are told otherwise."""

    def handle(self, record: logging.LogRecord) -> None:
        """Pass the line on, as one for debugging."""
        logger.debug("librdkafka: %s", record.getMessage())


def settings(address: Address) -> dict[str, Any]:
    """The settings that an address has; ConfigError where one is not to be set."""
    for option in address.options:
        if option in _OURS:
            raise ConfigError(f"{option} of {address} is not to be set: leave it out")
    hosts = [str(Host(host.name, host.port or _PORT)) for host in address.hosts]
    return {"bootstrap.servers": ",".join(hosts)} | _security(address) | dict(address.options)


def _security(address: Address) -> dict[str, Any]:
    secure = address.scheme == "kafkas"
    if not address.user:
        return {"security.protocol": "SSL"} if secure else {}
    return {
        "sasl.username": address.user,
        "sasl.password": address.password,
        "sasl.mechanism": "PLAIN",
        "security.protocol": "SASL_SSL" if secure else "SASL_PLAINTEXT",
    }
