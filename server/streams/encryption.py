"""Encrypted connections: which authorities a broker's certificate may come from, and why there is none.

Kafka has options of its own for all of that.
"""

import ssl
from collections.abc import Iterator

from unpickled.server.errors import ConfigError
from unpickled.server.quote import quoted
from unpickled.server.streams.address import Address

# The option with the file of authorities.
CA = "ca"
_SCHEMES = {"amqps", "natss", "rediss"}
# Reasons of OpenSSL that no pause mends -> the sentence, with the remedy. Others pass: a server that goes
# in the middle of a handshake, say.
_REASONS = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS: correct the port or the scheme",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it asks for a certificate, and none is given here: let it take a "
    "user and a password instead",
}


def context(address: Address) -> ssl.SSLContext | None:
    """Whom a client trusts: the authorities of the machine, and those that the address names.

    Returns:
        The context; None where the scheme of the address is one without TLS.

    Raises:
        ConfigError: The file cannot be used, or the scheme is one without TLS.
    """
    path = address.options.get(CA)
    if address.scheme not in _SCHEMES:
        if path is not None:
            raise ConfigError(
                f"{CA} is for {address.scheme}s://, and {address} is not encrypted: leave one of them out"
            )
        return None
    trusted = ssl.create_default_context()
    try:
        if path is not None:
            trusted.load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(f"{CA} of {address} is {quoted(path)}, which has no certificates in PEM") from None
    except OSError as error:
        raise ConfigError(f"{CA} of {address} is {quoted(path)}: {error.strerror}") from None
    return trusted


def refusal(address: Address, error: BaseException) -> ConfigError | None:
    """The error to raise where a connection cannot be encrypted, whenever one tries; None otherwise.

    Args:
        address: The address.
        error: The library's; the reason may stand behind it.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return ConfigError(
                f"{address.server} is refused: its certificate is not trusted ({cause.verify_message}): "
                f"name the file of its authority by {CA}, or correct the host or the certificate"
            )
        if isinstance(cause, ssl.SSLError) and cause.reason in _REASONS:
            return ConfigError(f"{address.server} is refused: {_REASONS[cause.reason]}")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
