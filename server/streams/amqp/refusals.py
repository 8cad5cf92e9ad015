"""Errors of RabbitMQ: those that no pause mends, with their remedies, and the others."""

from pika import exceptions

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import SILENT, BrokerAway

# Codes of the server that no pause takes back -> the remedy.
_REMEDIES = {
    403: "give the user the right to this queue",
    404: "declare the queue, or correct its name",
    405: "another connection has the queue for itself",
    406: "declare the queue as it is used here",
    530: "create the virtual host, give the user the right to it, or correct vhost",
}
# Errors for which the server has closed the connection without a word -> the remedy.
_KINDS = {
    exceptions.ProbableAccessDeniedError: _REMEDIES[530],
    exceptions.AuthenticationError: "correct the user or the password",
    exceptions.ProbableAuthenticationError: "correct the user or the password",
}
# A part of the library's reason where a server accepts a connection and says nothing.
_LATE = "Timeout while setting up"


def refusal(address: Address, error: Exception) -> UnpickledError:
    """The error to raise: ConfigError where there is a remedy, else BrokerAway."""
    kinds = [type(error)]
    while error.args and isinstance(error.args[0], Exception):
        # Errors of the connection stand in one another.
        error = error.args[0]
        kinds.append(type(error))
    reason = str(getattr(error, "reply_text", "")) or str(error) or type(error).__name__
    remedy = _REMEDIES.get(getattr(error, "reply_code", 0)) or next(
        (_KINDS[kind] for kind in kinds if kind in _KINDS), None
    )
    # A node of a cluster has the queue, and is away.
    if remedy is None or "down or inaccessible" in reason:
        return BrokerAway(SILENT if isinstance(error, TimeoutError) or _LATE in reason else reason)
    return ConfigError(f"{address} is refused: {reason}: {remedy}")
