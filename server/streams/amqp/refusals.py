"""Errors of RabbitMQ: those that no pause mends, with their remedies, and the others."""

from pika import exceptions
from pika.adapters.utils import connection_workflow as workflow

from unpickled.server.errors import ConfigError, UnpickledError
from unpickled.server.streams import encryption
from unpickled.server.streams.address import Address
from unpickled.server.streams.broker import SILENT, BrokerAway

# Every error of the library, and of the connection below it, such as a host that is not known.
ERRORS = (OSError, exceptions.AMQPError, workflow.AMQPConnectorException)
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
    while (inner := _inner(error)) is not None:
        error = inner
        kinds.append(type(error))
    if untrusted := encryption.refusal(address, error):
        return untrusted
    reason = _reason(error)
    remedy = _REMEDIES.get(getattr(error, "reply_code", 0)) or next(
        (_KINDS[kind] for kind in kinds if kind in _KINDS), None
    )
    # A node of a cluster has the queue, and is away.
    if remedy is None or "down or inaccessible" in reason:
        return BrokerAway(SILENT if isinstance(error, TimeoutError) or _LATE in reason else reason)
    return ConfigError(f"{address} is refused: {reason}: {remedy}")


def _inner(error: Exception) -> Exception | None:
    """The error that stands in one of the library, the last of several attempts; None where there is none."""
    if isinstance(error, workflow.AMQPConnectionWorkflowFailed):
        inner: object = error.exceptions[-1]
    elif isinstance(error, workflow.AMQPConnectorPhaseErrorBase):
        inner = error.exception
    else:
        inner = next(iter(error.args), None)
    return inner if isinstance(inner, Exception) else None


def _reason(error: Exception) -> str:
    """The word of the server, or that of the system, or else the library's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(getattr(error, "reply_text", "")) or str(error) or type(error).__name__
